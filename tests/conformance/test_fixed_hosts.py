"""Tests of clients with fixed host names, in a network namespace that contains only the sandbox."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from aliyun_import.sandbox.sample import write_sample_disk

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
BUCKET = "fixed-hosts-bucket"
REGIONS = ("cn-hangzhou", "cn-beijing")
ROLE = """
import json
from aliyunsdkcore.client import AcsClient
from aliyunsdkram.request.v20150501.CreateRoleRequest import CreateRoleRequest
from aliyunsdkram.request.v20150501.AttachPolicyToRoleRequest import AttachPolicyToRoleRequest
client = AcsClient("SANDBOX-KEY", "SANDBOX-SECRET", "cn-hangzhou")
role, attach = CreateRoleRequest(), AttachPolicyToRoleRequest()
statement = {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["ecs.aliyuncs.com"]}}
for request in (role, attach):
    request.set_RoleName("AliyunECSImageImportDefaultRole")
role.set_AssumeRolePolicyDocument(json.dumps({"Version": "1", "Statement": [statement]}))
attach.set_PolicyType("System")
attach.set_PolicyName("AliyunECSImageImportRolePolicy")
for request in (role, attach):
    client.do_action_with_exception(request)
"""
OSS = """
import oss2
bucket = oss2.Bucket(oss2.AuthV4("SANDBOX-KEY", "SANDBOX-SECRET"), "https://oss-cn-hangzhou.aliyuncs.com", "BUCKET",
                     region="cn-hangzhou")
bucket.create_bucket()
bucket.put_object("k", b"data")
assert bucket.get_object("k").read() == b"data"
""".replace("BUCKET", BUCKET)


def _documented_commands(names: str) -> list[str]:
    """Return the commands of the page after `unshare`, with the bucket and more host names filled in."""
    block = PAGE.read_text().partition("\nunshare --map-root-user")[2].partition("\n```")[0]
    lines = [line.strip() for line in block.splitlines()[1:]]
    assert len(lines) > 5, "the page has no commands after unshare"
    return [
        re.sub(r"\bBUCKET\b", BUCKET, line).replace('names="localhost', f'names="{names} localhost') for line in lines
    ]


def run_in_namespace(directory: Path, commands: list[str], *, names: str = "") -> subprocess.CompletedProcess[str]:
    """Start the sandbox as documented in a namespace, run commands there, and stop the sandbox."""
    (directory / "bin").mkdir()
    tool = directory / "bin" / "aliyun-import"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m aliyun_import "$@"\n')
    tool.chmod(0o755)
    script = "\n".join(["set -e", *_documented_commands(names), "trap 'kill $(jobs -p); wait' EXIT", *commands])
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
        "HOME": str(directory),
        "XDG_STATE_HOME": str(directory),
    }
    environment |= {"PYTHONPATH": str(PAGE.parents[1])}
    command = ["unshare", "--map-root-user", "--net", "--mount", "bash", "-c", script]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def _no_namespaces() -> str:
    """Return why network namespaces are not available, or an empty string."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "unshare or ip is missing"
    done = subprocess.run(["unshare", "--map-root-user", "--net", "--mount", "true"], capture_output=True, text=True)
    return done.stderr


@pytest.mark.root
def test_the_documented_commands_redirect_fixed_https_hosts_to_the_sandbox(tmp_path: Path) -> None:
    """oss2 with a virtual-hosted https address, the core SDK over http and the tool itself reach the sandbox."""
    if _no_namespaces():
        pytest.skip(_no_namespaces())
    write_sample_disk(tmp_path / "disk.raw", size_bytes=1 << 30)
    (tmp_path / "oss.py").write_text(OSS)
    (tmp_path / "role.py").write_text(ROLE)
    done = run_in_namespace(
        tmp_path,
        [
            f"{sys.executable} oss.py",
            f"{sys.executable} role.py",
            f"aliyun-import push disk.raw --region cn-hangzhou --bucket {BUCKET} --output json > result.json",
        ],
    )
    assert done.returncode == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert "sandbox" in json.dumps(result)


IMG_UTILS = "aliyun-img-utils image {} --access-key SANDBOX-KEY --access-secret SANDBOX-SECRET --region cn-hangzhou" + (
    f" --bucket-name {BUCKET} --no-color"
)


@pytest.mark.root
@pytest.mark.clients
def test_aliyun_img_utils_completes_its_workflow(tmp_path: Path) -> None:
    """Unmodified aliyun-img-utils uploads, creates, replicates, publishes, deprecates and deletes an image.

    It reports some failures as success, so the test checks the requests and not only the exit code.
    """
    if importlib.util.find_spec("aliyun_img_utils") is None:
        pytest.skip("run: pip install -e '.[clients]'")
    if _no_namespaces():
        pytest.skip(_no_namespaces())
    write_sample_disk(tmp_path / "disk.qcow2.raw", size_bytes=1 << 30)
    (tmp_path / "oss.py").write_text(OSS)
    (tmp_path / "role.py").write_text(ROLE)
    regions = ",".join(REGIONS)
    workflow = [
        "upload --image-file disk.qcow2.raw --blob-name disk.raw",
        "create --image-name test-image --platform SUSE --blob-name disk.raw --image-description test --disk-size 20",
        "info --image-name test-image",
        f"replicate --image-name test-image --regions {regions}",
        f"publish --image-name test-image --launch-permission VISIBLE --regions {regions}",
        "share-permission --image-name test-image",
        f"deprecate --image-name test-image --regions {regions}",
        f"delete --image-name test-image --regions {regions} --force",
    ]
    control = "curl -sf http://127.0.0.1/_sandbox"
    run_in_namespace(
        tmp_path,
        [
            f"{sys.executable} oss.py",
            f"{sys.executable} role.py",
            f"""{control}/settings -d '{{"launch_permission_allowed": true, "copy_s": 0}}'""",
            f"export PATH={Path(sys.executable).parent}:$PATH",
            *(f"yes | {IMG_UTILS.format(command)}" for command in workflow),
            f"{control}/requests > requests.json",
        ],
        names=" ".join(
            (*(f"ecs.{region}.aliyuncs.com" for region in REGIONS), f"{BUCKET}.oss-accelerate.aliyuncs.com")
        ),
    )
    requests = json.loads((tmp_path / "requests.json").read_text())
    done = Counter(entry["operation"] for entry in requests if entry["status"] == 200)
    once = ("CompleteMultipartUpload", "ImportImage", "CopyImage", "DescribeImageSharePermission")
    in_each_region = ("ModifyImageSharePermission", "TagResources", "DeleteImage")
    assert {name: done[name] for name in once} == dict.fromkeys(once, 1)
    assert {name: done[name] for name in in_each_region} == dict.fromkeys(in_each_region, len(REGIONS))
    # The tool requests the metadata of the object before it uploads it.
    assert {(entry["operation"], entry["code"]) for entry in requests if entry["status"] != 200} == {
        ("GetObjectMeta", "NoSuchKey")
    }
