"""Tests of leftovers in OSS, which cost money: the push that leaves them names them, and `cleanup` removes them."""

import shlex
from pathlib import Path

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.oss.state import Bucket, OssState
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands, Ran
from tests.flows.disks import write_disk


def only_bucket(sandbox: Sandbox) -> Bucket:
    """Return the only bucket."""
    (bucket,) = sandbox.state.part(OssState).buckets.values()
    return bucket


def cleanup_command(ran: Ran) -> list[str]:
    """Return the arguments of the cleanup command in the remedy."""
    (command,) = [word for word in ran.json["remedy"].split("`") if word.startswith("aliyun-import cleanup")]
    return shlex.split(command)[1:]


def refuse_parts(sandbox: Sandbox, *, key: str = "") -> None:
    """Refuse every part."""
    sandbox.faults.add(Fault(operation="UploadPart", key=key, count=None, status=403, code="AccessDenied"))


def test_an_unfinished_upload_in_another_bucket_is_removed_by_the_command_in_the_remedy(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """The bucket and the key are the user's; `cleanup` without --bucket names that bucket."""
    sandbox.state.part(OssState).add_bucket("my-bucket", region="cn-hangzhou", owner_id=sandbox.account_id)
    refuse_parts(sandbox)
    options = ("--bucket", "my-bucket", "--key", "images/web 1.raw")
    failed = commands.run("push", disk, *options, "--output", "json")
    assert (failed.code, failed.json["resumable"]) == (4, True)
    assert [upload.key for upload in only_bucket(sandbox).uploads.values()] == ["images/web 1.raw"]
    listed = commands.run("cleanup", "--remove", "images/*")
    assert "--bucket my-bucket" in listed.err
    assert "No leftover has the key 'images/*'" in listed.err
    removed = commands.run(*cleanup_command(failed), environment={"ALIYUN_IMPORT_REGION": None})
    assert removed.code == 0, removed.err
    bucket = only_bucket(sandbox)
    assert (dict(bucket.uploads), dict(bucket.versions)) == ({}, {})


def test_both_disks_are_named_if_the_upload_of_the_second_fails(
    commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path
) -> None:
    """The remedy names the complete object and the unfinished upload."""
    data = write_disk(tmp_path / "data.raw", seed=2)
    refuse_parts(sandbox, key="data-1")
    failed = commands.run("push", disk, "--data-disk", data, "--output", "json")
    assert failed.code == 4
    (system,) = [key for key in only_bucket(sandbox).versions if "system" in key]
    (upload,) = only_bucket(sandbox).uploads.values()
    assert f"/{system} stays in OSS" in failed.json["remedy"]
    assert f"unfinished upload of oss://{only_bucket(sandbox).name}/{upload.key}" in failed.json["remedy"]


def test_the_object_of_an_earlier_build_is_named(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """After a failed import and a change of the disk, the next push names the object that it does not use."""
    sandbox.state.configure(import_outcome="failed", import_error=("InternalError", "The snapshot could not be made."))
    failed = commands.run("push", disk, "--output", "json")
    (key,) = only_bucket(sandbox).versions
    assert f"/{key} stays in OSS" in failed.json["remedy"]
    sandbox.state.configure(import_outcome="finished")
    write_disk(disk, seed=2)
    repaired = commands.run("push", disk)
    assert repaired.code == 0, repaired.err
    assert shlex.join(cleanup_command(failed)) in repaired.err
    assert list(only_bucket(sandbox).versions) == [key]


def test_the_result_has_the_name_that_was_called(commands: Commands) -> None:
    """Scripts that call `leftovers`, the former name, get the same document."""
    for name in ("cleanup", "leftovers"):
        document = commands.run(name, "--output", "json").json
        assert (document["command"], document["leftovers"], document["removed"]) == (name, [], [])


def test_an_object_that_a_running_import_reads_is_not_removed(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """It is listed with its task; its removal is refused before anything is removed, unless --force is given."""
    kept = commands.run("push", disk, "--name", "kept", "--keep-object", "--output", "json").json["objects"][0]["key"]
    sandbox.state.configure(import_s=3600.0)
    running = commands.run("push", disk, "--name", "web", "--no-wait", "--output", "json").json
    (key,) = [one["key"] for one in running["objects"]]
    listed = commands.run("cleanup", "--output", "json").json["leftovers"]
    assert {one["key"]: one["used_by"] for one in listed} == {
        kept: "", f"{kept}.manifest": "", key: running["task_id"],
    }  # fmt: skip
    assert f"{running['task_id']}  {key}" in commands.run("cleanup").out
    refused = commands.run("cleanup", "--remove", "aliyun-import/*", "--output", "json")
    assert (refused.code, refused.json["code"]) == (5, "object-in-use")
    assert f"`aliyun-import task wait {running['task_id']} --region cn-hangzhou`" in refused.json["remedy"]
    assert set(only_bucket(sandbox).versions) == {kept, f"{kept}.manifest", key}
    forced = commands.run("cleanup", "--remove", key, "--force", "--output", "json")
    assert [one["key"] for one in forced.json["removed"]] == [key]


def test_an_object_that_was_removed_is_uploaded_again(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The import fails, and the same command creates another image."""
    sandbox.state.configure(import_s=3600.0)
    running = commands.run("push", disk, "--no-wait", "--output", "json").json
    commands.run("cleanup", "--remove", "aliyun-import/*", "--force")
    sandbox.clock.advance(10)
    sandbox.state.configure(import_s=0.1)
    repeated = commands.run("push", disk, "--output", "json")
    assert repeated.code == 0, repeated.out
    assert repeated.json["image_id"] != running["image_id"]


def test_without_permission_to_list_imports_nothing_is_removed(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """A warning says that running imports are unknown; --force removes the objects."""
    commands.run("push", disk, "--keep-object")
    sandbox.faults.add(Fault(operation="DescribeImages", count=None, status=403, code="Forbidden.RAM"))
    listed = commands.run("cleanup", "--output", "plain")
    assert listed.code == 0
    assert "The objects that running imports read could not be listed" in listed.err
    assert commands.run("cleanup", "--remove", "aliyun-import/*").code == 4
    assert commands.run("cleanup", "--remove", "aliyun-import/*", "--force").code == 0
    assert not only_bucket(sandbox).versions


def test_an_upload_that_was_started_twice_is_found_after_the_push(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """The response to the first start was lost; the second upload made the object, which the push removed."""
    sandbox.state.part(OssState).add_bucket("my-bucket", region="cn-hangzhou", owner_id=sandbox.account_id)
    options = ("--bucket", "my-bucket", "--key", "images/web.raw")
    sandbox.faults.add(Fault(operation="InitiateMultipartUpload", key="images/", effect="lose-answer"))
    ran = commands.run("push", disk, *options, "--output", "json")
    assert ran.code == 0, ran.out
    assert len(only_bucket(sandbox).uploads) == 1
    listed = commands.run("cleanup", "--bucket", "my-bucket", "--output", "json").json["leftovers"]
    assert [one["kind"] for one in listed] == ["unfinished upload"]
    # No object is left in my-bucket, so cleanup of the staging bucket does not name it.
    assert "my-bucket" not in commands.run("cleanup").err
