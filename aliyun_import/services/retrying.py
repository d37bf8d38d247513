"""Services that repeat transient failures, around services that do not."""

from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

from aliyun_import.context import Context
from aliyun_import.retry import Retrier
from aliyun_import.services.interface import Services

S = TypeVar("S")

# Calls that go through once, because their callers know better when to repeat:
#     send_part, copy_part    the scheduler of the upload: other parts continue while one waits
#     complete                `complete_upload`: the object settles an answer that was lost, before another attempt
_ONCE = frozenset({"send_part", "copy_part", "complete"})


class _Retrying:
    """A service with retries: it has every method of the service that it wraps, and is as thread-safe as that."""

    def __init__(self, wrapped: object, retry: Retrier) -> None:
        self.wrapped = wrapped
        self._retry = retry

    def __getattr__(self, name: str) -> object:
        found = getattr(self.wrapped, name)
        return partial(self._retry, found) if callable(found) and name not in _ONCE else found


def with_retries(service: S, retry: Retrier) -> S:
    """Return a service whose calls are made by `retry`; one that retries already is returned as it is."""
    # A cast, because no type says "each method of S, and calls it". Type checkers check the call sites against S.
    return service if isinstance(service, _Retrying) else cast("S", _Retrying(service, retry))


def without_retries(service: S) -> S:
    """Return the service behind a retrying one, or the service itself if it does not retry."""
    return cast("S", service.wrapped) if isinstance(service, _Retrying) else service


def add_retries(services: Services, context: Context) -> Services:
    """Return the services with transient failures retried; services that retry already are returned as they are.

    The first contact counts per service and not per bucket. Waits are emitted as CallRetried events on the calling
    thread: a thread that may not emit uses `without_retries`.
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
