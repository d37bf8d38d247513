"""Validation of output by the schema of the package, without the unknown fields that the schema permits."""

import copy
import functools
import json
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator


@functools.cache
def package_schema() -> dict[str, Any]:
    """Return the schema of the package."""
    schema = json.loads((files("aliyun_import") / "schema.json").read_text())
    assert isinstance(schema, dict)
    return schema


@functools.cache
def _definitions() -> dict[str, Any]:
    """Return the definitions, changed so that they permit no unknown fields."""
    definitions = copy.deepcopy(package_schema()["$defs"])
    for one in definitions.values():
        if "properties" in one:
            one["additionalProperties"] = False
    return dict(definitions)


@functools.cache
def _names() -> dict[tuple[str, str], str]:
    """Return the name of the definition of each document, by its type and its command."""
    names: dict[tuple[str, str], str] = {}
    for alternative in package_schema()["anyOf"]:
        name = alternative["$ref"].rpartition("/")[2]
        properties = package_schema()["$defs"][name]["properties"]
        kind = properties["type"].get("const") or properties["type"]["enum"][0]
        commands = properties.get("command", {}).get("enum", [""])
        suffix = {"explanation"} if "explanation" in properties else set()
        for command in commands:
            names[kind, command + "".join(suffix)] = name
    return names


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": _definitions()})


def validate(document: dict[str, Any]) -> None:
    """Raise AssertionError unless a document is valid by the schema."""
    command = str(document.get("command", "")) + ("explanation" if "explanation" in document else "")
    name = _names().get((document["type"], command))
    assert name is not None, f"the schema has no {document['type']} {command}"
    errors = [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(document)]
    assert not errors, f"{name}: {errors}"
