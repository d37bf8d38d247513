"""This file is what every step of one disk's upload works with: the disk, the store, time, and where to speak."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from aliyun_import.disk.source import DiskSource
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Emit, Noted
from aliyun_import.ports import Clock, ObjectStore
from aliyun_import.retry import patiently

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The world around one disk's upload. Used on the thread that emits, `stop` aside."""

    source: DiskSource
    store: ObjectStore
    clock: Clock
    emit: Emit
    stop: threading.Event

    @property
    def disk(self) -> str:
        """Name the disk, as events do."""
        return str(self.source.path)

    def ask(self, call: Callable[[], T]) -> T:
        """Call the store until it answers, with the one policy of retrying; says so when it has to wait."""

        def say(error: AliyunImportError, attempt: int, wait_s: float) -> None:
            self.emit(Noted(message=f"{error.summary} Attempt {attempt + 1} follows in {wait_s:.1f} s."))

        return patiently(call, clock=self.clock, on_retry=say)
