"""Start a program that dies with its parent process: `python -m aliyun_import.disk.io.parent_death_signal PID PROGRAM`.

A child that reads or writes a disk for an hour must not go on when its parent was killed with SIGKILL, which no handler
sees. Linux sends a signal of the child's choice then (PR_SET_PDEATHSIG, prctl(2)), and keeps that wish across exec.
Elsewhere the program is started without it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1

# What a child needs to find itself and its files, and to speak the user's language. No secret is among these, and what
# reads a stranger's disk gets none.
_PASSED_ON = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV"})
_PASSED_ON_PREFIXES = ("LC_", "PYTHON", "DYLD_")


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Give the environment for a child that reads a disk: without credentials, and without all else it does not need.

    Another process of the same user can read a child's environment, and the child's memory holds it.
    """
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def leashed(command: Sequence[str | Path]) -> list[str]:
    """Give the command line that runs `command` on a leash held by this process.

    The leash is the thread's that starts it: that thread must wait for it.
    """
    return [sys.executable, "-P", "-m", __name__, str(os.getpid()), *map(str, command)]


def last_line(noise: bytes) -> str:
    """Give the last line of what a program said on stderr: its reason, as a rule."""
    lines = noise.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"


def die_with(parent: int) -> None:
    """Have this process killed when `parent` ends; ends it at once when that has happened already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"process {parent}, which this one was started for, is gone")


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 -- no shell is what is wanted
