"""Wrappers of the services that retry transient failures."""

from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

from aliyun_import.context import Context
from aliyun_import.retry import Retrier
from aliyun_import.services.interface import Services

S = TypeVar("S")

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
