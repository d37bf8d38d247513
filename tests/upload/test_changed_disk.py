"""A disk that changed is never taken for what is in OSS of it, however alike it looks from outside."""

import json
import os
from pathlib import Path

import pytest

from aliyun_import.disk.disk import Disk
from aliyun_import.disk.fingerprint import Fingerprint
from aliyun_import.errors import LocalStateError
from aliyun_import.events import UploadResumed, Warned
from aliyun_import.limits import KIB, MIB
from aliyun_import.upload.context import TransferOptions
from tests.upload.scene import Killed, Scene, unsampled
from tests.upload.scripted_store import nothing
from tests.upload.test_resume import kill_at

pytestmark = pytest.mark.usefixtures("small_parts")

DENSE = "abcdef"


def change_unseen(path: Path, *, after: int = 0) -> None:
    """Write in place where the sample does not look, and set the time of modification back.

    Without `after` this is in the first part, which is sent early.
    """
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(unsampled(status.st_size, after=after))
        file.write(b"changed")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def as_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the disk's file look like a block device: nothing is known of its times."""
    plain = Disk.fingerprint

    def fingerprint(source: Disk) -> Fingerprint:
        seen = plain(source)
        return Fingerprint(size_bytes=seen.size_bytes, mtime_ns=0, device=0, inode=0, sample=seen.sample, is_block=True)

    monkeypatch.setattr(Disk, "fingerprint", fingerprint)


def killed_in_the_middle(scene: Scene) -> None:
    """Push, and be killed after some parts."""
    scene.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        scene.push()
    scene.store.before = nothing


def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what is read of the disk from here on."""
    read: list[int] = []
    plain = Disk.read_into

    def read_into(source: Disk, offset: int, buffer: memoryview) -> None:
        read.append(len(buffer))
        plain(source, offset, buffer)

    monkeypatch.setattr(Disk, "read_into", read_into)
    return read


def test_written_in_place_with_its_time_set_back_it_is_another_disk(scene: Scene) -> None:
    """After a finished push: the object of the old content is not given for the new one."""
    scene.write_disk(DENSE, unit=MIB)
    first = scene.push()
    change_unseen(scene.path)
    second = scene.push()
    assert second.key != first.key
    assert scene.store.content(second.key) == scene.path.read_bytes()


def test_an_unfinished_upload_keeps_nothing_of_the_old_content(scene: Scene) -> None:
    """Its parts are compared with the present disk, and the plan is made again: zeros may be data now."""
    scene.write_disk(DENSE + "......", unit=MIB)
    killed_in_the_middle(scene)
    change_unseen(scene.path)
    change_unseen(scene.path, after=9 * MIB)
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == scene.path.read_bytes()


def test_a_ctime_alone_keeps_what_proves_to_be_equal(scene: Scene) -> None:
    """A hard link or a chmod between two runs: no part is sent twice, and nothing warns."""
    content = scene.write_disk(DENSE, unit=MIB)
    killed_in_the_middle(scene)
    scene.path.chmod(0o600)
    os.link(scene.path, scene.directory / "link")
    before, (upload,) = scene.store.received_bytes, scene.store.uploads.values()
    there = sum(len(data) for data, _ in upload.parts.values())
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert scene.store.received_bytes - before == len(content) - there
    assert scene.said(UploadResumed)[-1].done_bytes == there
    assert scene.said(Warned) == []


def test_a_finished_disk_of_another_ctime_is_proven_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object is still ours, nothing is sent, and the next run reads the sample only."""
    scene.write_disk("abc", unit=MIB)
    first = scene.push()
    scene.path.chmod(0o600)
    read = bytes_read(monkeypatch)
    again = scene.push()
    assert (again.key, again.made_by_us, again.sent_bytes) == (first.key, True, 0)
    assert sum(read) >= 3 * MIB
    read.clear()
    scene.push()
    assert sum(read) < MIB


def test_a_journal_without_a_ctime_is_resumed(scene: Scene) -> None:
    """A journal of an earlier version has no ctime: the upload resumes, and is compared with the disk."""
    content = scene.write_disk(DENSE, unit=MIB)
    killed_in_the_middle(scene)
    (journal,) = (scene.directory / "state").glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        for name in ("ctime_ns", "is_block"):
            line.get("fingerprint", {}).pop(name, None)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before, (upload,) = scene.store.received_bytes, scene.store.uploads.values()
    there = sum(len(data) for data, _ in upload.parts.values())
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert scene.store.received_bytes - before == len(content) - there


@pytest.mark.usefixtures("as_block")
def test_a_block_device_is_compared_with_its_object(scene: Scene) -> None:
    """Changed where the sample does not look, it is another disk; unchanged, nothing is sent."""
    scene.write_disk(DENSE, unit=MIB)
    first = scene.push()
    assert scene.push().sent_bytes == 0
    change_unseen(scene.path)
    second = scene.push()
    assert second.key != first.key
    assert scene.store.content(second.key) == scene.path.read_bytes()


@pytest.mark.usefixtures("as_block")
def test_a_block_device_that_is_written_to_while_it_is_sent_is_never_completed(scene: Scene) -> None:
    """One write behind the upload's position and one before it: neither the disk before nor the one after."""
    scene.write_disk(DENSE, unit=MIB)

    def write(operation: str, count: int) -> None:
        if (operation, count) == ("send_part", 4):
            change_unseen(scene.path)
            change_unseen(scene.path, after=5 * MIB)

    scene.store.before = write
    with pytest.raises(LocalStateError) as raised:
        scene.push()
    assert (raised.value.code, raised.value.exit_code) == ("disk-changed", 9)
    assert scene.store.calls["complete"] == 0
    scene.store.before = nothing
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == scene.path.read_bytes()


@pytest.mark.usefixtures("as_block")
def test_the_manifest_of_a_block_device_is_of_its_object(scene: Scene) -> None:
    """A write between scan and send is in the object, and so in the manifest: the next push sends nothing."""
    scene.write_disk(DENSE, unit=MIB)
    scene.options = TransferOptions(jobs=2, keep_object=True)

    def write(operation: str, count: int) -> None:
        if operation == "start_upload":
            change_unseen(scene.path)

    scene.store.before = write
    first = scene.push()
    scene.store.before = nothing
    with scene.path.open("r+b") as file:
        file.seek(5 * MIB + 512 * KIB)
        file.write(b"another build")
    before = scene.store.received_bytes
    second = scene.push()
    assert first.key != second.key
    assert scene.store.content(second.key) == scene.path.read_bytes()
    assert scene.store.received_bytes - before <= 256 * KIB


def test_an_unchanged_file_is_not_read_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with unchanged times is not read again, before its object is made and in the next push."""
    content = scene.write_disk(DENSE, unit=MIB)
    read = bytes_read(monkeypatch)
    scene.push()
    assert sum(read) < len(content) * 1.3
    read.clear()
    scene.push()
    assert sum(read) < MIB
