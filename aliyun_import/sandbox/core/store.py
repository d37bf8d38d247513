"""Store of tables in an SQLite file: the persistent state of a sandbox.

Changes of tables are collected, and `commit` writes them in one transaction. The router commits after an operation and
before its answer, so that a killed process loses only operations without an answer. One row of SQLite is one row of a
table, as JSON. The name of a table within a record is a path, such as buckets/"disks"/uploads.
"""

import itertools
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, get_args

from aliyun_import.sandbox.core.records import Codec, Kind, Table, types_of

_VERSION = 1  # of this schema, as PRAGMA user_version; the records contain the names of their fields
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    place TEXT NOT NULL, key TEXT NOT NULL, position INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (place, key)
) WITHOUT ROWID
"""

Place = tuple[str, str]  # the name of a table, and the key of a row as JSON


class UnreadableStateError(Exception):
    """The state cannot be read: it is damaged, or was written by another version."""


class UnwrittenStateError(Exception):
    """The state cannot be written, for example to a full disk. The next commit writes the changes again."""


@dataclass
class _Changes:
    """Collected changes, in the order of writing: removals first, because a removed row may be added again."""

    trees: set[str] = field(default_factory=set)
    """Prefixes, with a trailing slash, of the names of removed tables."""
    removed: set[Place] = field(default_factory=set)
    saved: dict[Place, object] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.trees or self.removed or self.saved)

    def remove_tree(self, prefix: str) -> None:
        self.saved = {place: value for place, value in self.saved.items() if not place[0].startswith(prefix)}
        self.trees.add(prefix)

    def follow(self, earlier: "_Changes") -> None:
        """Insert earlier changes, which could not be written, before these."""
        removed_prefixes = tuple(self.trees)
        current = {
            place: value
            for place, value in earlier.saved.items()
            if place not in self.removed and not place[0].startswith(removed_prefixes)
        }
        self.saved = current | self.saved
        self.trees |= earlier.trees
        self.removed |= earlier.removed


class Store:
    """Tables in a file. Raises UnreadableStateError for a file that is not such a store."""

    def __init__(self, path: Path) -> None:
        self.codec = Codec()
        self._collecting = threading.Lock()
        self._writing = threading.Lock()
        self._changes = _Changes()
        path.touch(mode=0o600)
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise UnreadableStateError(f"{path} is not the state of a sandbox: {error}") from error
        (last,) = self._database.execute("SELECT coalesce(max(position), 0) FROM records").fetchone()
        self._positions = itertools.count(last + 1)

    def _prepare(self) -> None:
        # WAL with FULL: a commit is on the disk when it returns, and costs one fsync. Readers do not wait.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise UnreadableStateError(f"its format version is {version}, and this program reads version {_VERSION}")
        self._database.execute(_SCHEMA)
        self._database.execute(f"PRAGMA user_version = {_VERSION}")

    def open(self, name: str, kind: Kind, table: Table[Any, Any]) -> None:
        """Read the rows of a table of a type such as Table[str, Image], and observe its changes."""
        key_kind, record_kind = get_args(kind)
        observer = _StoredTable(self, name)
        rows = self._database.execute("SELECT key, record FROM records WHERE place = ? ORDER BY position", (name,))
        try:
            for key_text, text in rows.fetchall():
                key = self.codec.decode(key_kind, json.loads(key_text), name)
                record: Any = self.codec.decode(record_kind, json.loads(text), name)
                for inner, inner_kind, inner_table in _tables_of(record):
                    self.open(f"{observer.prefix(key)}{inner}", inner_kind, inner_table)
                table.restore(key, record)
        except ValueError as error:
            raise UnreadableStateError(f"a record was written by another version: {error}") from error
        table.observer = observer

    def commit(self, lock: AbstractContextManager[Any]) -> None:
        """Write the collected changes. Raises UnwrittenStateError.

        `lock` is the lock under which related changes are made.
        """
        if not self._changes:
            # Another thread may be writing the changes of this thread, whose answer must follow that write.
            with self._writing:
                return
        with self._writing:
            with lock, self._collecting:
                changes, self._changes = self._changes, _Changes()
            try:
                self._write(changes)
            except BaseException as error:
                with self._collecting:
                    self._changes.follow(changes)
                if isinstance(error, sqlite3.Error):
                    raise UnwrittenStateError(str(error)) from error
                raise

    def close(self) -> None:
        """Close the file. Changes without a commit are lost."""
        with self._writing:
            self._database.close()

    def _write(self, changes: _Changes) -> None:
        rows = [
            (place, key, next(self._positions), json.dumps(self.codec.encode(value), separators=(",", ":")))
            for (place, key), value in changes.saved.items()
        ]
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            for prefix in changes.trees:
                # "0" is the character after "/", so this range holds all names with the prefix.
                self._database.execute(
                    "DELETE FROM records WHERE place >= ? AND place < ?", (prefix, prefix[:-1] + "0")
                )
            self._database.executemany("DELETE FROM records WHERE place = ? AND key = ?", changes.removed)
            # An existing row keeps its position, as in a dict.
            self._database.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record", rows
            )

    def save(self, place: Place, value: object) -> None:
        """Collect a new or changed row."""
        with self._collecting:
            self._changes.saved[place] = value

    def remove(self, place: Place, *, tree: str) -> None:
        """Collect the removal of a row and of its tables, whose names begin with `tree` (empty: it has none)."""
        with self._collecting:
            self._changes.saved.pop(place, None)
            self._changes.removed.add(place)
            if tree:
                self._changes.remove_tree(tree)


class _StoredTable:
    """Observer that stores the changes of one table."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name

    def prefix(self, key: object) -> str:
        """Return the prefix of the names of the tables within a row."""
        return f"{self._name}/{json.dumps(key)}/"

    def row_saved(self, key: object, value: object, previous: object) -> None:
        """Collect a row. Start to observe its new tables, and collect all their rows."""
        current = [table for _, _, table in _tables_of(value)]
        for _, _, table in _tables_of(previous):
            if not any(table is each for each in current):
                raise ValueError(f"the new value of {self._name} {key!r} has other tables: delete the old row first")
        self._store.save((self._name, json.dumps(key)), value)
        for name, _, table in _tables_of(value):
            if table.observer is None:
                table.observer = _StoredTable(self._store, f"{self.prefix(key)}{name}")
                for inner_key, inner in table.items():
                    table.observer.row_saved(inner_key, inner, None)

    def row_removed(self, key: object, value: object) -> None:
        """Collect the removal of a row, and stop to observe its tables, which an operation may still use."""
        inner = [table for _, _, table in _tables_of(value)]
        self._store.remove((self._name, json.dumps(key)), tree=self.prefix(key) if inner else "")
        for table in inner:
            _release(table)


def _release(table: Table[Any, Any]) -> None:
    table.observer = None
    for record in table.values():
        for _, _, inner in _tables_of(record):
            _release(inner)


def _tables_of(record: object) -> Iterator[tuple[str, Kind, Table[Any, Any]]]:
    """Yield the tables of a record as (name, type, table)."""
    if is_dataclass(record):
        for name, kind in types_of(record.__class__).items():
            table = getattr(record, name)
            if isinstance(table, Table):
                yield name, kind, table
