"""Tests of resuming: after a kill at any call, without the journal, on another machine."""

import itertools
import random
import threading
from dataclasses import replace

import pytest

from aliyun_import.errors import AliyunImportError, ConnectionLost, Interrupted, RefusedError, TransientError
from aliyun_import.events import Event, PartRetried, UploadProgress, UploadResumed, Warned
from aliyun_import.sizes import size
from aliyun_import.upload.crc64 import crc64
from tests.upload.scene import PART, UNIT, Killed, Scene, unsampled
from tests.upload.scripted_store import Hook, nothing

pytestmark = pytest.mark.usefixtures("small_parts")

DENSE = "abcdef"


def kill_at(operation: str, count: int, *, kind: BaseException | None = None) -> Hook:
    """Return a hook that kills the process at a call, as SIGKILL does: no handler of the engine runs to its end."""

    def hook(here: str, number: int) -> None:
        if (here, number) == (operation, count):
            raise kind or Killed

    return hook


def parts_that_lie_there(scene: Scene) -> int:
    """Count the bytes of the one unfinished upload."""
    (upload,) = scene.store.uploads.values()
    return sum(len(data) for data, _ in upload.parts.values())


def test_what_is_there_is_not_sent_again(scene: Scene) -> None:
    """Killed in the middle, the second run sends the rest."""
    content = scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        scene.push()
    there = parts_that_lie_there(scene)
    assert there >= 3 * PART
    scene.store.before = nothing
    before = scene.store.received_bytes
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert scene.store.received_bytes - before == len(content) - there
    (resumed,) = scene.said(UploadResumed)
    assert resumed.done_bytes == there
    assert scene.said(UploadProgress)[-1].done_bytes == len(content)
    assert scene.store.calls["start_upload"] == 1


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "operation", ["head", "list_objects", "list_uploads", "put", "start_upload", "copy_part", "list_parts", "complete"]
)
@pytest.mark.usefixtures("small_zeros")
def test_killed_at_any_call_the_same_command_comes_to_the_object(scene: Scene, operation: str, moment: str) -> None:
    """After a kill before or after the effect of any call, the object equals the disk, and nothing else is left."""
    grows = operation in ("put", "start_upload", "copy_part", "complete")
    content = scene.write_disk("ab" + "." * (20 if grows else 4) + "c0d")
    for count in itertools.count():
        setattr(scene.store, moment, kill_at(operation, scene.store.calls[operation] + count))
        try:
            uploaded = scene.push()
        except Killed:
            setattr(scene.store, moment, nothing)
            uploaded = scene.push()
            assert scene.store.content(uploaded.key) == content
            assert uploaded.made_by_us
            scene.store.uploads.clear()  # one that was started, and whose id never came back
        setattr(scene.store, moment, nothing)
        assert list(scene.store.objects) == [uploaded.key]
        if count > 1:
            return
        scene.store.objects.clear()
        for path in (scene.directory / scene.state).iterdir():
            path.unlink()


def test_twenty_kills_at_random_send_little_twice(scene: Scene) -> None:
    """At the end the object is right, and what went twice is at most the parts that were in flight."""
    content = scene.write_disk(DENSE * 2, unit=PART)
    rng = random.Random(3)
    kills = 0
    while kills < 20:
        scene.store.before = kill_at("send_part", scene.store.calls["send_part"] + rng.randrange(3))
        try:
            scene.push()
            break
        except Killed:
            kills += 1
    scene.store.before = nothing
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert kills >= 3
    assert scene.store.received_bytes <= len(content) + kills * 2 * PART


def test_without_the_journal_the_upload_is_found_and_proven(scene: Scene) -> None:
    """Another machine lists the unfinished uploads, compares each part with its disk, and resumes."""
    content = scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        scene.push()
    there = parts_that_lie_there(scene)
    scene.store.before = nothing
    before = scene.store.received_bytes
    uploaded = replace(scene, state="another machine").push()
    assert scene.store.content(uploaded.key) == content
    assert scene.store.received_bytes - before == len(content) - there
    assert "proven against the disk" in scene.said(UploadResumed)[0].how


def test_a_foreign_upload_of_the_same_key_is_left_alone(scene: Scene) -> None:
    """With a key that the user named, another user may be uploading another disk."""
    content = scene.write_disk("abcd")
    scene.key = "images/web.raw"
    foreign = scene.store.start_upload(scene.key)
    scene.store._add_part(scene.store.uploads[foreign], 1, b"x" * UNIT)
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert list(scene.store.uploads) == [foreign]


def test_a_part_that_is_wrong_there_is_sent_again(scene: Scene) -> None:
    """The server's CRC-64 decides, not the journal."""
    content = scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        scene.push()
    (upload,) = scene.store.uploads.values()
    number, (data, part) = next(iter(upload.parts.items()))
    wrong = b"x" * len(data)
    upload.parts[number] = (wrong, replace(part, crc64=crc64(wrong)))
    scene.store.before = nothing
    assert scene.store.content(scene.push().key) == content


def test_an_upload_that_the_server_lost_starts_over_once(scene: Scene) -> None:
    """It emits one warning, and completes the object."""
    content = scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        scene.push()
    scene.store.uploads.clear()
    scene.store.before = nothing
    assert scene.store.content(scene.push().key) == content
    assert [warned.code for warned in scene.said(Warned)] == ["upload-vanished"]


def test_an_upload_that_vanishes_over_and_over_is_an_error(scene: Scene) -> None:
    """A fresh start is tried once in a run, never in a loop."""
    scene.write_disk("abc", unit=PART)

    def forget(operation: str, count: int) -> None:
        if operation == "send_part":
            scene.store.uploads.clear()

    scene.store.before = forget
    with pytest.raises(RefusedError) as raised:
        scene.push()
    assert raised.value.code == "upload-vanished"
    assert scene.store.calls["start_upload"] == 2


def test_the_disk_that_another_push_completed_meanwhile_is_used(scene: Scene) -> None:
    """The upload does not exist because it was completed."""
    content = scene.write_disk("abc", unit=PART)

    def complete_elsewhere(operation: str, count: int) -> None:
        if operation == "send_part" and scene.store.uploads:
            (upload,) = scene.store.uploads.values()
            scene.store.uploads.clear()
            scene.store.put(upload.key, content)

    scene.store.before = complete_elsewhere
    assert scene.store.content(scene.push().key) == content
    assert scene.said(Warned) == []


def test_a_changed_disk_is_a_fresh_start_with_a_warning(scene: Scene) -> None:
    """The unfinished upload of the previous content is aborted, because no error would name it."""
    scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        scene.push()
    content = scene.write_disk(DENSE[::-1], unit=PART)
    scene.store.before = nothing
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert [warned.code for warned in scene.said(Warned)] == ["disk-changed"]
    assert not scene.store.uploads


def test_a_touched_disk_is_proven_anew(scene: Scene) -> None:
    """Only its time changed: the journal does not count, and parts that are proven equal are not sent again."""
    content = scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 4)
    with pytest.raises(Killed):
        scene.push()
    with scene.path.open("r+b") as file:
        file.seek(unsampled(len(content), after=2 * PART))
        file.write(b"changed")
        content = content[: file.tell() - 7] + b"changed" + content[file.tell() :]
    scene.store.before = nothing
    before = scene.store.received_bytes
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert scene.store.received_bytes - before < len(content) - PART
    assert [warned.code for warned in scene.said(Warned)] == ["disk-changed"]


def test_what_a_changed_disk_left_is_removed(scene: Scene) -> None:
    """The object of zeros of what the disk was, too: no later run would look for it."""
    scene.write_disk("abcd" + "." * 4, unit=PART)
    scene.store.before = kill_at("send_part", 2)
    with pytest.raises(Killed):
        scene.push()
    assert any("zeros" in key for key in scene.store.objects)
    scene.write_disk("dcba", unit=PART)
    scene.store.before = nothing
    uploaded = scene.push()
    assert list(scene.store.objects) == [uploaded.key]
    assert not scene.store.uploads


# Lost answers.


@pytest.mark.parametrize("operation", ["start_upload", "send_part", "put", "complete", "copy_part"])
def test_a_lost_answer_is_settled(scene: Scene, operation: str) -> None:
    """The effect took place, the answer did not come: tried again, or looked at, never sent twice in whole."""
    content = scene.write_disk("ab" + "." * 6 + "c0d")
    lost = ConnectionLost("The connection broke.", code="connection-lost", remedy=None)
    scene.store.after = kill_at(operation, 0, kind=lost)
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert uploaded.made_by_us
    assert scene.store.calls["send_part"] <= 4


def test_a_lost_complete_without_a_crc_is_settled_by_our_tag(scene: Scene) -> None:
    """If the object has no CRC-64, its metadata identifies the push."""
    scene.write_disk("abcd")
    scene.store.change_object = lambda there: replace(there, crc64=None)
    lost = ConnectionLost("The connection broke.", code="connection-lost", remedy=None)
    scene.store.after = kill_at("complete", 0, kind=lost)
    assert scene.push().made_by_us
    assert scene.store.calls["complete"] == 1


def test_an_equal_object_of_another_push_is_not_ours(scene: Scene) -> None:
    """It is used, and it is not ours to remove."""
    content = scene.write_disk("abcd")
    scene.key = "images/web.raw"

    def intrude(operation: str, count: int) -> None:
        if operation == "complete":
            scene.store.put("images/web.raw", content)

    scene.store.before = intrude
    assert not scene.push().made_by_us


def test_another_object_with_the_key_is_refused_at_the_end(scene: Scene) -> None:
    """Complete does not overwrite the object of another push."""
    scene.write_disk("abcd")
    scene.key = "images/web.raw"

    def intrude(operation: str, count: int) -> None:
        if operation == "complete":
            scene.store.put("images/web.raw", b"something else")

    scene.store.before = intrude
    with pytest.raises(RefusedError) as raised:
        scene.push()
    assert raised.value.code == "object-exists"
    assert scene.store.content("images/web.raw") == b"something else"


# Stops.


def test_an_interrupt_says_what_is_safe(scene: Scene) -> None:
    """The parts in transfer end at the next chunk, the finished ones are journalled, and the same command resumes."""
    content = scene.write_disk(DENSE, unit=PART)

    def interrupt(operation: str, count: int) -> None:
        if operation == "send_part" and count == 3:
            scene.stop.set()

    scene.store.before = interrupt
    with pytest.raises(Interrupted) as raised:
        scene.push()
    there = parts_that_lie_there(scene)
    assert raised.value.resumable
    assert f"{size(there)} are kept" in str(raised.value.remedy)
    assert str(raised.value.remedy).count("same command") == 1
    scene.stop.clear()
    scene.store.before = nothing
    before = scene.store.received_bytes
    assert scene.store.content(scene.push().key) == content
    assert scene.store.received_bytes - before == len(content) - there


def test_an_interrupt_before_the_transfer_is_one_too(scene: Scene) -> None:
    """While the disk is scanned."""
    scene.write_disk(DENSE)
    scene.stop.set()
    with pytest.raises(Interrupted):
        scene.push()
    assert scene.store.calls["start_upload"] == 0


def test_one_thread_emits(scene: Scene) -> None:
    """All events come from the thread that called."""
    scene.write_disk(DENSE, unit=PART)
    speakers: set[str] = set()

    class Listening(list[Event]):
        def append(self, event: Event) -> None:
            super().append(event)
            speakers.add(threading.current_thread().name)

    scene.events = Listening()
    scene.store.before = kill_at("send_part", 3, kind=TransientError("Unwell.", code="service-unwell", remedy=None))
    scene.push()
    assert speakers == {threading.current_thread().name}


def test_a_final_error_keeps_its_code_and_says_what_is_safe(scene: Scene) -> None:
    """The first error that is final stops the rest."""
    scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 4, kind=RefusedError("No.", code="quota-exceeded", remedy="Pay."))
    with pytest.raises(AliyunImportError) as raised:
        scene.push()
    assert raised.value.code == "quota-exceeded"
    assert str(raised.value.remedy).startswith("Pay. ")
    assert raised.value.resumable
    assert scene.said(PartRetried) == []


@pytest.mark.parametrize("key", [None, "images/web.raw"])
@pytest.mark.parametrize("resumed", [False, True])
def test_killed_after_the_last_request_without_a_crc_the_object_is_ours(
    scene: Scene, key: str | None, *, resumed: bool
) -> None:
    """Its tag, its size and its parts decide: no object-exists for ever under --key, and nothing is sent twice."""
    scene.key = key
    content = scene.write_disk("ab" + "." * 6 + "c0d")
    scene.store.change_object = lambda there: replace(there, crc64=None)
    scene.store.copied_have_crc64 = False
    if resumed:  # with parts that the journal learned from the server
        scene.store.after = kill_at("send_part", 1)
        with pytest.raises(Killed):
            scene.push()
    scene.store.after = kill_at("complete", 0)
    with pytest.raises(Killed):
        scene.push()
    scene.store.after = nothing
    sent = scene.store.received_bytes
    uploaded = scene.push()
    assert uploaded.made_by_us
    assert scene.store.content(uploaded.key) == content
    assert scene.store.received_bytes == sent
    assert list(scene.store.objects) == [uploaded.key]
    assert uploaded.proof == "CRC-64 of every part sent, source and range of every part copied"


def test_an_object_with_our_tag_is_not_ours_without_its_parts(scene: Scene) -> None:
    """A tag can be copied, and a journal without parts can't prove the object."""
    scene.key = "images/web.raw"
    content = scene.write_disk(DENSE, unit=PART)
    scene.store.before = kill_at("send_part", 0)
    with pytest.raises(Killed):
        scene.push()
    scene.store.before = nothing
    (upload,) = scene.store.uploads.values()
    scene.store.change_object = lambda there: replace(there, crc64=None)
    scene.store.put(scene.key, bytes(len(content)), metadata=upload.metadata)
    with pytest.raises(RefusedError) as raised:
        scene.push()
    assert raised.value.code == "object-exists"


def test_a_forged_entry_about_an_object_does_not_count(scene: Scene) -> None:
    """The CRC-64 that OSS reports is compared with that of the entry."""
    scene.write_disk("abc")
    first = scene.push()
    foreign, there = bytes(len(scene.store.content(first.key))), scene.store.objects[first.key][1]
    scene.store.objects[first.key] = (foreign, replace(there, crc64=crc64(foreign)))
    second = scene.push()
    assert second.key != first.key
    assert scene.store.content(second.key) == scene.path.read_bytes()


def test_an_interrupt_during_the_last_request_ends_the_run(scene: Scene) -> None:
    """The object is proven and journalled, and nothing follows; the same command uses it."""
    scene.write_disk("abc")

    def interrupt(operation: str, count: int) -> None:
        if operation == "complete":
            scene.stop.set()

    scene.store.before = interrupt
    with pytest.raises(Interrupted) as raised:
        scene.push()
    assert "same command" in str(raised.value.remedy)
    scene.stop.clear()
    scene.store.before = nothing
    sent = scene.store.received_bytes
    assert scene.push().made_by_us
    assert scene.store.received_bytes == sent
