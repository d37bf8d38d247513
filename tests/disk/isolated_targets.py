"""Functions that tests call in the isolated child."""

import os
import signal
import time
from pathlib import Path

from aliyun_import.disk.partitions.boot import pe_machine
from aliyun_import.disk.report import Problem
from aliyun_import.model.finding import Severity


def return_value(*parts: str) -> object:
    """Return a value of a type of this package, and print something."""
    print("output on stdout")
    return Problem(code="-".join(parts), severity=Severity.NOTE, message=f"parent {os.getppid()}")


def return_enum_pickled_by_call() -> object:
    """Return an enum that is pickled as a call of getattr, as in Python 3.11.2 of Debian 12."""
    by_call = lambda self, _protocol: (getattr, (type(self), self.name))  # noqa: E731
    setattr(Severity, "__reduce_ex__", by_call)  # noqa: B010
    return Severity.WARNS


def allocate_too_much() -> object:
    """Allocate more memory than allowed."""
    return len(bytearray(8 << 30))


def sleep_too_long() -> object:
    """Sleep longer than allowed."""
    time.sleep(600)
    return None


def loop_forever() -> object:
    """Use the processor without end."""
    while True:
        pass


def crash() -> object:
    """End by SIGSEGV, as a faulty library does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def end_by_unnamed_signal() -> object:
    """End by a signal without a name."""
    os.kill(os.getpid(), 40)
    return None


def return_too_much() -> object:
    """Return more bytes than allowed."""
    return bytes(33 << 20)


def raise_error() -> object:
    """Raise an unexpected error."""
    raise KeyError("surprise")


def write_file(path: str) -> object:
    """Write a file, which readers of disks never do."""
    return Path(path).write_text("x" * 100)


def return_function() -> object:
    """Return an object that is neither a plain type nor a value type of this package."""
    return pe_machine
