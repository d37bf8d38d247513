"""This file is what every step of one disk's upload works with: the disk, the store, time, and where to speak."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aliyun_import.context import Clock
from aliyun_import.disk.disk import Disk
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Emit, Noted
from aliyun_import.retry import with_retries
from aliyun_import.services.interface import ObjectStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadContext:
    """The world around one disk's upload. Used on the thread that emits, `stop` aside."""

    source: Disk
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

        return with_retries(call, clock=self.clock, on_retry=say)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """One disk and where it goes: `region` is the bucket's, for advice that can be typed.

    `key` is what --key said, None to name it after `key_stem` ("aliyun-import/<image name>/system") and the content;
    `suffix` is ".raw", ".vhd" or ".qcow2"; `base_key` is what --base said.
    """

    path: Path
    disk_index: int
    region: str
    key: str | None
    key_stem: str
    suffix: str
    base_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """How it travels. `jobs` None adapts."""

    jobs: int | None = None
    limit_rate_bytes_s: float | None = None
    keep_object: bool = False
    grain_bytes: int | None = None
