"""Tests of the cache of keys, with a clock that the test sets."""

from collections.abc import Iterator

import pytest

from aliyun_import.cloud.credentials.keys import KeyCache, Keys, refused, unreachable
from aliyun_import.errors import AccessError, AliyunImportError, TransientError
from tests.rows import each_row

NOW_S = 1_700_000_000.0


class Source:
    """A source of keys that expire after `valid_s`, on its own clock; `fault` is raised instead of an answer."""

    def __init__(self, valid_s: float | None, *, token: str | None = "t") -> None:
        self.now_s = NOW_S
        self.valid_s = valid_s
        self.token = token
        self.reads = 0
        self.fault: AliyunImportError | None = None

    def read(self) -> Keys:
        """Return the next keys."""
        self.reads += 1
        if self.fault:
            raise self.fault
        return Keys(f"id-{self.reads}", "s", self.token, None if self.valid_s is None else self.now_s + self.valid_s)

    def cache(self) -> KeyCache:
        """Return a cache on the source's clock."""
        return KeyCache(self.read, lambda: self.now_s)

    def advance_in_steps(self, seconds: float, *, step_s: float) -> Iterator[None]:
        """Advance the clock in steps, and yield after each."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += step_s
            yield


@each_row(("valid_s", "renewed_after_s"), [(900.0, 675.0), (3600.0, 3300.0), (21600.0, 21300.0)])
def test_keys_are_renewed_when_a_quarter_of_their_validity_is_left(valid_s: float, renewed_after_s: float) -> None:
    """But at most five minutes before their end, and not at each request."""
    source = Source(valid_s)
    cache = source.cache()
    cache.get()
    source.now_s += renewed_after_s - 1
    assert cache.get().key_id == "id-1"
    source.now_s += 1
    assert cache.get().key_id == cache.get().key_id == "id-2"


@each_row("fault", [unreachable("the source", "HTTP 500."), refused("the source", "HTTP 403.")])
def test_a_failed_renewal_is_ignored_while_the_keys_are_valid(fault: AliyunImportError) -> None:
    """The source is read again at intervals, and its error is raised when the keys have expired."""
    source = Source(900.0)
    cache = source.cache()
    cache.get()
    source.fault = fault
    for _ in source.advance_in_steps(899.0, step_s=1.0):
        assert cache.get().key_id == "id-1"
    assert 5 < source.reads < 20
    source.now_s += 21.0
    with pytest.raises(type(fault)):
        cache.get()
    source.fault = None
    assert cache.get().token == "t"


def test_an_error_of_the_first_read_is_raised() -> None:
    """The next call reads the source again."""
    source = Source(900.0)
    source.fault = unreachable("the source", "HTTP 500.")
    cache = source.cache()
    with pytest.raises(TransientError):
        cache.get()
    source.fault = None
    assert cache.get().key_id == "id-2"


def test_the_source_of_short_lived_keys_is_read_rarely() -> None:
    """In six hours with keys of 15 minutes it is read once per 675 s, whatever the number of requests."""
    source = Source(900.0)
    cache = source.cache()
    for _ in source.advance_in_steps(6 * 3600.0, step_s=5.0):
        assert (cache.get().expires_s or 0) > source.now_s
    assert source.reads == 6 * 3600 // 675


def test_permanent_keys_are_read_once() -> None:
    """Keys without a token do not expire."""
    source = Source(None, token=None)
    cache = source.cache()
    for _ in source.advance_in_steps(86400.0, step_s=600.0):
        cache.get()
    assert source.reads == 1


def test_temporary_keys_without_an_expiration_are_read_again() -> None:
    """Their source has its own cache; its failures are ignored."""
    source = Source(None)
    cache = source.cache()
    cache.get()
    source.now_s += 60.0
    assert cache.get().key_id == "id-2"
    source.fault = AccessError("no", code="credentials-failed", remedy=None)
    for _ in source.advance_in_steps(86400.0, step_s=600.0):
        assert cache.get().key_id == "id-2"


def test_keys_that_are_expired_when_read_are_used() -> None:
    """The clock of this machine may be wrong, so the service decides; the source is not read for each request."""
    source = Source(-1200.0)
    cache = source.cache()
    assert [cache.get().key_id for _ in range(3)] == ["id-1"] * 3
