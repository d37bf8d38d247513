"""Steps of a client: one call each, what it is expected to end in, and what it ended in.

A step is `ok` when the client got what the service's documents promise, `501` when the sandbox refused the operation by
its name, and wrong otherwise. A client's steps run in order against one sandbox, because later ones use what earlier
ones made.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

NOT_DONE = frozenset({"NotImplemented", "NotImplementedBySandbox"})


@dataclass(frozen=True)
class Step:
    """One call: the operation that it stands for, and the error code that it must end in (empty for success)."""

    operation: str
    do: Callable[[], Any]
    code: str = ""
    """Where a client gives no code (HEAD without a body) its HTTP status as a text."""


@dataclass(frozen=True)
class Outcome:
    """What a step ended in: ok, 501, or a text that says what was wrong."""

    operation: str
    result: str


def run(steps: Iterable[Step], code_of: Callable[[Exception], str]) -> Iterator[Outcome]:
    """Run steps; `code_of` gives the error code of a client's exception."""
    for step in steps:
        try:
            answer = step.do()
        except Exception as error:  # noqa: BLE001 - whatever a client raises is its outcome
            code = code_of(error)
            if code in NOT_DONE or code == "501":
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
    """Return the result of each operation: wrong if any of its steps was, 501 if any was refused by name."""
    found: dict[str, str] = {}
    for outcome in outcomes:
        former = found.get(outcome.operation, "ok")
        worse = outcome.result if former == "ok" or outcome.result.startswith("wrong") else former
        found[outcome.operation] = worse
    return found
