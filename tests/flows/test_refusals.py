"""Tests of pushes that are refused: code, remedy and exit code of each error."""

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


def assert_refused(ran: Ran, *, code: str, exit_code: int, remedy: str) -> None:
    """Assert the error of a command, and that its output has no secret and no traceback."""
    error = ran.json
    assert (error["type"], error["code"], error["exit_code"], ran.code) == ("error", code, exit_code, exit_code), (
        ran.out
    )
    assert remedy in (error["remedy"] or ""), error
    assert "Traceback" not in ran.err + ran.out
    assert "SANDBOX-SECRET" not in ran.err + ran.out


def sent_nothing(sandbox: Sandbox) -> bool:
    """Return whether no byte of a disk was sent to OSS."""
    return not sandbox.requests.entries("InitiateMultipartUpload", "UploadPart", "PutObject")


def test_no_credentials(commands: Commands, disk: Path) -> None:
    """The error names the sources of credentials, and --sandbox, which needs none."""
    without = {"ALIBABA_CLOUD_ACCESS_KEY_ID": None, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": None}
    ran = commands.run("push", disk, "--output", "json", environment=without)
    assert_refused(ran, code="credentials-missing", exit_code=4, remedy="--sandbox")
    assert "ALIBABA_CLOUD_ACCESS_KEY_ID" in ran.json["cause"] + ran.json["remedy"]
    assert "config.json" in ran.json["cause"] + ran.json["remedy"]


def test_an_unknown_access_key(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Exit code 4."""
    ran = commands.run("push", disk, "--output", "json", environment={"ALIBABA_CLOUD_ACCESS_KEY_ID": "SANDBOX-UNKNOWN"})
    assert_refused(ran, code="access-key-unknown", exit_code=4, remedy="ALIBABA_CLOUD_ACCESS_KEY_ID")
    assert sent_nothing(sandbox)


def test_a_wrong_secret(commands: Commands, disk: Path) -> None:
    """Exit code 4; the secret is not printed."""
    ran = commands.run("push", disk, "--output", "json", environment={"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "WRONG-ONE"})
    assert_refused(ran, code="secret-wrong", exit_code=4, remedy="ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    assert "WRONG-ONE" not in ran.out


def test_no_region(commands: Commands, disk: Path) -> None:
    """The error names the three sources of the region."""
    ran = commands.run("push", disk, "--output", "json", environment={"ALIYUN_IMPORT_REGION": None})
    assert_refused(ran, code="region-missing", exit_code=2, remedy="--region")
    for source in ("--region", "ALIBABA_CLOUD_REGION_ID", "config.json"):
        assert source in ran.json["cause"]


def test_an_unknown_region(commands: Commands, disk: Path) -> None:
    """The remedy has the region with the most similar name."""
    ran = commands.run("push", disk, "--region", "cn-hangzou", "--output", "json")
    assert_refused(ran, code="region-unknown", exit_code=5, remedy="--region cn-hangzhou")


def test_a_missing_disk(commands: Commands, tmp_path: Path) -> None:
    """Exit code 3."""
    ran = commands.run("push", tmp_path / "missing.raw", "--output", "json")
    assert_refused(ran, code="disk-missing", exit_code=3, remedy="path")


def test_a_directory(commands: Commands, tmp_path: Path) -> None:
    """Exit code 3."""
    assert_refused(
        commands.run("push", tmp_path, "--output", "json"), code="disk-kind", exit_code=3, remedy="disk image"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_disk_without_read_permission(commands: Commands, disk: Path) -> None:
    """Exit code 3."""
    disk.chmod(0)
    assert_refused(commands.run("push", disk, "--output", "json"), code="disk-unreadable", exit_code=3, remedy="chmod")


def test_an_empty_file(commands: Commands, tmp_path: Path) -> None:
    """Exit code 3."""
    (tmp_path / "empty.raw").touch()
    ran = commands.run("push", tmp_path / "empty.raw", "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "file-empty")


def test_a_system_disk_of_zeros(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """It is refused before the upload; --force sends it."""
    with (tmp_path / "zeros.raw").open("wb") as file:
        file.truncate(8 << 20)
    ran = commands.run("push", tmp_path / "zeros.raw", "--output", "json")
    assert ran.code == 3
    assert sent_nothing(sandbox)
    assert commands.run("push", tmp_path / "zeros.raw", "--force").code == 0


def test_a_check_can_be_skipped_by_name(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """--skip-check takes the id of a finding; an unknown id is a usage error."""
    disk = write_disk(tmp_path / "odd.raw", size_bytes=(8 << 20) + 512 * 3 + 100)
    ran = commands.run("push", disk, "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "raw-size-not-512")
    assert commands.run("push", disk, "--skip-check", "raw-size-not-512").code == 0
    misspelt = commands.run("push", disk, "--skip-check", "raw-size-not-513", "--output", "json")
    assert_refused(misspelt, code="unknown-check", exit_code=2, remedy="raw-size-not-512")


def test_a_bucket_of_another_region(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """It is refused before the upload; the remedy has the region of the bucket."""
    sandbox.state.part(OssState).add_bucket(BUCKET, region="cn-shanghai", owner_id=sandbox.account_id)
    ran = commands.run("push", disk, "--bucket", BUCKET, "--output", "json")
    assert_refused(ran, code="bucket-region", exit_code=5, remedy="--region cn-shanghai")
    assert sent_nothing(sandbox)


def test_a_bucket_of_another_account(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """It is refused before the upload."""
    sandbox.state.part(OssState).add_bucket(BUCKET, region="cn-hangzhou", owner_id="2000000000000000")
    ran = commands.run("push", disk, "--bucket", BUCKET, "--output", "json")
    assert_refused(ran, code="bucket-denied", exit_code=4, remedy="--bucket of your own account")
    assert sent_nothing(sandbox)


def test_a_bucket_with_default_encryption(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """ECS cannot read objects encrypted with a KMS key. The bucket is refused before the upload."""
    sandbox.state.part(OssState).add_bucket(BUCKET, region="cn-hangzhou", owner_id=sandbox.account_id)
    sandbox.state.part(OssState).change(BUCKET, encryption="KMS")
    ran = commands.run("push", disk, "--bucket", BUCKET, "--output", "json")
    assert_refused(ran, code="bucket-encrypted", exit_code=5, remedy="encryption")
    assert sent_nothing(sandbox)


def test_a_missing_bucket(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A bucket given by --bucket is not created."""
    ran = commands.run("push", disk, "--bucket", "my-bukcet", "--output", "json")
    assert_refused(ran, code="bucket-missing", exit_code=5, remedy="--bucket")
    assert sandbox.state.part(OssState).buckets == {}


def test_an_image_name_that_is_taken(commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path) -> None:
    """It is refused before the upload, with the id of the image that has the name."""
    first = commands.run("push", disk, "--name", "golden")
    sandbox.requests.clear()
    other = write_disk(tmp_path / "other.raw", seed=7)
    ran = commands.run("push", other, "--name", "golden", "--output", "json")
    assert_refused(ran, code="image-name-taken", exit_code=5, remedy="--name")
    assert ran.json["details"]["image_id"] == first.out.strip()
    assert sent_nothing(sandbox)
    assert len(sandbox.state.part(Ecs).images) == 1


def test_invalid_names(commands: Commands, disk: Path) -> None:
    """All findings are in one error."""
    ran = commands.run("push", disk, "--name", "1 bad name", "--tag", "acs:x=1", "--output", "json")
    assert ran.code == 5
    assert "image-name" in ran.json["details"]["rules"]
    assert "tag" in ran.json["details"]["rules"]


def test_an_unreachable_endpoint(commands: Commands, disk: Path) -> None:
    """Exit code 6 with the host; the number of retries is bounded."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        ran = commands.run("push", disk, "--endpoint-url", f"http://127.0.0.1:{port}", "--output", "json")
    assert ran.code == 6, ran.out
    assert "127.0.0.1" in ran.json["summary"] + ran.json["cause"]
    assert ran.json["remedy"]


def test_a_journal_that_cannot_be_written(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Exit code 9 with the directory, --state-dir, and the leftovers; with free space the same push succeeds."""
    running = commands.start("push", disk, "--output", "json", limits={resource.RLIMIT_FSIZE: 1 << 10})
    done = Ran(*running.communicate(limit_s=LIMIT_S))
    assert_refused(done, code="journal-unwritable", exit_code=9, remedy="--state-dir")
    assert str(commands.state) in done.out
    (bucket,) = sandbox.state.part(OssState).buckets.values()
    stays = [*bucket.versions, *(upload.key for upload in bucket.uploads.values())]
    assert all(f"--remove {key}" in done.out for key in stays), "leftovers are named"
    assert commands.run("push", disk).code == 0
    assert (dict(bucket.versions), dict(bucket.uploads)) == ({}, {})


def test_usage_errors_are_exit_2_in_every_output(commands: Commands, disk: Path) -> None:
    """With --output json the error is a document."""
    ran = commands.run("push", disk, "--no-such-option", "--output", "json")
    assert_refused(ran, code="usage", exit_code=2, remedy="--help")
    assert "error: No such option" in commands.run("push", disk, "--no-such-option").err


def test_a_missing_role_is_exit_4(commands: Commands) -> None:
    """`role show` exits with 0 after `role ensure`, so a pipeline can use it as a gate."""
    missing = commands.run("role", "show", "--output", "json")
    assert (missing.code, missing.json["ready"]) == (4, False)
    assert commands.run("role", "ensure").code == 0
    assert commands.run("role", "show").code == 0


def test_an_unknown_task_status_is_a_usage_error(commands: Commands) -> None:
    """An empty list would suggest that no task has it. Upper and lower case are equal."""
    assert commands.run("task", "list", "--status", "Nonsense").code == 2
    assert commands.run("task", "list", "--status", "processing").code == 0
