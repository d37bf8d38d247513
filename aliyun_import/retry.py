"""Retry policies, the loop that applies one to a call, and wrappers of the services that retry.

Only transient failures are retried. The wait is exponential with full jitter: a random share of the window prevents
parts that failed together from being sent again together. The service's retry_after_s is a lower bound.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ParamSpec, TypeVar, cast

from aliyun_import.context import Context
from aliyun_import.errors import AliyunImportError, ConnectionLost, ServiceUnreachable, TimedOut, TransientError
from aliyun_import.events import CallRetried
from aliyun_import.services import Services

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Number of attempts of a call, and the waits between them.

    The window doubles from `first_window_s` up to `last_window_s`; the wait is the window times `jitter()`, in [0, 1).
    Until the service has answered once, a call without an answer has at most `first_contact_attempts`.
    """

    attempts: int
    first_contact_attempts: int
    first_window_s: float
    last_window_s: float
    retried: type[AliyunImportError] = TransientError
    jitter: Callable[[], float] = random.random

    def wait_s(self, error: AliyunImportError, attempt: int, *, contacted: bool = True) -> float | None:
        """Return the seconds to wait before the next attempt, None if there is no further attempt.

        `attempt` is the number of the failed attempt, from 1; `contacted` is whether the service has ever answered.
        """
        if not isinstance(error, self.retried) or attempt >= self.max_attempts(error, contacted=contacted):
            return None
        window_s = min(self.last_window_s, self.first_window_s * 2.0 ** (attempt - 1))
        return max(error.retry_after_s or 0.0, window_s * self.jitter())

    def max_attempts(self, error: AliyunImportError, *, contacted: bool) -> int:
        """Return the maximum number of attempts of a call that failed with this error."""
        return self.attempts if contacted or not is_without_answer(error) else self.first_contact_attempts


def is_without_answer(error: AliyunImportError) -> bool:
    """Return whether the service did not answer: the host, port or scheme may be wrong."""
    return isinstance(error, ServiceUnreachable | ConnectionLost | TimedOut)


# Eight attempts: about one minute of waiting on average, two at most; covers a typical outage of a service.
# With a first window below one second, a throttled service would still throttle the next attempt. A last window of one
# minute limits what is lost after a connection is restored.
# Before the service has answered once, a long wait would save no work, and a wrong endpoint must be reported soon:
# after waits of 1 and 2 seconds at most.
DEFAULT = RetryPolicy(attempts=8, first_contact_attempts=3, first_window_s=1.0, last_window_s=60.0)
# Twelve attempts: about three minutes of waiting on average, six at most. For a transfer in progress, which may have
# taken hours; the restart of a router takes minutes.
PATIENT = replace(DEFAULT, attempts=12)


class Retrier:
    """Retries of the calls of one service by one policy.

    One instance serves all calls of one service, because it records whether the service has ever answered. It emits a
    CallRetried event before each wait, so it must be called on the thread that emits. A wait raises Interrupted if the
    run is cancelled.
    """

    def __init__(self, context: Context, policy: RetryPolicy = DEFAULT) -> None:
        self._context = context
        self._policy = policy
        self._contacted = False

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of the call; raise its last error when the policy allows no further attempt."""
        attempt = 1
        while True:
            try:
                answer = call(*args, **kwargs)
            except AliyunImportError as error:
                self._contacted = self._contacted or not is_without_answer(error)
                wait_s = self._policy.wait_s(error, attempt, contacted=self._contacted)
                if wait_s is None:
                    raise
                most = self._policy.max_attempts(error, contacted=self._contacted)
                self._context.emit(CallRetried(attempt=attempt, attempts=most, wait_s=wait_s, reason=error.summary))
                attempt += 1
            else:
                self._contacted = True
                return answer
            self._context.sleep(wait_s)


# Calls that are not retried here, because their callers retry them:
#     send_part, copy_part    the scheduler of the upload: other parts continue while one waits
#     complete                `complete_upload`: after a lost answer it reads the object before another attempt
_ONCE = frozenset({"send_part", "copy_part", "complete"})


class _Retrying:
    """Service with retries: it has the methods and the thread safety of the service that it wraps."""

    def __init__(self, wrapped: object, retry: Retrier) -> None:
        self.wrapped = wrapped
        self._retry = retry

    def __getattr__(self, name: str) -> object:
        found = getattr(self.wrapped, name)
        return partial(self._retry, found) if callable(found) and name not in _ONCE else found


def with_retries(service: S, retry: Retrier) -> S:
    """Return a service whose calls are made by `retry`; one that already retries is returned unchanged."""
    # A cast, because no type describes "every method of S". Type checkers check the call sites against S.
    return service if isinstance(service, _Retrying) else cast("S", _Retrying(service, retry))


def without_retries(service: S) -> S:
    """Return the service behind a retrying one, or the service itself if it does not retry."""
    return cast("S", service.wrapped) if isinstance(service, _Retrying) else service


def add_retries(services: Services, context: Context) -> Services:
    """Return the services with retries of transient failures; services that already retry are returned unchanged.

    The first contact counts per service, not per bucket. Waits are emitted as CallRetried events on the calling thread;
    a thread that must not emit uses `without_retries`.
    """
    if isinstance(services.identity, _Retrying):
        return services
    oss = Retrier(context)
    return replace(
        services,
        identity=with_retries(services.identity, Retrier(context)),
        store=lambda bucket: with_retries(services.store(bucket), oss),
        roles=with_retries(services.roles, Retrier(context)),
        images=with_retries(services.images, Retrier(context)),
        instances=with_retries(services.instances, Retrier(context)),
    )
