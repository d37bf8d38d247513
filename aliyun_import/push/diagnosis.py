"""Results of a diagnosis, and those about this machine: credentials, endpoints, clock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aliyun_import.errors import AliyunImportError, Exit

# OSS and the RPC services refuse signatures whose time differs by more.
CLOCK_LIMIT_S = 900.0


class Health(StrEnum):
    """Result of one test. `fails` keeps a push from going through; `unknown` with an exit code may."""

    OK = "ok"
    FAILS = "fails"
    WARNS = "warns"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that was tested. `statement` is what to add to the user's policy, as JSON, "" if nothing is missing."""

    subject: str
    health: Health
    detail: str
    remedy: str = ""
    statement: str = ""
    exit_code: Exit = Exit.DONE


def would_go_through(results: Sequence[Diagnosis]) -> Exit:
    """Return 0 if a push would go through, else the exit code with which it would, or may, fail first."""
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
    """Return where the credentials come from, whether they can be read, and until when they are good if that is known.

    Whether a service accepts them is the diagnosis of the identity.
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
    """Return whether an endpoint can be reached; one that a push does not use is no reason to fail."""
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
        return Diagnosis(subject="clock", health=Health.UNKNOWN, detail="no endpoint named its time")
    most = max(ahead_s, key=abs)
    words = f"{abs(most):.0f} s {'ahead of' if most > 0 else 'behind'} the services"
    if abs(most) < CLOCK_LIMIT_S / 3:
        return Diagnosis(subject="clock", health=Health.OK, detail=words)
    is_wrong = abs(most) >= CLOCK_LIMIT_S
    return Diagnosis(
        subject="clock",
        health=Health.FAILS if is_wrong else Health.WARNS,
        detail=f"{words}; they refuse more than 15 minutes",
        remedy="Set the clock, e.g. with `timedatectl set-ntp true`.",
        exit_code=Exit.ACCESS if is_wrong else Exit.DONE,
    )
