"""Child processes of commands, in the foreground and in the background."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

START_TIMEOUT_S = 30.0  # for a process in the background on a busy machine
POLL_S = 0.05
NOT_EXECUTABLE = 126
NOT_FOUND = 127


def run(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its exit code as a shell does: 127 if it is missing, 128 plus a signal.

    Signals that are sent to this process alone are passed on. A terminal sends Ctrl-C to the command itself.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals that arrived before the process was started

    def pass_on(number: int, _frame: object) -> None:
        if number == signal.SIGINT and os.isatty(0):
            return
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        process = subprocess.Popen(command, env=environment)
        for number in early:
            process.send_signal(number)
        code = process.wait()
    except OSError as error:
        click.echo(f"aliyun-import: {command[0]}: {error.strerror}", err=True)
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def start(arguments: Sequence[str], environment: Mapping[str, str], *, log: Path, until: Callable[[int], bool]) -> int:
    """Start a command of this tool in the background, with its output in `log`, and return 0 once `until(pid)` holds.

    If it ends before that, write its output to stderr and return its exit code.
    """
    with open(log, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "aliyun_import", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ends_s = time.monotonic() + START_TIMEOUT_S
    while child.poll() is None and time.monotonic() < ends_s:
        if until(child.pid):
            child.returncode = 0  # keeps running; without a code Popen would warn at exit
            return 0
        time.sleep(POLL_S)
    if child.poll() is None:
        child.terminate()
    click.echo(log.read_text(errors="replace"), err=True, nl=False)
    return child.wait() or 1


def arguments_of(context: click.Context, *, without: Sequence[str]) -> list[str]:
    """Return the options of a running command as arguments, except those in `without`."""
    words = []
    for param in context.command.params:
        value = context.params.get(str(param.name))
        if value not in (None, False) and param.name not in without:
            words += [param.opts[0]] if value is True else [param.opts[0], str(value)]
    return words
