"""Tests of resumed uploads: killed at any call, without the journal, and on another machine."""

import itertools
import random
import threading
from dataclasses import replace

import pytest

from aliyun_import.errors import AliyunImportError, ConnectionLost, Interrupted, RefusedError, TransientError
from aliyun_import.events import Event, PartRetried, UploadProgress, UploadResumed, Warned
from aliyun_import.model.objects import RemoteObject
from aliyun_import.sizes import size
from aliyun_import.upload.crc64 import crc64
from tests.upload.scripted_store import Hook, no_hook
from tests.upload.upload_setup import PART, UNIT, Killed, UploadSetup, unsampled_offset

pytestmark = pytest.mark.usefixtures("small_parts")

DENSE = "abcdef"


def kill_at(operation: str, count: int, *, kind: BaseException | None = None) -> Hook:
    """Return a hook that raises at one call of an operation: `kind`, or Killed."""

    def hook(called: str, number: int) -> None:
        if (called, number) == (operation, count):
            raise kind or Killed

    return hook


def without_crc64(stored: RemoteObject) -> RemoteObject:
    """Return an object as a store without CRC-64 reports it."""
    return replace(stored, crc64=None)


def uploaded_bytes(setup: UploadSetup) -> int:
    """Return the number of bytes in the only unfinished upload."""
    (upload,) = setup.store.uploads.values()
    return sum(len(data) for data, _ in upload.parts.values())


def test_a_resumed_upload_sends_only_the_missing_parts(setup: UploadSetup) -> None:
    """After a kill in the middle, the second run sends the rest."""
    content = setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        setup.push()
    kept_bytes = uploaded_bytes(setup)
    assert kept_bytes >= 3 * PART
    setup.store.before = no_hook
    before = setup.store.received_bytes
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert setup.store.received_bytes - before == len(content) - kept_bytes
    (resumed,) = setup.events_of(UploadResumed)
    assert resumed.done_bytes == kept_bytes
    assert setup.events_of(UploadProgress)[-1].done_bytes == len(content)
    assert setup.store.calls["start_upload"] == 1


@pytest.mark.parametrize("hook_name", ["before", "after"])
@pytest.mark.parametrize(
    "operation", ["head", "list_objects", "list_uploads", "put", "start_upload", "copy_part", "list_parts", "complete"]
)
@pytest.mark.usefixtures("small_zeros")
def test_after_a_kill_at_any_call_the_object_is_completed(setup: UploadSetup, operation: str, hook_name: str) -> None:
    """A kill before or after the effect of a call: the object equals the disk, and nothing else is left."""
    makes_zero_object = operation in ("put", "start_upload", "copy_part", "complete")
    content = setup.write_disk("ab" + "." * (20 if makes_zero_object else 4) + "c0d")
    for count in itertools.count():
        setattr(setup.store, hook_name, kill_at(operation, setup.store.calls[operation] + count))
        try:
            uploaded = setup.push()
        except Killed:
            setattr(setup.store, hook_name, no_hook)
            uploaded = setup.push()
            assert setup.store.content(uploaded.key) == content
            assert uploaded.made_by_us
            setup.store.uploads.clear()  # an upload whose id was lost with the answer
        setattr(setup.store, hook_name, no_hook)
        assert list(setup.store.objects) == [uploaded.key]
        if count > 1:
            return
        setup.store.objects.clear()
        for path in (setup.directory / setup.state).iterdir():
            path.unlink()


def test_twenty_kills_at_random_send_little_twice(setup: UploadSetup) -> None:
    """In the end the object is right, and at most the parts that were in flight were sent twice."""
    content = setup.write_disk(DENSE * 2, unit=PART)
    rng = random.Random(3)
    kills = 0
    while kills < 20:
        setup.store.before = kill_at("send_part", setup.store.calls["send_part"] + rng.randrange(3))
        try:
            setup.push()
            break
        except Killed:
            kills += 1
    setup.store.before = no_hook
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert kills >= 3
    assert setup.store.received_bytes <= len(content) + kills * 2 * PART


def test_without_the_journal_the_upload_is_found_and_proven(setup: UploadSetup) -> None:
    """Another machine lists the unfinished uploads, compares each part with its own bytes, and resumes."""
    content = setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        setup.push()
    kept_bytes = uploaded_bytes(setup)
    setup.store.before = no_hook
    before = setup.store.received_bytes
    uploaded = replace(setup, state="another machine").push()
    assert setup.store.content(uploaded.key) == content
    assert setup.store.received_bytes - before == len(content) - kept_bytes
    assert "proven against the disk" in setup.events_of(UploadResumed)[0].how


def test_an_upload_of_another_user_to_the_same_key_is_not_changed(setup: UploadSetup) -> None:
    """With a key that the user named, another user may be uploading another disk."""
    content = setup.write_disk("abcd")
    setup.key = "images/web.raw"
    other = setup.store.start_upload(setup.key)
    setup.store._add_part(setup.store.uploads[other], 1, b"x" * UNIT)
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert list(setup.store.uploads) == [other]


def test_a_part_with_a_wrong_crc_on_the_server_is_sent_again(setup: UploadSetup) -> None:
    """The server's CRC-64 decides, whatever the journal states."""
    content = setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        setup.push()
    (upload,) = setup.store.uploads.values()
    number, (data, part) = next(iter(upload.parts.items()))
    wrong = b"x" * len(data)
    upload.parts[number] = (wrong, replace(part, crc64=crc64(wrong)))
    setup.store.before = no_hook
    assert setup.store.content(setup.push().key) == content


def test_a_missing_upload_is_started_again_once(setup: UploadSetup) -> None:
    """One warning reports it, and the object is completed."""
    content = setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        setup.push()
    setup.store.uploads.clear()
    setup.store.before = no_hook
    assert setup.store.content(setup.push().key) == content
    assert [warned.code for warned in setup.events_of(Warned)] == ["upload-vanished"]


def test_an_upload_that_vanishes_repeatedly_is_an_error(setup: UploadSetup) -> None:
    """An upload is started again once in a run."""
    setup.write_disk("abc", unit=PART)

    def lose_upload(operation: str, count: int) -> None:
        if operation == "send_part":
            setup.store.uploads.clear()

    setup.store.before = lose_upload
    with pytest.raises(RefusedError) as raised:
        setup.push()
    assert raised.value.code == "upload-vanished"
    assert setup.store.calls["start_upload"] == 2


def test_an_object_that_another_push_completed_meanwhile_is_used(setup: UploadSetup) -> None:
    """The upload is missing because the object exists."""
    content = setup.write_disk("abc", unit=PART)

    def complete_elsewhere(operation: str, count: int) -> None:
        if operation == "send_part" and setup.store.uploads:
            (upload,) = setup.store.uploads.values()
            setup.store.uploads.clear()
            setup.store.put(upload.key, content)

    setup.store.before = complete_elsewhere
    assert setup.store.content(setup.push().key) == content
    assert setup.events_of(Warned) == []


def test_a_changed_disk_is_uploaded_from_the_start_with_a_warning(setup: UploadSetup) -> None:
    """The unfinished upload of the previous content is aborted, because no error would name it."""
    setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        setup.push()
    content = setup.write_disk(DENSE[::-1], unit=PART)
    setup.store.before = no_hook
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert [warned.code for warned in setup.events_of(Warned)] == ["disk-changed"]
    assert not setup.store.uploads


def test_a_disk_with_another_mtime_is_proven_again(setup: UploadSetup) -> None:
    """The journal does not count, and parts that are proven equal are not sent again."""
    content = setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        setup.push()
    with setup.path.open("r+b") as file:
        file.seek(unsampled_offset(len(content), after=2 * PART))
        file.write(b"changed")
        content = content[: file.tell() - 7] + b"changed" + content[file.tell() :]
    setup.store.before = no_hook
    before = setup.store.received_bytes
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert setup.store.received_bytes - before < len(content) - PART
    assert [warned.code for warned in setup.events_of(Warned)] == ["disk-changed"]


def test_the_zero_object_of_the_previous_content_is_removed(setup: UploadSetup) -> None:
    """No later run would search for it."""
    setup.write_disk("abcd" + "." * 4, unit=PART)
    setup.store.before = kill_at("send_part", 2)
    with pytest.raises(Killed):
        setup.push()
    assert any("zeros" in key for key in setup.store.objects)
    setup.write_disk("dcba", unit=PART)
    setup.store.before = no_hook
    uploaded = setup.push()
    assert list(setup.store.objects) == [uploaded.key]
    assert not setup.store.uploads


# Lost answers.


@pytest.mark.parametrize("operation", ["start_upload", "send_part", "put", "complete", "copy_part"])
def test_a_lost_answer_is_recovered(setup: UploadSetup, operation: str) -> None:
    """The effect took place without an answer: the call is repeated or the state is read; parts are not sent twice."""
    content = setup.write_disk("ab" + "." * 6 + "c0d")
    lost = ConnectionLost("The connection broke.", code="connection-lost", remedy=None)
    setup.store.after = kill_at(operation, 0, kind=lost)
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert uploaded.made_by_us
    assert setup.store.calls["send_part"] <= 4


def test_a_lost_answer_to_complete_without_a_crc_is_recovered_by_our_tag(setup: UploadSetup) -> None:
    """If the object has no CRC-64, its metadata identifies the push."""
    setup.write_disk("abcd")
    setup.store.change_object = without_crc64
    lost = ConnectionLost("The connection broke.", code="connection-lost", remedy=None)
    setup.store.after = kill_at("complete", 0, kind=lost)
    assert setup.push().made_by_us
    assert setup.store.calls["complete"] == 1


def test_an_equal_object_of_another_push_is_not_ours(setup: UploadSetup) -> None:
    """It is used, and this push does not remove it."""
    content = setup.write_disk("abcd")
    setup.key = "images/web.raw"

    def put_object(operation: str, count: int) -> None:
        if operation == "complete":
            setup.store.put("images/web.raw", content)

    setup.store.before = put_object
    assert not setup.push().made_by_us


def test_another_object_with_the_key_is_not_overwritten_by_complete(setup: UploadSetup) -> None:
    """The push fails, and the other object is unchanged."""
    setup.write_disk("abcd")
    setup.key = "images/web.raw"

    def put_object(operation: str, count: int) -> None:
        if operation == "complete":
            setup.store.put("images/web.raw", b"something else")

    setup.store.before = put_object
    with pytest.raises(RefusedError) as raised:
        setup.push()
    assert raised.value.code == "object-exists"
    assert setup.store.content("images/web.raw") == b"something else"


# Interrupts and final errors.


def test_an_interrupt_reports_the_kept_bytes(setup: UploadSetup) -> None:
    """Parts in flight end at the next chunk, finished ones are in the journal, and the same command resumes."""
    content = setup.write_disk(DENSE, unit=PART)

    def interrupt(operation: str, count: int) -> None:
        if operation == "send_part" and count == 3:
            setup.cancel.set()

    setup.store.before = interrupt
    with pytest.raises(Interrupted) as raised:
        setup.push()
    kept_bytes = uploaded_bytes(setup)
    assert raised.value.resumable
    assert f"{size(kept_bytes)} are kept" in str(raised.value.remedy)
    assert str(raised.value.remedy).count("same command") == 1
    setup.cancel.clear()
    setup.store.before = no_hook
    before = setup.store.received_bytes
    assert setup.store.content(setup.push().key) == content
    assert setup.store.received_bytes - before == len(content) - kept_bytes


def test_an_interrupt_during_the_scan_ends_the_run(setup: UploadSetup) -> None:
    """No upload is started."""
    setup.write_disk(DENSE)
    setup.cancel.set()
    with pytest.raises(Interrupted):
        setup.push()
    assert setup.store.calls["start_upload"] == 0


def test_only_the_calling_thread_emits_events(setup: UploadSetup) -> None:
    """The workers emit none."""
    setup.write_disk(DENSE, unit=PART)
    emitting_threads: set[str] = set()

    class ThreadRecordingList(list[Event]):
        def append(self, event: Event) -> None:
            super().append(event)
            emitting_threads.add(threading.current_thread().name)

    setup.events = ThreadRecordingList()
    setup.store.before = kill_at(
        "send_part", 3, kind=TransientError("Unavailable.", code="service-unwell", remedy=None)
    )
    setup.push()
    assert emitting_threads == {threading.current_thread().name}


def test_a_final_error_keeps_its_code_and_is_resumable(setup: UploadSetup) -> None:
    """The first final error stops the other parts."""
    setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 4, kind=RefusedError("No.", code="quota-exceeded", remedy="Pay."))
    with pytest.raises(AliyunImportError) as raised:
        setup.push()
    assert raised.value.code == "quota-exceeded"
    assert str(raised.value.remedy).startswith("Pay. ")
    assert raised.value.resumable
    assert setup.events_of(PartRetried) == []


@pytest.mark.parametrize("key", [None, "images/web.raw"])
@pytest.mark.parametrize("resumed", [False, True])
def test_after_a_kill_during_complete_without_a_crc_the_object_is_ours(
    setup: UploadSetup, key: str | None, *, resumed: bool
) -> None:
    """Tag, size and parts decide: the next run is not refused under --key, and nothing is sent twice."""
    setup.key = key
    content = setup.write_disk("ab" + "." * 6 + "c0d")
    setup.store.change_object = without_crc64
    setup.store.copied_have_crc64 = False
    if resumed:  # with parts that the journal learned from the server
        setup.store.after = kill_at("send_part", 1)
        with pytest.raises(Killed):
            setup.push()
    setup.store.after = kill_at("complete", 0)
    with pytest.raises(Killed):
        setup.push()
    setup.store.after = no_hook
    sent = setup.store.received_bytes
    uploaded = setup.push()
    assert uploaded.made_by_us
    assert setup.store.content(uploaded.key) == content
    assert setup.store.received_bytes == sent
    assert list(setup.store.objects) == [uploaded.key]
    assert uploaded.proof == "CRC-64 of every part sent, source and range of every part copied"


def test_an_object_with_our_tag_is_not_ours_without_its_parts(setup: UploadSetup) -> None:
    """A tag can be copied, and a journal without parts can't prove the object."""
    setup.key = "images/web.raw"
    content = setup.write_disk(DENSE, unit=PART)
    setup.store.before = kill_at("send_part", 0)
    with pytest.raises(Killed):
        setup.push()
    setup.store.before = no_hook
    (upload,) = setup.store.uploads.values()
    setup.store.change_object = without_crc64
    setup.store.put(setup.key, bytes(len(content)), metadata=upload.metadata)
    with pytest.raises(RefusedError) as raised:
        setup.push()
    assert raised.value.code == "object-exists"


def test_a_journal_entry_with_another_crc_than_the_object_does_not_count(setup: UploadSetup) -> None:
    """OSS reports the CRC-64 of the object, which is compared with the entry's."""
    setup.write_disk("abc")
    first = setup.push()
    other, stored = bytes(len(setup.store.content(first.key))), setup.store.objects[first.key][1]
    setup.store.objects[first.key] = (other, replace(stored, crc64=crc64(other)))
    second = setup.push()
    assert second.key != first.key
    assert setup.store.content(second.key) == setup.path.read_bytes()


def test_an_interrupt_during_complete_ends_the_run(setup: UploadSetup) -> None:
    """The object is proven and in the journal, and no request follows; the same command uses the object."""
    setup.write_disk("abc")

    def interrupt(operation: str, count: int) -> None:
        if operation == "complete":
            setup.cancel.set()

    setup.store.before = interrupt
    with pytest.raises(Interrupted) as raised:
        setup.push()
    assert "same command" in str(raised.value.remedy)
    setup.cancel.clear()
    setup.store.before = no_hook
    sent = setup.store.received_bytes
    assert setup.push().made_by_us
    assert setup.store.received_bytes == sent
