"""Guest that runs in QEMU: its serial ports, its monitor and its end."""

import json
import os
import resource
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from aliyun_import.boot.machine import MachineFiles, command_line, write_files
from aliyun_import.boot.metadata import MetadataService
from aliyun_import.boot.nbd import DiskServer
from aliyun_import.boot.output import TEXT_ADDRESS, TEXT_BYTES, Transcript, is_text_mode, read_text
from aliyun_import.disk.convert import is_alive
from aliyun_import.disk.isolated import child_environment, last_line, with_parent_death_signal
from aliyun_import.disk.reader import Reader
from aliyun_import.errors import LocalStateError
from aliyun_import.limits import GIB, KIB, MIB
from aliyun_import.model.boot import BootMachine

# As in containers/qemu.py: the path of a socket has at most 107 characters.
_SOCKET_DIRECTORY = "/tmp"  # noqa: S108 -- the directory created in it is private
_PREFIX = "aliyun-import-boot-"
_ANSWER_TIMEOUT_S = 20.0
# Maximum that a guest may write to its disk; less if the file system has little space.
_MAX_WRITTEN_BYTES = 16 * GIB
_MAX_MESSAGE_BYTES = 4 * MIB
_MAX_PICTURE_BYTES = 64 * MIB
Receiver = Callable[[bytes], None]


class Guest:
    """A running guest. Its output is read in `poll` and in the calls that query the monitor, on the caller's thread.

    `restarts` counts the restarts by the guest, `before_restart` is its text before the last one, `powered_off` is
    whether it powered off, `panicked` whether its kernel reported a panic to the machine, and `stop_code` the code that
    Windows reported with it.
    """

    def __init__(self, child: "subprocess.Popen[bytes]", files: MachineFiles, disk: DiskServer) -> None:
        self._child, self._files, self._disk = child, files, disk
        self._selector = selectors.DefaultSelector()
        self._monitor: socket.socket | None = None
        self._message = b""
        self._answers: list[dict[str, Any]] = []
        self.console, self.firmware = Transcript(), Transcript()
        self.metadata = MetadataService()
        self.log: Receiver | None = None
        self.restarts = 0
        self.before_restart = ""
        self.powered_off = self.panicked = False
        self.stop_code = ""

    @property
    def ended(self) -> bool:
        """Whether QEMU has ended."""
        return self._child.poll() is not None

    @property
    def read_bytes(self) -> int:
        """Bytes of the disk that the guest has read."""
        return self._disk.read_bytes

    @property
    def read_problem(self) -> Exception | None:
        """The error of the first failed read of the disk, None if there is none."""
        return self._disk.problem

    def accept(self, listeners: dict[str, socket.socket]) -> None:
        """Register the sockets to which QEMU connects."""
        receivers = {
            "console": self._receive_console,
            "screen": lambda data, _to: self.firmware.feed(data),
            "monitor": lambda data, _to: self._receive_monitor(data),
            "metadata": lambda data, to: to.sendall(self.metadata.feed(data)),
        }
        for name, listener in listeners.items():
            self._selector.register(listener, selectors.EVENT_READ, (name, receivers[name]))

    def poll(self, seconds: float) -> None:
        """Handle the output of the guest; wait for it for `seconds` at most."""
        for key, _ in self._selector.select(seconds):
            name, receive = key.data
            source = key.fileobj
            assert isinstance(source, socket.socket)  # noqa: S101 -- `accept` registers these alone
            if name is not None:
                self._connect(source, name, receive)
                continue
            data = b""
            with suppress(OSError):  # QEMU has ended
                data = source.recv(64 * KIB)
                receive(data, source)
            if not data:
                self._selector.unregister(source)
                source.close()

    def picture(self) -> bytes | None:
        """Return the screen as PPM, None if QEMU returns none."""
        if self._ask("screendump", filename=str(self._files.dump)) is None:
            return None
        return self._dumped(_MAX_PICTURE_BYTES)

    def screen_text(self, picture: bytes) -> str:
        """Return the text of the screen of which `picture` was taken; empty in a graphics mode."""
        arguments = {"val": TEXT_ADDRESS, "size": TEXT_BYTES, "filename": str(self._files.dump)}
        if not is_text_mode(picture) or self._ask("pmemsave", **arguments) is None:
            return ""
        return read_text(self._dumped(TEXT_BYTES) or b"")

    def failure(self) -> str:
        """Return the last line that QEMU wrote to stderr."""
        with suppress(OSError):
            return last_line((self._files.directory / "messages").read_bytes()[-4 * KIB :])
        return last_line(b"")

    def close(self) -> None:
        """Close the connections."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)  # noqa: S101 -- see `poll`
            key.fileobj.close()
        self._selector.close()

    def _connect(self, listener: socket.socket, name: str, receive: Callable[[bytes, socket.socket], None]) -> None:
        connection, _ = listener.accept()
        connection.settimeout(_ANSWER_TIMEOUT_S)
        self._selector.unregister(listener)
        listener.close()
        self._selector.register(connection, selectors.EVENT_READ, (None, receive))
        if name == "monitor":
            self._monitor = connection
            connection.sendall(b'{"execute": "qmp_capabilities"}\n')

    def _receive_console(self, data: bytes, _to: socket.socket) -> None:
        self.console.feed(data)
        if self.log is not None:
            self.log(data)

    def _receive_monitor(self, data: bytes) -> None:
        *messages, self._message = (self._message + data)[-_MAX_MESSAGE_BYTES:].split(b"\n")
        for raw in messages:
            with suppress(ValueError):
                self._handle(json.loads(raw))

    def _handle(self, message: dict[str, Any]) -> None:
        about = message.get("data", {})
        match message.get("event"):
            case "RESET" if about.get("guest"):
                self.restarts += 1
                self.before_restart = f"{self.firmware.text}\n{self.console.text}"
                self.console.restart()
                self.firmware.restart()
            case "SHUTDOWN":
                self.powered_off = self.powered_off or bool(about.get("guest"))
            case "GUEST_PANICKED":
                self.panicked, self.stop_code = True, stop_code(about.get("info", {}))
            case _ if message.get("id") == "ask":
                self._answers.append(message)

    def _ask(self, command: str, **arguments: object) -> dict[str, Any] | None:
        """Return the answer of the monitor to a command; None if there is none, or it is an error."""
        until_s = time.monotonic() + _ANSWER_TIMEOUT_S
        while self._monitor is None:
            if self.ended or time.monotonic() > until_s:
                return None
            self.poll(0.1)
        self._answers.clear()
        message = {"execute": command, "id": "ask", "arguments": arguments}
        try:
            self._monitor.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return None
        while not self._answers and not self.ended and time.monotonic() < until_s:
            self.poll(0.1)
        return next((one for one in self._answers if "return" in one), None)

    def _dumped(self, most: int) -> bytes | None:
        """Return the contents of the file that QEMU wrote, and remove it."""
        try:
            with self._files.dump.open("rb") as file:
                data = file.read(most)
            self._files.dump.unlink()
        except OSError:
            return None
        return data


@contextmanager
def start_guest(machine: BootMachine, disk: Reader, *, size_bytes: int) -> Iterator[Guest]:
    """Start a machine with a disk, extended to `size_bytes` by zeros, and yield its guest; remove all of it at the end.

    Raises LocalStateError "qemu-missing".
    """
    with ExitStack() as stack:
        _remove_leftovers()
        prefix = f"{_PREFIX}{os.getpid()}-"
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=_SOCKET_DIRECTORY)))
        files = MachineFiles(directory=directory)
        command = command_line(machine, files)
        write_files(machine, files)
        server = stack.enter_context(DiskServer(disk, files.disk, size_bytes=size_bytes))
        listeners = {name: _listening(directory / name) for name in ("console", "screen", "monitor", "metadata")}
        messages = stack.enter_context((directory / "messages").open("wb"))
        child = stack.enter_context(
            subprocess.Popen(
                with_parent_death_signal(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                env=child_environment(),
                # Ctrl-C must reach this process only, which ends the guest and reports the result.
                start_new_session=True,
            )
        )
        stack.callback(child.kill)
        _limit(child.pid)
        guest = Guest(child, files, server)
        stack.callback(guest.close)
        guest.accept(listeners)
        yield guest


def stop_code(info: dict[str, Any]) -> str:
    """Return the code of a stop error that Windows reports to Hyper-V's crash registers; empty for other panics."""
    code = info.get("arg1")
    return f"0x{code:08X}" if info.get("type") == "hyper-v" and isinstance(code, int) else ""


def ensure_started(guest: Guest, seconds: float) -> None:
    """Wait until QEMU runs the guest. Raises LocalStateError "qemu-failed" with the message of QEMU."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s and not guest.ended:
        if guest.picture() is not None or guest.console.text:
            return
        guest.poll(0.05)
    raise LocalStateError(
        "QEMU could not start the guest.",
        code="qemu-failed",
        cause=guest.failure(),
        remedy="Install a current QEMU, with the package that its message names, or leave the boot test out.",
    )


def _remove_leftovers() -> None:
    """Remove the directories of killed runs of this user."""
    for directory in Path(_SOCKET_DIRECTORY).glob(f"{_PREFIX}*-*"):
        process = directory.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError):
            is_ours = directory.lstat().st_uid == os.getuid()
            if is_ours and process.isdecimal() and not is_alive(int(process)):
                shutil.rmtree(directory)


def _listening(address: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen(1)
    return listener


def _limit(process: int) -> None:
    """Limit what a process may write to a file; the file of the guest's writes is in TMPDIR, or else in /var/tmp."""
    free_bytes = shutil.disk_usage(os.environ.get("TMPDIR") or "/var/tmp").free  # noqa: S108 -- not used itself
    most = min(_MAX_WRITTEN_BYTES, free_bytes // 2)
    if hasattr(resource, "prlimit"):
        with suppress(OSError):
            resource.prlimit(process, resource.RLIMIT_FSIZE, (most, most))
            resource.prlimit(process, resource.RLIMIT_CORE, (0, 0))
