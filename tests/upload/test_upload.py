"""From a disk to an object that was proven to be the disk, against a store in memory."""

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
from tests.upload.scene import UNIT, Scene, unsampled
from tests.upload.scripted_store import ScriptedStore, nothing


def test_the_object_equals_the_disk_and_only_the_data_is_sent(scene: Scene) -> None:
    """Data, holes and written zeros are equal byte for byte; the zero object is removed at the end."""
    content = scene.write_disk("ab" + "." * 8 + "c" + "0" * 4 + "d..e")
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert uploaded.proof.startswith("CRC-64 of the object")
    assert uploaded.made_by_us
    assert uploaded.sent_bytes == scene.store.received_bytes == 5 * UNIT + 1 * MIB
    assert list(scene.store.objects) == [uploaded.key]
    assert not scene.store.uploads


def test_events_are_emitted(scene: Scene) -> None:
    """The plan, the progress to its very end, and the object."""
    content = scene.write_disk("ab" + "." * 8 + "c")
    uploaded = scene.push()
    (planned,) = scene.said(UploadPlanned)
    assert (planned.total_bytes, planned.send_bytes, planned.zero_bytes) == (len(content), 3 * UNIT, 8 * UNIT)
    last = scene.said(UploadProgress)[-1]
    assert last.done_bytes == last.total_bytes == len(content)
    assert last.parts_done == last.parts
    (ready,) = scene.said(ObjectReady)
    assert (ready.key, int(ready.crc64, 16)) == (uploaded.key, uploaded.crc64)


def test_the_key_is_named_after_the_content(scene: Scene) -> None:
    """Another disk of the same image name does not come to the same key; the same disk does."""
    scene.write_disk("abc")
    first = scene.push()
    scene.write_disk("abd")
    second = scene.push()
    assert first.key != second.key
    assert first.key.startswith("aliyun-import/web/system-")
    assert first.key.endswith(".raw")


def test_an_object_that_is_the_disk_is_used(scene: Scene) -> None:
    """From another machine, nothing is sent, and what was there before is not ours to remove."""
    scene.write_disk("abc....d")
    first = scene.push()
    scene.store.received_bytes = 0
    second = replace(scene, state="another machine").push()
    assert (second.key, second.crc64, second.sent_bytes) == (first.key, first.crc64, 0)
    assert scene.store.received_bytes == 0
    assert not second.made_by_us


def test_pushed_again_by_the_same_machine_it_is_still_ours(scene: Scene) -> None:
    """The journal has the entry of the object of this push."""
    scene.write_disk("abc")
    first = scene.push()
    assert scene.push() == replace(first, sent_bytes=0, saved_bytes=first.size_bytes)


def test_another_disk_under_the_key_of_the_last_push_is_refused(scene: Scene) -> None:
    """An entry about the previous disk does not count for this one."""
    scene.key = "images/web.raw"
    scene.write_disk("abc")
    scene.push()
    scene.write_disk("abd")
    with pytest.raises(RefusedError) as raised:
        scene.push()
    assert raised.value.code == "object-exists"


def test_another_object_under_a_named_key_is_refused(scene: Scene) -> None:
    """Nothing of the user's is overwritten, and the message names the object and the option."""
    scene.write_disk("abc")
    scene.key = "images/web.raw"
    scene.store.put(scene.key, b"something else")
    with pytest.raises(RefusedError) as raised:
        scene.push()
    assert raised.value.code == "object-exists"
    assert "--key" in str(raised.value.remedy)
    assert scene.store.content(scene.key) == b"something else"
    assert scene.store.calls["start_upload"] == 0


def test_the_disk_under_a_named_key_is_used(scene: Scene) -> None:
    """An object with the same bytes is used, even if another user uploaded it."""
    scene.key = "images/web.raw"
    scene.store.put(scene.key, scene.write_disk("abc"))
    assert not scene.push().made_by_us
    assert scene.store.calls["send_part"] == 0


def test_a_build_with_the_same_sample_gets_another_key(scene: Scene) -> None:
    """A change where the sample does not look is seen by the CRC-64 of the whole, and nothing is overwritten."""
    scene.write_disk("a" + "b" * 40)
    first = scene.push()
    before = scene.store.content(first.key)
    with scene.path.open("r+b") as file:
        file.seek(unsampled(len(before), after=5 * MIB))
        file.write(b"changed")
    second = replace(scene, state="later").push()
    assert second.key == first.key.replace(".raw", "-2.raw")
    assert scene.store.content(first.key) == before
    assert scene.store.content(second.key) == scene.path.read_bytes()


def test_a_disk_that_changes_while_it_is_sent_is_never_completed(scene: Scene) -> None:
    """A mix of two disks would start, and be wrong: exit 9 before complete, and a warning at the next push."""
    scene.write_disk("abcdefgh", unit=1 * MIB)

    def change(operation: str, count: int) -> None:
        if operation == "list_parts":
            with scene.path.open("r+b") as file:
                file.write(b"changed")

    scene.store.before = change
    with pytest.raises(LocalStateError) as raised:
        scene.push()
    assert raised.value.code == "disk-changed"
    assert raised.value.exit_code == 9
    assert scene.store.calls["complete"] == 0
    scene.store.before = nothing
    uploaded = scene.push()
    assert [warned.code for warned in scene.said(Warned)] == ["disk-changed"]
    assert scene.store.content(uploaded.key) == scene.path.read_bytes()
    assert not scene.store.uploads


def test_a_disk_that_is_truncated_while_it_is_sent_stops_the_push(scene: Scene) -> None:
    """The error names the offset; the remedy names what is kept and how to resume."""
    scene.write_disk("abcdefgh", unit=4 * MIB)
    scene.options = TransferOptions(jobs=1)  # with two, the part behind it may be the first to fail

    def truncate(operation: str, count: int) -> None:
        if operation == "send_part" and count == 1:
            with scene.path.open("r+b") as file:
                file.truncate(20 * MIB)

    scene.store.before = truncate
    with pytest.raises(DiskError) as raised:
        scene.push()
    assert raised.value.code == "disk-truncated"
    assert raised.value.details["offset"] == str(20 * MIB)
    assert "cleanup" in str(raised.value.remedy)


def test_a_read_error_stops_the_push_and_an_intact_copy_resumes(scene: Scene) -> None:
    """Exit 3 with the offset; what was sent by then is not sent again."""
    content = scene.write_disk("abcdefgh", unit=4 * MIB)
    scene.options = TransferOptions(jobs=1)

    def break_disk(operation: str, count: int) -> None:
        if operation == "send_part" and count == 2:
            with open_directory(scene.directory) as unreadable:
                os.dup2(unreadable, handle_of(scene.path))

    scene.store.before = break_disk
    with pytest.raises(DiskError) as raised:
        scene.push()
    assert (raised.value.code, raised.value.exit_code) == ("disk-read", 3)
    offset = int(raised.value.details["offset"])
    assert offset == 16 * MIB
    assert f"at byte {offset}" in raised.value.summary
    assert raised.value.resumable
    scene.store.before = nothing
    before = scene.store.received_bytes
    assert scene.store.content(scene.push().key) == content
    assert scene.store.received_bytes - before == len(content) - 16 * MIB


def test_short_reads_are_continued(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read may return fewer bytes, as on network file systems: the rest is read too."""
    content = scene.write_disk("ab.c", unit=1 * MIB)
    whole = os.preadv

    def short(handle: int, buffers: list[memoryview], offset: int) -> int:
        return whole(handle, [buffers[0][: max(1, len(buffers[0]) * 2 // 3)]], offset)

    monkeypatch.setattr(os, "preadv", short)
    assert scene.store.content(scene.push().key) == content


def handle_of(path: Path) -> int:
    """Find the handle by which this process reads a file."""
    (handle,) = [int(entry.name) for entry in Path("/proc/self/fd").iterdir() if _is(entry, path)]
    return handle


def _is(entry: Path, path: Path) -> bool:
    try:
        return entry.readlink() == path
    except FileNotFoundError:  # the one by which the directory is listed
        return False


@contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """Return a handle that can't be read: of a directory, which the system answers with EISDIR."""
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)


def test_the_fixed_vhd_keeps_its_footer(scene: Scene) -> None:
    """The last 512 bytes are part of the file as any other, after a hole of any size."""
    content = scene.write_disk("a" + "." * 8) + b"conectix" + bytes(504)
    with scene.path.open("ab") as file:
        file.write(content[-512:])
    assert scene.store.content(scene.push().key) == content


@pytest.mark.parametrize("size", [1, 511, 102_399, 102_401, 128 * 1024 + 1])
def test_disks_smaller_than_a_part(scene: Scene, size: int) -> None:
    """The last part may have any size, and so may the only one."""
    scene.path.write_bytes(b"x" * size)
    assert scene.store.content(scene.push().key) == b"x" * size


def test_a_disk_of_zeros_sends_next_to_nothing(scene: Scene, small_zeros: int) -> None:
    """All of it is made on the server from the seed."""
    content = scene.write_disk("." * 20)
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert uploaded.sent_bytes == small_zeros


# Fallbacks: a store that does less than OSS still gets the disk.


@pytest.mark.parametrize(
    "error",
    [
        CopyRefused("No copies here.", code="copy-refused", remedy=None),
        PermissionDenied("No right to read.", code="no-right", remedy=None),
    ],
)
def test_without_copies_the_zeros_are_sent(scene: Scene, error: RefusedError | AccessError) -> None:
    """A warning states the sent bytes, and the object equals the disk."""
    content = scene.write_disk("ab" + "." * 8 + "c")

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part":
            raise error

    scene.store.before = refuse
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    (warned,) = scene.said(Warned)
    assert warned.code == error.code
    assert size(8 * UNIT) in warned.message
    assert not scene.store.uploads


@pytest.mark.usefixtures("small_zeros")
def test_copies_that_are_refused_in_the_middle_are_sent(scene: Scene) -> None:
    """The zero object grew, and then a copy from it is refused: the rest is sent, in parts that fit the numbers."""
    content = scene.write_disk("ab" + "." * 20 + "c" + "." * 2 + "d")

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part" and count >= 33:
            raise CopyRefused("No more copies.", code="copy-refused", remedy=None)

    scene.store.before = refuse
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert [warned.code for warned in scene.said(Warned)] == ["copy-refused"]


def test_without_a_crc_of_the_object_the_parts_prove_it(scene: Scene) -> None:
    """OSS may report no CRC-64 of an object with copied parts."""
    scene.write_disk("ab" + "." * 8 + "c")
    scene.store.change_object = lambda there: replace(there, crc64=None)
    uploaded = scene.push()
    assert uploaded.proof.split(";")[0] == "CRC-64 of every part"
    assert uploaded.crc64 == ScriptedStore.crc64_of(scene.path.read_bytes())


def test_without_a_crc_of_copied_parts_their_source_proves_them(scene: Scene) -> None:
    """Neither the object nor its copied parts have one."""
    scene.write_disk("ab" + "." * 8 + "c")
    scene.store.change_object = lambda there: replace(there, crc64=None)
    scene.store.copied_have_crc64 = False
    assert scene.push().proof.split(";")[0] == "CRC-64 of every part sent, source and range of every part copied"


def test_without_any_crc_the_md5_of_the_parts_proves_it(scene: Scene) -> None:
    """A part's ETag is its MD5, which is compared with the disk's."""
    content = scene.write_disk("ab" + "." * 8 + "c")
    scene.store.change_object = lambda there: replace(there, crc64=None)
    scene.store.change_part = lambda part: replace(part, crc64=None)
    uploaded = scene.push()
    assert uploaded.proof.split(";")[0] == "MD5 of every part sent, source and range of every part copied"
    assert scene.store.content(uploaded.key) == content


def test_without_any_checksum_the_proof_says_so_and_warns(scene: Scene) -> None:
    """A store without checksums gets the disk, and the result states that nothing was compared."""
    scene.write_disk("ab")
    scene.store.change_object = lambda there: replace(there, crc64=None)
    scene.store.change_part = lambda part: replace(part, crc64=None, etag=f"opaque-{part.number}")
    uploaded = scene.push()
    assert uploaded.proof.startswith("size of every part")
    assert [warned.code for warned in scene.said(Warned)] == ["unproven"]


def test_an_object_that_is_not_the_disk_is_an_error_and_is_removed(scene: Scene) -> None:
    """An object that differs from the disk is removed, and the next push starts over."""
    scene.write_disk("abc")

    def wrong(there: RemoteObject) -> RemoteObject:
        return replace(there, crc64=1)

    scene.store.change_object = wrong
    with pytest.raises(Exception, match="differs from the disk") as raised:
        scene.push()
    assert getattr(raised.value, "code", "") == "object-corrupted"
    assert scene.store.objects == {}
    scene.store.change_object = lambda there: there
    assert scene.store.content(scene.push().key) == scene.path.read_bytes()


# Previews.


def test_a_preview_plans_and_writes_nothing(scene: Scene) -> None:
    """The same plan as the push's, and no call that changes anything."""
    scene.write_disk("ab" + "." * 8 + "c")
    plan = scene.preview().plan
    assert plan is not None
    assert set(scene.store.calls) <= {"head", "list_objects", "list_uploads", "read"}
    (planned,) = scene.said(UploadPlanned)
    assert planned.send_bytes == 3 * UNIT
    scene.push()
    assert scene.said(UploadPlanned)[1] == planned
    assert plan.seconds_at(UNIT) == 3.0


def test_a_preview_needs_no_bucket(scene: Scene) -> None:
    """A bucket that does not exist yet is not queried."""
    scene.write_disk("ab" + "." * 8 + "c")
    with_bucket = scene.preview()
    scene.store.calls.clear()
    assert scene.preview(has_bucket=False) == with_bucket
    assert not scene.store.calls


def test_a_preview_decides_as_the_push_does(scene: Scene) -> None:
    """An object that is the disk, one of another build, and one under the key of --key."""
    scene.write_disk("abc")
    made = scene.push()
    assert (scene.preview().key, scene.preview().plan) == (made.key, None)
    scene.store.put(made.key, b"another build")
    numbered = scene.preview()
    assert numbered.key == made.key.replace(".raw", "-2.raw")
    assert scene.push().key == numbered.key
    scene.key = "images/web.raw"
    scene.store.put(scene.key, b"another disk")
    for attempt in (scene.preview, scene.push):
        with pytest.raises(ObjectExists):
            attempt()


def test_a_preview_finds_the_unfinished_upload(scene: Scene) -> None:
    """Its existing parts are not planned to be sent again."""
    scene.write_disk("abcdefgh")

    def fail(operation: str, count: int) -> None:
        if operation == "complete":
            raise PermissionDenied("Not now.", code="no-right", remedy=None)

    scene.store.before = fail
    with pytest.raises(PermissionDenied):
        scene.push()
    scene.store.before = nothing
    preview = scene.preview()
    assert preview.kept_bytes == preview.size_bytes


def test_a_preview_without_rights_says_what_it_left_out(scene: Scene) -> None:
    """Looking for a base is not worth failing a preview."""
    scene.write_disk("abc")

    def refuse(operation: str, count: int) -> None:
        if operation == "list_objects":
            raise PermissionDenied("No right to list.", code="no-right", remedy=None)

    scene.store.before = refuse
    scene.preview()
    assert any("No right to list" in noted.message for noted in scene.said(Noted))
