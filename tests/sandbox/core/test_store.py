"""Tests of the store: committed tables are restored in order, with the tables in their records."""

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.records import Table
from aliyun_import.sandbox.core.store import Store, UnreadableStateError, UnwrittenStateError


@dataclass(frozen=True)
class Leaf:
    """A row within a row within a row."""

    text: str


@dataclass(frozen=True)
class Branch:
    """A row with a table."""

    name: str
    leaves: Table[int, Leaf] = field(default_factory=Table)


@dataclass(frozen=True)
class Tree:
    """A row with tables of tables."""

    name: str
    branches: Table[str, Branch] = field(default_factory=Table)


Trees = Table[str, Tree]
LOCK = threading.RLock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open a new store."""
    with contextlib.closing(Store(tmp_path / "state.db")) as opened:
        yield opened


def _open(store: Store) -> Trees:
    trees: Trees = Table()
    store.open("trees", Trees, trees)
    return trees


def _after_a_kill(tmp_path: Path) -> Trees:
    """Return the table that a new process reads if this one is killed now."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("copy"))
    with contextlib.closing(Store(copy / "state.db")) as found:
        return _open(found)


def _shape(trees: Trees) -> dict[str, dict[str, dict[int, str]]]:
    return {
        key: {
            name: {number: leaf.text for number, leaf in branch.leaves.items()}
            for name, branch in tree.branches.items()
        }
        for key, tree in trees.items()
    }


def _grow(trees: Trees, name: str = "oak") -> Tree:
    trees[name] = Tree(name)
    trees[name].branches["low"] = Branch("low")
    trees[name].branches["low"].leaves[7] = Leaf("green")
    return trees[name]


def test_committed_rows_are_restored(store: Store, tmp_path: Path) -> None:
    """Rows of tables in rows are restored too; uncommitted changes are not."""
    trees = _open(store)
    tree = _grow(trees)
    store.commit(LOCK)
    tree.branches["low"].leaves[8] = Leaf("late")
    assert _shape(_after_a_kill(tmp_path)) == {"oak": {"low": {7: "green"}}}
    store.commit(LOCK)
    assert _shape(_after_a_kill(tmp_path)) == _shape(trees) == {"oak": {"low": {7: "green", 8: "late"}}}


def test_a_record_with_rows_is_stored_with_them(store: Store, tmp_path: Path) -> None:
    """A table without an observer collects rows, and is stored with its record."""
    trees = _open(store)
    tree = Tree("elm", Table())
    tree.branches["b"] = Branch("b")
    tree.branches["b"].leaves[1] = Leaf("early")
    trees["elm"] = tree
    tree.branches["b"].leaves[2] = Leaf("later")
    store.commit(LOCK)
    assert _shape(_after_a_kill(tmp_path)) == {"elm": {"b": {1: "early", 2: "later"}}}


def test_a_changed_record_keeps_its_tables_and_its_position(store: Store, tmp_path: Path) -> None:
    """`replace` keeps the tables. A changed row keeps its position; a row that is added again is last."""
    trees = _open(store)
    for name in ("a", "b", "c"):
        _grow(trees, name)
    store.commit(LOCK)
    trees["a"] = replace(trees["a"], name="renamed")
    again = trees.pop("b")
    trees["b"] = Tree(again.name)
    store.commit(LOCK)
    found = _after_a_kill(tmp_path)
    assert [(key, tree.name) for key, tree in found.items()] == [("a", "renamed"), ("c", "c"), ("b", "b")]
    assert _shape(found) == _shape(trees)
    assert _shape(found)["b"] == {}


def test_a_record_cannot_lose_its_tables(store: Store) -> None:
    """A new record with other tables would leave unreachable rows in the store."""
    trees = _open(store)
    _grow(trees)
    with pytest.raises(ValueError, match="has other tables"):
        trees["oak"] = Tree("oak")


def test_a_removed_record_is_removed_with_its_tables(store: Store, tmp_path: Path) -> None:
    """This applies to committed and new tables, and to tables in use. Tables of other records are kept."""
    trees = _open(store)
    tree = _grow(trees)
    _grow(trees, "oa")
    store.commit(LOCK)
    tree.branches["high"] = Branch("high")
    del trees["oak"]
    tree.branches["low"].leaves[9] = Leaf("removed")
    tree.branches["more"] = Branch("more")
    store.commit(LOCK)
    assert _shape(_after_a_kill(tmp_path)) == {"oa": {"low": {7: "green"}}}
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (3,)


def test_changes_that_could_not_be_written_are_written_by_the_next_commit(store: Store, tmp_path: Path) -> None:
    """No change is lost, and rows that were removed since then are not written."""
    trees = _open(store)
    _grow(trees, "gone")
    _grow(trees, "stays")
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        store._database.execute("PRAGMA busy_timeout = 1")
        with pytest.raises(UnwrittenStateError, match="locked"):
            store.commit(LOCK)
        other.execute("ROLLBACK")
    del trees["gone"]
    store.commit(LOCK)
    assert _shape(_after_a_kill(tmp_path)) == {"stays": {"low": {7: "green"}}}


def test_changes_under_one_lock_are_written_together(store: Store, tmp_path: Path) -> None:
    """A commit of another thread waits until the second of two changes that belong together is made."""
    trees, started = _open(store), threading.Event()

    def commit() -> None:
        started.wait()
        store.commit(LOCK)

    thread = threading.Thread(target=commit)
    thread.start()
    with LOCK:
        trees["one"] = Tree("one")
        started.set()
        thread.join(0.02)
        assert _shape(_after_a_kill(tmp_path)) == {}
        trees["two"] = Tree("two")
    thread.join()
    assert list(_after_a_kill(tmp_path)) == ["one", "two"]


@pytest.mark.parametrize("content", [b"not a database, but a text that is long enough to be read as a header" * 9])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """The file is not overwritten."""
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(UnreadableStateError, match="not the state of a sandbox"):
        Store(path)
    assert path.read_bytes() == content


def test_a_state_of_another_version_is_refused(store: Store, tmp_path: Path) -> None:
    """The schema version and unknown fields are checked."""
    store._database.execute("PRAGMA user_version = 99")
    with pytest.raises(UnreadableStateError, match="99"):
        Store(tmp_path / "state.db")
    store._database.execute("PRAGMA user_version = 1")
    store._database.execute("INSERT INTO records VALUES ('trees', '\"a\"', 1, '{\"height\": 3}')")
    with pytest.raises(UnreadableStateError, match="height"):
        _open(store)


def test_only_the_owner_can_read_the_file(store: Store, tmp_path: Path) -> None:
    """It contains secrets of keys."""
    del store
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0
