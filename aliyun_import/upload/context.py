"""Context, request and options of one disk's upload."""

from dataclasses import dataclass, replace
from typing import Self

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk
from aliyun_import.model.arguments import check_fields, require_in_range
from aliyun_import.retry import DEFAULT, Retrier, with_retries
from aliyun_import.services import ObjectStore

# For each upload there is one connection (`cloud.connect.MAX_CONNECTIONS`).
MAX_JOBS = 64
# The account check has already contacted OSS, so an unreachable endpoint is an outage, not a wrong endpoint.
_NO_FIRST_CONTACT = replace(DEFAULT, first_contact_attempts=DEFAULT.attempts)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadContext(Context):
    """Context of one disk's upload: the context of the run, the open disk, and the destination bucket.

    `store` retries all calls except those for parts and complete. It emits an event before each wait, so it must be
    called on the thread that emits.
    """

    source: Disk
    store: ObjectStore

    @classmethod
    def of(cls, context: Context, *, source: Disk, store: ObjectStore) -> Self:
        """Return the context of a run, extended by a disk and a bucket. A store without retries is wrapped."""
        store = with_retries(store, Retrier(context, _NO_FIRST_CONTACT))
        return cls(clock=context.clock, emit=context.emit, cancel=context.cancel, source=source, store=store)

    @property
    def disk(self) -> str:
        """The name of the disk in events."""
        return str(self.source.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """Destination of a disk.

    `key` is the value of --key; with None the key is made of `key_stem` ("aliyun-import/<image name>/system") and a
    digest of the content. `suffix` is ".raw", ".vhd" or ".qcow2"; `base_key` is the value of --base; `region` is that
    of the bucket, for the commands in remedies.
    """

    disk_index: int
    region: str
    key: str | None
    key_stem: str
    suffix: str
    base_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """Options of a transfer. `jobs` is the number of parallel uploads; None adapts it to the connection.

    `send_zeros` allows sending any number of zeros that OSS refuses to create by copies. Raises UsageError
    "argument-invalid" for `jobs` outside 1 to 64, and a rate below 1.
    """

    jobs: int | None = None
    limit_rate_bytes_s: float | None = None
    keep_object: bool = False
    send_zeros: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        require_in_range("jobs", self.jobs, 1, MAX_JOBS)
        require_in_range("limit_rate_bytes_s", self.limit_rate_bytes_s, 1)
