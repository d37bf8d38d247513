"""This file writes the bodies of RPC answers: one value as JSON or as XML, as the caller's Format asks.

ECS, RAM and STS answer in XML unless Format says JSON. A list stands as repeated elements of its own name in XML,
so that {"TaskSet": {"Task": [a, b]}} becomes <TaskSet><Task>a</Task><Task>b</Task></TaskSet>.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from xml.sax.saxutils import escape

# What a body is made of.
Value = str | int | bool | list["Value"] | dict[str, "Value"]

JSON_TYPE = "application/json;charset=utf-8"
XML_TYPE = "text/xml;charset=utf-8"


def wants_json(parameters: Mapping[str, str]) -> bool:
    """Tell which of the two the caller asked for; anything but JSON, in any case, is XML."""
    return parameters.get("Format", "").upper() == "JSON"


def write(root: str, fields: dict[str, Value], *, as_json: bool) -> tuple[str, bytes]:
    """Give the content type and the body; `root` names the outermost element and appears in XML alone."""
    if as_json:
        return JSON_TYPE, json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return XML_TYPE, f'<?xml version="1.0" encoding="UTF-8"?>\n{_element(root, fields)}'.encode()


def utc_seconds(at_s: float) -> str:
    """Write a moment as images and RAM have it: 2015-01-23T12:33:18Z."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_minutes(at_s: float) -> str:
    """Write a moment as tasks have it, without seconds: 2015-11-24T12:50Z."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _element(name: str, value: Value) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        inner = "".join(_element(key, item) for key, item in value.items())
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"
