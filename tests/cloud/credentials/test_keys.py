"""Tests of the cache of keys, on a steered clock."""

from collections.abc import Iterator

import pytest

from aliyun_import.cloud.credentials.keys import KeyCache, Keys, refused, unreachable
from aliyun_import.errors import AccessError, AliyunImportError, TransientError
from tests.rows import each_row

NOW_S = 1_700_000_000.0


class Source:
    """A source of keys that expire after `life_s`, on its own clock; `fault` is raised instead of an answer."""

    def __init__(self, life_s: float | None, *, token: str | None = "t") -> None:
        self.now_s = NOW_S
        self.life_s = life_s
        self.token = token
        self.asked = 0
        self.fault: AliyunImportError | None = None

    def read(self) -> Keys:
        """Return the next keys."""
        self.asked += 1
        if self.fault:
            raise self.fault
        return Keys(f"id-{self.asked}", "s", self.token, None if self.life_s is None else self.now_s + self.life_s)

    def cache(self) -> KeyCache:
        """Return a cache on the source's clock."""
        return KeyCache(self.read, lambda: self.now_s)

    def passing(self, seconds: float, *, step_s: float) -> Iterator[None]:
        """Let time pass, step by step."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += step_s
            yield


@each_row(("life_s", "renewed_after_s"), [(900.0, 675.0), (3600.0, 3300.0), (21600.0, 21300.0)])
def test_keys_are_renewed_when_a_quarter_of_their_life_is_left(life_s: float, renewed_after_s: float) -> None:
    """But not earlier than five minutes before their end, and not at each request."""
    source = Source(life_s)
    cache = source.cache()
    cache.get()
    source.now_s += renewed_after_s - 1
    assert cache.get().key_id == "id-1"
    source.now_s += 1
    assert cache.get().key_id == cache.get().key_id == "id-2"


@each_row("fault", [unreachable("the source", "HTTP 500."), refused("the source", "HTTP 403.")])
def test_a_failed_renewal_does_not_matter_while_the_keys_are_good(fault: AliyunImportError) -> None:
    """The present keys are used, the source is queried at intervals, and its error is raised when they expire."""
    source = Source(900.0)
    cache = source.cache()
    cache.get()
    source.fault = fault
    for _ in source.passing(899.0, step_s=1.0):
        assert cache.get().key_id == "id-1"
    assert 5 < source.asked < 20
    source.now_s += 21.0
    with pytest.raises(type(fault)):
        cache.get()
    source.fault = None
    assert cache.get().token == "t"


def test_the_first_answer_has_nothing_to_fall_back_on() -> None:
    """The error of the source is raised, and the next call asks again."""
    source = Source(900.0)
    source.fault = unreachable("the source", "HTTP 500.")
    cache = source.cache()
    with pytest.raises(TransientError):
        cache.get()
    source.fault = None
    assert cache.get().key_id == "id-2"


def test_hours_of_short_keys_cost_few_questions() -> None:
    """Six hours with keys of 15 minutes: one question for each 675 s, however many requests there are."""
    source = Source(900.0)
    cache = source.cache()
    for _ in source.passing(6 * 3600.0, step_s=5.0):
        assert (cache.get().expires_s or 0) > source.now_s
    assert source.asked == 6 * 3600 // 675


def test_permanent_keys_are_read_once() -> None:
    """Keys without a token have no end."""
    source = Source(None, token=None)
    cache = source.cache()
    for _ in source.passing(86400.0, step_s=600.0):
        cache.get()
    assert source.asked == 1


def test_temporary_keys_without_an_end_are_read_again() -> None:
    """Keys without an expiry are read again; failures of their reader are ignored."""
    source = Source(None)
    cache = source.cache()
    cache.get()
    source.now_s += 60.0
    assert cache.get().key_id == "id-2"
    source.fault = AccessError("no", code="credentials-failed", remedy=None)
    for _ in source.passing(86400.0, step_s=600.0):
        assert cache.get().key_id == "id-2"


def test_keys_that_have_ended_on_arrival_are_used() -> None:
    """The clock of this machine is wrong, so the keys are used; the source is not queried for each request."""
    source = Source(-1200.0)
    cache = source.cache()
    assert [cache.get().key_id for _ in range(3)] == ["id-1"] * 3
