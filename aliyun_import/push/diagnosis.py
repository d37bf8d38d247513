"""Results of a diagnosis, and the diagnosis of this machine: credentials, endpoints, clock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aliyun_import.errors import AliyunImportError, Exit

# OSS and the RPC services refuse signatures whose time differs by more.
CLOCK_LIMIT_S = 900.0


class Health(StrEnum):
    """Result of one test. With `fails` a push would fail; with `unknown` and an exit code it may."""

    OK = "ok"
    FAILS = "fails"
    WARNS = "warns"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Result of the test of one subject. `statement` is the missing statement of the user's policy, as JSON, or ""."""

    subject: str
    health: Health
    detail: str
    remedy: str = ""
    statement: str = ""
    exit_code: Exit = Exit.DONE


def exit_code_of(results: Sequence[Diagnosis]) -> Exit:
    """Return 0 if a push would succeed, else the exit code of the first failure, certain or possible."""
    ends = (Health.FAILS, Health.UNKNOWN)
    return next((one.exit_code for one in results if one.health in ends and one.exit_code), Exit.DONE)


def failed(subject: str, error: AliyunImportError, *, health: Health = Health.FAILS) -> Diagnosis:
    """Return the result of a test that raised an error."""
    detail = f"{error.summary} {error.cause or ''}".strip()
    return Diagnosis(
        subject=subject,
        health=health,
        detail=detail,
        remedy=error.remedy or "",
        exit_code=error.exit_code,
    )


def credentials_diagnosis(where: str, read: Callable[[], object], expires_s: Callable[[], float | None]) -> Diagnosis:
    """Return the diagnosis of the credentials: their source, whether they can be read, and their expiry if known.

    The diagnosis of the identity shows whether a service accepts them.
    """
    try:
        keys, end_s = read(), expires_s()
    except AliyunImportError as error:
        return failed("credentials", error)
    kind = "temporary, with an unknown end" if getattr(keys, "token", None) else "a permanent access key"
    if end_s is not None:
        kind = f"temporary, valid until {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(end_s))}"
    return Diagnosis(subject="credentials", health=Health.OK, detail=f"from {where}, {kind}")


def endpoint_diagnosis(service: str, url: str, problem: str, *, is_used: bool) -> Diagnosis:
    """Return whether an endpoint can be reached; one that a push does not use never fails."""
    if not problem:
        detail = url if is_used else f"{url} can be reached, and is not used"
        return Diagnosis(subject=f"endpoint {service}", health=Health.OK, detail=detail)
    health = Health.FAILS if is_used else Health.UNKNOWN
    return Diagnosis(
        subject=f"endpoint {service}",
        health=health,
        detail=f"{url}: {problem}" if is_used else f"{url} can't be reached from here, and is not used",
        remedy="Check network and proxy, or choose another one with --oss-endpoint-type." if is_used else "",
        exit_code=Exit.TRANSIENT if is_used else Exit.DONE,
    )


def clock_diagnosis(ahead_s: Sequence[float]) -> Diagnosis:
    """Return whether this machine's clock agrees with the services' well enough for their signatures."""
    if not ahead_s:
        return Diagnosis(subject="clock", health=Health.UNKNOWN, detail="no endpoint reported its time")
    most = max(ahead_s, key=abs)
    difference = f"{abs(most):.0f} s {'ahead of' if most > 0 else 'behind'} the services"
    if abs(most) < CLOCK_LIMIT_S / 3:
        return Diagnosis(subject="clock", health=Health.OK, detail=difference)
    is_wrong = abs(most) >= CLOCK_LIMIT_S
    return Diagnosis(
        subject="clock",
        health=Health.FAILS if is_wrong else Health.WARNS,
        detail=f"{difference}; they refuse more than 15 minutes",
        remedy="Set the clock, e.g. with `timedatectl set-ntp true`.",
        exit_code=Exit.ACCESS if is_wrong else Exit.DONE,
    )
