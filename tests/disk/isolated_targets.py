"""Functions that the tests of the isolated child call in it."""

import os
import signal
import time
from pathlib import Path

from aliyun_import.disk.partitions.boot import pe_machine
from aliyun_import.disk.report import Problem
from aliyun_import.model.finding import Severity


def a_value(*words: str) -> object:
    """Return a value made of this package's nouns."""
    print("noise on stdout")
    return Problem(code="-".join(words), severity=Severity.NOTE, message=f"parent {os.getppid()}")


def an_enum_of_old() -> object:
    """Return one as Python 3.11.2 does, the one of Debian 12: its enums pickle by a call of getattr."""
    by_call = lambda self, _protocol: (getattr, (type(self), self.name))  # noqa: E731
    setattr(Severity, "__reduce_ex__", by_call)  # noqa: B010
    return Severity.WARNS


def too_much_memory() -> object:
    """Ask for more than there may be."""
    return len(bytearray(8 << 30))


def too_long() -> object:
    """Wait, doing nothing."""
    time.sleep(600)
    return None


def a_busy_loop() -> object:
    """Compute, for ever."""
    while True:
        pass


def a_crash() -> object:
    """Die as a broken library does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def a_kill() -> object:
    """Die of a signal that has no name."""
    os.kill(os.getpid(), 40)
    return None


def too_long_an_answer() -> object:
    """Return more than any report holds."""
    return bytes(33 << 20)


def an_error() -> object:
    """Raise what nobody expects."""
    raise KeyError("surprise")


def a_file(path: str) -> object:
    """Write a file, which no reader of disks does."""
    return Path(path).write_text("x" * 100)


def no_value() -> object:
    """Return something that is neither a plain type nor a noun of this package."""
    return pe_machine
