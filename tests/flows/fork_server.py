"""Fork server: a process that has imported the tool and forks a child for each command.

A forked command has its own pid, files, signals and exit code, and spends no time on imports. Its waits advance the
clock of a sandbox. tests/warm_children.py forks the server.
"""

import array
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

import aliyun_import
from aliyun_import.cli.main import run
from aliyun_import.upload.crc64 import crc64_of_zeros
from tests import warm_children

MAX_JOB_BYTES = 1 << 20


class ForkServer:
    """Handle of a running fork server."""

    def __init__(self, address: str) -> None:
        """Initialize with the path of the server's socket."""
        self._address = address

    def start(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        clock_url: str | None = None,
        call: tuple[str, Any] | None = None,
        streams: Mapping[int, str] | None = None,
        limits: Mapping[int, int] | None = None,
        has_warm_children: bool = True,
    ) -> "Forked":
        """Start a command. With `clock_url` its waits advance the clock of the sandbox at this URL.

        `call` is a function ("package.module:name") and its argument; it is called instead of the command. `streams`
        maps descriptor 1 or 2 to the path it is opened on; "" closes it. `limits` are limits of the `resource` module.
        Without `has_warm_children` the command reads disks in fresh interpreters.
        """
        pipes = [os.pipe() for _ in range(3)]
        job = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "cwd": str(cwd),
            "clock": clock_url,
            "call": call,
            "streams": dict(streams or {}),
            "limits": dict(limits or {}),
            "has_warm_children": has_warm_children,
        }
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_JOB_BYTES)
            connection.connect(self._address)
            socket.send_fds(connection, [json.dumps(job).encode()], [writing for _, writing in pipes])
        for _, writing in pipes:
            os.close(writing)
        return Forked(*(reading for reading, _ in pipes))


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

    def kill(self, number: signal.Signals) -> None:
        """Send a signal to the command."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the exit code as subprocess does: negative for the signal that ended it."""
        with self._status:
            return os.waitstatus_to_exitcode(int(self._status.readline()))


def serve(listener: socket.socket, parent: socket.socket) -> None:
    """Fork a child for each job and report its end, until the other end of `parent` is closed."""
    preload()
    gc.freeze()  # a garbage collection in a child would write to every page that it shares with this process
    ended, end = socket.socketpair()
    end.setblocking(False)
    signal.set_wakeup_fd(end.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    statuses: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([listener, ended, parent], [], [])
        if parent in ready:
            return
        if ended in ready:
            ended.recv(4096)
            _report_ends(statuses)
        if listener in ready:
            connection, _ = listener.accept()
            with connection:
                text, descriptors, _, _ = socket.recv_fds(connection, MAX_JOB_BYTES, 3)
            stdout, stderr, status = descriptors
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                # Under nohup the tests ignore SIGHUP, and their children would inherit that.
                for number in (signal.SIGCHLD, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                for each in (listener, ended, end, parent):
                    each.close()
                os.close(status)
                _command(json.loads(text), stdout, stderr)
            os.close(stdout)
            os.close(stderr)
            os.write(status, b"%d\n" % child)
            statuses[child] = status


def _report_ends(statuses: dict[int, int]) -> None:
    """Write the status of each child that ended to its caller."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            child, ended = found
            with open(statuses.pop(child), "wb") as file, contextlib.suppress(BrokenPipeError):  # noqa: PTH123
                file.write(b"%d\n" % ended)


def preload() -> None:
    """Import the modules that commands import, and compute their tables of CRC-64."""
    modules = [one.name for one in pkgutil.walk_packages(aliyun_import.__path__, "aliyun_import.")]
    for name in (*modules, "oss2", "aliyunsdkcore.client", "platformdirs", "rich.progress", "tomllib", "_strptime"):
        if not name.startswith("aliyun_import.__main__"):
            importlib.import_module(name)
    crc64_of_zeros((1 << 36) - 1)


def _command(job: dict[str, Any], stdout: int, stderr: int) -> None:
    _open_streams(job["streams"], stdout, stderr)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = ["aliyun-import", *job["arguments"]]
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    streams = sys.stdout, sys.stderr = _standard_streams()
    for limit, value in job["limits"].items():
        resource.setrlimit(int(limit), (value, value))
    if not job["has_warm_children"]:
        warm_children.uninstall()
    if job["clock"]:
        steer_clock(job["clock"])
    code: Any = 70
    try:
        if job["call"]:
            target, argument = job["call"]
            module, _, name = target.partition(":")
            getattr(importlib.import_module(module), name)(argument)
            code = 0
        else:
            run()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    finally:
        # Python exits with 120 if its streams cannot be flushed.
        os._exit(code if _are_flushed(sys.stdout, sys.stderr, *streams) else 120)


def _open_streams(paths: Mapping[str, str], stdout: int, stderr: int) -> None:
    for descriptor, number in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for word, path in paths.items():
        number = int(word)
        os.close(number)
        if path:
            os.dup2(os.open(path, os.O_WRONLY), number)


def _are_flushed(*streams: TextIO | None) -> bool:
    try:
        for stream in streams:
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return False
    return True


def _standard_streams() -> tuple[TextIO | None, TextIO | None]:
    """Return stdout and stderr as a new interpreter creates them: None for a closed descriptor."""
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    made: list[TextIO | None] = []
    for number, errors in ((1, "strict"), (2, "backslashreplace")):
        try:
            os.fstat(number)
        except OSError:
            made.append(None)
            continue
        file = os.fdopen(number, "wb", closefd=False)
        made.append(io.TextIOWrapper(file, encoding=encoding, errors=errors, line_buffering=number == 2))
    return made[0], made[1]


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
