"""Directory of a sandbox that keeps its state: lock, information about the serving process, removal.

The process that serves the directory locks `lock`, and stores information about itself there as JSON. The kernel
releases the lock when the process ends, also after a kill. `state.db` is the store, `objects` holds the bytes, `tls`
the certificates, `journals` the journals of `sandbox run`, `serve.log` the output of a sandbox in the background.
"""

import fcntl
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

LOCK = "lock"
STATE = "state.db"
JOURNALS = "journals"
LOG = "serve.log"
OBJECTS = "objects"
TLS = "tls"  # not removed by `reset`, because clients may trust the authority
_OURS = (LOCK, STATE, f"{STATE}-wal", f"{STATE}-shm", OBJECTS, JOURNALS, LOG)
LOCK_ATTEMPTS = 5
LOCK_PAUSE_S = 0.02


class DirectoryInUseError(OSError):
    """Another process serves the directory."""


class ForeignDirectoryError(OSError):
    """The directory contains files, but no state of a sandbox."""


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """Process that serves a directory: its id, its endpoint, and the variables for clients."""

    pid: int
    url: str
    environment: dict[str, str]


class DirectoryLock:
    """Lock on a directory, from the construction to `release`.

    Raises DirectoryInUseError if another process holds it, and ForeignDirectoryError.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / STATE).exists() and any(each.name not in (*_OURS, TLS) for each in directory.iterdir()):
            raise ForeignDirectoryError(f"{directory} contains files, but no state of a sandbox")
        self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if not _locked(self._descriptor):
            os.close(self._descriptor)
            raise DirectoryInUseError(f"another sandbox serves {directory}")
        os.ftruncate(self._descriptor, 0)

    def write_info(self, info: ServerInfo) -> None:
        """Store information about this process, for `server_info`."""
        os.pwrite(self._descriptor, json.dumps(asdict(info)).encode(), 0)

    def release(self) -> None:
        """Release the lock."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __enter__(self) -> "DirectoryLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _locked(descriptor: int) -> bool:
    """Return whether the lock was acquired. Retry, because `server_info` holds a shared lock for a short time."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
    return False


def server_info(directory: Path) -> ServerInfo | None:
    """Return the process that serves a directory, or None.

    Raises DirectoryInUseError while the process starts or ends.
    """
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 1 << 16, 0)
        if not text:
            raise DirectoryInUseError(f"a sandbox in {directory} starts or ends") from None
        return ServerInfo(**json.loads(text))
    finally:
        os.close(descriptor)
    return None


def stop(directory: Path, *, within_s: float) -> bool:
    """Stop the process that serves a directory. Return False if there is none.

    Raises DirectoryInUseError if the process has not ended after `within_s` seconds.
    """
    found = server_info(directory)
    if found is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    ends_s = time.monotonic() + within_s
    while time.monotonic() < ends_s:
        with suppress(DirectoryInUseError):
            if server_info(directory) is None:
                return True
        time.sleep(LOCK_PAUSE_S)
    raise DirectoryInUseError(f"the sandbox in {directory}, process {found.pid}, has not ended in {within_s:.0f} s")


def reset(directory: Path) -> None:
    """Remove the state of a sandbox from a directory. Raises DirectoryInUseError and ForeignDirectoryError."""
    if not directory.exists():
        return
    with DirectoryLock(directory):
        for name in _OURS:
            path = directory / name
            if path.is_dir():
                shutil.rmtree(path)
            elif name != LOCK:
                path.unlink(missing_ok=True)
