"""Tests of changed disks: an old object or part is never used for new content, even if size and times are equal."""

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
from tests.upload.scripted_store import no_hook
from tests.upload.test_resume import kill_at
from tests.upload.upload_setup import Killed, UploadSetup, unsampled_offset

pytestmark = pytest.mark.usefixtures("small_parts")

DENSE = "abcdef"


def change_outside_sample(path: Path, *, after: int = 0) -> None:
    """Write in place outside the sample, and restore the time of modification.

    Without `after` the change is in the first part, which is sent early.
    """
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(unsampled_offset(status.st_size, after=after))
        file.write(b"changed")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def as_block_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the disk the fingerprint of a block device, which has no times."""
    original = Disk.fingerprint

    def fingerprint(source: Disk) -> Fingerprint:
        plain = original(source)
        return Fingerprint(
            size_bytes=plain.size_bytes,
            mtime_ns=0,
            device=0,
            inode=0,
            sample=plain.sample,
            is_block=True,
        )

    monkeypatch.setattr(Disk, "fingerprint", fingerprint)


def push_killed_halfway(setup: UploadSetup) -> None:
    """Run a push that is killed after some parts."""
    setup.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        setup.push()
    setup.store.before = no_hook


def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which the length of each later read of a disk is added."""
    read: list[int] = []
    original = Disk.read_into

    def read_into(source: Disk, offset: int, buffer: memoryview) -> None:
        read.append(len(buffer))
        original(source, offset, buffer)

    monkeypatch.setattr(Disk, "read_into", read_into)
    return read


def test_a_disk_changed_in_place_with_a_restored_mtime_gets_a_new_object(setup: UploadSetup) -> None:
    """The object of the old content is not used for the new content."""
    setup.write_disk(DENSE, unit=MIB)
    first = setup.push()
    change_outside_sample(setup.path)
    second = setup.push()
    assert second.key != first.key
    assert setup.store.content(second.key) == setup.path.read_bytes()


def test_an_unfinished_upload_keeps_nothing_of_the_old_content(setup: UploadSetup) -> None:
    """Its parts are compared with the current disk, and the plan is made again, since zeros may have become data."""
    setup.write_disk(DENSE + "......", unit=MIB)
    push_killed_halfway(setup)
    change_outside_sample(setup.path)
    change_outside_sample(setup.path, after=9 * MIB)
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == setup.path.read_bytes()


def test_parts_that_are_proven_equal_are_kept_when_only_the_ctime_changes(setup: UploadSetup) -> None:
    """A hard link or a chmod between two runs causes no part to be sent twice, and no warning."""
    content = setup.write_disk(DENSE, unit=MIB)
    push_killed_halfway(setup)
    setup.path.chmod(0o600)
    os.link(setup.path, setup.directory / "link")
    before, (upload,) = setup.store.received_bytes, setup.store.uploads.values()
    uploaded_bytes = sum(len(data) for data, _ in upload.parts.values())
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert setup.store.received_bytes - before == len(content) - uploaded_bytes
    assert setup.events_of(UploadResumed)[-1].done_bytes == uploaded_bytes
    assert setup.events_of(Warned) == []


def test_a_finished_disk_with_another_ctime_is_proven_once(setup: UploadSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The object keeps made_by_us, nothing is sent, and the next run reads the sample only."""
    setup.write_disk("abc", unit=MIB)
    first = setup.push()
    setup.path.chmod(0o600)
    read = bytes_read(monkeypatch)
    again = setup.push()
    assert (again.key, again.made_by_us, again.sent_bytes) == (first.key, True, 0)
    assert sum(read) >= 3 * MIB
    read.clear()
    setup.push()
    assert sum(read) < MIB


def test_a_journal_without_a_ctime_is_resumed(setup: UploadSetup) -> None:
    """A journal of an earlier version has no ctime; the upload is resumed and proven against the disk."""
    content = setup.write_disk(DENSE, unit=MIB)
    push_killed_halfway(setup)
    (journal,) = (setup.directory / "state").glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        for name in ("ctime_ns", "is_block"):
            line.get("fingerprint", {}).pop(name, None)
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before, (upload,) = setup.store.received_bytes, setup.store.uploads.values()
    uploaded_bytes = sum(len(data) for data, _ in upload.parts.values())
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert setup.store.received_bytes - before == len(content) - uploaded_bytes


@pytest.mark.usefixtures("as_block_device")
def test_a_block_device_is_compared_with_its_object(setup: UploadSetup) -> None:
    """A change outside the sample makes it another disk; for an unchanged device nothing is sent."""
    setup.write_disk(DENSE, unit=MIB)
    first = setup.push()
    assert setup.push().sent_bytes == 0
    change_outside_sample(setup.path)
    second = setup.push()
    assert second.key != first.key
    assert setup.store.content(second.key) == setup.path.read_bytes()


@pytest.mark.usefixtures("as_block_device")
def test_a_block_device_that_is_written_to_while_it_is_sent_is_never_completed(setup: UploadSetup) -> None:
    """One write is behind the upload's position and one is ahead: the parts are neither the old nor the new disk."""
    setup.write_disk(DENSE, unit=MIB)

    def write(operation: str, count: int) -> None:
        if (operation, count) == ("send_part", 4):
            change_outside_sample(setup.path)
            change_outside_sample(setup.path, after=5 * MIB)

    setup.store.before = write
    with pytest.raises(LocalStateError) as raised:
        setup.push()
    assert (raised.value.code, raised.value.exit_code) == ("disk-changed", 9)
    assert setup.store.calls["complete"] == 0
    setup.store.before = no_hook
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == setup.path.read_bytes()


@pytest.mark.usefixtures("as_block_device")
def test_the_manifest_of_a_block_device_describes_its_object(setup: UploadSetup) -> None:
    """A write between scan and send is in the object and in the manifest: the next push sends only the later change."""
    setup.write_disk(DENSE, unit=MIB)
    setup.options = TransferOptions(jobs=2, keep_object=True)

    def write(operation: str, count: int) -> None:
        if operation == "start_upload":
            change_outside_sample(setup.path)

    setup.store.before = write
    first = setup.push()
    setup.store.before = no_hook
    with setup.path.open("r+b") as file:
        file.seek(5 * MIB + 512 * KIB)
        file.write(b"another build")
    before = setup.store.received_bytes
    second = setup.push()
    assert first.key != second.key
    assert setup.store.content(second.key) == setup.path.read_bytes()
    assert setup.store.received_bytes - before <= 256 * KIB


def test_an_unchanged_file_is_not_read_again(setup: UploadSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with unchanged times is not read again, neither before its object is completed nor in the next push."""
    content = setup.write_disk(DENSE, unit=MIB)
    read = bytes_read(monkeypatch)
    setup.push()
    assert sum(read) < len(content) * 1.3
    read.clear()
    setup.push()
    assert sum(read) < MIB
