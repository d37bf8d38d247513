"""Tests of --keep-last and of the list of pushes."""

import time
from pathlib import Path

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands
from tests.flows.test_push import object_keys

MIB = 1 << 20


def push_build(commands: Commands, disk: Path, *options: str) -> dict[str, object]:
    """Change the disk, and push it as a nightly job does."""
    with disk.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(str(time.monotonic_ns()).encode())
    ran = commands.run(
        "push", disk, "--name", "golden", "--keep-object", "--replace", "rename", *options, "--output", "json"
    )
    assert ran.code == 0, ran.out + ran.err
    return ran.json


def kept_keys(sandbox: Sandbox) -> list[str]:
    """Return the keys of the kept objects."""
    return [key for key in object_keys(sandbox) if not key.endswith(".manifest")]


def test_keep_last_keeps_the_newest_objects_and_images(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The newest objects stay, with their manifests, and the newest replaced images."""
    last: dict[str, object] = {}
    for _ in range(4):
        last = push_build(commands, disk, "--keep-last", "2")
        sandbox.clock.advance(2)
    objects = last["objects"]
    assert isinstance(objects, list)
    assert len(kept_keys(sandbox)) == 2
    assert objects[0]["key"] in kept_keys(sandbox)
    assert len(object_keys(sandbox)) == 4
    names = sorted(one.name for one in sandbox.state.part(Ecs).images.values())
    assert (names[0], len(names)) == ("golden", 3)
    kept = last["kept"]
    assert isinstance(kept, dict)
    assert sorted(kept["objects"]) == sorted(kept_keys(sandbox))
    assert (kept["object_bytes"], len(kept["images"])) == (16 * MIB, 2)


def test_without_keep_last_all_is_kept_and_named(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The summary has the total size."""
    push_build(commands, disk)
    push_build(commands, disk)
    with disk.open("r+b") as file:
        file.write(b"another")
    ran = commands.run("push", disk, "--name", "golden", "--keep-object", "--replace", "rename", "--force")
    assert len(kept_keys(sandbox)) == 3
    assert "3 objects, 24 MiB in all" in ran.err


def test_nothing_is_removed_while_another_import_runs(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The other import may read one of the objects."""
    push_build(commands, disk, "--keep-last", "1")
    other = disk.with_name("other.raw")
    other.write_bytes(disk.read_bytes())
    sandbox.state.configure(import_s=3600.0)
    assert commands.run("push", other, "--name", "other", "--no-wait").code == 0
    sandbox.state.configure(import_s=0.1)
    push_build(commands, disk, "--keep-last", "1")
    assert len([key for key in kept_keys(sandbox) if "golden" in key]) == 2


def test_an_object_that_cannot_be_removed_is_a_warning(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The push succeeds, because the image exists."""
    push_build(commands, disk, "--keep-last", "1")
    sandbox.faults.add(Fault(operation="DeleteObject", key="golden", count=None, status=403, code="AccessDenied"))
    with disk.open("r+b") as file:
        file.seek(6 * MIB)
        file.write(b"another build")
    options = ("--name", "golden", "--keep-object", "--replace", "rename", "--keep-last", "1")
    ran = commands.run("push", disk, *options)
    assert ran.code == 0
    assert "is beyond --keep-last and could not be removed" in ran.err


def test_keep_last_needs_keep_object_or_replace(commands: Commands, disk: Path) -> None:
    """An option without an effect is refused."""
    assert commands.run("push", disk, "--keep-last", "3").code == 2


def test_pushes_are_listed_with_their_state(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Finished, importing, uploading: the states come from the journals, without a request."""
    assert commands.run("pushes").out == ""
    assert commands.run("push", disk, "--name", "done").code == 0
    sandbox.state.configure(import_s=3600.0)
    assert commands.run("push", disk, "--name", "runs", "--no-wait").code == 0
    sandbox.faults.add(Fault(operation="UploadPart", key="stuck", count=None, status=403, code="AccessDenied"))
    assert commands.run("push", disk, "--name", "stuck").code == 4
    ran = commands.run("pushes", "--output", "json", environment={"ALIYUN_IMPORT_ENDPOINT_URL": "http://127.0.0.1:9"})
    states = {one["name"]: one["state"] for one in ran.json["pushes"]}
    assert states == {"done": "finished", "runs": "importing", "stuck": "uploading"}
    (done,) = [one for one in ran.json["pushes"] if one["name"] == "done"]
    assert (done["uploaded_bytes"], done["disks"]) == (8 * MIB, [str(disk)])
    assert "importing  runs" in commands.run("pushes").out
    damaged = Path(ran.json["state_dir"]) / "damaged.jsonl"
    damaged.write_bytes(b"\0\xff no journal\n")
    assert f"{damaged} is not read" in commands.run("pushes").err
    damaged.unlink()


def test_forget_finished_removes_the_journals_of_finished_pushes(commands: Commands, disk: Path) -> None:
    """A repeated push finds its image without the journal."""
    first = commands.run("push", disk, "--name", "done", "--output", "json").json
    ran = commands.run("pushes", "--forget-finished", "--output", "json")
    assert [one["name"] for one in ran.json["removed"]] == ["done"]
    assert [path.suffix for path in commands.state.iterdir()] == []
    again = commands.run("push", disk, "--name", "done", "--output", "json")
    assert again.json["image_id"] == first["image_id"]
