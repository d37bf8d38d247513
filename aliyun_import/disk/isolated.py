"""This file calls a function in a child process that can't take more memory, time or disk than it is given.

What the function reads was made by anybody. Whatever it does to the reader (a crash, a hang, a gigabyte that a damaged
length asks for) ends here as one sentence, and never as the end of the push.

The child is a fresh interpreter and no fork: the caller has threads, and a fork of those can hang. It costs 0.05 s.
"""

import enum
import importlib
import io
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from pathlib import PurePath
from typing import Any

from aliyun_import.disk.io.parent_death_signal import child_environment, die_with
from aliyun_import.limits import GIB, MIB

# What a child has to say is a report: some hundred KiB with every package version of a guest in it.
_MAX_ANSWER_BYTES = 32 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a child may take: address space, seconds of CPU, seconds by the wall clock. It never writes to a file.

    An inspection takes 0.1-0.5 s and 20-90 MiB, a hostile image up to 1 s and 150 MiB: measured on 20,800 mutated ones.
    """

    memory_bytes: int = GIB
    cpu_s: int = 60
    wall_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it: the value, or in `failure` a sentence's part that says why there is none ("it took ...")."""

    value: object | None = None
    failure: str = ""


def call_bounded(target: str, arguments: Sequence[str], *, limits: Limits) -> Outcome:
    """Call `target` ("package.module:function") with these arguments in a child, and wait for it.

    The value must be made of plain types, and of dataclasses and enums of this package. The child, and whatever it
    starts, is gone when this returns or raises.
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
        start_new_session=True,
    ) as child:
        try:
            answer, noise = child.communicate(timeout=limits.wall_s)
        except subprocess.TimeoutExpired:
            return Outcome(failure=f"it took more than {limits.wall_s:g} seconds")
        finally:
            # What it started ends with it (see leash.py), so that nothing is left to be killed once it has ended.
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode == 0 and len(answer) <= _MAX_ANSWER_BYTES:
        return _read_answer(answer)
    if child.returncode == -signal.SIGXCPU:
        return Outcome(failure=f"it took more than {limits.cpu_s} seconds of computing")
    if child.returncode < 0:
        names = {known.value: known.name for known in signal.Signals}
        return Outcome(failure=f"it was ended by {names.get(-child.returncode, f'signal {-child.returncode}')}")
    lines = noise.decode("utf-8", "replace").strip().splitlines()
    if lines and lines[-1].startswith("MemoryError"):
        return Outcome(failure=f"it needed more than {limits.memory_bytes // MIB} MiB of memory")
    return Outcome(failure=lines[-1] if lines else f"it ended with status {child.returncode}")


def _read_answer(answer: bytes) -> Outcome:
    try:
        return Outcome(value=_Values(io.BytesIO(answer)).load())
    except Exception as error:  # noqa: BLE001 -- pickle documents that it raises anything
        return Outcome(failure=f"its answer can't be read ({error})")


class _Values(pickle.Unpickler):
    """An unpickler that makes frozen nouns of this package, paths, and plain types; it calls nothing else.

    The child is our own code, but it spent its time with bytes of a stranger.
    """

    def find_class(self, module: str, name: str) -> type:
        """Give a class that is a value; refuse everything else."""
        if module.partition(".")[0] in ("aliyun_import", "pathlib"):
            found: object = super().find_class(module, name)
            if isinstance(found, type) and (is_dataclass(found) or issubclass(found, (enum.Enum, PurePath))):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value")


class _Pickler(pickle.Pickler):
    """A pickler that names enums by their values; Python 3.11.0 to 3.11.3 do it by a call of getattr."""

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 -- as pickle has it
        """Say what makes a member of an enum, and leave the rest to pickle."""
        return (type(value), (value.value,)) if isinstance(value, enum.Enum) else NotImplemented


def _limit(kind: int, most: int, *, grace: int = 0) -> None:
    """Lower a limit, the hard one to `grace` more than the soft one; a limit that is lower already stays.

    A limit that the system refuses is done without (macOS has no way to bound the address space): the readers have
    caps of their own, and the wall clock is the caller's.
    """
    _, hard = resource.getrlimit(kind)
    hard = most + grace if hard == resource.RLIM_INFINITY else min(most + grace, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(kind, (min(most, hard), hard))


def _child(parent: str, memory_bytes: str, cpu_s: str, target: str, *arguments: str) -> None:
    """Be the child: take the limits on, call the function, write its pickled value to what stdout was."""
    die_with(int(parent))
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _limit(resource.RLIMIT_AS, int(memory_bytes))
    # At the soft limit comes SIGXCPU, which says why; the hard one is SIGKILL.
    _limit(resource.RLIMIT_CPU, int(cpu_s), grace=1)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    module, _, name = target.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    with answer:
        _Pickler(answer).dump(function(*arguments))


if __name__ == "__main__":
    _child(*sys.argv[1:])
