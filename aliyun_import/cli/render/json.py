"""JSON output: one document at the end, or one object a line."""

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from typing import Any, TextIO

from aliyun_import.cli.render.result import Outcome
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Event, FindingRaised
from aliyun_import.model.finding import Finding

SCHEMA = 1
# Escaped although JSON permits them: a terminal interprets them (DEL, C1, marks that change the direction of text), or
# UTF-8 can't encode them (lone surrogates, from file names that are not UTF-8).
_CONTROLS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def type_of(event: type) -> str:
    """Return the type of an event in JSON: the name of its class in kebab-case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", event.__name__).lower()


def event_document(event: Event) -> dict[str, Any]:
    """Return an event as an object: type, number of the schema, time, and the fields of the event."""
    return {
        "type": type_of(type(event)),
        "schema": SCHEMA,
        "at_s": round(time.time(), 3),
        **dataclasses.asdict(event),
        **({"finding": finding_document(event.finding)} if isinstance(event, FindingRaised) else {}),
    }


def failure_document(error: AliyunImportError) -> dict[str, Any]:
    """Return an error as an object of type "error"; docs/json.md describes it."""
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


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return a finding as an object. `seen` is the former name of `message`, kept for scripts."""
    return {**dataclasses.asdict(finding), "seen": finding.message}


class JsonRenderer:
    """Renderer that writes JSON to stdout: with lines=True every event and the result, else only the result."""

    def __init__(self, stdout: TextIO, *, lines: bool) -> None:
        self._stdout = stdout
        self._lines = lines

    def emit(self, event: Event) -> None:
        """Write the event, if lines are wanted."""
        if self._lines:
            self._write(event_document(event))

    def outcome(self, outcome: Outcome) -> None:
        """Write the result object."""
        self._write({"type": "result", "schema": SCHEMA, **outcome.document})

    def failure(self, error: AliyunImportError) -> None:
        """Write the error object."""
        self._write(failure_document(error))

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _write(self, document: dict[str, Any]) -> None:
        is_utf8 = (getattr(self._stdout, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        indent = None if self._lines else 2
        text = json.dumps(document, ensure_ascii=not is_utf8, indent=indent, default=_plain)
        self._stdout.write(_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n")
        self._stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else str(value)
