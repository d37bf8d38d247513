"""This file reads fields out of the services' JSON without trusting their form, which differs between documents."""

import re
from collections.abc import Mapping
from typing import Any

Fields = Mapping[str, Any]


def text(fields: Fields, name: str) -> str:
    """Give a field as text; empty where it is missing or null."""
    value = fields.get(name)
    return "" if value is None else str(value)


def objects(fields: Fields, outer: str, inner: str) -> tuple[Fields, ...]:
    """Give the objects of a list that is wrapped as {outer: {inner: [...]}}.

    Some published samples leave the inner wrapper out, or the list around a single object; both are read as well.
    """
    found = fields.get(outer)
    if isinstance(found, Mapping) and inner in found:
        found = found[inner]
    if isinstance(found, Mapping):
        found = [found] if found else []
    return tuple(one for one in found if isinstance(one, Mapping)) if isinstance(found, list) else ()


def whole(fields: Fields, name: str) -> int | None:
    """Give a field as a whole number ("40%", "60", 60); None where it is not one."""
    match = re.fullmatch(r"\s*(\d+)(?:\.\d+)?\s*%?\s*", text(fields, name))
    return int(match[1]) if match else None


def truth(fields: Fields, name: str) -> bool | None:
    """Give a field as a truth value (true, "True", "false"); None where it is not one."""
    return {"true": True, "false": False}.get(text(fields, name).strip().lower())
