"""Tables of records (frozen dataclasses), and a codec between records and JSON by the types of the fields.

A table reports each change to its observer. The codec is used by the store, the settings, and for JSON from files and
over HTTP. It refuses an invalid document with the place of the first mistake: "settings.import_s takes a number, not
'many'".
"""

import types
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
Json = Any  # what the json module writes and reads
Kind = Any  # a type as in an annotation, such as int | None or tuple[str, ...]

_NAMES: Mapping[Kind, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class TableObserver(Protocol):
    """Observer of the changes of one table."""

    def row_saved(self, key: object, value: object, previous: object) -> None:
        """Handle a new or changed row. `previous` is its previous value, None for a new row."""

    def row_removed(self, key: object, value: object) -> None:
        """Handle the removal of a row."""


class Table(MutableMapping[K, V]):
    """Rows by key, in the order of insertion. Callers hold the lock of the state.

    Rows are frozen records. Assigning a row is the only way to change it, and makes the change persistent if the table
    has an observer: `images[image.id] = replace(image, name=name)`. A record may have tables as fields.
    """

    def __init__(self) -> None:
        self._rows: dict[K, V] = {}
        self.observer: TableObserver | None = None

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    def __setitem__(self, key: K, value: V) -> None:
        previous = self._rows.get(key)
        self._rows[key] = value
        if self.observer is not None:
            self.observer.row_saved(key, value, previous)

    def __delitem__(self, key: K) -> None:
        value = self._rows.pop(key)
        if self.observer is not None:
            self.observer.row_removed(key, value)

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __repr__(self) -> str:
        return f"Table({self._rows!r})"

    def restore(self, key: K, value: V) -> None:
        """Add a row without a report to the observer."""
        self._rows[key] = value


class Codec:
    """Codec between records and JSON. Other types than records and plain values are added with `add`."""

    def __init__(self) -> None:
        self._added: dict[type, tuple[Callable[[Any], object], Callable[[Any], object]]] = {}

    def add(self, kind: type[T], encode: Callable[[T], object], decode: Callable[[Any], T]) -> None:
        """Add a type with the functions that write it as JSON and read it."""
        self._added[kind] = encode, decode

    def encode(self, value: object) -> Json:
        """Return a value as JSON. The tables of a record are omitted, because their rows are stored separately."""
        added = self._added.get(type(value))
        if added:
            return added[0](value)
        if is_dataclass(value):
            members = ((item.name, getattr(value, item.name)) for item in fields(value))
            return {name: self.encode(each) for name, each in members if not isinstance(each, Table)}
        if isinstance(value, Mapping):
            if all(isinstance(key, str) for key in value):
                return {key: self.encode(each) for key, each in value.items()}
            return [[self.encode(key), self.encode(each)] for key, each in value.items()]
        if isinstance(value, tuple | list):
            return [self.encode(each) for each in value]
        if isinstance(value, frozenset | set):
            return sorted(self.encode(each) for each in value)
        return value

    def decode(self, kind: type[T], document: object, where: str = "") -> T:
        """Return the value of a type from a JSON document. Raises ValueError with the place of the first mistake."""
        return cast("T", self._decode(kind, document, where))

    def _decode(self, kind: Kind, document: Json, where: str) -> object:
        added = self._added.get(kind)
        if added:
            return added[1](document)
        if kind in (Any, object):
            return document
        if is_dataclass(kind):
            return self._record(kind, document, where)
        origin: Kind = get_origin(kind)
        args = get_args(kind)
        if origin in (types.UnionType, Union):
            if document is None and type(None) in args:
                return None
            (kind,) = (each for each in args if each is not type(None))
            return self._decode(kind, document, where)
        if origin in (tuple, list, frozenset):
            return self._sequence(origin, args, document, where)
        if origin is not None and issubclass(origin, Mapping):
            return self._mapping(args, document, where)
        return _plain(kind, document, where)

    def _record(self, kind: Kind, document: Json, where: str) -> object:
        if not isinstance(document, Mapping):
            raise _wrong(where or kind.__name__, "an object", document)
        hints = types_of(kind)
        unknown = [name for name in document if name not in hints]
        if unknown:
            raise ValueError(f"{where or kind.__name__} has no field {', '.join(sorted(unknown))}")
        values = {
            name: self._decode(hints[name], value, f"{where}.{name}" if where else name)
            for name, value in document.items()
        }
        try:
            return kind(**values)
        except TypeError as error:  # a required field is missing; the constructor names it
            raise ValueError(f"{where or kind.__name__}: {error}") from error

    def _sequence(self, origin: Kind, args: tuple[Kind, ...], document: Json, where: str) -> Json:
        if not isinstance(document, list | tuple):
            raise _wrong(where, "a list", document)
        kinds = args if origin is tuple and args[-1] is not Ellipsis else (args[0],) * len(document)
        if len(kinds) != len(document):
            raise ValueError(f"{where} takes {len(kinds)} values, not {len(document)}")
        return origin(
            self._decode(kind, each, f"{where}[{index}]")
            for index, (kind, each) in enumerate(zip(kinds, document, strict=True))
        )

    def _mapping(self, args: tuple[Kind, ...], document: Json, where: str) -> object:
        if isinstance(document, list) and args[0] is not str:
            pair: Kind = types.GenericAlias(tuple, args)
            return dict(self._sequence(tuple, (pair, ...), document, where))
        if not isinstance(document, Mapping):
            raise _wrong(where, "an object", document)
        return {
            self._decode(args[0], key, where): self._decode(args[1], each, f"{where}.{key}")
            for key, each in document.items()
        }


@lru_cache
def types_of(kind: type) -> Mapping[str, Kind]:
    """Return the types of the fields of a record class, by name."""
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind) if item.init}


@lru_cache
def refuse_mutable(kind: Kind) -> None:
    """Raise TypeError unless a type and all types in it are immutable. Tables are allowed.

    A change in place would not be reported to the observer of the table, and would be lost.
    """
    origin: Kind = get_origin(kind)
    if {kind, origin} & {list, dict, set}:
        raise TypeError(f"{kind} in a record is mutable: use tuple, Mapping, frozenset or Table")
    if is_dataclass(kind):
        record: Kind = kind
        if not record.__dataclass_params__.frozen:
            raise TypeError(f"{kind} must be a frozen dataclass")
        for inner in types_of(record).values():
            refuse_mutable(inner)
    for inner in get_args(kind):
        if inner is not Ellipsis:
            refuse_mutable(inner)


def _plain(kind: Kind, document: Json, where: str) -> object:
    """Return a plain value. JSON may have an integer for a float."""
    if kind is float and type(document) is int:
        return float(document)
    if type(document) is not kind:
        raise _wrong(where, _NAMES.get(kind, str(kind)), document)
    return document


def _wrong(where: str, expected: str, document: object) -> ValueError:
    return ValueError(f"{where} takes {expected}, not {document!r:.200}")
