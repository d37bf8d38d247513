"""Tests of `push` from the command line to the image: what it makes, what it says, what it leaves."""

import gzip
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands
from tests.flows.disks import MIB, write_disk
from tests.steered import import_calls

BUCKET = "aliyun-import-1000000000000000-cn-hangzhou"


def same_bytes(sandbox: Sandbox, key: str, path: Path) -> bool:
    """Compare an object in the sandbox's store with a file, byte by byte."""
    stored = sandbox.state.part(OssState).buckets[BUCKET].current(key)
    assert stored is not None
    content, position = stored.content, 0
    with path.open("rb") as file:
        while chunk := file.read(4 * MIB):
            if content.pread(position, len(chunk)) != chunk:
                return False
            position += len(chunk)
    return position == content.size


def keys(sandbox: Sandbox) -> list[str]:
    """List the keys of the objects in the staging bucket."""
    bucket = sandbox.state.part(OssState).buckets[BUCKET]
    return [key for key in bucket.versions if bucket.current(key)]


def image_id(sandbox: Sandbox) -> str:
    """Return the id of the only image."""
    (image,) = sandbox.state.part(Ecs).images.values()
    return image.id


def test_stdout_is_the_image_id_and_nothing_else(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A shell script can take `$(aliyun-import push ...)` for the image id."""
    ran = commands.run_process("push", disk)
    assert ran.code == 0, ran.err
    assert ran.out == f"{image_id(sandbox)}\n"


def test_what_lies_in_oss_is_the_disk(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The staging object that --keep-object keeps is byte-identical to the file; with it lies its manifest."""
    ran = commands.run("push", disk, "--keep-object", "--output", "json")
    assert ran.code == 0, ran.out
    (uploaded,) = ran.json["objects"]
    assert same_bytes(sandbox, uploaded["key"], disk)
    assert ran.json["left_over"] == [f"oss://{BUCKET}/{uploaded['key']}"]


def test_only_data_travels(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """Of 64 MiB with two runs of data, a little more than these runs goes over the wire."""
    disk = write_disk(tmp_path / "large.raw", size_bytes=64 * MIB, data_at=(1, 40))
    assert commands.run("push", disk).code == 0
    sent = sum(entry.body_bytes for entry in sandbox.requests.entries("UploadPart", "PutObject"))
    assert sent < 6 * MIB


def test_nothing_of_ours_is_left_in_the_bucket(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The staging object, the zeros and the upload are gone when the image is there."""
    assert commands.run("push", disk).code == 0
    bucket = sandbox.state.part(OssState).buckets[BUCKET]
    assert keys(sandbox) == []
    assert bucket.uploads == {}
    assert commands.run("leftovers").out == ""


def test_an_object_of_zeros_that_stays_is_named(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """A refusal to delete it is final, and `left_over` names what stays in the bucket."""
    disk = write_disk(tmp_path / "large.raw", size_bytes=64 * MIB, data_at=(1, 40))
    sandbox.faults.add(Fault(operation="DeleteObject", status=403, code="AccessDenied", count=2))
    ran = commands.run("push", disk, "--output", "json")
    assert ran.code == 0, ran.err
    (left,) = keys(sandbox)
    assert left.startswith("aliyun-import/zeros-")
    assert ran.json["left_over"] == [f"oss://{BUCKET}/{left}"]


def test_the_request_says_what_the_options_said(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Every parameter that was given arrives at ECS, and the image carries it."""
    ran = commands.run(
        "push", disk, "--name", "golden-7", "--description", "the golden image", "--platform", "Debian",
        "--boot-mode", "BIOS", "--architecture", "x86_64", "--os-type", "linux", "--disk-size", "40",
        "--resource-group", "rg-sandbox", "--tag", "team=infra", "--tag", "empty=", "--imds-support", "v2",
        "--nvme-support", "supported", "--output", "json",
    )  # fmt: skip
    assert ran.code == 0, ran.out
    (image,) = sandbox.state.part(Ecs).images.values()
    assert (image.name, image.description, image.platform) == ("golden-7", "the golden image", "Debian")
    assert (image.boot_mode, image.architecture, image.os_type) == ("BIOS", "x86_64", "linux")
    assert (image.nvme_support, image.imds_support, image.resource_group) == ("supported", "v2", "rg-sandbox")
    assert image.disks[0].size_gib == 40
    assert image.tags["team"] == "infra"
    assert image.tags["empty"] == ""
    assert set(image.tags) == {"team", "empty", "import-push-id", "import-disk-digest"}


def test_data_disks_come_along(commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path) -> None:
    """Each --data-disk is uploaded and mapped in order, with its own size and format."""
    data = write_disk(tmp_path / "data, with a comma.raw", seed=2)
    ran = commands.run("push", disk, "--data-disk", data, "--data-disk", f"{data},size=30,format=raw")
    assert ran.code == 0, ran.err
    (image,) = sandbox.state.part(Ecs).images.values()
    assert [one.size_gib for one in image.disks] == [5, 1, 30]
    assert [one.format for one in image.disks] == ["RAW", "RAW", "RAW"]


def test_a_name_is_made_from_the_file_name(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Without --name the image is called after the file, within the naming rules."""
    assert commands.run("push", disk).code == 0
    assert [image.name for image in sandbox.state.part(Ecs).images.values()] == ["web-server"]


def test_every_option_also_comes_from_the_environment(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """ALIYUN_IMPORT_NAME is --name, and tags are separated by semicolons."""
    environment = {"ALIYUN_IMPORT_NAME": "from-outside", "ALIYUN_IMPORT_TAG": "a=1;b=2", "ALIYUN_IMPORT_OUTPUT": "json"}
    ran = commands.run("push", disk, environment=environment)
    assert ran.json["image_name"] == "from-outside"
    (image,) = sandbox.state.part(Ecs).images.values()
    assert (image.tags["a"], image.tags["b"]) == ("1", "2")


def test_json_is_one_document(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--output json gives one object of type result, and nothing on stderr."""
    ran = commands.run("push", disk, "--output", "json")
    assert ran.json["type"] == "result"
    assert (ran.json["image_id"], ran.json["image_status"]) == (image_id(sandbox), "Available")
    assert ran.err == ""


def test_jsonl_ends_with_the_result(commands: Commands, disk: Path) -> None:
    """--output jsonl gives an object a line: the run's start first, progress between, the result last."""
    types = [line["type"] for line in commands.run("push", disk, "--output", "jsonl").lines]
    assert types.index("stage-started") < types.index("run-started") < types.index("upload-planned")
    assert types[-1] == "result"
    assert {
        "run-started",
        "disk-inspected",
        "upload-planned",
        "upload-progress",
        "object-ready",
        "import-progress",
    } <= set(types)


def test_jsonl_ends_with_the_error(commands: Commands, tmp_path: Path) -> None:
    """A failure's last line is of type error, with the exit code."""
    ran = commands.run("push", tmp_path / "missing.raw", "--output", "jsonl")
    assert ran.code == 3
    assert (ran.lines[-1]["type"], ran.lines[-1]["exit_code"]) == ("error", 3)


def test_quiet_says_nothing(commands: Commands, disk: Path) -> None:
    """With -q stderr stays empty when all goes well."""
    ran = commands.run("push", disk, "-q", "--skip-check", "no-system")
    assert (ran.code, ran.err) == (0, "")


def test_a_second_push_gives_the_same_image_at_once(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A push that has finished, run again, prints the same image id and asks for nothing to be made."""
    first = commands.run("push", disk)
    sandbox.requests.clear()
    second = commands.run("push", disk, "--output", "json")
    assert second.json["image_id"] == first.out.strip()
    assert second.json["already_there"] is True
    assert not sandbox.requests.entries("ImportImage", "UploadPart", "InitiateMultipartUpload")


def test_a_second_push_makes_another_when_the_image_is_gone(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The journal is not believed against the service: an image that was deleted is made anew."""
    first = commands.run("push", disk)
    sandbox.state.part(Ecs).images.clear()
    ran = commands.run("push", disk)
    assert ran.code == 0, ran.err
    assert ran.out != first.out
    assert "no longer exists" in ran.err


def test_without_its_journal_the_same_disk_is_known_by_its_tags(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """The image that has the name is ours if its tags carry the digest of this very disk; what it left is named."""
    assert commands.run("push", disk, "--name", "another-name").code == 0
    assert commands.run("push", disk, "--no-wait").code == 0
    for journal in commands.state.glob("*.jsonl"):
        journal.unlink()
    found = commands.run("push", disk, "--output", "json")
    assert found.code == 0, found.out
    images = {image.name: image.id for image in sandbox.state.part(Ecs).images.values()}
    assert found.json["image_id"] == images["web-server"]
    assert len(import_calls(sandbox)) == 2
    assert found.json["left_over"] == [f"oss://{BUCKET}/{key}" for key in keys(sandbox)] != []


def test_force_new_makes_a_twin_under_the_next_free_name(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--force-new makes another image of the same disk."""
    first = commands.run("push", disk)
    ran = commands.run("push", disk, "--force-new", "--output", "json")
    assert ran.json["image_name"] == "web-server-2"
    assert ran.json["image_id"] != first.out.strip()


def test_no_wait_prints_the_task(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--no-wait leaves when the import has begun; the same command without it finishes and cleans up."""
    ran = commands.run("push", disk, "--no-wait")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("t-sandbox")
    assert "deletes it" in ran.err
    assert commands.run("push", disk, "--no-wait", "-q", "--skip-check", "no-system").err == ""
    followed = commands.run("task", "wait", ran.out.strip())
    assert followed.out == f"{image_id(sandbox)}\n"
    again = commands.run("push", disk)
    assert again.out == f"{image_id(sandbox)}\n"
    assert keys(sandbox) == []


def test_a_deadline_ends_the_wait_and_not_the_import(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--timeout is exit 8 with the command that waits on; the same push goes on later."""
    sandbox.state.configure(import_s=3600.0)
    ran = commands.run("push", disk, "--timeout", "1s", "--output", "json")
    assert ran.code == 8
    assert "aliyun-import task wait t-sandbox" in ran.json["remedy"]
    assert "stays in OSS" in ran.json["remedy"]
    assert "cleanup" not in ran.json["remedy"], "the import still reads the object"
    sandbox.clock.advance(7200)
    assert commands.run("push", disk).out == f"{image_id(sandbox)}\n"
    assert len(import_calls(sandbox)) == 1


def test_a_packed_disk_is_judged_by_what_is_in_it(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A .raw.gz is unpacked, inspected, and sent as the disk that it holds; nothing of it stays on this machine."""
    packed = disk.with_name("packed.raw.gz")
    with gzip.open(packed, "wb", compresslevel=1) as file:
        file.write(disk.read_bytes())
    ran = commands.run("push", packed, "--keep-object", "--output", "json")
    assert ran.code == 0, ran.out
    (uploaded,) = ran.json["objects"]
    assert same_bytes(sandbox, uploaded["key"], disk)
    (image,) = sandbox.state.part(Ecs).images.values()
    assert (image.boot_mode, image.disks[0].format) == ("BIOS", "RAW")
    assert [path for path in (commands.state / "work").rglob("*") if path.is_file()] == []
    again = commands.run("push", packed, "--output", "json")
    assert again.json["already_there"] is True


def test_a_packed_disk_that_could_not_start_is_refused(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """What blocks a disk blocks it in its packing, too, before a byte is sent."""
    packed = tmp_path / "zeros.raw.gz"
    with gzip.open(packed, "wb") as file:
        file.write(bytes(8 << 20))
    ran = commands.run("push", packed, "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "no-partition-table"), ran.out
    assert not sandbox.requests.entries("UploadPart")


@pytest.mark.parametrize("output", ["human", "json"])
def test_a_dry_run_tells_the_plan_and_changes_nothing(
    commands: Commands, sandbox: Sandbox, disk: Path, output: str
) -> None:
    """--dry-run checks everything, asks the service, and creates neither bucket nor role nor object."""
    ran = commands.run("push", disk, "--dry-run", "--limit-rate", "1M", "--output", output)
    assert ran.code == 0, ran.err + ran.out
    if output == "json":
        (planned,) = ran.json["plan"]["disks"]
        assert planned["send_bytes"] + planned["zero_bytes"] == 8 * MIB
        assert planned["estimate_s"] == planned["send_bytes"] / MIB
        assert (planned["rate_bytes_s"], planned["rate_source"]) == (MIB, "given")
        assert planned["rate_measured_at_s"] is None
    else:
        assert "create the bucket" in ran.out
        assert "accepts the request" in ran.out
        assert "at 1 MiB/s, the --limit-rate" in ran.out
    assert sandbox.state.part(OssState).buckets == {}
    assert sandbox.requests.entries("CreateRole", "PutBucket") == ()


def test_a_dry_run_without_a_rate_knows_no_time(commands: Commands, disk: Path) -> None:
    """The fields are there, and null."""
    ran = commands.run("push", disk, "--dry-run", "--output", "json")
    (planned,) = ran.json["plan"]["disks"]
    assert [planned[name] for name in ("rate_bytes_s", "rate_source", "rate_measured_at_s", "estimate_s")] == [None] * 4


def test_an_object_in_oss_is_imported_without_an_upload(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """`push oss://BUCKET/KEY` does the rest of the work, and never removes the object."""
    key = commands.run("push", disk, "--keep-object", "--output", "json").json["objects"][0]["key"]
    sandbox.requests.clear()
    ran = commands.run("push", f"oss://{BUCKET}/{key}", "--name", "from-oss", "--output", "json")
    assert ran.code == 0, ran.out
    assert ran.json["image_name"] == "from-oss"
    assert key in keys(sandbox)
    assert not sandbox.requests.entries("UploadPart", "InitiateMultipartUpload", "DeleteObject")
