"""This file puts an error into words, and into JSON: the same facts in every form."""

import json
import platform
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from aliyun_import import __version__
from aliyun_import.errors import AliyunImportError

SCHEMA = 1


def failure_lines(error: AliyunImportError) -> list[str]:
    """Say what happened, why, and what to do, one line each (a cause or remedy of several lines stays so)."""
    lines = [f"error: {error.summary}"]
    if error.cause:
        lines += _indented("why: ", error.cause)
    if error.remedy:
        lines += _indented("do:  ", error.remedy)
    facts = [error.code, f"exit {int(error.exit_code)}"]
    facts += [f"{name.replace('_', ' ')} {error.details[name]}" for name in ("request_id",) if name in error.details]
    return [*lines, f"  ({', '.join(facts)})"]


def failure_document(error: AliyunImportError) -> dict[str, Any]:
    """Give the error as one JSON object of type "error"; docs/json.md describes it."""
    return {
        "type": "error",
        "schema": SCHEMA,
        "code": error.code,
        "exit_code": int(error.exit_code),
        "summary": error.summary,
        "cause": error.cause,
        "remedy": error.remedy,
        "resumable": error.resumable,
        "details": dict(error.details),
    }


def write_failure(error: AliyunImportError, *, output: str) -> None:
    """Write an error that came before any renderer was there: of the command line itself, or a bug."""
    if output in {"json", "jsonl"}:
        print(json.dumps(failure_document(error), ensure_ascii=False))  # noqa: T201 -- the result channel
    else:
        sys.stderr.write("\n".join(failure_lines(error)) + "\n")


def wanted_output(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Guess --output where the command line could not be parsed, so that a script still gets its JSON."""
    for position, word in enumerate(arguments):
        if word.startswith("--output="):
            return word.partition("=")[2]
        if word == "--output" and position + 1 < len(arguments):
            return arguments[position + 1]
    return environment.get("ALIYUN_IMPORT_OUTPUT", "human")


class _Bug(AliyunImportError):
    """A failure that this tool did not foresee; exit 1."""


def bug(error: Exception) -> AliyunImportError:
    """Make a report of what nobody foresaw: where it happened, without values that could hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    where = " < ".join(
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in reversed(frames)
    )
    return _Bug(
        "A bug in aliyun-import stopped the run.",
        code="bug",
        cause=f"{type(error).__name__} in {where}",
        remedy="Please report it with this text; what is in OSS is safe, and the same command may go on from there.",
        details={
            "version": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "where": where,
        },
    )


def _indented(label: str, text: str) -> list[str]:
    first, *rest = text.split("\n")
    return [f"  {label}{first}", *(f"  {' ' * len(label)}{line}" for line in rest)]
