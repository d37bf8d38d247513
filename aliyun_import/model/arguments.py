"""Validation of arguments: those of public functions, and the fields of public dataclasses."""

import math
from collections.abc import Collection, Mapping
from enum import Enum
from functools import cache
from os import PathLike
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from aliyun_import.errors import UsageError

CODE = "argument-invalid"
# Types of the values that are accepted and converted, where they differ from the type of the argument.
_TYPES: Mapping[type, tuple[type, ...]] = {
    float: (int, float), Path: (str, PathLike), Mapping: (Mapping,), tuple: (Collection,), frozenset: (Collection,),
}  # fmt: skip
_TEXTS = (str, bytes, bytearray)


def check_fields(value: Any) -> None:  # noqa: ANN401 -- any dataclass
    """Convert each field of a frozen dataclass to its annotated type: text to a Path or an Enum, lists to tuples.

    Raises UsageError "argument-invalid" for a value that is not of the type.
    """
    for name, kind in _hints(value.__class__).items():
        object.__setattr__(value, name, converted(name, getattr(value, name), kind))


def converted(name: str, value: Any, kind: Any) -> Any:  # noqa: ANN401 -- of any type
    """Return the value of an argument, converted to its type. Raises UsageError "argument-invalid"."""
    origin, members = get_origin(kind) or kind, get_args(kind)
    if NoneType in members:
        return None if value is None else converted(name, value, members[0])
    if origin is Literal:
        return _choice(name, value, members)
    if isinstance(origin, type) and issubclass(origin, Enum):
        return _choice(name, value, tuple(origin))
    # isinstance takes a bool for a number, and one text for a collection: that of its characters.
    is_number_of_bool = isinstance(value, bool) and origin in (int, float)
    is_text_of_many = isinstance(value, _TEXTS) and origin in (tuple, frozenset)
    if not isinstance(value, _TYPES.get(origin, (origin,))) or is_number_of_bool or is_text_of_many:
        refuse_argument(name, f"is of the type {type(value).__name__}", f"Pass {name} as {_description(kind)}.")
    if origin in (tuple, frozenset):
        return origin(converted(name, one, members[0]) for one in value)
    if origin is Mapping:
        return {converted(name, key, members[0]): converted(name, one, members[1]) for key, one in value.items()}
    return Path(value) if origin is Path else value


def texts(name: str, value: Collection[str]) -> tuple[str, ...]:
    """Return a collection of texts. Raises UsageError for one text, which is a collection of its characters too."""
    given: tuple[str, ...] = converted(name, value, tuple[str, ...])
    return given


def require_in_range(name: str, value: float | None, least: float, most: float = math.inf) -> None:
    """Raise UsageError "argument-invalid" for a number outside a range; None is permitted."""
    # Written so that it refuses NaN.
    if value is not None and not least <= value <= most:
        permitted = f"{least} or more" if most == math.inf else f"{least} to {most}"
        refuse_argument(name, f"is {value}", f"Pass {permitted} as {name}.")


def require_positive(name: str, value: float | None) -> None:
    """Raise UsageError "argument-invalid" for a number that is not greater than 0; None is permitted."""
    if value is not None and not value > 0:
        refuse_argument(name, f"is {value}", f"Pass a number greater than 0 as {name}.")


def refuse_argument(name: str, problem: str, remedy: str) -> NoReturn:
    """Raise UsageError "argument-invalid"."""
    raise UsageError(f"The argument {name} {problem}.", code=CODE, remedy=remedy, details={"argument": name})


def _choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:  # noqa: ANN401 -- a text or a member of an Enum
    """Return the choice that equals a value: the member of a StrEnum for its text."""
    for choice in choices:
        if value == choice:
            return choice
    listed = ", ".join(f'"{getattr(one, "value", one)}"' for one in choices)
    refuse_argument(name, f"is {value!r}", f"Pass one of {listed} as {name}.")


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _description(kind: Any) -> str:  # noqa: ANN401 -- a type, or an alias of one
    """Return a type for a message: "int", "tuple[str, ...]"."""
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
