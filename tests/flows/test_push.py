"""Tests of `push` from the command line to the image: image, output and leftovers."""

import gzip
from pathlib import Path

import pytest

from aliyun_import.model.request import parameters
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import ATTRIBUTES, Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.clocks import import_calls
from tests.flows.commands import Commands
from tests.flows.disks import MIB, write_disk
from tests.parameters import DOCUMENTED

BUCKET = "aliyun-import-1000000000000000-cn-hangzhou"


def same_bytes(sandbox: Sandbox, key: str, path: Path) -> bool:
    """Return whether an object of the sandbox equals a file."""
    stored = sandbox.state.part(OssState).buckets[BUCKET].current(key)
    assert stored is not None
    content, position = stored.content, 0
    with path.open("rb") as file:
        while chunk := file.read(4 * MIB):
            if content.pread(position, len(chunk)) != chunk:
                return False
            position += len(chunk)
    return position == content.size


def object_keys(sandbox: Sandbox) -> list[str]:
    """Return the keys of the objects in the staging bucket."""
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


def test_the_staging_object_is_identical_to_the_disk(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--keep-object keeps the object, which equals the file byte by byte."""
    ran = commands.run("push", disk, "--keep-object", "--output", "json")
    assert ran.code == 0, ran.out
    (uploaded,) = ran.json["objects"]
    assert same_bytes(sandbox, uploaded["key"], disk)
    assert ran.json["left_over"] == [f"oss://{BUCKET}/{uploaded['key']}"]


def test_only_data_is_sent(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """Of 64 MiB with two extents of data, little more than these extents is sent."""
    disk = write_disk(tmp_path / "large.raw", size_bytes=64 * MIB, data_at=(1, 40))
    assert commands.run("push", disk).code == 0
    sent = sum(entry.body_bytes for entry in sandbox.requests.entries("UploadPart", "PutObject"))
    assert sent < 6 * MIB


def test_nothing_is_left_in_the_bucket(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Staging object, zero object and upload are removed once the image exists."""
    assert commands.run("push", disk).code == 0
    bucket = sandbox.state.part(OssState).buckets[BUCKET]
    assert object_keys(sandbox) == []
    assert bucket.uploads == {}
    assert commands.run("leftovers").out == ""


def test_a_zero_object_that_stays_is_named(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """Its deletion is refused; `left_over` has its URL."""
    disk = write_disk(tmp_path / "large.raw", size_bytes=64 * MIB, data_at=(1, 40))
    sandbox.faults.add(Fault(operation="DeleteObject", status=403, code="AccessDenied", count=2))
    ran = commands.run("push", disk, "--output", "json")
    assert ran.code == 0, ran.err
    (key,) = object_keys(sandbox)
    assert key.startswith("aliyun-import/zeros-")
    assert ran.json["left_over"] == [f"oss://{BUCKET}/{key}"]


def test_the_import_has_the_parameters_of_the_options(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Every parameter is sent to ECS, and the image has it. A CloudBox is no attribute of an image."""
    attributes = [one for one in parameters() if one.api != "StorageLocationArn"]
    ran = commands.run(
        "push", disk, *(word for one in attributes for word in (one.option, DOCUMENTED[one.api])),
        "--name", "golden-7", "--disk-size", "40", "--tag", "team=infra", "--tag", "empty=", "--output", "json",
    )  # fmt: skip
    assert ran.code == 0, ran.out
    (image,) = sandbox.state.part(Ecs).images.values()
    assert image.name == "golden-7"
    kept = {attribute.parameter: getattr(image, name) for name, attribute in ATTRIBUTES.items()}
    assert kept == {one.api: DOCUMENTED[one.api] for one in attributes}
    assert image.disks[0].size_gib == 40
    assert image.tags["team"] == "infra"
    assert image.tags["empty"] == ""
    assert set(image.tags) == {"team", "empty", "import-push-id", "import-disk-digest"}


def test_data_disks_are_uploaded_and_mapped_in_order(
    commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path
) -> None:
    """Each --data-disk has its own size and format."""
    data = write_disk(tmp_path / "data, with a comma.raw", seed=2)
    ran = commands.run("push", disk, "--data-disk", data, "--data-disk", f"{data},size=30,format=raw")
    assert ran.code == 0, ran.err
    (image,) = sandbox.state.part(Ecs).images.values()
    assert [one.size_gib for one in image.disks] == [5, 1, 30]
    assert [one.format for one in image.disks] == ["RAW", "RAW", "RAW"]


def test_the_default_image_name_comes_from_the_file_name(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """It follows the naming rules of images."""
    assert commands.run("push", disk).code == 0
    assert [image.name for image in sandbox.state.part(Ecs).images.values()] == ["web-server"]


def test_options_are_read_from_the_environment(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """ALIYUN_IMPORT_NAME is --name, and tags are separated by semicolons."""
    environment = {
        "ALIYUN_IMPORT_NAME": "from-environment",
        "ALIYUN_IMPORT_TAG": "a=1;b=2",
        "ALIYUN_IMPORT_OUTPUT": "json",
    }
    ran = commands.run("push", disk, environment=environment)
    assert ran.json["image_name"] == "from-environment"
    (image,) = sandbox.state.part(Ecs).images.values()
    assert (image.tags["a"], image.tags["b"]) == ("1", "2")


def test_json_is_one_document(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--output json prints one object of type result, and nothing on stderr."""
    ran = commands.run("push", disk, "--output", "json")
    assert ran.json["type"] == "result"
    assert (ran.json["image_id"], ran.json["image_status"]) == (image_id(sandbox), "Available")
    assert ran.err == ""


def test_jsonl_ends_with_the_result(commands: Commands, disk: Path) -> None:
    """--output jsonl prints one object per line: the start of the run, progress, then the result."""
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
    """The last line of a failure has type error and the exit code."""
    ran = commands.run("push", tmp_path / "missing.raw", "--output", "jsonl")
    assert ran.code == 3
    assert (ran.lines[-1]["type"], ran.lines[-1]["exit_code"]) == ("error", 3)


def test_quiet_prints_nothing_on_stderr(commands: Commands, disk: Path) -> None:
    """For a push that succeeds."""
    ran = commands.run("push", disk, "-q", "--skip-check", "no-system")
    assert (ran.code, ran.err) == (0, "")


def test_a_second_push_returns_the_same_image_at_once(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A repeated push prints the same image id, and creates nothing."""
    first = commands.run("push", disk)
    sandbox.requests.clear()
    second = commands.run("push", disk, "--output", "json")
    assert second.json["image_id"] == first.out.strip()
    assert second.json["already_there"] is True
    assert not sandbox.requests.entries("ImportImage", "UploadPart", "InitiateMultipartUpload")


def test_a_second_push_creates_another_image_if_the_first_was_deleted(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """The state of the service has precedence over the journal."""
    first = commands.run("push", disk)
    sandbox.state.part(Ecs).images.clear()
    ran = commands.run("push", disk)
    assert ran.code == 0, ran.err
    assert ran.out != first.out
    assert "no longer exists" in ran.err


def test_without_its_journal_the_image_is_found_by_its_tags(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The image with the name is the result if its tags have the digest of the disk; its leftovers are named."""
    assert commands.run("push", disk, "--name", "another-name").code == 0
    assert commands.run("push", disk, "--no-wait").code == 0
    for journal in commands.state.glob("*.jsonl"):
        journal.unlink()
    found = commands.run("push", disk, "--output", "json")
    assert found.code == 0, found.out
    images = {image.name: image.id for image in sandbox.state.part(Ecs).images.values()}
    assert found.json["image_id"] == images["web-server"]
    assert len(import_calls(sandbox)) == 2
    assert found.json["left_over"] == [f"oss://{BUCKET}/{key}" for key in object_keys(sandbox)] != []


def test_force_new_creates_a_second_image_under_the_next_free_name(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """The disk is the same."""
    first = commands.run("push", disk)
    ran = commands.run("push", disk, "--force-new", "--output", "json")
    assert ran.json["image_name"] == "web-server-2"
    assert ran.json["image_id"] != first.out.strip()


def test_no_wait_prints_the_task(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--no-wait ends once the import has started; the same command without it waits and cleans up."""
    ran = commands.run("push", disk, "--no-wait")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("t-sandbox")
    assert "deletes it" in ran.err
    assert commands.run("push", disk, "--no-wait", "-q", "--skip-check", "no-system").err == ""
    followed = commands.run("task", "wait", ran.out.strip())
    assert followed.out == f"{image_id(sandbox)}\n"
    again = commands.run("push", disk)
    assert again.out == f"{image_id(sandbox)}\n"
    assert object_keys(sandbox) == []


def test_a_deadline_ends_the_wait_and_not_the_import(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--timeout is exit code 8 with the command that continues; the same push resumes later."""
    sandbox.state.configure(import_s=3600.0)
    ran = commands.run("push", disk, "--timeout", "1s", "--output", "json")
    assert ran.code == 8
    assert "aliyun-import task wait t-sandbox" in ran.json["remedy"]
    assert "stays in OSS" in ran.json["remedy"]
    assert "cleanup" not in ran.json["remedy"], "the import still reads the object"
    sandbox.clock.advance(7200)
    assert commands.run("push", disk).out == f"{image_id(sandbox)}\n"
    assert len(import_calls(sandbox)) == 1


def test_a_compressed_disk_is_sent_as_its_content(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """A .raw.gz is decompressed, inspected and sent as a RAW disk; no temporary file is left."""
    compressed = disk.with_name("compressed.raw.gz")
    with gzip.open(compressed, "wb", compresslevel=1) as file:
        file.write(disk.read_bytes())
    ran = commands.run("push", compressed, "--keep-object", "--output", "json")
    assert ran.code == 0, ran.out
    (uploaded,) = ran.json["objects"]
    assert same_bytes(sandbox, uploaded["key"], disk)
    (image,) = sandbox.state.part(Ecs).images.values()
    assert (image.boot_mode, image.disks[0].format) == ("BIOS", "RAW")
    assert [path for path in (commands.state / "work").rglob("*") if path.is_file()] == []
    again = commands.run("push", compressed, "--output", "json")
    assert again.json["already_there"] is True


def test_a_compressed_disk_that_cannot_boot_is_refused(commands: Commands, sandbox: Sandbox, tmp_path: Path) -> None:
    """The checks apply to its content, before the upload."""
    compressed = tmp_path / "zeros.raw.gz"
    with gzip.open(compressed, "wb") as file:
        file.write(bytes(8 << 20))
    ran = commands.run("push", compressed, "--output", "json")
    assert (ran.code, ran.json["code"]) == (3, "no-partition-table"), ran.out
    assert not sandbox.requests.entries("UploadPart")


@pytest.mark.parametrize("output", ["human", "json"])
def test_a_dry_run_prints_the_plan_and_changes_nothing(
    commands: Commands, sandbox: Sandbox, disk: Path, output: str
) -> None:
    """--dry-run runs all checks and the dry run of ECS, and creates no bucket, role or object."""
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


def test_a_dry_run_without_a_rate_has_no_estimate(commands: Commands, disk: Path) -> None:
    """The fields exist, and are null."""
    ran = commands.run("push", disk, "--dry-run", "--output", "json")
    (planned,) = ran.json["plan"]["disks"]
    assert [planned[name] for name in ("rate_bytes_s", "rate_source", "rate_measured_at_s", "estimate_s")] == [None] * 4


def test_an_object_in_oss_is_imported_without_an_upload(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """`push oss://BUCKET/KEY` imports the object, and never removes it."""
    key = commands.run("push", disk, "--keep-object", "--output", "json").json["objects"][0]["key"]
    sandbox.requests.clear()
    ran = commands.run("push", f"oss://{BUCKET}/{key}", "--name", "from-oss", "--output", "json")
    assert ran.code == 0, ran.out
    assert ran.json["image_name"] == "from-oss"
    assert key in object_keys(sandbox)
    assert not sandbox.requests.entries("UploadPart", "InitiateMultipartUpload", "DeleteObject")
