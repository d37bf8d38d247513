"""Tests of the codec of records: round trips, and refusals with the path of the mistake."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aliyun_import.sandbox.core.records import Codec, Table, refuse_mutable
from tests.rows import each_row


@dataclass(frozen=True)
class Inner:
    """A record within a record."""

    number: int
    note: str | None = None


@dataclass(frozen=True)
class Outer:
    """A record with every type that records have."""

    name: str
    share: float = 0.5
    flag: bool = False
    pair: tuple[str, int] = ("a", 1)
    many: tuple[Inner, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    by_two: Mapping[tuple[str, str], float] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    anything: Mapping[str, Any] = field(default_factory=dict)
    rows: Table[str, Inner] = field(default_factory=Table)


FULL = Outer(
    "x\ud800ü",
    share=1.0,
    flag=True,
    pair=("b", 2),
    many=(Inner(1), Inner(2, "n")),
    tags={"a": ""},
    by_two={("k", "v"): 1.5},
    names=frozenset({"p", "q"}),
    anything={"deep": [1, {"x": None}]},
)


def test_a_decoded_record_is_equal_to_the_encoded_one() -> None:
    """Encoding and decoding as JSON keeps all fields except tables, whose rows are stored separately."""
    codec = Codec()
    text = json.dumps(codec.encode(FULL))
    assert "rows" not in text
    again = codec.decode(Outer, json.loads(text))
    assert (again, again.by_two) == (Outer(**{**vars(FULL), "rows": again.rows}), {("k", "v"): 1.5})


@each_row(
    ("document", "message"),
    [
        ([], "Outer takes an object, not"),
        ({"name": 1}, "name takes a text, not 1"),
        ({"name": "n", "share": "x"}, "share takes a number, not 'x'"),
        ({"name": "n", "share": True}, "share takes a number"),
        ({"name": "n", "flag": 1}, "flag takes true or false, not 1"),
        ({"name": "n", "pair": ["a"]}, "pair takes 2 values, not 1"),
        ({"name": "n", "many": {}}, "many takes a list"),
        ({"name": "n", "many": [{"number": 1.5}]}, r"many\[0\].number takes a whole number, not 1.5"),
        ({"name": "n", "many": [{"number": 1, "colour": 2, "age": 3}]}, r"many\[0\] has no field age, colour"),
        ({"name": "n", "tags": 5}, "tags takes an object"),
        ({"name": "n", "tags": {"a": 5}}, "tags.a takes a text"),
        ({"name": "n", "by_two": [5]}, r"by_two\[0\] takes a list"),
        ({}, "Outer: .*name"),
    ],
)
def test_an_invalid_document_is_refused_with_the_path_of_the_mistake(document: object, message: str) -> None:
    """The message has the path and the mistake."""
    with pytest.raises(ValueError, match=message):
        Codec().decode(Outer, document)


@dataclass
class Mutable:
    """A record that can change."""

    name: str


@dataclass(frozen=True)
class MutableContent:
    """A record whose content can change."""

    names: tuple[Mapping[str, list[str]], ...]


@pytest.mark.parametrize("kind", [Table[str, Mutable], Table[str, MutableContent], Table[str, dict[str, int]]])
def test_mutable_records_are_refused(kind: object) -> None:
    """Their changes would not be stored, and only a restart would show it."""
    with pytest.raises(TypeError, match=r"frozen|unseen"):
        refuse_mutable(kind)
    refuse_mutable(Table[str, Outer])
