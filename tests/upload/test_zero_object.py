"""Tests of the zero object: grown on the server, reused, and removed."""

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
from tests.clocks import SteeredClock
from tests.upload.scripted_store import ScriptedStore, no_hook
from tests.upload.test_resume import kill_at
from tests.upload.upload_setup import UNIT, Killed, UploadSetup

STEM = "aliyun-import/zeros-000000000000"


def context_of(store: ScriptedStore) -> UploadContext:
    """Return the context of an upload to a store, with a disk that is never read."""
    return UploadContext.of(
        Context(clock=SteeredClock()), source=Disk(Path("disk.raw"), FileReader(Path(os.devnull))), store=store
    )


@pytest.mark.parametrize("size_bytes", [size for size, _ in ZERO_SOURCES[:2]])
def test_a_zero_object_is_grown_from_one_mib(size_bytes: int) -> None:
    """One MiB is sent; the smaller objects are removed."""
    store = ScriptedStore()
    zero = ensure_zero_object(context_of(store), STEM, size_bytes=size_bytes)
    assert store.received_bytes == zero.sent_bytes == 1 * MIB
    assert list(store.objects) == [zero.key]
    assert store.content(zero.key) == bytes(size_bytes)


def test_each_size_is_32_times_the_previous_one() -> None:
    """One step of growth is a few dozen copies."""
    sizes = [size for size, _ in ZERO_SOURCES]
    assert sizes == [1 * MIB, 32 * MIB, 1024 * MIB]


def test_an_existing_zero_object_is_used() -> None:
    """Its CRC-64 is that of zeros; nothing is sent."""
    store = ScriptedStore()
    first = ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    second = ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    assert (second.key, second.etag, second.sent_bytes) == (first.key, first.etag, 0)


def test_an_object_with_other_bytes_is_replaced() -> None:
    """A key of ours does not prove the content."""
    store = ScriptedStore()
    store.put(zero_key(STEM, 1 * MIB), b"x" * MIB)
    zero = ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    assert store.content(zero.key) == bytes(1 * MIB)


def test_the_leftovers_of_a_killed_growth_are_removed() -> None:
    """They are an unfinished upload with its key, and smaller zero objects."""
    store = ScriptedStore()
    store.start_upload(zero_key(STEM, 32 * MIB))
    store.put(zero_key(STEM, 1 * MIB), bytes(MIB))
    zero = ensure_zero_object(context_of(store), STEM, size_bytes=32 * MIB)
    assert list(store.objects) == [zero.key]
    assert not store.uploads


def test_a_refused_copy_leaves_no_upload() -> None:
    """The unfinished upload of the growth is aborted."""
    store = ScriptedStore()

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part" and count > 3:
            raise CopyRefused("No.", code="copy-refused", remedy=None)

    store.before = refuse
    with pytest.raises(RefusedError):
        ensure_zero_object(context_of(store), STEM, size_bytes=32 * MIB)
    assert not store.uploads


def test_a_failed_removal_is_returned_and_not_raised() -> None:
    """The remaining objects cost little, and the upload itself is complete."""
    store = ScriptedStore()
    ensure_zero_object(context_of(store), STEM, size_bytes=1 * MIB)
    assert remove_all_zero_objects(context_of(store), STEM) == ()
    assert not store.objects

    def fail(operation: str, count: int) -> None:
        raise ConnectionLost("The connection is down.", code="connection-lost", remedy=None)

    store.before = fail
    assert remove_all_zero_objects(context_of(store), STEM) == tuple(zero_key(STEM, size) for size, _ in ZERO_SOURCES)


def test_a_removal_that_fails_once_is_repeated(setup: UploadSetup) -> None:
    """One HTTP 503 does not leave an object of up to 1 GiB."""
    setup.write_disk("ab" + "." * 8)
    fails = iter([True])

    def fail(operation: str, count: int) -> None:
        if operation == "delete" and next(fails, False):
            raise TransientError("Busy.", code="service-unwell", remedy=None)

    setup.store.before = fail
    uploaded = setup.push()
    assert list(setup.store.objects) == [uploaded.key]
    assert uploaded.left_over == ()


@pytest.mark.usefixtures("small_zeros")
def test_remaining_zero_objects_are_named_and_removed_by_the_next_run(setup: UploadSetup) -> None:
    """The result names them, and a warning has the command that removes them."""
    setup.write_disk("ab" + "." * 25)

    def fail(operation: str, count: int) -> None:
        if operation == "delete":
            raise PermissionDenied("No right to delete.", code="no-right", remedy=None)

    setup.store.before = fail
    uploaded = setup.push()
    assert set(setup.store.objects) == {uploaded.key, *uploaded.left_over}
    assert len(uploaded.left_over) == 2, "the object in use, and the one from which it was grown"
    (warned,) = setup.events_of(Warned)
    assert warned.code == "zeros-left"
    assert all(f"--remove {key}" in str(warned.remedy) for key in uploaded.left_over)
    setup.store.before = no_hook
    assert setup.push().left_over == ()
    assert list(setup.store.objects) == [uploaded.key]


def test_two_pushes_of_one_disk_do_not_share_a_zero_object(setup: UploadSetup) -> None:
    """The first to end removes its own object, and the other does not send its zeros."""
    content = setup.write_disk("ab" + "." * 8)
    setup.key = "images/one.raw"
    other = replace(setup, key="images/two.raw", state="other", events=[], cancel=threading.Event())
    pushed: list[UploadedObject] = []

    def push_the_other(operation: str, count: int) -> None:
        if operation == "send_part" and not pushed:
            setup.store.before = no_hook
            pushed.append(other.push())

    setup.store.before = push_the_other
    setup.push()
    assert setup.store.content("images/one.raw") == setup.store.content("images/two.raw") == content
    assert setup.events_of(Warned) == other.events_of(Warned) == []
    assert pushed[0].sent_bytes <= 2 * UNIT + 1 * MIB


def test_two_machines_with_the_same_command_do_not_share_a_zero_object(setup: UploadSetup) -> None:
    """They share the upload; the first to end removes nothing of the other, and neither sends zeros."""
    content = setup.write_disk("ab" + "." * 8)
    other = replace(setup, state="other", events=[], cancel=threading.Event())
    pushed: list[UploadedObject] = []

    def push_the_other(operation: str, count: int) -> None:
        if operation == "send_part" and not pushed:
            setup.store.before = no_hook
            pushed.append(other.push())

    setup.store.before = push_the_other
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert list(setup.store.objects) == [uploaded.key]
    assert not setup.store.uploads
    assert setup.store.received_bytes <= 2 * (2 * UNIT + MIB)


@pytest.mark.parametrize("times", [1, 3])
def test_a_zero_object_that_is_removed_is_made_again(setup: UploadSetup, small_zeros: int, times: int) -> None:
    """If it is removed during copies, the seed is sent again, and the zeros are not."""
    content = setup.write_disk("ab" + "." * 12 + "c" + "." * 12 + "d" + "." * 12 + "e" + "." * 12)
    remaining = iter(range(times))

    def remove(operation: str, count: int) -> None:
        zeros = [key for key in setup.store.objects if "/zeros-" in key and key.endswith(str(32 * small_zeros))]
        if operation == "copy_part" and zeros and next(remaining, None) is not None:
            del setup.store.objects[zeros[0]]

    setup.options = TransferOptions(jobs=1)
    setup.store.before = remove
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert setup.events_of(Warned) == []
    assert uploaded.sent_bytes == setup.store.received_bytes == 5 * UNIT + (1 + times) * small_zeros
    assert list(setup.store.objects) == [uploaded.key]


def test_after_repeated_removals_of_the_zero_object_the_zeros_are_sent(setup: UploadSetup, small_zeros: int) -> None:
    """A warning has the number of bytes."""
    content = setup.write_disk("ab" + "." * 25)

    def remove(operation: str, count: int) -> None:
        for key in [key for key in setup.store.objects if key.endswith(str(32 * small_zeros))]:
            del setup.store.objects[key]

    setup.store.before = remove
    assert setup.store.content(setup.push().key) == content
    assert [one.code for one in setup.events_of(Warned)] == ["base-changed"]


@pytest.mark.parametrize("first_refused", [0, 33])
def test_many_zeros_are_sent_only_with_the_option(setup: UploadSetup, small_zeros: int, first_refused: int) -> None:
    """Refused copies, before or during the transfer, are an error that names --send-zeros; with it they are sent."""
    content = setup.write_disk("ab" + "." * 38 + "c" + "." * 38 + "d")

    def refuse(operation: str, count: int) -> None:
        if operation == "copy_part" and count >= first_refused:
            raise CopyRefused("No copies here.", code="copy-refused", remedy=None)

    setup.store.before = refuse
    with pytest.raises(CopyRefused) as caught:
        setup.push()
    assert "--send-zeros" in (caught.value.remedy or "")
    assert setup.store.received_bytes <= 2 * (4 * UNIT + small_zeros)
    setup.options = TransferOptions(jobs=2, send_zeros=True)
    assert setup.store.content(setup.push().key) == content


@pytest.mark.usefixtures("small_zeros")
def test_a_zero_object_of_a_killed_run_is_removed(setup: UploadSetup) -> None:
    """Its key is in the journal before the growth begins."""
    setup.write_disk("ab" + "." * 20)
    setup.store.before = kill_at("copy_part", 3)
    with pytest.raises(Killed):
        setup.push()
    setup.store.before = no_hook
    assert any("/zeros-" in key for key in setup.store.objects)
    setup.write_disk("abcd")
    uploaded = setup.push()
    assert list(setup.store.objects) == [uploaded.key]


def test_a_zero_object_with_the_key_of_an_earlier_version_is_removed(setup: UploadSetup) -> None:
    """A journal of that version is resumed."""
    content = setup.write_disk("ab" + "." * 8)
    setup.store.before = kill_at("send_part", 0)
    with pytest.raises(Killed):
        setup.push()
    setup.store.before = no_hook
    (journal,) = (setup.directory / "state").glob("*.jsonl")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    (intended,) = [line for line in lines if line["kind"] == "upload-intended"]
    stem = intended.pop("zeros")
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (ours,) = [key for key in setup.store.objects if key.startswith(stem)]
    data, stored = setup.store.objects.pop(ours)
    old = shared_zero_stem(setup.request, sample=intended["fingerprint"]["sample"])
    setup.store.objects[zero_key(old, stored.size_bytes)] = (data, stored)
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert list(setup.store.objects) == [uploaded.key]
