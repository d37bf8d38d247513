"""Context, request and options of one disk's upload."""

from dataclasses import dataclass, replace
from typing import Self

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk
from aliyun_import.retry import DEFAULT, Retrier
from aliyun_import.services.interface import ObjectStore
from aliyun_import.services.retrying import with_retries

# The account check has contacted OSS by now: an endpoint that can't be reached is an outage, and not a wrong one.
_NO_FIRST_CONTACT = replace(DEFAULT, first_contact_attempts=DEFAULT.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadContext(Context):
    """Context of one disk's upload: a run's context, the open disk, and the bucket that receives it.

    `store` retries, parts and complete excepted, and emits a note before each wait: call it on the thread that emits.
    """

    source: Disk
    store: ObjectStore

    @classmethod
    def of(cls, context: Context, *, source: Disk, store: ObjectStore) -> Self:
        """Return the context of a run extended by a disk and a bucket; a store that does not retry is wrapped."""
        store = with_retries(store, Retrier(context, _NO_FIRST_CONTACT))
        return cls(clock=context.clock, emit=context.emit, cancel=context.cancel, source=source, store=store)

    @property
    def disk(self) -> str:
        """The name of the disk in events."""
        return str(self.source.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """The destination of a disk.

    `key` is the value of --key; None names the object after `key_stem` ("aliyun-import/<image name>/system") and the
    content. `suffix` is ".raw", ".vhd" or ".qcow2"; `base_key` is the value of --base; `region` is the bucket's, for
    remedies that can be pasted.
    """

    disk_index: int
    region: str
    key: str | None
    key_stem: str
    suffix: str
    base_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """How a disk is transferred. `jobs` is the number of parallel uploads, None adapts it.

    `send_zeros` permits to send zeros that OSS refuses to make by copies, however many they are.
    """

    jobs: int | None = None
    limit_rate_bytes_s: float | None = None
    keep_object: bool = False
    send_zeros: bool = False
