"""One policy of retrying: what, how often, and after how long."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    Interrupted,
    RefusedError,
    ServiceUnreachable,
    Throttled,
    TransientError,
)
from aliyun_import.retry import (
    ATTEMPTS,
    FIRST_CONTACT_ATTEMPTS,
    LAST_WINDOW_S,
    first_contact,
    wait_before_retry,
    with_retries,
)
from tests.upload.scripted_store import SteeredClock


def passing(retry_after_s: float | None = None) -> TransientError:
    """Make a passing error."""
    return TransientError("Unwell.", code="service-unwell", remedy=None, retry_after_s=retry_after_s)


@pytest.mark.parametrize("kind", [AccessError, RefusedError, Interrupted])
def test_what_is_final_is_not_retried(kind: type[AliyunImportError]) -> None:
    """Only passing trouble is tried again."""
    assert wait_before_retry(kind("No.", code="no", remedy=None), 1) is None


def test_the_attempts_end() -> None:
    """The last attempt is followed by none."""
    assert wait_before_retry(passing(), ATTEMPTS - 1) is not None
    assert wait_before_retry(passing(), ATTEMPTS) is None


@given(st.integers(1, ATTEMPTS - 1), st.floats(0, 1, exclude_max=True))
def test_the_wait_stays_in_its_window(attempt: int, share: float) -> None:
    """The window doubles up to a last one, and the wait is any share of it."""
    wait = wait_before_retry(passing(), attempt, share=lambda: share)
    assert wait is not None
    assert 0 <= wait <= min(LAST_WINDOW_S, 2 ** (attempt - 1))


def test_the_services_wish_is_a_lower_bound() -> None:
    """A service that says how long to stay away is believed."""
    assert wait_before_retry(passing(30.0), 1, share=lambda: 0.5) == 30.0
    assert wait_before_retry(passing(0.1), 3, share=lambda: 0.5) == 2.0


def test_patiently_waits_through_the_clock_and_tells() -> None:
    """Every wait is announced before it begins, and the answer comes out."""
    clock = SteeredClock()
    failures = [passing(5.0), passing(7.0)]
    told: list[tuple[int, float]] = []

    def call() -> str:
        if failures:
            raise failures.pop(0)
        return "answer"

    answer = with_retries(call, clock=clock, on_retry=lambda _, attempt, wait_s: told.append((attempt, wait_s)))
    assert answer == "answer"
    assert clock.slept == [5.0, 7.0]
    assert told == [(1, 5.0), (2, 7.0)]


@pytest.mark.parametrize(
    ("caller", "kind", "calls"),
    [
        (with_retries, ServiceUnreachable, ATTEMPTS),
        (first_contact, ServiceUnreachable, FIRST_CONTACT_ATTEMPTS),
        (first_contact, Throttled, ATTEMPTS),
    ],
)
def test_the_last_error_comes_out(caller: Callable[..., None], kind: type[TransientError], calls: int) -> None:
    """When the attempts are used up, it comes out as it was; at first soon, where nobody is there to be waited for."""
    failures: list[TransientError] = []

    def call() -> None:
        failures.append(
            kind("Unwell.", code="connection-refused" if kind is ServiceUnreachable else "throttled", remedy=None)
        )
        raise failures[-1]

    with pytest.raises(TransientError) as caught:
        caller(call, clock=SteeredClock())
    assert caught.value is failures[-1]
    assert len(failures) == calls
