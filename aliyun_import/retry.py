"""This file decides what is retried, and after how long: the one policy of the engine.

Only TransientError is retried. The wait is exponential with full jitter (a random share of the window keeps
many parts that failed together from coming back together); a wish of the service (retry_after_s) is a lower bound.
"""

import random
from collections.abc import Callable
from typing import TypeVar

from aliyun_import.context import Clock
from aliyun_import.errors import AliyunImportError, TransientError

# The first window. Below a second, a throttled service is asked again while it still throttles.
FIRST_WINDOW_S = 1.0
# The last window. A line that drops for a minute should not cost more than about another one.
LAST_WINDOW_S = 60.0
# Eight attempts wait for a minute in the middle, two at most: enough for a service to come back to its senses.
ATTEMPTS = 8
# Twelve wait for three minutes in the middle, six at most: for a transfer under way, behind which hours of work stand
# and in front of which a router is restarted.
PATIENT_ATTEMPTS = 12
# Before a service has answered once, nothing is under way that a long wait could save, and a wrong endpoint should be
# told at once: after waits of 1 and 2 seconds at the most. An answer, be it that it is busy, gets the usual patience.
FIRST_CONTACT_ATTEMPTS = 3
NOBODY_THERE = frozenset({"connection-refused", "connect-timed-out", "host-unknown", "proxy-failed", "tls-failed"})

T = TypeVar("T")


def wait_before_retry(
    error: AliyunImportError,
    attempt: int,
    *,
    attempts: int = ATTEMPTS,
    share: Callable[[], float] = random.random,
) -> float | None:
    """Tell how many seconds to wait before the next attempt; None when there should be none.

    `attempt` counts from 1, the one that just failed. `share` gives a number in [0, 1) and is there for tests.
    """
    if not isinstance(error, TransientError) or attempt >= attempts:
        return None
    window = min(LAST_WINDOW_S, FIRST_WINDOW_S * 2.0 ** (attempt - 1))
    return max(error.retry_after_s or 0.0, window * share())


def with_retries(
    call: Callable[[], T],
    *,
    clock: Clock,
    on_retry: Callable[[AliyunImportError, int, float], None] | None = None,
) -> T:
    """Call until it succeeds, the error is final or the attempts are used up; then its error comes out.

    `on_retry` is told the error, the attempt that failed and the wait, before the wait.
    """
    attempt = 1
    while True:
        try:
            return call()
        except TransientError as error:
            wait_s = wait_before_retry(error, attempt)
            if wait_s is None:
                raise
            if on_retry:
                on_retry(error, attempt, wait_s)
        clock.sleep(wait_s)
        attempt += 1


def first_contact(call: Callable[[], T], *, clock: Clock) -> T:
    """Call a service that may not be there: as patiently does, but give up soon while nobody answers."""

    def give_up_soon(error: AliyunImportError, attempt: int, wait_s: float) -> None:
        del wait_s
        if error.code in NOBODY_THERE and attempt >= FIRST_CONTACT_ATTEMPTS:
            raise error

    return with_retries(call, clock=clock, on_retry=give_up_soon)
