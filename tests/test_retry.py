"""Tests of the retry policies and of the loop that applies them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.context import Context
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    Interrupted,
    RefusedError,
    ServiceUnreachable,
    TransientError,
)
from aliyun_import.events import CallRetried, Event
from aliyun_import.retry import DEFAULT, PATIENT, Retrier, RetryPolicy
from tests.rows import each_row
from tests.steered import SteeredClock

UNREACHABLE = ("connection-refused", "connect-timed-out", "host-unknown", "proxy-failed", "tls-failed")


def transient(retry_after_s: float | None = None, *, code: str = "service-unwell") -> TransientError:
    """Return a transient failure."""
    kind = ServiceUnreachable if code in UNREACHABLE else TransientError
    return kind("Unwell.", code=code, remedy=None, retry_after_s=retry_after_s)


@each_row("kind", [AccessError, RefusedError, Interrupted])
def test_what_is_final_is_not_retried(kind: type[AliyunImportError]) -> None:
    """Only transient failures are tried again."""
    assert DEFAULT.wait_s(kind("No.", code="no", remedy=None), 1) is None


@each_row("policy", [DEFAULT, PATIENT])
def test_the_attempts_end(policy: RetryPolicy) -> None:
    """The last attempt is followed by none."""
    assert policy.wait_s(transient(), policy.attempts - 1) is not None
    assert policy.wait_s(transient(), policy.attempts) is None


@given(st.integers(1, DEFAULT.attempts - 1), st.floats(0, 1, exclude_max=True))
def test_the_wait_stays_in_its_window(attempt: int, share: float) -> None:
    """The window doubles up to a last one, and the wait is any share of it."""
    wait = replace(DEFAULT, jitter=lambda: share).wait_s(transient(), attempt)
    assert wait is not None
    assert 0 <= wait <= min(DEFAULT.last_window_s, 2 ** (attempt - 1))


def test_the_services_wish_is_a_lower_bound() -> None:
    """A service's own retry_after_s is kept."""
    half = replace(DEFAULT, jitter=lambda: 0.5)
    assert half.wait_s(transient(30.0), 1) == 30.0
    assert half.wait_s(transient(0.1), 3) == 2.0


def test_an_event_has_the_limit_that_applies() -> None:
    """Before the first answer that is the limit of the first contact, which is lower."""
    retried: list[Event] = []

    def call() -> None:
        raise transient(code="connection-refused")

    with pytest.raises(ServiceUnreachable):
        Retrier(Context(clock=SteeredClock(), emit=retried.append))(call)
    limits = [event.attempts for event in retried if isinstance(event, CallRetried)]
    assert limits == [DEFAULT.first_contact_attempts] * (DEFAULT.first_contact_attempts - 1)


def test_every_wait_is_emitted_before_it_begins() -> None:
    """The waits pass through the clock of the context, and the answer comes out."""
    clock = SteeredClock()
    failures = [transient(5.0), transient(7.0)]
    retried: list[tuple[CallRetried, int]] = []

    def emit(event: Event) -> None:
        assert isinstance(event, CallRetried)
        retried.append((event, len(clock.slept)))

    def call(value: str, *, suffix: str) -> str:
        if failures:
            raise failures.pop(0)
        return value + suffix

    assert Retrier(Context(clock=clock, emit=emit))(call, "ans", suffix="wer") == "answer"
    assert clock.slept == [5.0, 7.0]
    assert retried == [
        (CallRetried(attempt=1, attempts=8, wait_s=5.0, reason="Unwell."), 0),
        (CallRetried(attempt=2, attempts=8, wait_s=7.0, reason="Unwell."), 1),
    ]


@each_row("code", sorted(UNREACHABLE))
def test_before_the_first_answer_nobody_is_waited_for_long(code: str) -> None:
    """A wrong endpoint is reported within seconds; a service that answered once gets all attempts."""
    clock = SteeredClock()
    retry = Retrier(Context(clock=clock))
    assert attempts_of(retry, code) == DEFAULT.first_contact_attempts == 3
    assert sum(clock.slept) <= 3.0
    assert retry(lambda: "answer") == "answer"
    assert attempts_of(retry, code) == DEFAULT.attempts == 8


def test_any_answer_is_a_contact() -> None:
    """A service that answers that it is busy is there: from then on, and at once."""
    retry = Retrier(Context(clock=SteeredClock()))
    assert attempts_of(retry, "throttled") == DEFAULT.attempts
    assert attempts_of(retry, "connection-refused") == DEFAULT.attempts


def attempts_of(retry: Retrier, code: str) -> int:
    """Return the number of attempts of a call that always fails; its last error comes out as it was."""
    failures: list[TransientError] = []

    def call() -> None:
        failures.append(transient(code=code))
        raise failures[-1]

    with pytest.raises(TransientError) as caught:
        retry(call)
    assert caught.value is failures[-1]
    return len(failures)
