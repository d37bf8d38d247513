"""This file keeps what a push intended and what it finished: one append-only file of JSON lines.

Every line is on the disk (fsync) before `write` returns, so that intent can be written before an effect. Replay
drops a torn last line, which a kill leaves behind; damage anywhere else is an error with the path, never a silent
fresh start. The file is locked while a push runs. What the lines mean is the business of those who write them: they
fold over `entries`.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aliyun_import.errors import LocalStateError

SCHEMA = 1
Entry = Mapping[str, Any]


class Journal:
    """One push's journal, open and locked. Not for use from several threads at once."""

    def __init__(self, path: Path, handle: int, entries: list[Entry]) -> None:
        self.path = path
        self._handle = handle
        self._entries = entries

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All lines so far, the oldest first; each has its `kind`."""
        return tuple(self._entries)

    def write(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Append one line and see it to the disk. Raises LocalStateError "journal-unwritable"."""
        entry = {"kind": kind, **fields}
        line = json.dumps(entry, separators=(",", ":"), sort_keys=False).encode() + b"\n"
        end = os.lseek(self._handle, 0, os.SEEK_END)
        try:
            # One write, so that a kill leaves a whole line or a torn last one.
            written = os.write(self._handle, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, "the line did not fit")
            os.fsync(self._handle)
        except OSError as error:
            # A line that did not fit must not stay as damage in the middle once there is room again.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, end)
            raise LocalStateError(
                f"The journal {self.path} can't be written.",
                code="journal-unwritable",
                cause=f"{error.strerror or error}",
                remedy=f"Make room on the disk that holds {self.path.parent}, or pass --state-dir with another "
                "directory, and run the same command again.",
                resumable=True,
            ) from error
        self._entries.append(entry)

    def close(self) -> None:
        """Close the file, which also lets go of the lock."""
        os.close(self._handle)

    def discard(self) -> None:
        """Remove the file: the push needs no memory any more. The journal is closed afterwards."""
        _pid_path(self.path).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def journal_path(directory: Path, identity: Mapping[str, str]) -> Path:
    """Name the journal of what `identity` describes: a readable stem, and a digest of all of it."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", identity.get("name", "push"))[:60]
    return directory / f"{stem}-{digest}.jsonl"


def default_state_dir() -> Path:
    """Return the directory of journals where none is given: the user's directory for program state."""
    import platformdirs

    return Path(platformdirs.user_state_dir("aliyun-import"))


def open_journal(directory: Path, identity: Mapping[str, str]) -> Journal:
    """Open, lock and replay the journal of what `identity` describes (its "name" shows in the file's name).

    Raises LocalStateError: "journal-locked" with the pid of the push that has it, "journal-unreadable" when it is
    damaged or of another version, "journal-unwritable" when the directory can't be used.
    """
    path = journal_path(directory, identity)
    handle = _open_locked(path)
    try:
        entries = _replay(handle, path)
        journal = Journal(path, handle, entries)
        if not entries:
            journal.write("opened", schema=SCHEMA, identity=dict(identity))
    except BaseException:
        os.close(handle)
        raise
    return journal


def read_journals(directory: Path) -> Iterator[tuple[Entry, ...]]:
    """Read every journal in a directory, for those who only look: nothing is locked, changed or complained about.

    What can't be read, or is of another version, is passed over.
    """
    for path in sorted(directory.glob("*.jsonl")):
        try:
            yield tuple(_entries(path.read_bytes().rpartition(b"\n")[0], path))
        except (OSError, LocalStateError):
            continue


def _open_locked(path: Path) -> int:
    """Open and lock the file that is at path when the lock is ours."""
    while True:
        handle = _open_file(path)
        try:
            _lock(handle, path)
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the push that had it ended, and discarded it, since it was opened here


def _is_at(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), there)


def _open_file(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o600)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise LocalStateError(
            f"The journal {path} can't be opened.",
            code="journal-unwritable",
            cause=f"{error.strerror or error}",
            remedy=f"Make {path.parent} writable, or pass --state-dir with a directory that is.",
        ) from error
    # The file's name is on the disk too, where the file system can do that.
    with contextlib.suppress(OSError):
        os.fsync(directory)
    os.close(directory)
    return handle


def _pid_path(path: Path) -> Path:
    return path.with_suffix(".pid")


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = _pid_of_holder(path)
        raise LocalStateError(
            "Another push of the same disk to the same place is running.",
            code="journal-locked",
            cause=f"Process {pid} holds {path}.",
            remedy=f"Wait for process {pid} to end, or stop it, and run the same command again.",
            details={"pid": pid, "journal": str(path)},
        ) from error
    except OSError as error:
        raise LocalStateError(
            f"The journal {path} can't be locked.",
            code="journal-unwritable",
            cause=f"{error.strerror or error}",
            remedy="Pass --state-dir with a directory on a local file system.",
        ) from error
    with contextlib.suppress(OSError):  # the pid is a courtesy; the lock is what counts
        _pid_path(path).write_text(f"{os.getpid()}\n")


def _pid_of_holder(path: Path) -> str:
    try:
        return _pid_path(path).read_text().strip() or "unknown"
    except OSError:
        return "unknown"


def _replay(handle: int, path: Path) -> list[Entry]:
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        content = file.read()
    whole, _, torn = content.rpartition(b"\n")
    if torn:
        os.ftruncate(handle, len(content) - len(torn))
    return _entries(whole, path)


def _entries(whole: bytes, path: Path) -> list[Entry]:
    entries: list[Entry] = []
    for number, line in enumerate(whole.split(b"\n") if whole else [], start=1):
        try:
            entry = json.loads(line)
            kind = entry["kind"]
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, f"Line {number} is damaged.") from error
        if number == 1 and (kind != "opened" or entry.get("schema") != SCHEMA):
            raise _unreadable(path, f"It is of version {entry.get('schema')!r}; this version writes {SCHEMA}.")
        entries.append(entry)
    return entries


def _unreadable(path: Path, cause: str) -> LocalStateError:
    return LocalStateError(
        f"The journal {path} can't be used.",
        code="journal-unreadable",
        cause=cause,
        remedy=f"Move {path} away and run the same command again: what is in OSS already is found again and kept.",
        details={"journal": str(path)},
    )
