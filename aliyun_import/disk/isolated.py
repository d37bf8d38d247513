"""Function calls in a child process with limits on memory, time and disk writes.

The function reads untrusted data. A crash, an endless loop or an allocation of gigabytes by a damaged length ends only
the child, and is reported as one clause.

The child is a new interpreter and not a fork: the caller has threads, and a forked child of a process with threads can
hang. Its start takes 0.05 s.
"""

import ctypes
import enum
import importlib
import io
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from pathlib import Path, PurePath
from typing import Any

from aliyun_import.limits import GIB, MIB

# The answer is a report of some hundred KiB at most.
_MAX_ANSWER_BYTES = 32 * MIB
# prctl(2): Linux sends a signal when the parent ends, also by SIGKILL. The setting is kept by exec.
_PR_SET_PDEATHSIG = 1
# For an interpreter with -I -S, which starts in half the time that the import of this module takes.
_LAUNCHER = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} has ended")
os.execvp(program[0], program)
"""
# Variables by which a child finds its files and the user's language. None of them contains a secret.
_PASSED_ON = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV"})
_PASSED_ON_PREFIXES = ("LC_", "PYTHON", "DYLD_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a child: address space, CPU time and elapsed time. It can never write to files.

    An inspection takes 0.1-0.5 s and 20-90 MiB, and with a hostile image up to 1 s and 150 MiB, as measured with 20,800
    mutated images.
    """

    memory_bytes: int = GIB
    cpu_s: int = 60
    wall_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """Result of a call: the value, or in `failure` a clause with the reason for its absence ("it took ...")."""

    value: object | None = None
    failure: str = ""


def call_isolated(
    target: str, arguments: Sequence[str], *, limits: Limits, descriptors: Sequence[int] = ()
) -> CallOutcome:
    """Call `target` ("package.module:function") with these arguments in a child process, and wait for it.

    The child inherits `descriptors` under the same numbers. The value must consist of built-in types, and of
    dataclasses and enums of this package. The child and its children have ended when this returns or raises.
    """
    numbers = (os.getpid(), limits.memory_bytes, limits.cpu_s)
    command = [sys.executable, "-P", "-m", __name__, *map(str, numbers), target, *arguments]
    environment = {**child_environment(), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        pass_fds=descriptors,
        start_new_session=True,
    ) as child:
        try:
            answer, stderr = child.communicate(timeout=limits.wall_s)
        except subprocess.TimeoutExpired:
            return CallOutcome(failure=f"it took more than {limits.wall_s:g} seconds")
        finally:
            # The children of the child end with it (see `with_parent_death_signal`).
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode == 0 and len(answer) <= _MAX_ANSWER_BYTES:
        return _read_answer(answer)
    if child.returncode == -signal.SIGXCPU:
        return CallOutcome(failure=f"it took more than {limits.cpu_s} seconds of CPU time")
    if child.returncode < 0:
        names = {known.value: known.name for known in signal.Signals}
        return CallOutcome(failure=f"it was ended by {names.get(-child.returncode, f'signal {-child.returncode}')}")
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    if lines and lines[-1].startswith("MemoryError"):
        return CallOutcome(failure=f"it needed more than {limits.memory_bytes // MIB} MiB of memory")
    return CallOutcome(failure=lines[-1] if lines else f"it ended with status {child.returncode}")


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for a child that reads a disk, with only the variables that it needs: no credentials.

    The memory of the child contains its environment, and other processes of the same user can read it.
    """
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }


def with_parent_death_signal(command: Sequence[str | Path]) -> list[str]:
    """Return a command line that runs `command` and ends it when this process ends, also by SIGKILL.

    A program that reads or writes a disk for an hour must not continue without its parent. For the kernel, the parent
    is the thread that starts the program: that thread must wait for it.
    """
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *map(str, command)]


def last_line(stderr: bytes) -> str:
    """Return the last line that a program wrote to stderr, which usually is the reason of its failure."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"


def _read_answer(answer: bytes) -> CallOutcome:
    try:
        return CallOutcome(value=_ValueUnpickler(io.BytesIO(answer)).load())
    except Exception as error:  # noqa: BLE001 -- pickle documents that it raises anything
        return CallOutcome(failure=f"its answer can't be read ({error})")


class _ValueUnpickler(pickle.Unpickler):
    """An unpickler of dataclasses and enums of this package, paths and built-in types. It calls no other function.

    The child runs code of this package, but has parsed untrusted data.
    """

    def find_class(self, module: str, name: str) -> type:
        """Return a class of values. Raises UnpicklingError for everything else."""
        if module.partition(".")[0] in ("aliyun_import", "pathlib"):
            found: object = super().find_class(module, name)
            if isinstance(found, type) and (is_dataclass(found) or issubclass(found, (enum.Enum, PurePath))):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not a class of values")


class _Pickler(pickle.Pickler):
    """A pickler that writes enum members by value. Python 3.11.0 to 3.11.3 write them as a call of getattr."""

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 -- as pickle declares it
        """Return the reduced value of a member of an enum, or NotImplemented for everything else."""
        return (type(value), (value.value,)) if isinstance(value, enum.Enum) else NotImplemented


def _die_with_parent(parent: int) -> None:
    """Let Linux kill this process when `parent` ends, and exit if it has ended already. No effect on other systems."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} has ended")


def _limit(kind: int, most: int, *, grace: int = 0) -> None:
    """Lower a soft limit to `most`, and the hard limit to `grace` more. Lower limits stay.

    A limit that the system refuses is ignored (macOS has none for the address space): the readers have limits, too, and
    the caller limits the elapsed time.
    """
    _, hard = resource.getrlimit(kind)
    hard = most + grace if hard == resource.RLIM_INFINITY else min(most + grace, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (min(most, hard), hard))


def _run_child(parent: str, memory_bytes: str, cpu_s: str, target: str, *arguments: str) -> None:
    """Set the limits, call the function, and write its pickled value to the original stdout."""
    _die_with_parent(int(parent))
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit(resource.RLIMIT_AS, int(memory_bytes))
    # The soft limit sends SIGXCPU, which the parent recognises; the hard limit sends SIGKILL.
    _limit(resource.RLIMIT_CPU, int(cpu_s), grace=1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    module, _, name = target.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    with answer:
        _Pickler(answer).dump(function(*arguments))


if __name__ == "__main__":
    _run_child(*sys.argv[1:])
