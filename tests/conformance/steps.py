"""Steps of a client: one call each, with the expected and the actual outcome.

A step is `ok` if the response is as documented by the service, `501` if the sandbox refused the operation as not
implemented, and wrong otherwise. The steps of a client run in order against one sandbox: later steps use what earlier
steps created.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

NOT_IMPLEMENTED = frozenset({"NotImplemented", "NotImplementedBySandbox"})


@dataclass(frozen=True)
class Step:
    """One call: its operation, and the expected error code (empty for success)."""

    operation: str
    do: Callable[[], Any]
    code: str = ""
    """The HTTP status as a string if the client has no code (HEAD has no body)."""


@dataclass(frozen=True)
class Outcome:
    """The result of a step: ok, 501, or a text with what was wrong."""

    operation: str
    result: str


def run(steps: Iterable[Step], code_of: Callable[[Exception], str]) -> Iterator[Outcome]:
    """Run steps. `code_of` returns the error code of an exception of the client."""
    for step in steps:
        try:
            answer = step.do()
        except Exception as error:  # noqa: BLE001 - any exception of a client is its outcome
            code = code_of(error)
            if code in NOT_IMPLEMENTED or code == "501":
                yield Outcome(step.operation, "501")
            elif step.code and code == step.code:
                yield Outcome(step.operation, "ok")
            else:
                yield Outcome(step.operation, f"wrong: {code or type(error).__name__}: {error!s:.300}")
        else:
            if step.code:
                yield Outcome(step.operation, f"wrong: not refused with {step.code}")
            elif answer is False:
                yield Outcome(step.operation, "wrong: the answer is not what was sent")
            else:
                yield Outcome(step.operation, "ok")


def merged(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """Return the result of each operation: wrong if any of its steps was wrong, else 501 if any was 501."""
    found: dict[str, str] = {}
    for outcome in outcomes:
        former = found.get(outcome.operation, "ok")
        worse = outcome.result if former == "ok" or outcome.result.startswith("wrong") else former
        found[outcome.operation] = worse
    return found
