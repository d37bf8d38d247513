"""Tests of the upload of a disk to a proven object, with the in-memory store."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from aliyun_import.errors import (
    AccessError,
    CopyRefused,
    DiskError,
    LocalStateError,
    ObjectExists,
    PermissionDenied,
    RefusedError,
)
from aliyun_import.events import Noted, ObjectReady, UploadPlanned, UploadProgress, Warned
from aliyun_import.limits import MIB
from aliyun_import.model.objects import RemoteObject
from aliyun_import.sizes import size
from aliyun_import.upload.context import TransferOptions
from tests.upload.scripted_store import ScriptedStore, no_hook
from tests.upload.upload_setup import UNIT, UploadSetup, unsampled_offset


def test_the_object_equals_the_disk_and_only_the_data_is_sent(setup: UploadSetup) -> None:
    """Data, holes and written zeros are equal byte for byte; the zero object is removed at the end."""
    content = setup.write_disk("ab" + "." * 8 + "c" + "0" * 4 + "d..e")
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert uploaded.proof.startswith("CRC-64 of the object")
    assert uploaded.made_by_us
    assert uploaded.sent_bytes == setup.store.received_bytes == 5 * UNIT + 1 * MIB
    assert list(setup.store.objects) == [uploaded.key]
    assert not setup.store.uploads


def test_plan_progress_and_object_are_emitted(setup: UploadSetup) -> None:
    """The last progress event covers the whole disk."""
    content = setup.write_disk("ab" + "." * 8 + "c")
    uploaded = setup.push()
    (planned,) = setup.events_of(UploadPlanned)
    assert (planned.total_bytes, planned.send_bytes, planned.zero_bytes) == (len(content), 3 * UNIT, 8 * UNIT)
    last = setup.events_of(UploadProgress)[-1]
    assert last.done_bytes == last.total_bytes == len(content)
    assert last.parts_done == last.parts
    (ready,) = setup.events_of(ObjectReady)
    assert (ready.key, int(ready.crc64, 16)) == (uploaded.key, uploaded.crc64)


def test_the_key_depends_on_the_content(setup: UploadSetup) -> None:
    """Two disks of the same image name have different keys."""
    setup.write_disk("abc")
    first = setup.push()
    setup.write_disk("abd")
    second = setup.push()
    assert first.key != second.key
    assert first.key.startswith("aliyun-import/web/system-")
    assert first.key.endswith(".raw")


def test_an_existing_object_equal_to_the_disk_is_used(setup: UploadSetup) -> None:
    """On another machine nothing is sent, and the object does not count as made by that push."""
    setup.write_disk("abc....d")
    first = setup.push()
    setup.store.received_bytes = 0
    second = replace(setup, state="another machine").push()
    assert (second.key, second.crc64, second.sent_bytes) == (first.key, first.crc64, 0)
    assert setup.store.received_bytes == 0
    assert not second.made_by_us


def test_an_object_of_an_earlier_run_on_this_machine_is_ours(setup: UploadSetup) -> None:
    """The journal states that this push made the object."""
    setup.write_disk("abc")
    first = setup.push()
    assert setup.push() == replace(first, sent_bytes=0, saved_bytes=first.size_bytes)


def test_another_disk_under_the_key_of_the_last_push_is_refused(setup: UploadSetup) -> None:
    """The journal entry of the last disk does not apply to this one."""
    setup.key = "images/web.raw"
    setup.write_disk("abc")
    setup.push()
    setup.write_disk("abd")
    with pytest.raises(RefusedError) as raised:
        setup.push()
    assert raised.value.code == "object-exists"


def test_another_object_under_a_named_key_is_refused(setup: UploadSetup) -> None:
    """The object is not overwritten, and the message names the option."""
    setup.write_disk("abc")
    setup.key = "images/web.raw"
    setup.store.put(setup.key, b"something else")
    with pytest.raises(RefusedError) as raised:
        setup.push()
    assert raised.value.code == "object-exists"
    assert "--key" in str(raised.value.remedy)
    assert setup.store.content(setup.key) == b"something else"
    assert setup.store.calls["start_upload"] == 0


def test_an_equal_object_under_a_named_key_is_used(setup: UploadSetup) -> None:
    """An object with the same bytes is used, even if another user uploaded it."""
    setup.key = "images/web.raw"
    setup.store.put(setup.key, setup.write_disk("abc"))
    assert not setup.push().made_by_us
    assert setup.store.calls["send_part"] == 0


def test_a_build_with_the_same_sample_gets_another_key(setup: UploadSetup) -> None:
    """The CRC-64 of the whole disk shows a change outside the sample, and nothing is overwritten."""
    setup.write_disk("a" + "b" * 40)
    first = setup.push()
    before = setup.store.content(first.key)
    with setup.path.open("r+b") as file:
        file.seek(unsampled_offset(len(before), after=5 * MIB))
        file.write(b"changed")
    second = replace(setup, state="later").push()
    assert second.key == first.key.replace(".raw", "-2.raw")
    assert setup.store.content(first.key) == before
    assert setup.store.content(second.key) == setup.path.read_bytes()


def test_a_disk_that_changes_while_it_is_sent_is_never_completed(setup: UploadSetup) -> None:
    """A mix of two disks may boot and be wrong: exit 9 before complete, and a warning at the next push."""
    setup.write_disk("abcdefgh", unit=1 * MIB)

    def change(operation: str, count: int) -> None:
        if operation == "list_parts":
            with setup.path.open("r+b") as file:
                file.write(b"changed")

    setup.store.before = change
    with pytest.raises(LocalStateError) as raised:
        setup.push()
    assert raised.value.code == "disk-changed"
    assert raised.value.exit_code == 9
    assert setup.store.calls["complete"] == 0
    setup.store.before = no_hook
    uploaded = setup.push()
    assert [warned.code for warned in setup.events_of(Warned)] == ["disk-changed"]
    assert setup.store.content(uploaded.key) == setup.path.read_bytes()
    assert not setup.store.uploads


def test_a_disk_that_is_truncated_while_it_is_sent_stops_the_push(setup: UploadSetup) -> None:
    """The error has the offset of the short read and a remedy."""
    setup.write_disk("abcdefgh", unit=4 * MIB)
    setup.options = TransferOptions(jobs=1)  # with two jobs, the following part may fail first

    def truncate(operation: str, count: int) -> None:
        if operation == "send_part" and count == 1:
            with setup.path.open("r+b") as file:
                file.truncate(20 * MIB)

    setup.store.before = truncate
    with pytest.raises(DiskError) as raised:
        setup.push()
    assert raised.value.code == "disk-truncated"
    assert raised.value.details["offset"] == str(20 * MIB)
    assert "cleanup" in str(raised.value.remedy)


def test_a_read_error_stops_the_push_and_an_intact_copy_resumes(setup: UploadSetup) -> None:
    """Exit 3 with the offset; parts that were sent before are not sent again."""
    content = setup.write_disk("abcdefgh", unit=4 * MIB)
    setup.options = TransferOptions(jobs=1)

    def break_disk(operation: str, count: int) -> None:
        if operation == "send_part" and count == 2:
            with open_directory(setup.directory) as unreadable:
                os.dup2(unreadable, descriptor_of(setup.path))

    setup.store.before = break_disk
    with pytest.raises(DiskError) as raised:
        setup.push()
    assert (raised.value.code, raised.value.exit_code) == ("disk-read", 3)
    offset = int(raised.value.details["offset"])
    assert offset == 16 * MIB
    assert f"at byte {offset}" in raised.value.summary
    assert raised.value.resumable
    setup.store.before = no_hook
    before = setup.store.received_bytes
    assert setup.store.content(setup.push().key) == content
    assert setup.store.received_bytes - before == len(content) - 16 * MIB


def test_short_reads_are_continued(setup: UploadSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network file systems may return fewer bytes than requested; the rest is read."""
    content = setup.write_disk("ab.c", unit=1 * MIB)
    preadv = os.preadv

    def short_preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        return preadv(descriptor, [buffers[0][: max(1, len(buffers[0]) * 2 // 3)]], offset)

    monkeypatch.setattr(os, "preadv", short_preadv)
    assert setup.store.content(setup.push().key) == content


def descriptor_of(path: Path) -> int:
    """Return the file descriptor by which this process reads a file."""
    (descriptor,) = [int(entry.name) for entry in Path("/proc/self/fd").iterdir() if _links_to(entry, path)]
    return descriptor


def _links_to(entry: Path, path: Path) -> bool:
    try:
        return entry.readlink() == path
    except FileNotFoundError:  # the descriptor of the listed directory
        return False


@contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """Yield a file descriptor of a directory, which can't be read (EISDIR)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_a_fixed_vhd_keeps_its_footer(setup: UploadSetup) -> None:
    """The last 512 bytes are uploaded like any others, after a hole, too."""
    content = setup.write_disk("a" + "." * 8) + b"conectix" + bytes(504)
    with setup.path.open("ab") as file:
        file.write(content[-512:])
    assert setup.store.content(setup.push().key) == content


@pytest.mark.parametrize("size", [1, 511, 102_399, 102_401, 128 * 1024 + 1])
def test_a_disk_smaller_than_a_part_is_uploaded(setup: UploadSetup, size: int) -> None:
    """The last part may have any size, and so may the only one."""
    setup.path.write_bytes(b"x" * size)
    assert setup.store.content(setup.push().key) == b"x" * size


def test_a_disk_of_zeros_sends_only_the_seed(setup: UploadSetup, small_zeros: int) -> None:
    """The disk is made from it on the server."""
    content = setup.write_disk("." * 20)
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert uploaded.sent_bytes == small_zeros


# Fallbacks for a store with fewer functions than OSS.


@pytest.mark.parametrize(
    "error",
    [
        CopyRefused("No copies here.", code="copy-refused", remedy=None),
        PermissionDenied("No right to read.", code="no-right", remedy=None),
    ],
)
def test_without_copies_the_zeros_are_sent(setup: UploadSetup, error: RefusedError | AccessError) -> None:
    """A warning has the number of bytes, and the object equals the disk."""
    content = setup.write_disk("ab" + "." * 8 + "c")

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part":
            raise error

    setup.store.before = refuse
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    (warned,) = setup.events_of(Warned)
    assert warned.code == error.code
    assert size(8 * UNIT) in warned.message
    assert not setup.store.uploads


@pytest.mark.usefixtures("small_zeros")
def test_copies_that_are_refused_in_the_middle_are_sent(setup: UploadSetup) -> None:
    """Copies from the zero object are refused after its growth; the rest is sent with the free part numbers."""
    content = setup.write_disk("ab" + "." * 20 + "c" + "." * 2 + "d")

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part" and count >= 33:
            raise CopyRefused("No more copies.", code="copy-refused", remedy=None)

    setup.store.before = refuse
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert [warned.code for warned in setup.events_of(Warned)] == ["copy-refused"]


def test_without_a_crc_of_the_object_the_parts_prove_it(setup: UploadSetup) -> None:
    """OSS may report no CRC-64 of an object that was made by copies."""
    setup.write_disk("ab" + "." * 8 + "c")
    setup.store.change_object = lambda stored: replace(stored, crc64=None)
    uploaded = setup.push()
    assert uploaded.proof.split(";")[0] == "CRC-64 of every part"
    assert uploaded.crc64 == ScriptedStore.crc64_of(setup.path.read_bytes())


def test_without_a_crc_of_copied_parts_their_source_proves_them(setup: UploadSetup) -> None:
    """The object has no CRC-64, either."""
    setup.write_disk("ab" + "." * 8 + "c")
    setup.store.change_object = lambda stored: replace(stored, crc64=None)
    setup.store.copied_have_crc64 = False
    assert setup.push().proof.split(";")[0] == "CRC-64 of every part sent, source and range of every part copied"


def test_without_any_crc_the_md5_of_the_parts_proves_it(setup: UploadSetup) -> None:
    """The ETag of a part is its MD5, which is compared with that of the disk."""
    content = setup.write_disk("ab" + "." * 8 + "c")
    setup.store.change_object = lambda stored: replace(stored, crc64=None)
    setup.store.change_part = lambda part: replace(part, crc64=None)
    uploaded = setup.push()
    assert uploaded.proof.split(";")[0] == "MD5 of every part sent, source and range of every part copied"
    assert setup.store.content(uploaded.key) == content


def test_without_any_checksum_the_proof_is_by_size_with_a_warning(setup: UploadSetup) -> None:
    """The result claims no more than is known."""
    setup.write_disk("ab")
    setup.store.change_object = lambda stored: replace(stored, crc64=None)
    setup.store.change_part = lambda part: replace(part, crc64=None, etag=f"opaque-{part.number}")
    uploaded = setup.push()
    assert uploaded.proof.startswith("size of every part")
    assert [warned.code for warned in setup.events_of(Warned)] == ["unproven"]


def test_an_object_that_differs_from_the_disk_is_an_error_and_is_removed(setup: UploadSetup) -> None:
    """The next push uploads the disk again."""
    setup.write_disk("abc")

    def wrong(stored: RemoteObject) -> RemoteObject:
        return replace(stored, crc64=1)

    setup.store.change_object = wrong
    with pytest.raises(Exception, match="differs from the disk") as raised:
        setup.push()
    assert getattr(raised.value, "code", "") == "object-corrupted"
    assert setup.store.objects == {}
    setup.store.change_object = lambda stored: stored
    assert setup.store.content(setup.push().key) == setup.path.read_bytes()


# Previews.


def test_a_preview_plans_and_writes_nothing(setup: UploadSetup) -> None:
    """It has the plan of the push, and makes no call that changes anything."""
    setup.write_disk("ab" + "." * 8 + "c")
    plan = setup.preview().plan
    assert plan is not None
    assert set(setup.store.calls) <= {"head", "list_objects", "list_uploads", "read"}
    (planned,) = setup.events_of(UploadPlanned)
    assert planned.send_bytes == 3 * UNIT
    setup.push()
    assert setup.events_of(UploadPlanned)[1] == planned
    assert plan.seconds_at(UNIT) == 3.0


def test_a_preview_needs_no_bucket(setup: UploadSetup) -> None:
    """No request is sent for a bucket that would be created."""
    setup.write_disk("ab" + "." * 8 + "c")
    with_bucket = setup.preview()
    setup.store.calls.clear()
    assert setup.preview(has_bucket=False) == with_bucket
    assert not setup.store.calls


def test_a_preview_makes_the_decisions_of_the_push(setup: UploadSetup) -> None:
    """The objects are one equal to the disk, one of another build, and one under the key of --key."""
    setup.write_disk("abc")
    made = setup.push()
    assert (setup.preview().key, setup.preview().plan) == (made.key, None)
    setup.store.put(made.key, b"another build")
    numbered = setup.preview()
    assert numbered.key == made.key.replace(".raw", "-2.raw")
    assert setup.push().key == numbered.key
    setup.key = "images/web.raw"
    setup.store.put(setup.key, b"another disk")
    for attempt in (setup.preview, setup.push):
        with pytest.raises(ObjectExists):
            attempt()


def test_a_preview_finds_the_unfinished_upload(setup: UploadSetup) -> None:
    """Its parts are not planned to be sent again."""
    setup.write_disk("abcdefgh")

    def fail(operation: str, count: int) -> None:
        if operation == "complete":
            raise PermissionDenied("Not now.", code="no-right", remedy=None)

    setup.store.before = fail
    with pytest.raises(PermissionDenied):
        setup.push()
    setup.store.before = no_hook
    preview = setup.preview()
    assert preview.kept_bytes == preview.size_bytes


def test_a_preview_without_the_right_to_list_notes_it(setup: UploadSetup) -> None:
    """A missing base does not make the preview fail."""
    setup.write_disk("abc")

    def refuse(operation: str, count: int) -> None:
        if operation == "list_objects":
            raise PermissionDenied("No right to list.", code="no-right", remedy=None)

    setup.store.before = refuse
    setup.preview()
    assert any("No right to list" in noted.message for noted in setup.events_of(Noted))
