"""Tests of the retry policies, of the loop that applies them, and of the services with retries."""

import inspect
from dataclasses import replace
from typing import Any

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
from aliyun_import.retry import DEFAULT, PATIENT, Retrier, RetryPolicy, add_retries, without_retries
from aliyun_import.services import Identity, ImageService, InstanceService, ObjectStore, RoleService, Services
from tests.clocks import SteeredClock
from tests.rows import each_row

UNREACHABLE = ("connection-refused", "connect-timed-out", "host-unknown", "proxy-failed", "tls-failed")
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


def transient(retry_after_s: float | None = None, *, code: str = "service-unwell") -> TransientError:
    """Return a transient failure."""
    kind = ServiceUnreachable if code in UNREACHABLE else TransientError
    return kind("Unavailable.", code=code, remedy=None, retry_after_s=retry_after_s)


@each_row("kind", [AccessError, RefusedError, Interrupted])
def test_final_errors_are_not_retried(kind: type[AliyunImportError]) -> None:
    """Only transient failures are."""
    assert DEFAULT.wait_s(kind("No.", code="no", remedy=None), 1) is None


@each_row("policy", [DEFAULT, PATIENT])
def test_the_number_of_attempts_is_bounded(policy: RetryPolicy) -> None:
    """After the last attempt there is no wait."""
    assert policy.wait_s(transient(), policy.attempts - 1) is not None
    assert policy.wait_s(transient(), policy.attempts) is None


@given(st.integers(1, DEFAULT.attempts - 1), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_within_its_window(attempt: int, share: float) -> None:
    """The window doubles up to a maximum, and the wait is a random share of it."""
    wait = replace(DEFAULT, jitter=lambda: share).wait_s(transient(), attempt)
    assert wait is not None
    assert 0 <= wait <= min(DEFAULT.last_window_s, 2 ** (attempt - 1))


def test_the_requested_wait_is_a_lower_bound() -> None:
    """A service states it as retry_after_s."""
    half = replace(DEFAULT, jitter=lambda: 0.5)
    assert half.wait_s(transient(30.0), 1) == 30.0
    assert half.wait_s(transient(0.1), 3) == 2.0


def test_an_event_has_the_applicable_limit_of_attempts() -> None:
    """Before the first answer of the service the limit is lower."""
    retried: list[Event] = []

    def call() -> None:
        raise transient(code="connection-refused")

    with pytest.raises(ServiceUnreachable):
        Retrier(Context(clock=SteeredClock(), emit=retried.append))(call)
    limits = [event.attempts for event in retried if isinstance(event, CallRetried)]
    assert limits == [DEFAULT.first_contact_attempts] * (DEFAULT.first_contact_attempts - 1)


def test_every_wait_is_emitted_before_it_begins() -> None:
    """The waits use the clock of the context, and the answer is returned."""
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
        (CallRetried(attempt=1, attempts=8, wait_s=5.0, reason="Unavailable."), 0),
        (CallRetried(attempt=2, attempts=8, wait_s=7.0, reason="Unavailable."), 1),
    ]


@each_row("code", sorted(UNREACHABLE))
def test_before_the_first_answer_there_are_few_attempts(code: str) -> None:
    """A wrong endpoint is reported within seconds; a service that has answered gets all attempts."""
    clock = SteeredClock()
    retry = Retrier(Context(clock=clock))
    assert attempts_of(retry, code) == DEFAULT.first_contact_attempts == 3
    assert sum(clock.slept) <= 3.0
    assert retry(lambda: "answer") == "answer"
    assert attempts_of(retry, code) == DEFAULT.attempts == 8


def test_an_error_of_the_service_counts_as_an_answer() -> None:
    """From then on all attempts are made."""
    retry = Retrier(Context(clock=SteeredClock()))
    assert attempts_of(retry, "throttled") == DEFAULT.attempts
    assert attempts_of(retry, "connection-refused") == DEFAULT.attempts


def attempts_of(retry: Retrier, code: str) -> int:
    """Return the number of attempts of a call that always fails, and assert that its last error is raised."""
    failures: list[TransientError] = []

    def call() -> None:
        failures.append(transient(code=code))
        raise failures[-1]

    with pytest.raises(TransientError) as caught:
        retry(call)
    assert caught.value is failures[-1]
    return len(failures)


class FlakyService:
    """A service whose methods fail at the first call, and return their arguments at later ones."""

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


def flaky_services() -> tuple[dict[str, FlakyService], Services]:
    """Return services whose methods fail at the first call, by name and as Services."""
    by_name = {field: FlakyService() for field in PROTOCOLS}
    bundle: Any = Services(
        identity=by_name["identity"],
        store=lambda _: by_name["store"],
        roles=by_name["roles"],
        images=by_name["images"],
        instances=by_name["instances"],
    )
    return by_name, bundle


def arguments_of(field: str, name: str) -> tuple[list[str], dict[str, str]]:
    """Return positional and keyword arguments for all parameters of a method."""
    parameters = list(inspect.signature(vars(PROTOCOLS[field])[name]).parameters.values())[1:]
    positional = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    return positional, {one.name: one.name for one in parameters if one.kind is one.KEYWORD_ONLY}


@each_row(("field", "name"), CALLS)
def test_each_method_passes_its_arguments_and_is_retried(field: str, name: str) -> None:
    """Except for the methods that their callers repeat."""
    by_name, services = flaky_services()
    clock = SteeredClock()
    retrying = add_retries(services, Context(clock=clock))
    service = retrying.store("disks") if field == "store" else getattr(retrying, field)
    positional, named = arguments_of(field, name)
    if name in ONCE:
        with pytest.raises(TransientError):
            getattr(service, name)(*positional, **named)
    got = getattr(service, name)(*positional, **named)
    assert by_name[field].calls == [name, name]
    assert got is None or got == (tuple(positional), named)
    assert len(clock.slept) == (0 if name in ONCE else 1)


def test_retries_are_added_once() -> None:
    """Retries of retries would multiply the attempts."""
    _, services = flaky_services()
    retrying = add_retries(services, Context(clock=SteeredClock()))
    assert add_retries(retrying, Context(clock=SteeredClock())) is retrying


def test_without_retries_returns_the_wrapped_service() -> None:
    """A service without retries is returned itself."""
    by_name, services = flaky_services()
    retrying = add_retries(services, Context(clock=SteeredClock()))
    assert without_retries(retrying.images) is by_name["images"]
    assert without_retries(retrying.store("disks")) is by_name["store"]
    assert without_retries(by_name["roles"]) is by_name["roles"]


def test_an_answer_of_one_bucket_counts_for_all_buckets() -> None:
    """They belong to one service."""
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
