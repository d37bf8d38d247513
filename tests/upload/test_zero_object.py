"""The object of zeros: grown on the server, found again, removed."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk
from aliyun_import.disk.reader import FileReader
from aliyun_import.errors import ConnectionLost, CopyRefused, PermissionDenied, RefusedError, TransientError
from aliyun_import.events import Warned
from aliyun_import.limits import MIB
from aliyun_import.model.objects import UploadedObject
from aliyun_import.upload.context import TransferOptions, UploadContext
from aliyun_import.upload.plan import ZERO_SOURCES
from aliyun_import.upload.zero_object import ensure_zero_object, remove_all_zero_objects, shared_zero_stem, zero_key
from tests.steered import SteeredClock
from tests.upload.scene import UNIT, Killed, Scene
from tests.upload.scripted_store import ScriptedStore, nothing
from tests.upload.test_resume import kill_at

STEM = "aliyun-import/zeros-000000000000"


def context_of(store: ScriptedStore) -> UploadContext:
    """Return the context of a disk that is never read, with a store."""
    return UploadContext.of(
        Context(clock=SteeredClock()), source=Disk(Path("disk.raw"), FileReader(Path(os.devnull))), store=store
    )


@pytest.mark.parametrize("size_bytes", [size for size, _ in ZERO_SOURCES[:2]])
def test_it_is_grown_from_one_mib(size_bytes: int) -> None:
    """One MiB is sent; the smaller objects are removed."""
    store = ScriptedStore()
    zero = ensure_zero_object(context_of(store), STEM, size_bytes=size_bytes)
    assert store.received_bytes == zero.sent_bytes == 1 * MIB
    assert list(store.objects) == [zero.key]
    assert store.content(zero.key) == bytes(size_bytes)


def test_each_size_is_32_times_the_one_before() -> None:
    """So that one step of growth is a few dozen copies."""
    sizes = [size for size, _ in ZERO_SOURCES]
    assert sizes == [1 * MIB, 32 * MIB, 1024 * MIB]


def test_one_that_is_there_is_used() -> None:
    """By its CRC-64, which is that of zeros; nothing is sent."""
    store = ScriptedStore()
    first = ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    second = ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    assert (second.key, second.etag, second.sent_bytes) == (first.key, first.etag, 0)


def test_one_that_is_not_zeros_is_made_anew() -> None:
    """Its name is ours, and proves nothing."""
    store = ScriptedStore()
    store.put(zero_key(STEM, 1 * MIB), b"x" * MIB)
    zero = ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    assert store.content(zero.key) == bytes(1 * MIB)


def test_what_a_killed_growth_left_is_removed() -> None:
    """An unfinished upload with its key, and smaller objects."""
    store = ScriptedStore()
    store.start_upload(zero_key(STEM, 32 * MIB))
    store.put(zero_key(STEM, 1 * MIB), bytes(MIB))
    zero = ensure_zero_object(context_of(store), STEM, size_bytes=32 * MIB)
    assert list(store.objects) == [zero.key]
    assert not store.uploads


def test_a_refusal_leaves_no_upload_behind() -> None:
    """Growing was tried and refused: the unfinished upload is aborted."""
    store = ScriptedStore()

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part" and count > 3:
            raise CopyRefused("No.", code="copy-refused", remedy=None)

    store.before = refuse
    with pytest.raises(RefusedError):
        ensure_zero_object(context_of(store), STEM, size_bytes=32 * MIB)
    assert not store.uploads


def test_a_failed_removal_is_returned_and_not_raised() -> None:
    """A few cents a month are no reason to fail a push that is done."""
    store = ScriptedStore()
    ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    assert remove_all_zero_objects(context_of(store), STEM) == ()
    assert not store.objects

    def fail(operation: str, count: int) -> None:
        raise ConnectionLost("Down.", code="connection-lost", remedy=None)

    store.before = fail
    assert remove_all_zero_objects(context_of(store), STEM) == tuple(zero_key(STEM, size) for size, _ in ZERO_SOURCES)


def test_a_removal_that_fails_once_is_repeated(scene: Scene) -> None:
    """One 503 does not leave an object of up to 1 GiB behind."""
    scene.write_disk("ab" + "." * 8)
    fails = iter([True])

    def fail(operation: str, count: int) -> None:
        if operation == "delete" and next(fails, False):
            raise TransientError("Busy.", code="service-unwell", remedy=None)

    scene.store.before = fail
    uploaded = scene.push()
    assert list(scene.store.objects) == [uploaded.key]
    assert uploaded.left_over == ()


@pytest.mark.usefixtures("small_zeros")
def test_what_stays_is_named_and_removed_by_the_next_run(scene: Scene) -> None:
    """In the result and in a warning with a command that removes it; "nothing is left in OSS" is never untrue."""
    scene.write_disk("ab" + "." * 25)

    def fail(operation: str, count: int) -> None:
        if operation == "delete":
            raise PermissionDenied("No right to delete.", code="no-right", remedy=None)

    scene.store.before = fail
    uploaded = scene.push()
    assert set(scene.store.objects) == {uploaded.key, *uploaded.left_over}
    assert len(uploaded.left_over) == 2, "the one in use, and the one that it was grown from"
    (warned,) = scene.said(Warned)
    assert warned.code == "zeros-left"
    assert all(f"--remove {key}" in str(warned.remedy) for key in uploaded.left_over)
    scene.store.before = nothing
    assert scene.push().left_over == ()
    assert list(scene.store.objects) == [uploaded.key]


def test_two_pushes_of_one_disk_do_not_share_an_object_of_zeros(scene: Scene) -> None:
    """The first push to end removes only its own: the other one does not send its zeros."""
    content = scene.write_disk("ab" + "." * 8)
    scene.key = "images/one.raw"
    other = replace(scene, key="images/two.raw", state="other", events=[], stop=threading.Event())
    pushed: list[UploadedObject] = []

    def push_the_other(operation: str, count: int) -> None:
        if operation == "send_part" and not pushed:
            scene.store.before = nothing
            pushed.append(other.push())

    scene.store.before = push_the_other
    scene.push()
    assert scene.store.content("images/one.raw") == scene.store.content("images/two.raw") == content
    assert scene.said(Warned) == other.said(Warned) == []
    assert pushed[0].sent_bytes <= 2 * UNIT + 1 * MIB


def test_two_machines_with_the_same_command_do_not_share_an_object_of_zeros(scene: Scene) -> None:
    """They share the upload; the one that ends first takes nothing from the other, and neither sends zeros."""
    content = scene.write_disk("ab" + "." * 8)
    other = replace(scene, state="other", events=[], stop=threading.Event())
    pushed: list[UploadedObject] = []

    def push_the_other(operation: str, count: int) -> None:
        if operation == "send_part" and not pushed:
            scene.store.before = nothing
            pushed.append(other.push())

    scene.store.before = push_the_other
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert list(scene.store.objects) == [uploaded.key]
    assert not scene.store.uploads
    assert scene.store.received_bytes <= 2 * (2 * UNIT + MIB)


@pytest.mark.parametrize("times", [1, 3])
def test_an_object_of_zeros_that_vanishes_is_made_again(scene: Scene, small_zeros: int, times: int) -> None:
    """If it is removed during copies, the seed is sent again, and not the zeros."""
    content = scene.write_disk("ab" + "." * 12 + "c" + "." * 12 + "d" + "." * 12 + "e" + "." * 12)
    gone = iter(range(times))

    def remove(operation: str, count: int) -> None:
        zeros = [key for key in scene.store.objects if "/zeros-" in key and key.endswith(str(32 * small_zeros))]
        if operation == "copy_part" and zeros and next(gone, None) is not None:
            del scene.store.objects[zeros[0]]

    scene.options = TransferOptions(jobs=1)
    scene.store.before = remove
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert scene.said(Warned) == []
    assert uploaded.sent_bytes == scene.store.received_bytes == 5 * UNIT + (1 + times) * small_zeros
    assert list(scene.store.objects) == [uploaded.key]


def test_zeros_that_vanish_again_and_again_are_sent(scene: Scene, small_zeros: int) -> None:
    """After a few times the zeros are sent; a warning states how many."""
    content = scene.write_disk("ab" + "." * 25)

    def remove(operation: str, count: int) -> None:
        for key in [key for key in scene.store.objects if key.endswith(str(32 * small_zeros))]:
            del scene.store.objects[key]

    scene.store.before = remove
    assert scene.store.content(scene.push().key) == content
    assert [one.code for one in scene.said(Warned)] == ["base-changed"]


@pytest.mark.parametrize("first_refused", [0, 33])
def test_many_zeros_are_not_sent_unasked(scene: Scene, small_zeros: int, first_refused: int) -> None:
    """Neither before the transfer nor in its middle: the flag is named, and with it they are sent."""
    content = scene.write_disk("ab" + "." * 38 + "c" + "." * 38 + "d")

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part" and count >= first_refused:
            raise CopyRefused("No copies here.", code="copy-refused", remedy=None)

    scene.store.before = refuse
    with pytest.raises(CopyRefused) as caught:
        scene.push()
    assert "--send-zeros" in (caught.value.remedy or "")
    assert scene.store.received_bytes <= 2 * (4 * UNIT + small_zeros)
    scene.options = TransferOptions(jobs=2, send_zeros=True)
    assert scene.store.content(scene.push().key) == content


@pytest.mark.usefixtures("small_zeros")
def test_what_was_made_before_a_kill_is_removed(scene: Scene) -> None:
    """Killed while the object of zeros was grown: its name is in the journal, and the next run leaves nothing of it."""
    scene.write_disk("ab" + "." * 20)
    scene.store.before = kill_at("copy_part", 3)
    with pytest.raises(Killed):
        scene.push()
    scene.store.before = nothing
    assert any("/zeros-" in key for key in scene.store.objects)
    scene.write_disk("abcd")
    uploaded = scene.push()
    assert list(scene.store.objects) == [uploaded.key]


def test_an_object_of_zeros_under_the_name_of_an_earlier_version_is_removed(scene: Scene) -> None:
    """A journal of that version resumes, and leaves nothing behind."""
    content = scene.write_disk("ab" + "." * 8)
    scene.store.before = kill_at("send_part", 0)
    with pytest.raises(Killed):
        scene.push()
    scene.store.before = nothing
    (journal,) = (scene.directory / "state").glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    (intended,) = [line for line in lines if line["kind"] == "upload-intended"]
    stem = intended.pop("zeros")
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (ours,) = [key for key in scene.store.objects if key.startswith(stem)]
    data, there = scene.store.objects.pop(ours)
    old = shared_zero_stem(scene.delivery, sample=intended["fingerprint"]["sample"])
    scene.store.objects[zero_key(old, there.size_bytes)] = (data, there)
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert list(scene.store.objects) == [uploaded.key]
