"""Zero object: an object of zeros, grown on the server, from which ranges of zeros are copied.

    1 MiB sent  ->  32 copies: 32 MiB  ->  32 copies: 1 GiB

Each push has its own zero object below the staging prefix. Its key is random, and is written to the journal before the
object is created, so that a killed push finds it again, and two pushes never share it. `aliyun-import cleanup` lists
zero objects that remain.
"""

import contextlib
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from aliyun_import.context import Context
from aliyun_import.errors import AliyunImportError, Interrupted, PermissionDenied, RefusedError, TransientError
from aliyun_import.events import Warned
from aliyun_import.model.objects import RemoteObject, RemotePart, object_url
from aliyun_import.retry import Retrier, without_retries
from aliyun_import.sizes import size
from aliyun_import.upload.complete import TAG_NAME, Completion, complete_upload
from aliyun_import.upload.context import UploadContext, UploadRequest
from aliyun_import.upload.crc64 import crc64_of_zeros
from aliyun_import.upload.plan import ZERO_SOURCES, BaseObject, PartKind, PlannedPart, UploadPlan
from aliyun_import.upload.removal import leftovers_command, remove_object
from aliyun_import.upload.threads import thread_pool
from aliyun_import.upload.transfer.scheduler import COPIES, too_many_zeros

# The server does the work of a copy; this number in parallel is below every published limit of requests.
COPIES_IN_PARALLEL = 8
# Characters of a digest or of random bits in a key: 48 bits, so that two disks or pushes do not collide by accident.
DIGEST_CHARS = 12
# Form of the key of a zero object: the stem of `zero_stem` or `shared_zero_stem`, and the size in bytes.
ZERO_KEY = re.compile(rf"(^|/)zeros-[0-9a-f]{{{DIGEST_CHARS}}}-\d+$")
# How often a zero object that disappears during the push is created again; each time costs 1 MiB.
RENEWALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroObject:
    """A zero object. `sent_bytes` were sent for it; `version_id` is set in a bucket with versioning.

    `has_remnants` is true if a smaller one from which it was grown could not be removed.
    """

    key: str
    etag: str
    size_bytes: int
    sent_bytes: int = 0
    version_id: str | None = None
    has_remnants: bool = False

    @property
    def source(self) -> BaseObject:
        """The object as the source of copies."""
        return BaseObject(key=self.key, etag=self.etag)


def zero_stem(request: UploadRequest) -> str:
    """Return a new, random beginning of the key of a push's zero object."""
    return f"{_prefix(request)}/zeros-{secrets.token_hex(DIGEST_CHARS // 2)}"


def shared_zero_stem(request: UploadRequest, *, sample: str) -> str:
    """Return the stem that all pushes of one disk shared in 0.1.0 before November 2026."""
    return f"{_prefix(request)}/zeros-{sample[:DIGEST_CHARS]}"


def _prefix(request: UploadRequest) -> str:
    return request.key_stem.partition("/")[0]


def zero_key(stem: str, size_bytes: int) -> str:
    """Return the key of the zero object of a size."""
    return f"{stem}-{size_bytes}"


def ensure_zero_object(context: UploadContext, stem: str, *, size_bytes: int) -> ZeroObject:
    """Return the zero object of this size (one of ZERO_SOURCES); create it if needed. Raises the store's errors.

    The smaller ones from which it was grown are removed if possible.
    """
    sizes = [size for size, _ in ZERO_SOURCES if size <= size_bytes]
    found = _find(context, zero_key(stem, size_bytes), size_bytes=size_bytes)
    if found:  # of a killed push, which may not have removed the smaller ones
        gone = [_is_removed(partial(remove_object, context.store, zero_key(stem, smaller))) for smaller in sizes[:-1]]
        return replace(found, has_remnants=not all(gone))
    for upload in context.store.list_uploads(stem):  # of a push that was killed at this point
        context.store.abort(upload.key, upload.upload_id)
    zero = _seed(context, zero_key(stem, sizes[0]), size_bytes=sizes[0])
    for larger in sizes[1:]:
        grown = _grow(context, zero, zero_key(stem, larger), size_bytes=larger)
        is_gone = remove_zero_object(context, zero)
        zero = replace(grown, has_remnants=zero.has_remnants or not is_gone)
    return zero


def remove_all_zero_objects(context: UploadContext, stem: str) -> tuple[str, ...]:
    """Remove all zero objects of a push, and return the keys of those that could not be removed."""
    keys = [zero_key(stem, size) for size, _ in ZERO_SOURCES]
    return tuple(key for key in keys if not _is_removed(partial(remove_object, context.store, key)))


def remove_zero_object(context: UploadContext, zero: ZeroObject) -> bool:
    """Remove a zero object; return False if that failed, which costs little and must not end the push."""
    return _is_removed(partial(context.store.delete, zero.key, version_id=zero.version_id))


def _is_removed(remove: Callable[[], None]) -> bool:
    try:
        remove()
    except Interrupted:
        raise
    except AliyunImportError:
        return False
    return True


def _find(context: UploadContext, key: str, *, size_bytes: int) -> ZeroObject | None:
    """Return the object at a key if its CRC-64 is that of zeros; remove it otherwise."""
    existing = context.store.head(key)
    if existing is None:
        return None
    if existing.size_bytes == size_bytes and existing.crc64 == crc64_of_zeros(size_bytes):
        return ZeroObject(key=key, etag=existing.etag, size_bytes=size_bytes, version_id=existing.version_id)
    remove_object(context.store, key)
    return None


def _seed(context: UploadContext, key: str, *, size_bytes: int) -> ZeroObject:
    existing = context.store.put(key, bytes(size_bytes))
    _check(existing, size_bytes)
    return ZeroObject(
        key=key, etag=existing.etag, size_bytes=size_bytes, sent_bytes=size_bytes, version_id=existing.version_id
    )


def _grow(context: UploadContext, zero: ZeroObject, key: str, *, size_bytes: int) -> ZeroObject:
    tag = secrets.token_hex(8)
    store = context.store
    retry = Retrier(
        Context(clock=context.clock, cancel=context.cancel)
    )  # emits nothing, because it runs on other threads
    upload_id = store.start_upload(key, metadata={TAG_NAME: tag})

    def copy(number: int) -> RemotePart:
        return retry(
            store.copy_part,
            key,
            upload_id,
            number=number,
            source_key=zero.key,
            start=0,
            length=zero.size_bytes,
            if_match=zero.etag,
        )

    try:
        with thread_pool(COPIES_IN_PARALLEL, name="zeros") as pool:
            parts = tuple(pool.map(copy, range(1, size_bytes // zero.size_bytes + 1)))
        completion = Completion(
            key=key, upload_id=upload_id, parts=parts, crc64=crc64_of_zeros(size_bytes), tag=tag, overwrite=True
        )
        existing = complete_upload(context, completion).object
    except AliyunImportError:
        with contextlib.suppress(AliyunImportError):
            store.abort(key, upload_id)
        raise
    _check(existing, size_bytes)
    return ZeroObject(
        key=key, etag=existing.etag, size_bytes=size_bytes, sent_bytes=zero.sent_bytes, version_id=existing.version_id
    )


def _check(existing: RemoteObject, size_bytes: int) -> None:
    """Raise TransientError unless the object is zeros. Without a CRC-64, the check of its source counts."""
    if existing.size_bytes != size_bytes or existing.crc64 not in (None, crc64_of_zeros(size_bytes)):
        raise TransientError(
            f"The zero object {existing.key} is not as expected.",
            code="zeros-corrupted",
            cause=f"It has {existing.size_bytes} bytes with CRC-64 {existing.crc64}, not {size_bytes} bytes of zeros.",
            remedy="Run the same command again.",
            resumable=True,
        )


class StagedZeros:
    """The zero object of one push: created when parts need it, and removed at the end.

    `made` is the object once it exists, `sent_bytes` are the bytes sent for it. `intend` writes the stem to the
    journal.
    """

    def __init__(self, context: UploadContext, stem: str, *, region: str, intend: Callable[[str], None]) -> None:
        self.stem = stem
        self.made: ZeroObject | None = None
        self.sent_bytes = 0
        self._context = context
        self._region = region
        self._intend = intend
        self._intended = ""
        self._may_exist = False
        self._resumed = False
        self._lock = threading.Lock()
        self._renewals = RENEWALS

    def resume(self, stem: str, *, may_exist: bool) -> None:
        """Use the stem of the journal; `may_exist`: an earlier run may have created an object with it."""
        self.stem = self._intended = stem
        self._resumed = True
        self._may_exist = may_exist

    @property
    def source(self) -> BaseObject:
        """The object as the source of copies; raises ValueError before it is made."""
        if self.made is None:
            raise ValueError("there is no zero object")
        return self.made.source

    def renewed(self, error: AliyunImportError) -> BaseObject:
        """Create the object again after a copy did not find it, and return it as a source.

        Raises `error` if that was tried too often. Thread-safe; emits nothing.
        """
        context = self._context
        silent = Context(clock=context.clock, cancel=context.cancel)
        with self._lock:
            if self.made is None or not self._renewals:
                raise error
            quiet = UploadContext.of(silent, source=context.source, store=without_retries(context.store))
            self.made = ensure_zero_object(quiet, self.stem, size_bytes=self.made.size_bytes)
            self._resumed = True  # more than one may exist now
            # If another worker has created it, nothing was sent.
            self._renewals -= self.made.sent_bytes > 0
            self.sent_bytes += self.made.sent_bytes
            return self.made.source

    def expect(self, plan: UploadPlan, *, resumed: bool) -> None:
        """Record a plan of this run, or of an earlier one (`resumed`), whose zero object may exist."""
        self._may_exist = self._may_exist or plan.zero_source_bytes > 0
        self._resumed = self._resumed or resumed

    def make(self, plan: UploadPlan, left: Iterable[PlannedPart], *, max_bytes: float) -> frozenset[PartKind]:
        """Create the object if a remaining part needs it; return the kinds of parts that can't be copied.

        Raises CopyRefused if more than `max_bytes` would have to be sent instead.
        """
        wanted = [part for part in left if part.kind in COPIES]
        if not any(part.kind is PartKind.ZERO for part in wanted):
            return frozenset()
        if self._intended != self.stem:
            self._intend(self.stem)
            self._intended = self.stem
        try:
            self.made = ensure_zero_object(self._context, self.stem, size_bytes=plan.zero_source_bytes)
        except (RefusedError, PermissionDenied) as error:
            cost = sum(part.length for part in wanted)
            if cost > max_bytes:
                raise too_many_zeros(error, cost_bytes=cost) from error
            self._context.emit(
                Warned(
                    code=error.code,
                    message=f"{error.summary} {size(cost)} are sent instead of being copied on the server.",
                    remedy=error.remedy,
                )
            )
            return COPIES
        self.sent_bytes += self.made.sent_bytes
        return frozenset()

    def named_in(self, error: AliyunImportError, *, key: str) -> AliyunImportError:
        """Return the error of a start of the upload, with the remaining zero object in its remedy."""
        if self.made is None:
            return error
        remove_command = leftovers_command(
            region=self._region, bucket=self._context.store.bucket, keys=[key, self.made.key]
        )
        return error.with_remedy(
            f"The zero object remains in OSS for the next run; to discard it instead, run {remove_command}."
        )

    def remove(self) -> tuple[str, ...]:
        """Remove the object and those of earlier runs of this push; return the keys that could not be removed."""
        if self.made and not self._resumed and not self.made.has_remnants:
            left: tuple[str, ...] = () if remove_zero_object(self._context, self.made) else (self.made.key,)
        elif self._may_exist:
            left = remove_all_zero_objects(self._context, self.stem)
        else:
            return ()
        bucket = self._context.store.bucket
        if left:
            self._context.emit(
                Warned(
                    code="zeros-left",
                    message=f"The zero object {object_url(bucket, left[-1])} could not be removed.",
                    remedy=f"Remove it with {leftovers_command(region=self._region, bucket=bucket, keys=left)}.",
                )
            )
        return left
