"""Tests of the services that retry."""

import inspect
from typing import Any

import pytest

from aliyun_import.context import Context
from aliyun_import.errors import ServiceUnreachable, TransientError
from aliyun_import.retry import DEFAULT
from aliyun_import.services.interface import (
    Identity,
    ImageService,
    InstanceService,
    ObjectStore,
    RoleService,
    Services,
)
from aliyun_import.services.retrying import add_retries, without_retries
from tests.rows import each_row
from tests.steered import SteeredClock

PROTOCOLS = {
    "identity": Identity,
    "store": ObjectStore,
    "roles": RoleService,
    "images": ImageService,
    "instances": InstanceService,
}
ONCE = {"send_part", "copy_part", "complete"}
CALLS = [
    (field, name)
    for field, protocol in PROTOCOLS.items()
    for name, member in vars(protocol).items()
    if inspect.isfunction(member) and not name.startswith("_")
]


class Flaky:
    """A service each of whose calls fails, then returns the arguments that it got."""

    bucket = "disks"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.calls.count(name) == 1:
                raise TransientError("Busy.", code="throttled", remedy=None)
            return args, kwargs

        return call


def flaky_services() -> tuple[dict[str, Flaky], Services]:
    """Return services that fail once at each call, and the bundle of them."""
    flaky = {field: Flaky() for field in PROTOCOLS}
    bundle: Any = Services(
        identity=flaky["identity"],
        store=lambda _: flaky["store"],
        roles=flaky["roles"],
        images=flaky["images"],
        instances=flaky["instances"],
    )
    return flaky, bundle


def arguments_of(field: str, name: str) -> tuple[list[str], dict[str, str]]:
    """Return an argument for each parameter of a call, as it may be passed."""
    parameters = list(inspect.signature(vars(PROTOCOLS[field])[name]).parameters.values())[1:]
    positional = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    return positional, {one.name: one.name for one in parameters if one.kind is one.KEYWORD_ONLY}


@each_row(("field", "name"), CALLS)
def test_each_call_passes_its_arguments_and_is_repeated_or_not(field: str, name: str) -> None:
    """All calls are repeated, except those whose callers know better when to."""
    flaky, services = flaky_services()
    clock = SteeredClock()
    retrying = add_retries(services, Context(clock=clock))
    service = retrying.store("disks") if field == "store" else getattr(retrying, field)
    positional, named = arguments_of(field, name)
    if name in ONCE:
        with pytest.raises(TransientError):
            getattr(service, name)(*positional, **named)
    got = getattr(service, name)(*positional, **named)
    assert flaky[field].calls == [name, name]
    assert got is None or got == (tuple(positional), named)
    assert len(clock.slept) == (0 if name in ONCE else 1)


def test_retries_are_added_once() -> None:
    """Twice would multiply the attempts."""
    _, services = flaky_services()
    retrying = add_retries(services, Context(clock=SteeredClock()))
    assert add_retries(retrying, Context(clock=SteeredClock())) is retrying


def test_a_caller_can_do_without_retries() -> None:
    """Of a service that retries, the one behind it; of another, itself."""
    flaky, services = flaky_services()
    retrying = add_retries(services, Context(clock=SteeredClock()))
    assert without_retries(retrying.images) is flaky["images"]
    assert without_retries(retrying.store("disks")) is flaky["store"]
    assert without_retries(flaky["roles"]) is flaky["roles"]


def test_all_buckets_are_one_service() -> None:
    """OSS that answered for one bucket is waited for in another."""
    attempts: list[str] = []

    class Store:
        def __init__(self, bucket: str) -> None:
            self.bucket = bucket

        def head(self, key: str) -> None:
            attempts.append(key)
            if self.bucket == "down":
                raise ServiceUnreachable("Refused.", code="connection-refused", remedy=None)

    _, services = flaky_services()
    services = Services(
        identity=services.identity,
        store=Store,  # type: ignore[arg-type]
        roles=services.roles,
        images=services.images,
        instances=services.instances,
    )
    retrying = add_retries(services, Context(clock=SteeredClock()))
    with pytest.raises(TransientError):
        retrying.store("down").head("first")
    retrying.store("up").head("other")
    with pytest.raises(TransientError):
        retrying.store("down").head("second")
    assert (attempts.count("first"), attempts.count("second")) == (DEFAULT.first_contact_attempts, DEFAULT.attempts)
