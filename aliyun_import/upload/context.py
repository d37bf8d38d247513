"""Context, request and options of one disk's upload."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from aliyun_import.context import Context
from aliyun_import.disk.disk import DiskSource
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Noted
from aliyun_import.retry import with_retries
from aliyun_import.services.interface import ObjectStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadContext(Context):
    """Context of one disk's upload: a run's context, the open disk, and the bucket that receives it."""

    source: DiskSource
    store: ObjectStore

    @classmethod
    def of(cls, context: Context, *, source: DiskSource, store: ObjectStore) -> Self:
        """Return the context of a run extended by a disk and a bucket."""
        return cls(clock=context.clock, emit=context.emit, cancel=context.cancel, source=source, store=store)

    @property
    def disk(self) -> str:
        """The name of the disk in events."""
        return str(self.source.path)

    def ask(self, call: Callable[[], T]) -> T:
        """Return the result of a call to the store, retried by the one policy; emit a note before each wait.

        Every request but the parts' goes through here; what becomes of a failed part is the scheduler's decision.
        """

        def note(error: AliyunImportError, attempt: int, wait_s: float) -> None:
            self.emit(Noted(message=f"{error.summary} Attempt {attempt + 1} follows in {wait_s:.1f} s."))

        return with_retries(call, clock=self.clock, on_retry=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """One disk and its destination.

    `key` is the value of --key; None names the object after `key_stem` ("aliyun-import/<image name>/system") and the
    content. `suffix` is ".raw", ".vhd" or ".qcow2"; `base_key` is the value of --base; `region` is the bucket's, for
    remedies that can be pasted.
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
    """How a disk is transferred. `jobs` is the number of parallel uploads, None adapts it."""

    jobs: int | None = None
    limit_rate_bytes_s: float | None = None
    keep_object: bool = False
