"""Retry policies, and the loop that applies one to the calls of a service.

Only transient failures are retried. The wait is exponential with full jitter: a random share of the window keeps many
parts that failed together from being sent again together. The service's own wish (retry_after_s) is a lower bound.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from aliyun_import.context import Context
from aliyun_import.errors import AliyunImportError, ConnectionLost, ServiceUnreachable, TimedOut, TransientError
from aliyun_import.events import CallRetried

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a failed call is repeated, and after how long.

    The window doubles from `first_window_s` up to `last_window_s`; the wait is `jitter()`, in [0, 1), of the window.
    Until the service has answered once, at most `first_contact_attempts` are made where it does not answer.
    """

    attempts: int
    first_contact_attempts: int
    first_window_s: float
    last_window_s: float
    retried: type[AliyunImportError] = TransientError
    jitter: Callable[[], float] = random.random

    def wait_s(self, error: AliyunImportError, attempt: int, *, contacted: bool = True) -> float | None:
        """Return the seconds to wait before the next attempt, or None if there is to be none.

        `attempt` is the number of the attempt that failed, from 1. `contacted` is whether the service ever answered.
        """
        if not isinstance(error, self.retried) or attempt >= self.most_attempts(error, contacted=contacted):
            return None
        window_s = min(self.last_window_s, self.first_window_s * 2.0 ** (attempt - 1))
        return max(error.retry_after_s or 0.0, window_s * self.jitter())

    def most_attempts(self, error: AliyunImportError, *, contacted: bool) -> int:
        """Return how many attempts are made in all of a call that failed like this."""
        return self.attempts if contacted or not is_without_answer(error) else self.first_contact_attempts


def is_without_answer(error: AliyunImportError) -> bool:
    """Return whether a failure is no answer of the service: it may be the wrong host, port or scheme."""
    return isinstance(error, ServiceUnreachable | ConnectionLost | TimedOut)


# Eight attempts: about one minute of waiting on average, two at most; covers a typical outage of a service.
# A first window below one second asks a throttled service again while it still throttles. A last window of one minute
# keeps a connection that is down for a minute from costing much more than another one.
# Before the service has answered once, no work is in progress that a long wait could save, and a wrong endpoint is to
# be reported at once: after waits of 1 and 2 seconds at most.
DEFAULT = RetryPolicy(attempts=8, first_contact_attempts=3, first_window_s=1.0, last_window_s=60.0)
# Twelve attempts: about three minutes of waiting on average, six at most. For a transfer in progress: hours of work are
# behind it, and a router that restarts needs minutes.
PATIENT = replace(DEFAULT, attempts=12)


class Retrier:
    """Repetition of the calls of one service by one policy.

    It remembers whether the service ever answered, so one instance serves all calls of one service. It emits a
    CallRetried event before each wait, so call it from the thread that emits. A wait raises Interrupted if the run is
    cancelled.
    """

    def __init__(self, context: Context, policy: RetryPolicy = DEFAULT) -> None:
        self._context = context
        self._policy = policy
        self._contacted = False

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the call returns; raises its error once the policy ends the attempts."""
        attempt = 1
        while True:
            try:
                answer = call(*args, **kwargs)
            except AliyunImportError as error:
                self._contacted = self._contacted or not is_without_answer(error)
                wait_s = self._policy.wait_s(error, attempt, contacted=self._contacted)
                if wait_s is None:
                    raise
                most = self._policy.most_attempts(error, contacted=self._contacted)
                self._context.emit(CallRetried(attempt=attempt, attempts=most, wait_s=wait_s, reason=error.summary))
                attempt += 1
            else:
                self._contacted = True
                return answer
            self._context.sleep(wait_s)
