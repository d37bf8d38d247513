"""The object of zeros: grown on the server, found again, removed."""

import pytest

from aliyun_import.errors import ConnectionLost, CopyRefused, RefusedError
from aliyun_import.limits import MIB
from aliyun_import.upload.plan.plan import ZERO_SOURCES
from aliyun_import.upload.zero_object import ensure_zero_object, remove_all_zero_objects, zero_key
from tests.upload.scripted_store import ScriptedStore, SteeredClock

STEM = "aliyun-import/zeros-000000000000"


@pytest.mark.parametrize("size_bytes", [size for size, _ in ZERO_SOURCES[:2]])
def test_it_is_grown_from_one_mib(size_bytes: int) -> None:
    """One MiB travels; what it was grown from is gone."""
    store = ScriptedStore()
    zero = ensure_zero_object(store, STEM, size_bytes=size_bytes, clock=SteeredClock())
    assert store.received_bytes == zero.sent_bytes == 1 * MIB
    assert list(store.objects) == [zero.key]
    assert store.content(zero.key) == bytes(size_bytes)


def test_each_size_is_32_times_the_one_before() -> None:
    """So that one step of growth is a few dozen copies."""
    sizes = [size for size, _ in ZERO_SOURCES]
    assert sizes == [1 * MIB, 32 * MIB, 1024 * MIB]


def test_one_that_is_there_is_used() -> None:
    """By its CRC-64, which is that of zeros; nothing travels."""
    store, clock = ScriptedStore(), SteeredClock()
    first = ensure_zero_object(store, STEM, size_bytes=1 * MIB, clock=clock)
    second = ensure_zero_object(store, STEM, size_bytes=1 * MIB, clock=clock)
    assert (second.key, second.etag, second.sent_bytes) == (first.key, first.etag, 0)


def test_one_that_is_not_zeros_is_made_anew() -> None:
    """Its name is ours, and proves nothing."""
    store = ScriptedStore()
    store.put(zero_key(STEM, 1 * MIB), b"x" * MIB)
    zero = ensure_zero_object(store, STEM, size_bytes=1 * MIB, clock=SteeredClock())
    assert store.content(zero.key) == bytes(1 * MIB)


def test_what_a_killed_growth_left_is_removed() -> None:
    """An unfinished upload of its own name, and smaller ones."""
    store = ScriptedStore()
    store.start_upload(zero_key(STEM, 32 * MIB))
    store.put(zero_key(STEM, 1 * MIB), bytes(MIB))
    zero = ensure_zero_object(store, STEM, size_bytes=32 * MIB, clock=SteeredClock())
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
        ensure_zero_object(store, STEM, size_bytes=32 * MIB, clock=SteeredClock())
    assert not store.uploads


def test_removal_that_fails_is_told_and_not_raised() -> None:
    """A few cents a month are no reason to fail a push that is done."""
    store = ScriptedStore()
    ensure_zero_object(store, STEM, size_bytes=1 * MIB, clock=SteeredClock())
    assert remove_all_zero_objects(store, STEM)
    assert not store.objects

    def fail(operation: str, count: int) -> None:
        raise ConnectionLost("Down.", code="connection-lost", remedy=None)

    store.before = fail
    assert not remove_all_zero_objects(store, STEM)
