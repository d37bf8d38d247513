"""Tables of records: mappings that report each change to the place where they are kept."""

from collections.abc import Iterator, MutableMapping
from typing import Protocol, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Keeper(Protocol):
    """What keeps the rows of one table."""

    def saved(self, key: object, value: object, former: object) -> None:
        """Receive a new row, or the new value of an old one; `former` is its value until now, or None."""
        ...

    def removed(self, key: object, value: object) -> None:
        """Receive the removal of a row."""
        ...


class Table(MutableMapping[K, V]):
    """Rows by key, in the order of their insertion.

    The rows are frozen records, so that assigning a row is the only way to change it, and is all that it takes to keep
    the change: `images[image.id] = replace(image, name=name)`. A record may have tables as fields. Use it under the
    state's lock.
    """

    def __init__(self) -> None:
        self._rows: dict[K, V] = {}
        self.keeper: Keeper | None = None

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    def __setitem__(self, key: K, value: V) -> None:
        former = self._rows.get(key)
        self._rows[key] = value
        if self.keeper is not None:
            self.keeper.saved(key, value, former)

    def __delitem__(self, key: K) -> None:
        value = self._rows.pop(key)
        if self.keeper is not None:
            self.keeper.removed(key, value)

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
        """Add a row that is kept already."""
        self._rows[key] = value
