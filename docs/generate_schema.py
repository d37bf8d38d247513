"""Generator of aliyun_import/schema.json, the JSON Schema of every document and event: python docs/generate_schema.py.

It reads the types of cli/render/documents.py, of cli/commands/ and of events.py. pydantic would need as many lines: it
takes fields of dataclasses that have a default for optional, and every field is always written.
"""

import importlib
import inspect
import json
import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path, PurePath
from pkgutil import iter_modules
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from aliyun_import import events
from aliyun_import.cli import commands
from aliyun_import.cli.render import documents
from aliyun_import.cli.render.json import type_of

SCHEMA = Path(__file__).resolve().parents[1] / "aliyun_import" / "schema.json"
_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    None: {"type": "null"},
    Any: {},
    object: {},
}


class Definitions:
    """The definitions of a schema, by the names of the types."""

    def __init__(self) -> None:
        self.by_name: dict[str, dict[str, Any]] = {}

    def of(self, kind: Any) -> dict[str, Any]:  # noqa: ANN401 -- a type, or what stands for one in an annotation
        """Return the schema of a type; a class with fields becomes a definition."""
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if get_origin(kind) is not None:
            return self._of_generic(get_origin(kind), get_args(kind))
        if issubclass(kind, Enum):
            return {"enum": [one.value for one in kind]}
        if issubclass(kind, PurePath):
            return {"type": "string"}
        if kind.__name__ not in self.by_name:
            self.by_name[kind.__name__] = {}  # a type that contains itself
            self.by_name[kind.__name__] = self.fields_of(kind)
        return {"$ref": f"#/$defs/{kind.__name__}"}

    def _of_generic(self, origin: object, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is NotRequired:
            return self.of(arguments[0])
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(one) for one in arguments]}
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        if origin is tuple and arguments[1:] != (...,):
            return {"type": "array", "prefixItems": [self.of(one) for one in arguments]}
        return {"type": "array", "items": self.of(arguments[0])}

    def fields_of(self, kind: type) -> dict[str, Any]:
        """Return the schema of a class with fields."""
        hints = get_type_hints(kind, include_extras=True)
        return {
            "description": " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split()),
            "type": "object",
            "properties": {name: self.of(hint) for name, hint in hints.items()},
            "required": [name for name, hint in hints.items() if get_origin(hint) is not NotRequired],
        }


def event_schema(event: type, definitions: Definitions) -> dict[str, Any]:
    """Return the schema of an event: its fields, and those that every event has."""
    found = definitions.fields_of(event)
    if "finding" in found["properties"]:
        found["properties"]["finding"] = definitions.of(documents.FindingDocument)
    head = {"type": {"const": type_of(event)}, "schema": {"const": 1}, "at_s": {"type": "number"}}
    found["properties"] = {**head, **found["properties"]}
    found["required"] = [*head, *found["required"]]
    return found


def results() -> list[type]:
    """Return the types of all results: those in `documents`, and those that stand beside their command."""
    beside = (importlib.import_module(f"{commands.__name__}.{one.name}") for one in iter_modules(commands.__path__))
    return [
        kind
        for module in (documents, *beside)
        for kind in vars(module).values()
        if is_typeddict(kind) and kind.__module__ == module.__name__ and "command" in get_type_hints(kind)
    ]


def schema() -> dict[str, Any]:
    """Return the whole schema; a document matches one of `anyOf`."""
    definitions = Definitions()
    lines = [definitions.of(documents.ErrorDocument), *map(definitions.of, results())]
    for event in get_args(events.Event):
        definitions.by_name[event.__name__] = event_schema(event, definitions)
        lines.append({"$ref": f"#/$defs/{event.__name__}"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:aliyun-import:schema:1",
        "title": "Output of aliyun-import with --output json or jsonl",
        "anyOf": lines,
        "$defs": dict(sorted(definitions.by_name.items())),
    }


def text() -> str:
    """Return schema.json."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text())
