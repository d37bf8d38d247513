"""Tests of --keep-last and of the list of pushes."""

import time
from pathlib import Path

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands
from tests.flows.test_push import keys

MIB = 1 << 20


def nightly(commands: Commands, disk: Path, *options: str) -> dict[str, object]:
    """Push another build of a disk as a nightly job does."""
    with disk.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(str(time.monotonic_ns()).encode())
    ran = commands.run(
        "push", disk, "--name", "golden", "--keep-object", "--replace", "rename", *options, "--output", "json"
    )
    assert ran.code == 0, ran.out + ran.err
    return ran.json


def bases(sandbox: Sandbox) -> list[str]:
    """Return the keys of the kept objects."""
    return [key for key in keys(sandbox) if not key.endswith(".manifest")]


def test_a_nightly_push_keeps_as_many_as_it_is_told(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Of the objects and of the replaced images the newest stay, each object with its manifest."""
    last: dict[str, object] = {}
    for _ in range(4):
        last = nightly(commands, disk, "--keep-last", "2")
        sandbox.clock.advance(2)
    objects = last["objects"]
    assert isinstance(objects, list)
    assert len(bases(sandbox)) == 2
    assert objects[0]["key"] in bases(sandbox)
    assert len(keys(sandbox)) == 4
    names = sorted(one.name for one in sandbox.state.part(Ecs).images.values())
    assert (names[0], len(names)) == ("golden", 3)
    kept = last["kept"]
    assert isinstance(kept, dict)
    assert sorted(kept["objects"]) == sorted(bases(sandbox))
    assert (kept["object_bytes"], len(kept["images"])) == (16 * MIB, 2)


def test_all_is_kept_and_named_without_it(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The summary says how much that is in all."""
    nightly(commands, disk)
    nightly(commands, disk)
    with disk.open("r+b") as file:
        file.write(b"another")
    ran = commands.run("push", disk, "--name", "golden", "--keep-object", "--replace", "rename", "--force")
    assert len(bases(sandbox)) == 3
    assert "3 objects, 24 MiB in all" in ran.err


def test_nothing_is_removed_while_another_import_runs(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """It may read one of the objects."""
    nightly(commands, disk, "--keep-last", "1")
    other = disk.with_name("other.raw")
    other.write_bytes(disk.read_bytes())
    sandbox.state.configure(import_s=3600.0)
    assert commands.run("push", other, "--name", "other", "--no-wait").code == 0
    sandbox.state.configure(import_s=0.1)
    nightly(commands, disk, "--keep-last", "1")
    assert len([key for key in bases(sandbox) if "golden" in key]) == 2


def test_what_cannot_be_removed_is_a_warning(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The image exists, and that is the result."""
    nightly(commands, disk, "--keep-last", "1")
    sandbox.faults.add(Fault(operation="DeleteObject", key="golden", count=None, status=403, code="AccessDenied"))
    with disk.open("r+b") as file:
        file.seek(6 * MIB)
        file.write(b"another build")
    options = ("--name", "golden", "--keep-object", "--replace", "rename", "--keep-last", "1")
    ran = commands.run("push", disk, *options)
    assert ran.code == 0
    assert "is beyond --keep-last and could not be removed" in ran.err


def test_it_needs_something_that_is_kept(commands: Commands, disk: Path) -> None:
    """An option without an effect is refused."""
    assert commands.run("push", disk, "--keep-last", "3").code == 2


def test_pushes_are_listed_with_their_state(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Finished, importing, refused while uploading: from the journals alone, without the cloud."""
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


def test_finished_pushes_are_forgotten_on_request(commands: Commands, disk: Path) -> None:
    """Their journals go, the others stay; run again, such a push finds its image."""
    first = commands.run("push", disk, "--name", "done", "--output", "json").json
    ran = commands.run("pushes", "--forget-finished", "--output", "json")
    assert [one["name"] for one in ran.json["removed"]] == ["done"]
    assert [path.suffix for path in commands.state.iterdir()] == []
    again = commands.run("push", disk, "--name", "done", "--output", "json")
    assert again.json["image_id"] == first["image_id"]
