"""This file says everything in JSON: one document at the end, or one object a line."""

import dataclasses
import json
import re
import time
from collections.abc import Mapping
from typing import Any, TextIO

from aliyun_import.cli.render.error import SCHEMA, failure_document
from aliyun_import.cli.render.result import Outcome
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Event, FindingRaised
from aliyun_import.model.finding import Finding


def event_document(event: Event) -> dict[str, Any]:
    """Give an event as an object: its type in kebab-case, the schema's number, the time, and its fields."""
    return {
        "type": re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(event).__name__).lower(),
        "schema": SCHEMA,
        "at_s": round(time.time(), 3),
        **dataclasses.asdict(event),
        **({"finding": finding_document(event.finding)} if isinstance(event, FindingRaised) else {}),
    }


def finding_document(finding: Finding) -> dict[str, Any]:
    """Return a finding as an object. `seen` is the name of `message` in the schema's first version, and stays."""
    return {**dataclasses.asdict(finding), "seen": finding.message}


class JsonRenderer:
    """Writes to stdout only: with lines=True every event and the last word, else the last word alone."""

    def __init__(self, stdout: TextIO, *, lines: bool) -> None:
        self._stdout = stdout
        self._lines = lines

    def emit(self, event: Event) -> None:
        """Write the event, when lines are wanted."""
        if self._lines:
            self._write(event_document(event))

    def outcome(self, outcome: Outcome) -> None:
        """Write the result object."""
        self._write({"type": "result", "schema": SCHEMA, **outcome.document})

    def failure(self, error: AliyunImportError) -> None:
        """Write the error object."""
        self._write(failure_document(error))

    def close(self) -> None:
        """Nothing to let go of."""

    def _write(self, document: dict[str, Any]) -> None:
        indent = None if self._lines else 2
        self._stdout.write(json.dumps(document, ensure_ascii=False, indent=indent, default=_plain) + "\n")
        self._stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else str(value)
