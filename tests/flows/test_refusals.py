"""Tests of what a push refuses, and that each refusal has its own code, remedy and exit code."""

import os
import resource
import socket
from pathlib import Path

import pytest

from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import LIMIT_S, Commands, Ran
from tests.flows.disks import write_disk

BUCKET = "my-bucket"


def refused(ran: Ran, *, code: str, exit_code: int, remedy: str) -> None:
    """Hold a failed command's JSON against what it should say, and look for secrets and tracebacks."""
    error = ran.json
    assert (error["type"], error["code"], error["exit_code"], ran.code) == ("error", code, exit_code, exit_code), (
        ran.out
    )
    assert remedy in (error["remedy"] or ""), error
    assert "Traceback" not in ran.err + ran.out
    assert "SANDBOX-SECRET" not in ran.err + ran.out


def sent_nothing(sandbox: Sandbox) -> bool:
    """Return whether not a single byte of a disk reached OSS."""
    return not sandbox.requests.entries("InitiateMultipartUpload", "UploadPart", "PutObject")


def test_no_credentials(commands: Commands, disk: Path) -> None:
    """Without any credentials it says where it looked, and that --sandbox needs none."""
    without = {"ALIBABA_CLOUD_ACCESS_KEY_ID": None, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": None}
    ran = commands.run("push", disk, "--output", "json", environment=without)
    refused(ran, code="credentials-missing", exit_code=4, remedy="--sandbox")
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in ran.json["cause"] + ran.json["remedy"]
    assert "config.json" in ran.json["cause"] + ran.json["remedy"]


def test_a_key_that_is_not_there(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A key id that the service does not know is exit 4."""
    ran = commands.run("push", disk, "--output", "json", environment={"ALIBABA_CLOUD_ACCESS_KEY_ID": "SANDBOX-NOBODY"})
    refused(ran, code="access-key-unknown", exit_code=4, remedy="ALIBABA_CLOUD_ACCESS_KEY_ID")
    assert sent_nothing(sandbox)


def test_a_wrong_secret(commands: Commands, disk: Path) -> None:
    """A secret that does not match its key is exit 4, and the secret is not repeated."""
    ran = commands.run("push", disk, "--output", "json", environment={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "WRONG-ONE"})
    refused(ran, code="secret-wrong", exit_code=4, remedy="ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    assert "WRONG-ONE" not in ran.out


def test_no_region(commands: Commands, disk: Path) -> None:
    """Without a region it names the three places where one could stand."""
    ran = commands.run("push", disk, "--output", "json", environment={"ALIYUN_IMPORT_REGION": None})
    refused(ran, code="region-missing", exit_code=2, remedy="--region")
    for place in ("--region", "ALIBABA_CLOUD_REGION_ID", "config.json"):
        assert place in ran.json["cause"]


def test_a_region_that_does_not_exist(commands: Commands, disk: Path) -> None:
    """A mistyped region is refused with those that are close to it."""
    ran = commands.run("push", disk, "--region", "cn-hangzou", "--output", "json")
    refused(ran, code="region-unknown", exit_code=5, remedy="--region cn-hangzhou")


def test_a_disk_that_is_not_there(commands: Commands, tmp_path: Path) -> None:
    """A missing file is exit 3."""
    ran = commands.run("push", tmp_path / "missing.raw", "--output", "json")
    refused(ran, code="disk-missing", exit_code=3, remedy="path")


def test_a_directory(commands: Commands, tmp_path: Path) -> None:
    """A directory is not a disk."""
    refused(commands.run("push", tmp_path, "--output", "json"), code="disk-kind", exit_code=3, remedy="disk image")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_disk_that_may_not_be_read(commands: Commands, disk: Path) -> None:
    """A file without permission is exit 3."""
    disk.chmod(0)
    refused(commands.run("push", disk, "--output", "json"), code="disk-unreadable", exit_code=3, remedy="chmod")


def test_an_empty_file(commands: Commands, tmp_path: Path) -> None:
    """A file of no bytes is exit 3."""
    (tmp_path / "empty.raw").touch()
    ran = commands.run("push", tmp_path / "empty.raw", "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "file-empty")


def test_a_disk_of_zeros_as_system_disk(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """Nothing starts from zeros: refused before a byte is sent, and --force sends it all the same."""
    with (tmp_path / "zeros.raw").open("wb") as file:
        file.truncate(8 << 20)
    ran = commands.run("push", tmp_path / "zeros.raw", "--output", "json")
    assert ran.code == 3
    assert sent_nothing(sandbox)
    assert commands.run("push", tmp_path / "zeros.raw", "--force").code == 0


def test_a_check_can_be_skipped_by_name(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """--skip-check takes the names that stand behind the findings; one that does not exist is a usage error."""
    disk = write_disk(tmp_path / "odd.raw", size_bytes=(8 << 20) + 512 * 3 + 100)
    ran = commands.run("push", disk, "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "raw-size-not-512")
    assert commands.run("push", disk, "--skip-check", "raw-size-not-512").code == 0
    misspelt = commands.run("push", disk, "--skip-check", "raw-size-not-513", "--output", "json")
    refused(misspelt, code="unknown-check", exit_code=2, remedy="raw-size-not-512")


def test_a_bucket_of_another_region(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """ECS imports from its own region: refused before a byte is sent, with the bucket's region in the fix."""
    sandbox.state.part(OssState).add_bucket(BUCKET, region="cn-shanghai", owner_id=sandbox.account_id)
    ran = commands.run("push", disk, "--bucket", BUCKET, "--output", "json")
    refused(ran, code="bucket-region", exit_code=5, remedy="--region cn-shanghai")
    assert sent_nothing(sandbox)


def test_a_bucket_of_somebody_else(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A bucket of another account is refused before a byte is sent."""
    sandbox.state.part(OssState).add_bucket(BUCKET, region="cn-hangzhou", owner_id="2000000000000000")
    ran = commands.run("push", disk, "--bucket", BUCKET, "--output", "json")
    refused(ran, code="bucket-denied", exit_code=4, remedy="--bucket of your own account")
    assert sent_nothing(sandbox)


def test_a_bucket_with_default_encryption(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """ECS can't read objects that a key of KMS encrypts: refused before a byte is sent."""
    sandbox.state.part(OssState).add_bucket(BUCKET, region="cn-hangzhou", owner_id=sandbox.account_id)
    sandbox.state.part(OssState).change(BUCKET, encryption="KMS")
    ran = commands.run("push", disk, "--bucket", BUCKET, "--output", "json")
    refused(ran, code="bucket-encrypted", exit_code=5, remedy="encryption")
    assert sent_nothing(sandbox)


def test_a_bucket_that_was_named_and_is_not_there(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A mistyped --bucket does not become a bucket."""
    ran = commands.run("push", disk, "--bucket", "my-bukcet", "--output", "json")
    refused(ran, code="bucket-missing", exit_code=5, remedy="--bucket")
    assert sandbox.state.part(OssState).buckets == {}


def test_an_image_name_that_is_taken(commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path) -> None:
    """The name of somebody else's image is refused with that image's id, before a byte is sent."""
    first = commands.run("push", disk, "--name", "golden")
    sandbox.requests.clear()
    other = write_disk(tmp_path / "other.raw", seed=7)
    ran = commands.run("push", other, "--name", "golden", "--output", "json")
    refused(ran, code="image-name-taken", exit_code=5, remedy="--name")
    assert ran.json["details"]["image_id"] == first.out.strip()
    assert sent_nothing(sandbox)
    assert len(sandbox.state.part(Ecs).images) == 1


def test_a_name_against_the_rules(commands: Commands, disk: Path) -> None:
    """All rules that are broken are listed at once."""
    ran = commands.run("push", disk, "--name", "1 bad name", "--tag", "acs:x=1", "--output", "json")
    assert ran.code == 5
    assert "image-name" in ran.json["details"]["rules"]
    assert "tag" in ran.json["details"]["rules"]


def test_nobody_answers(commands: Commands, disk: Path) -> None:
    """A cloud that can't be reached is exit 6, and names the host; nothing is waited for without end."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        ran = commands.run("push", disk, "--endpoint-url", f"http://127.0.0.1:{port}", "--output", "json")
    assert ran.code == 6, ran.out
    assert "127.0.0.1" in ran.json["summary"] + ran.json["cause"]
    assert ran.json["remedy"]


def test_no_room_for_the_journal(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Exit 9 with the directory, the option that names another, and what stays in OSS; with room it goes on."""
    running = commands.start("push", disk, "--output", "json", limits={resource.RLIMIT_FSIZE: 1 << 10})
    done = Ran(*running.communicate(limit_s=LIMIT_S))
    refused(done, code="journal-unwritable", exit_code=9, remedy="--state-dir")
    assert str(commands.state) in done.out
    (bucket,) = sandbox.state.part(OssState).buckets.values()
    stays = [*bucket.versions, *(upload.key for upload in bucket.uploads.values())]
    assert all(f"--remove {key}" in done.out for key in stays), "what was begun by then is named"
    assert commands.run("push", disk).code == 0
    assert (dict(bucket.versions), dict(bucket.uploads)) == ({}, {})


def test_usage_errors_are_exit_2_in_every_form(commands: Commands, disk: Path) -> None:
    """An unknown option is exit 2; with --output json it is a document, too."""
    ran = commands.run("push", disk, "--no-such-option", "--output", "json")
    refused(ran, code="usage", exit_code=2, remedy="--help")
    assert "error: No such option" in commands.run("push", disk, "--no-such-option").err


def test_a_role_that_ecs_can_not_use_is_exit_4(commands: Commands) -> None:
    """A pipeline can gate on `role show`: it is 0 once `role ensure` has run."""
    missing = commands.run("role", "show", "--output", "json")
    assert (missing.code, missing.json["ready"]) == (4, False)
    assert commands.run("role", "ensure").code == 0
    assert commands.run("role", "show").code == 0


def test_a_status_that_does_not_exist_is_a_usage_error(commands: Commands) -> None:
    """An empty list would look as if there were no such tasks; any case is accepted."""
    assert commands.run("task", "list", "--status", "Nonsense").code == 2
    assert commands.run("task", "list", "--status", "processing").code == 0
