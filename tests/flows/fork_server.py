"""Process that has imported the tool and forks a child for each command.

A forked command is a process of its own (pid, files, signals, exit code) and does not pay for the imports. Its waits
advance the sandbox's clock. `python -m tests.flows.fork_server FD ADDRESS` serves on a socket that it inherited, with
the warm children of a server at ADDRESS.
"""

import array
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aliyun_import
from tests import warm_children

MAX_ORDER_BYTES = 1 << 20


class ForkServer:
    """Handle of a running fork server."""

    def __init__(self, disk_children: str) -> None:
        """Start a server whose commands read disks in the children of the server at this address."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for side in (self._socket, theirs):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_ORDER_BYTES)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.flows.fork_server", str(theirs.fileno()), disk_children],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        clock_url: str | None = None,
        call: tuple[str, Any] | None = None,
    ) -> "Forked":
        """Start a command. With `clock_url` its waits advance the clock of the sandbox at this URL.

        `call` is a function ("package.module:name") that is called in place of the command, and its argument.
        """
        pipes = [os.pipe() for _ in range(3)]
        order = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "cwd": str(cwd),
            "clock": clock_url,
            "call": call,
        }
        socket.send_fds(self._socket, [json.dumps(order).encode()], [writing for _, writing in pipes])
        for _, writing in pipes:
            os.close(writing)
        return Forked(*(reading for reading, _ in pipes))

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._process.wait(timeout=30)


class Forked:
    """A command that runs in a forked process."""

    def __init__(self, stdout: int, stderr: int, status: int) -> None:
        self.stdout = os.fdopen(stdout, "r", encoding="utf-8", errors="backslashreplace")
        self.stderr = os.fdopen(stderr, "r", encoding="utf-8", errors="backslashreplace")
        self._status = os.fdopen(status, "r")
        self.pid = int(self._status.readline())

    def communicate(self, *, limit_s: float) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr; kill a command that takes longer."""
        with ThreadPoolExecutor(2) as readers, self.stdout, self.stderr:
            watchdog = threading.Timer(limit_s, os.kill, (self.pid, signal.SIGKILL))
            watchdog.start()
            out, err = readers.map(lambda pipe: pipe.read(), (self.stdout, self.stderr))
            watchdog.cancel()
        return self.wait(), out, err

    def wait(self) -> int:
        """Return the exit code as subprocess does: negative for the signal that ended it."""
        with self._status:
            return os.waitstatus_to_exitcode(int(self._status.read()))


def serve(orders: socket.socket) -> None:
    """Fork a supervisor for each order; ends when the other side is closed."""
    preload()
    gc.freeze()  # else a collection in a child writes to every page that it shares with this process
    while True:
        text, descriptors, _, _ = socket.recv_fds(orders, MAX_ORDER_BYTES, 3)
        if not text:
            return
        supervisor = os.fork()
        if supervisor == 0:
            orders.close()
            if os.fork() == 0:
                _supervise(json.loads(text), *descriptors)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(supervisor, 0)


def preload() -> None:
    """Import what commands import."""
    ours = [one.name for one in pkgutil.walk_packages(aliyun_import.__path__, "aliyun_import.")]
    for name in (*ours, "oss2", "aliyunsdkcore.client", "rich.progress", "tomllib", "_strptime"):
        if not name.startswith("aliyun_import.__main__"):
            importlib.import_module(name)


def _supervise(order: dict[str, Any], stdout: int, stderr: int, status: int) -> None:
    child = os.fork()
    if child == 0:
        os.close(status)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        for descriptor in (stdout, stderr):
            os.close(descriptor)
        _command(order)
    for descriptor in (stdout, stderr):
        os.close(descriptor)
    with os.fdopen(status, "w") as file:
        print(child, file=file, flush=True)
        _, ended = os.waitpid(child, 0)
        file.write(str(ended))
    os._exit(0)


def _command(order: dict[str, Any]) -> None:
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["aliyun-import", *order["arguments"]]
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        os.fdopen(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )
    if order["clock"]:
        steer_clock(order["clock"])
    from aliyun_import.cli.main import run

    code: Any = 70
    try:
        if order["call"]:
            target, argument = order["call"]
            module, _, name = target.partition(":")
            getattr(importlib.import_module(module), name)(argument)
            code = 0
        else:
            run()
    except SystemExit as stop:
        code = stop.code
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def steer_clock(url: str) -> None:
    """Make the waits of this process advance the clock of a sandbox."""
    from aliyun_import.context import SystemClock, interrupted

    slept_s = array.array("d", [0.0])

    def sleep(clock: Any, seconds: float) -> None:
        if clock._cancel.is_set():
            raise interrupted()
        slept_s[0] += seconds
        body = json.dumps({"advance_s": seconds}).encode()
        request = urllib.request.Request(f"{url}/_sandbox/clock", data=body, method="POST")
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
        if clock._cancel.wait(0.001):
            raise interrupted()

    def now_s(clock: Any) -> float:
        del clock
        return time.time() + slept_s[0]

    def monotonic_s(clock: Any) -> float:
        del clock
        return time.monotonic() + slept_s[0]

    for method in (sleep, now_s, monotonic_s):
        setattr(SystemClock, method.__name__, method)


if __name__ == "__main__":
    warm_children.install(sys.argv[2])
    serve(socket.socket(fileno=int(sys.argv[1])))
