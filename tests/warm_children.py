"""Process that has imported the disk readers and forks a child for each call of `call_isolated`.

Its children have the limits of the real ones, without their imports (0.2 s of processor time per disk). A call that
fails is repeated in a real child, so that each failure is the real one. tests/disk/test_isolated.py and the flows that
start a fresh interpreter use real children.

It also forks the fork server of commands (tests/flows/fork_server.py). The workers of a test run share both.
"""

import atexit
import contextlib
import fcntl
import importlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aliyun_import.disk import isolated
from aliyun_import.disk.isolated import CallOutcome, Limits

real_call = isolated.call_isolated


class WarmChildren:
    """Client of the server. The server starts with the first call, and ends with this process."""

    def __init__(self, address: str = "") -> None:
        self._address = address

    @property
    def address(self) -> str:
        """Return the path of the server's socket."""
        if not self._address:
            self._address = start_server()
        return self._address

    def fork_commands(self) -> str:
        """Start the fork server of commands if it does not run yet, and return the path of its socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.address)
            connection.sendall(json.dumps({"commands": True}).encode())
            connection.shutdown(socket.SHUT_WR)
            _received(connection)
        return _commands_address(self.address)

    def call(
        self, target: str, arguments: Sequence[str], *, limits: Limits, descriptors: Sequence[int] = ()
    ) -> CallOutcome:
        """Call a function in a child, as `call_isolated` does."""
        job = {
            "environment": isolated.child_environment(),
            "target": target,
            "arguments": list(arguments),
            "limits": [str(limits.memory_bytes), str(limits.cpu_s)],
            "descriptors": list(descriptors),
        }
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(limits.wall_s)
            try:
                connection.connect(self.address)
                socket.send_fds(connection, [json.dumps(job).encode()], descriptors)
                connection.shutdown(socket.SHUT_WR)
                outcome = isolated._read_answer(_received(connection))
            except OSError:
                outcome = CallOutcome(failure="it gave no answer")
        if not outcome.failure:
            return outcome
        return real_call(target, arguments, limits=limits, descriptors=descriptors)


def install(address: str = "") -> WarmChildren:
    """Make this process read disks in children of the server at `address`, or of a new server."""
    children = WarmChildren(address)
    _read_by(children.call)
    return children


def uninstall() -> None:
    """Make this process read disks in fresh interpreters."""
    _read_by(real_call)


def _read_by(call: Callable[..., CallOutcome]) -> None:
    from aliyun_import.disk import inspect
    from tests.fuzz import run

    for module in (inspect, run):
        vars(module)["call_isolated"] = call


def start_server() -> str:
    """Start the server, which ends with this process, and return the path of its socket."""
    folder = tempfile.TemporaryDirectory(prefix="aliyun-import-")
    atexit.register(folder.cleanup)
    address = str(Path(folder.name, "socket"))
    own, parent = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listener, parent:
        listener.bind(address)
        listener.listen(64)
        descriptors = [listener.fileno(), parent.fileno()]
        server = subprocess.Popen(
            [sys.executable, "-m", __name__, *map(str, descriptors)], pass_fds=descriptors, stdin=subprocess.DEVNULL
        )
    atexit.register(server.wait)
    atexit.register(own.close)
    return address


def _commands_address(address: str) -> str:
    return f"{address}-commands"


def _received(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def serve(listener: socket.socket, parent: socket.socket) -> None:
    """Fork a child for each connection, until the other end of `parent` is closed."""
    has_commands = False
    while True:
        ready, _, _ = select.select([listener, parent], [], [])
        if parent in ready:
            return
        connection, _ = listener.accept()
        data, received, _, _ = socket.recv_fds(connection, 1 << 16, 16)
        job = json.loads(data + _received(connection))
        if "commands" in job:
            if not has_commands:
                _fork_commands(listener, parent, connection)
            has_commands = True
            connection.close()
            continue
        # Imported here, so that the next child of this target need not import it.
        importlib.import_module(job["target"].partition(":")[0])
        if os.fork() == 0:
            _become_child(connection, job, received)
        connection.close()
        for descriptor in received:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _fork_commands(listener: socket.socket, parent: socket.socket, connection: socket.socket) -> None:
    address = listener.getsockname()
    commands = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    commands.bind(_commands_address(address))
    commands.listen(64)
    if os.fork() == 0:
        code = 1
        try:
            for each in (listener, connection):
                each.close()
            install(address)
            importlib.import_module("tests.flows.fork_server").serve(commands, parent)
            code = 0
        finally:
            os._exit(code)
    commands.close()


def _become_child(connection: socket.socket, job: dict[str, Any], received: Sequence[int]) -> None:
    code = 1
    try:
        os.environ.clear()
        os.environ.update(job["environment"])
        with open(os.devnull, "wb") as devnull:  # noqa: PTH123 -- a descriptor is wanted
            os.dup2(devnull.fileno(), 2)
        os.dup2(connection.fileno(), 1)
        connection.close()
        # The wanted numbers may be in use, by the server or by another received descriptor.
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 1000) for descriptor in received]
        for descriptor, number in zip(moved, job["descriptors"], strict=True):
            os.dup2(descriptor, number)
        isolated._run_child(str(os.getppid()), *job["limits"], job["target"], *job["arguments"])
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
