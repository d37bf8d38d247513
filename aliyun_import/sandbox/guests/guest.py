"""Running guests. Each has its own thread, and runs in real time, independent of the clock of the sandbox.

A guest ends when its `is_needed` returns False, when the sandbox stops, and when the sandbox is killed. Its writes to
its disks are then lost; the image is never changed.
"""

import json
import os
import re
import resource
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from aliyun_import.sandbox.core.blob_store import Content
from aliyun_import.sandbox.guests import machine as machines
from aliyun_import.sandbox.guests.machine import Descriptors, Machine
from aliyun_import.sandbox.guests.metadata import Metadata
from aliyun_import.sandbox.guests.picture import as_jpeg
from aliyun_import.sandbox.importer.formats import write_disk

# Size of the stored end of a console. A boot writes about 100 KiB.
MAX_CONSOLE_BYTES = 1 << 20
_POLL_S = 0.5
_ANSWER_TIMEOUT_S = 20.0
_MAX_PICTURE_BYTES = 64 << 20
# Maximum size of all writes of a guest to its disks; at most half of the free space.
_MAX_WRITTEN_BYTES = 16 << 30
_SYMBOLS = re.compile(
    rb"\x1b(?:\[[0-9;?=!>]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()#][0-9A-Za-z]|[=>78DEHMNOZ])"
    rb"|[\0-\x08\x0b-\x1f\x7f]"
)
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")


class Guest:
    """Guest with disks of (format, content, size in bytes).

    `machine` is called on the thread of the guest, because it may take seconds. `is_needed` is called twice a second;
    the guest ends when it returns False.
    """

    def __init__(
        self,
        disks: Sequence[tuple[str, Content, int]],
        machine: Callable[[], Machine],
        *,
        metadata: Metadata,
        directory: Path,
        is_needed: Callable[[], bool],
    ) -> None:
        self._disks, self._machine, self._metadata = disks, machine, metadata
        self._directory, self._is_needed = directory, is_needed
        self._console = bytearray()
        self._cached_console, self._cached_s = b"", -1.0
        self._monitor_lock = threading.Lock()
        self._monitor: socket.socket | None = None
        self._screen: IO[bytes] | None = None
        self.ended = threading.Event()
        """Set after the end of QEMU, or if it could not be started."""
        self.thread = threading.Thread(target=self._run, name="sandbox-guest", daemon=True)
        self.thread.start()

    @property
    def output(self) -> bytes:
        """Return the output of the guest on its serial port so far."""
        return bytes(self._console)

    def console(self, *, now_s: float, lag_s: float, is_plain: bool) -> tuple[bytes, float]:
        """Return the console and its time, from a cache that is updated after `lag_s`, as in the service.

        `is_plain` removes escape sequences and control characters.
        """
        if self._cached_s < 0 or now_s - self._cached_s >= lag_s:
            self._cached_console, self._cached_s = self.output, now_s
        return _SYMBOLS.sub(b"", self._cached_console) if is_plain else self._cached_console, self._cached_s

    def screenshot(self) -> bytes | None:
        """Return the screen as JPEG, or None if there is no screen."""
        with self._monitor_lock:
            if self._monitor is None or self._screen is None:
                return None
            try:
                self._screen.truncate(0)  # the descriptor of QEMU has O_APPEND
                _execute(self._monitor, "screendump", filename=machines.SCREEN)
                self._screen.seek(0)
                return as_jpeg(self._screen.read(_MAX_PICTURE_BYTES))
            except (OSError, ValueError):
                return None

    def _run(self) -> None:
        """Run QEMU on this thread. The kernel kills it if the thread that started it ends."""
        try:
            with ExitStack() as stack:
                self._forward(*self._start(stack))
        except (OSError, LookupError) as error:
            self._write(f"aliyun-import sandbox: the guest was not started: {error}\n".encode())
        finally:
            self.ended.set()

    def _start(self, stack: ExitStack) -> tuple["subprocess.Popen[bytes]", socket.socket]:
        """Start QEMU. Return the process and the socket for requests of the guest to the metadata service."""
        machine = self._machine()
        monitor, their_monitor = map(stack.enter_context, socket.socketpair())
        requests, their_requests = map(stack.enter_context, socket.socketpair())
        screen, appending = self._scratch(stack, os.O_WRONLY | os.O_APPEND)
        variables: tuple[int, ...] = ()
        if machine.is_uefi and (firmware := machines.firmware(machine.architecture)):
            file, reading = self._scratch(stack, os.O_RDONLY)
            file.write(firmware[1].read_bytes())
            file.flush()
            variables = (reading, file.fileno())
        given = Descriptors(
            disks=[self._disk_file(stack, *each) for each in self._disks],
            monitor=their_monitor.fileno(),
            metadata=their_requests.fileno(),
            screen=appending,
            variables=variables,
        )
        messages, _ = self._scratch(stack, os.O_RDONLY)
        child = subprocess.Popen(
            machines.launcher_command(sys.executable, machines.command_line(machine, given)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=messages,
            pass_fds=tuple(given.all()),
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            # Ctrl-C goes to the sandbox only, which then ends the guest.
            start_new_session=True,
        )
        stack.callback(self._write_failure, child, messages)
        stack.callback(child.wait)
        stack.callback(child.kill)
        _limit(child.pid)
        monitor.settimeout(_ANSWER_TIMEOUT_S)
        requests.settimeout(_POLL_S)
        self._open_screen(stack, monitor, screen)
        return child, requests

    def _open_screen(self, stack: ExitStack, monitor: socket.socket, screen: IO[bytes]) -> None:
        """Make the monitor available to `screenshot` until the end of the guest."""
        monitor.sendall(b'{"execute": "qmp_capabilities"}\n')
        with self._monitor_lock:
            self._monitor, self._screen = monitor, screen
        stack.callback(self._close_screen)

    def _close_screen(self) -> None:
        with self._monitor_lock:
            self._monitor = self._screen = None

    def _scratch(self, stack: ExitStack, flags: int) -> tuple[IO[bytes], int]:
        """Return an unnamed file, open for reading and writing, and a second descriptor of it with `flags`."""
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix="guest-") as named:
            file = stack.enter_context(Path(named.name).open("r+b"))  # noqa: SIM115 -- the stack closes it
            return file, _opened(stack, named.name, flags)

    def _disk_file(self, stack: ExitStack, kind: str, content: Content, size_bytes: int) -> tuple[str, int]:
        """Write a disk to a file, unlink it, and return its format and a read-only descriptor."""
        needed = sum(length for _, length in content.data_extents())
        if needed > shutil.disk_usage(self._directory).free:
            raise OSError(f"its disk needs {needed >> 20} MiB of free space in {self._directory}")
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix="guest-") as file:
            write_disk(content, Path(file.name))
            if kind == "raw":
                os.truncate(file.name, max(size_bytes, Path(file.name).stat().st_size))
            return kind, _opened(stack, file.name, os.O_RDONLY)

    def _forward(self, child: "subprocess.Popen[bytes]", requests: socket.socket) -> None:
        """Read the console and answer metadata requests until the guest ends or is not needed."""
        assert child.stdout is not None  # noqa: S101 -- a pipe
        with child.stdout as console, selectors.DefaultSelector() as selector:
            selector.register(console, selectors.EVENT_READ)
            selector.register(requests, selectors.EVENT_READ)
            while self._is_needed():
                for key, _ in selector.select(_POLL_S):
                    data = os.read(key.fd, 1 << 16)
                    if key.fileobj is requests:
                        # A guest that does not read its answer must not block this thread.
                        with suppress(OSError):
                            requests.sendall(self._metadata.feed(data))
                    elif data:
                        self._write(data)
                    else:
                        return

    def _write(self, data: bytes) -> None:
        self._console += data
        del self._console[:-MAX_CONSOLE_BYTES]

    def _write_failure(self, child: "subprocess.Popen[bytes]", messages: IO[bytes]) -> None:
        """Write the reason to the console if QEMU failed."""
        if child.returncode > 0:
            messages.seek(0)
            lines = messages.read(1 << 16).decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1] if lines else f"it ended with status {child.returncode}"
            self._write(f"aliyun-import sandbox: QEMU ended the guest: {reason}\n".encode())


def _execute(monitor: socket.socket, command: str, **arguments: object) -> None:
    """Send a QMP command to the monitor, and wait for its answer. Raises OSError."""
    monitor.sendall(json.dumps({"execute": command, "id": "call", "arguments": arguments}).encode() + b"\n")
    answer = b""
    while not re.search(rb'"id": "call"[^\n]*\n', answer):
        piece = monitor.recv(1 << 16)
        if not piece:
            raise OSError("QEMU has ended")
        answer += piece


def _opened(stack: ExitStack, path: str, flags: int) -> int:
    descriptor = os.open(path, flags)
    stack.callback(os.close, descriptor)
    return descriptor


def _limit(process: int) -> None:
    """Limit the size of the files of a process."""
    free_bytes = shutil.disk_usage(os.environ.get("TMPDIR") or "/var/tmp").free  # noqa: S108 -- QEMU writes there
    limit = min(_MAX_WRITTEN_BYTES, free_bytes // 2)
    if hasattr(resource, "prlimit"):
        with suppress(OSError):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (limit, limit))
            resource.prlimit(process, resource.RLIMIT_CORE, (0, 0))
