"""Journal of a push: an append-only file of JSON lines with the intents and results of the push.

Every line is on the disk (fsync) before `write` returns, so that an intent can be written before its effect. Replay
drops an incomplete last line, which a kill can cause; any other damage is an error that names the path. The file is
locked while a push runs. The modules that write the lines interpret them, by a fold over `entries`. Replay checks their
form, which `journal_form` declares.

The directory may be shared, so its files are not trusted: links are not followed, a file that is not a journal is never
changed, and a line of the wrong form is refused before it is used.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import LocalStateError
from aliyun_import.journal_form import LINES, has_form
from aliyun_import.system_limits import limit_error
from aliyun_import.user_directories import NO_HOME

SCHEMA = 1
# A push of 17 disks with 10,000 parts each writes some 20 MiB.
MAX_BYTES = 256 << 20
Entry = Mapping[str, Any]
# O_NONBLOCK: opening a named pipe returns at once.
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FIRST = b'{"kind":"opened"'


class Journal:
    """Journal of one push, open and locked. Not thread-safe."""

    def __init__(self, path: Path, handle: int, entries: list[Entry]) -> None:
        self.path = path
        self._handle = handle
        self._entries = entries

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All lines so far, the oldest first; each has its `kind`."""
        return tuple(self._entries)

    def write(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Append one line and fsync it. Raises LocalStateError "journal-unwritable"."""
        entry = {"kind": kind, **fields}
        line = json.dumps(entry, separators=(",", ":"), sort_keys=False).encode() + b"\n"
        end = os.lseek(self._handle, 0, os.SEEK_END)
        try:
            # One write: after a kill the line is complete, or an incomplete last line.
            written = os.write(self._handle, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, "the line did not fit")
            os.fsync(self._handle)
        except OSError as error:
            # A partial line would be damage in the middle of the file once there is space again.
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, end)
            raise LocalStateError(
                f"The journal {self.path} can't be written.",
                code=ErrorCode.JOURNAL_UNWRITABLE,
                cause=f"{error.strerror or error}",
                remedy=f"Free space on the file system of {self.path.parent}, or pass --state-dir with another "
                "directory, and run the same command again.",
                resumable=True,
            ) from error
        self._entries.append(entry)

    def close(self) -> None:
        """Close the file, which releases the lock."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class JournalCopy(Journal):
    """Copy of a journal in memory, for a dry run; lines written to it are not stored on disk."""

    def __init__(self, path: Path, entries: list[Entry]) -> None:
        super().__init__(path, -1, entries)

    def write(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Append one line in memory."""
        self._entries.append({"kind": kind, **fields})

    def close(self) -> None:
        """Do nothing: no file is open."""


def journal_path(directory: Path, identity: Mapping[str, str]) -> Path:
    """Return the path of the journal for an identity: its name, and a digest of the whole."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", identity.get("name", "push"))[:60]
    return directory / f"{stem}-{digest}.jsonl"


def open_journal(directory: Path, identity: Mapping[str, str]) -> Journal:
    """Open, lock and replay the journal for an identity; create it if it does not exist.

    Raises LocalStateError: "journal-locked" with the pid of the push that holds it; "journal-unreadable" if the file is
    damaged, of another version, or not a journal of this user; "journal-unwritable" if the directory can't be used.
    """
    path = journal_path(directory, identity)
    handle = _open_locked(path)
    try:
        entries = _replay(handle, path)
        journal = Journal(path, handle, entries)
        if entries:
            _refuse_other(entries, identity, path)
        else:
            journal.write("opened", schema=SCHEMA, identity=dict(identity))
    except BaseException:
        os.close(handle)
        raise
    return journal


def copy_journal(directory: Path, identity: Mapping[str, str]) -> JournalCopy:
    """Return a copy of the journal for an identity, and change nothing. Raises the same errors as `open_journal`."""
    path = journal_path(directory, identity)
    _check_creatable(directory)
    entries: list[Entry] = []
    if os.path.lexists(path):
        handle = _open_existing(path)
        try:
            _check_file(handle, path)
            # Shared, so that dry runs do not exclude each other; a push holds it exclusively.
            _lock(handle, path, fcntl.LOCK_SH)
            entries = _complete_entries(handle, path)[0]
            _refuse_other(entries, identity, path)
        finally:
            os.close(handle)
    return JournalCopy(path, entries or [{"kind": "opened", "schema": SCHEMA, "identity": dict(identity)}])


def _refuse_other(entries: list[Entry], identity: Mapping[str, str], path: Path) -> None:
    """Raise "journal-unreadable" if the journal has another identity: name, region, account or bucket differ."""
    if entries and entries[0]["identity"] != identity:
        raise _unreadable(path, "It is the journal of another push.")


def _check_creatable(directory: Path) -> None:
    """Raise "journal-unwritable" if the directory can't hold a journal, or can't be created."""
    existing = directory
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    error = None
    if not existing.is_dir():
        error = errno.ENOTDIR
    elif not os.access(existing, os.W_OK | os.X_OK):
        error = errno.EROFS if os.statvfs(existing).f_flag & os.ST_RDONLY else errno.EACCES
    if error:
        raise _unopenable(directory / "journal", OSError(error, os.strerror(error)))
    if existing == directory:
        _refuse_writable_by_all(directory, directory.stat().st_mode)


def read_journals(directory: Path) -> Iterator[tuple[Path, tuple[Entry, ...]]]:
    """Yield the path and the lines of every journal in a directory; nothing is locked or changed.

    A file that can't be read, is damaged or of another version is skipped.
    """
    for path in sorted(directory.glob("*.jsonl")):
        try:
            handle = os.open(path, os.O_RDONLY | _SAFE)
            try:
                _check_file(handle, path)
                whole, _ = _content(handle, path)
            finally:
                os.close(handle)
            yield path, tuple(_entries(whole, path))
        except (OSError, LocalStateError):
            continue


def _open_locked(path: Path) -> int:
    """Open and lock the file that is at `path` once the lock is held."""
    while True:
        handle = _open_file(path)
        try:
            _check_file(handle, path)
            _lock(handle, path, fcntl.LOCK_EX)
            with contextlib.suppress(OSError):  # the pid is for messages only
                _write_pid(_pid_path(path))
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the file was removed after it was opened here


def _is_at(handle: int, path: Path) -> bool:
    try:
        existing = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), existing)


def _open_file(path: Path) -> int:
    try:
        _make_directory(path.parent)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unopenable(path, error) from error
    try:
        _refuse_writable_by_all(path.parent, os.fstat(directory).st_mode)
        handle = _open_existing(path, os.O_CREAT)
        # Sync the directory entry too, if the file system supports that.
        with contextlib.suppress(OSError):
            os.fsync(directory)
    finally:
        os.close(directory)
    return handle


def _open_existing(path: Path, flags: int = 0) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_APPEND | _SAFE | flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _unreadable(path, "It is a symbolic link.") from error
        raise _unopenable(path, error) from error


def _refuse_writable_by_all(directory: Path, mode: int) -> None:
    # In a sticky directory, such as /tmp, users can't replace the files of others.
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise LocalStateError(
            f"Every user can write to {directory}, the directory of the journal.",
            code=ErrorCode.JOURNAL_UNWRITABLE,
            cause="Another user could replace the journal with a file of their own.",
            remedy=f"Run `chmod o-w {shlex.quote(str(directory))}`, or pass --state-dir with a directory of your own.",
        )


def _make_directory(directory: Path) -> None:
    """Create a directory and its missing parents, private to the user regardless of the umask."""
    if not directory.exists():
        _make_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _check_file(handle: int, path: Path) -> None:
    """Raise "journal-unreadable" unless this is a regular file with one name, of this user or the directory's owner."""
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, "It is not a regular file.")
    if found.st_nlink > 1:
        raise _unreadable(path, "The file has other names (hard links).")
    # On some network file systems all files belong to one user, the owner of the directory.
    if found.st_uid not in (os.geteuid(), path.parent.stat().st_uid):
        raise _unreadable(path, "The file belongs to another user.")


def _lock(handle: int, path: Path, kind: int) -> None:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = _pid_of_holder(path)
        raise LocalStateError(
            "The same command is already running.",
            code=ErrorCode.JOURNAL_LOCKED,
            cause=f"Process {pid} holds {path}.",
            remedy=f"Wait for process {pid} to end, or stop it, and run the same command again.",
            details={"pid": pid, "journal": str(path)},
        ) from error
    except OSError as error:
        raise LocalStateError(
            f"The journal {path} can't be locked.",
            code=ErrorCode.JOURNAL_UNWRITABLE,
            cause=f"{error.strerror or error}",
            remedy="Pass --state-dir with a directory on a local file system.",
        ) from error


def _pid_path(path: Path) -> Path:
    return path.with_suffix(".pid")


def _write_pid(path: Path) -> None:
    """Write the pid of this process to a new file and rename it, so that an existing file is never written to."""
    new = path.with_suffix(".pid-new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
    try:
        os.write(handle, f"{os.getpid()}\n".encode())
    finally:
        os.close(handle)
    new.replace(path)


def _pid_of_holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        handle = os.open(_pid_path(path), os.O_RDONLY | _SAFE)
        try:
            pid = os.read(handle, 32).strip()
        finally:
            os.close(handle)
        if re.fullmatch(rb"[0-9]{1,10}", pid):
            return pid.decode()
    return "unknown"


def _replay(handle: int, path: Path) -> list[Entry]:
    """Read the lines of a journal, and remove an incomplete last one."""
    entries, torn = _complete_entries(handle, path)
    if torn:
        os.ftruncate(handle, os.fstat(handle).st_size - len(torn))
    return entries


def _complete_entries(handle: int, path: Path) -> tuple[list[Entry], bytes]:
    """Return the lines, and the bytes of an incomplete last one. Raises "journal-unreadable"."""
    whole, torn = _content(handle, path)
    entries = _entries(whole, path)
    if not entries and torn[: len(_FIRST)] != _FIRST[: len(torn)]:
        raise _unreadable(path, "It is not a journal.")
    return entries, torn


def _content(handle: int, path: Path) -> tuple[bytes, bytes]:
    """Return the complete lines without the last newline, and the incomplete last line."""
    size = os.fstat(handle).st_size
    if size > MAX_BYTES:
        raise _unreadable(path, f"It is larger than {MAX_BYTES >> 20} MiB.")
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        # Not MAX_BYTES, because read() allocates the whole buffer first.
        whole, _, torn = file.read(size).rpartition(b"\n")
    return whole, torn


def _entries(whole: bytes, path: Path) -> list[Entry]:
    entries: list[Entry] = []
    for number, line in enumerate(whole.split(b"\n") if whole else [], start=1):
        try:
            entry = json.loads(line)
            kind = entry["kind"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _unreadable(path, f"Line {number} is damaged.") from error
        if number == 1 and (kind != "opened" or entry.get("schema") != SCHEMA):
            raise _unreadable(path, f"It is of version {entry.get('schema')!r}; this version writes {SCHEMA}.")
        if not isinstance(kind, str) or not has_form(entry, LINES.get(kind, {}), exact=False):
            raise _unreadable(path, f"Line {number} has an unexpected form.")
        entries.append(entry)
    return entries


def _unopenable(path: Path, error: OSError) -> LocalStateError:
    if limit := limit_error(error):
        return limit
    no_home = "HOME is not set, and this user has no home directory: " if path.is_relative_to(NO_HOME) else ""
    return LocalStateError(
        f"The journal {path} can't be opened.",
        code=ErrorCode.JOURNAL_UNWRITABLE,
        cause=f"{no_home}{error.strerror or error}",
        remedy=f"Make {path.parent} writable, or pass --state-dir with a directory that is.",
    )


def _unreadable(path: Path, cause: str) -> LocalStateError:
    return LocalStateError(
        f"The journal {path} can't be used.",
        code=ErrorCode.JOURNAL_UNREADABLE,
        cause=cause,
        remedy=f"Move {path} away and run the same command again: uploaded data is found again and kept.",
        details={"journal": str(path)},
    )
