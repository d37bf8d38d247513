"""This file grows an object of zeros on the server, from which ranges of zeros are copied.

    1 MiB sent  ->  32 copies: 32 MiB  ->  32 copies: 1 GiB

Each push has its own, below the staging prefix, so that removing it at the end takes it from nobody. It is found
again after a kill, and `aliyun-import cleanup` names one that was left.
"""

import contextlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from aliyun_import.cleanup import remove_object
from aliyun_import.context import Clock
from aliyun_import.errors import AliyunImportError, TransientError
from aliyun_import.model.objects import RemoteObject, RemotePart
from aliyun_import.retry import with_retries
from aliyun_import.services.interface import ObjectStore
from aliyun_import.upload.complete import TAG_NAME, Completion, complete_upload
from aliyun_import.upload.crc64 import crc64_of_zeros
from aliyun_import.upload.plan.plan import ZERO_SOURCES

# A copy is the server's work; so many at a time are below every published limit of requests.
COPIES_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroObject:
    """An object of so many zeros. `sent_bytes` went over the wire for it; `version_id` where the bucket keeps some."""

    key: str
    etag: str
    size_bytes: int
    sent_bytes: int = 0
    version_id: str | None = None


def zero_key(stem: str, size_bytes: int) -> str:
    """Name the zero object of a size."""
    return f"{stem}-{size_bytes}"


def ensure_zero_object(store: ObjectStore, stem: str, *, size_bytes: int, clock: Clock) -> ZeroObject:
    """Find the zero object of this size (one of plan.ZERO_SOURCES), or grow it; raises what the store raises.

    Smaller ones that it was grown from are removed again.
    """
    sizes = [size for size, _ in ZERO_SOURCES if size <= size_bytes]
    found = _proven(store, zero_key(stem, size_bytes), size_bytes=size_bytes, clock=clock)
    if found:  # by a push that was killed; maybe before it removed what this one was grown from
        for size in sizes[:-1]:
            _remove(store, zero_key(stem, size))
        return found
    for upload in with_retries(lambda: store.list_uploads(stem), clock=clock):  # of a push that was killed here
        with_retries(partial(store.abort, upload.key, upload.upload_id), clock=clock)
    zero = _seed(store, zero_key(stem, sizes[0]), size_bytes=sizes[0], clock=clock)
    for size in sizes[1:]:
        grown = _grow(store, zero, zero_key(stem, size), size_bytes=size, clock=clock)
        remove_zero_object(store, zero)
        zero = grown
    return zero


def remove_all_zero_objects(store: ObjectStore, stem: str) -> bool:
    """Remove every zero object that a push may have left, at whatever moment it was killed; False as below."""
    removed = [_remove(store, zero_key(stem, size)) for size, _ in ZERO_SOURCES]  # each, also after one that failed
    return all(removed)


def remove_zero_object(store: ObjectStore, zero: ZeroObject) -> bool:
    """Remove it; False when that failed, which leaves a few cents a month behind and must not fail a push."""
    try:
        store.delete(zero.key, version_id=zero.version_id)
    except AliyunImportError:
        return False
    return True


def _remove(store: ObjectStore, key: str) -> bool:
    """Remove one that an earlier run may have left; False as above."""
    try:
        remove_object(store, key)
    except AliyunImportError:
        return False
    return True


def _proven(store: ObjectStore, key: str, *, size_bytes: int, clock: Clock) -> ZeroObject | None:
    """Take the object that is there if its CRC-64 is that of zeros; otherwise see to it that there is none."""
    there = with_retries(lambda: store.head(key), clock=clock)
    if there is None:
        return None
    if there.size_bytes == size_bytes and there.crc64 == crc64_of_zeros(size_bytes):
        return ZeroObject(key=key, etag=there.etag, size_bytes=size_bytes, version_id=there.version_id)
    with_retries(lambda: remove_object(store, key), clock=clock)
    return None


def _seed(store: ObjectStore, key: str, *, size_bytes: int, clock: Clock) -> ZeroObject:
    there = with_retries(lambda: store.put(key, bytes(size_bytes)), clock=clock)
    _check(there, size_bytes)
    return ZeroObject(
        key=key, etag=there.etag, size_bytes=size_bytes, sent_bytes=size_bytes, version_id=there.version_id
    )


def _grow(store: ObjectStore, zero: ZeroObject, key: str, *, size_bytes: int, clock: Clock) -> ZeroObject:
    tag = secrets.token_hex(8)
    upload_id = with_retries(lambda: store.start_upload(key, metadata={TAG_NAME: tag}), clock=clock)

    def copy(number: int) -> RemotePart:
        return with_retries(
            lambda: store.copy_part(
                key, upload_id, number=number, source_key=zero.key, start=0, length=zero.size_bytes, if_match=zero.etag
            ),
            clock=clock,
        )

    try:
        with ThreadPoolExecutor(COPIES_AT_ONCE, thread_name_prefix="zeros") as pool:
            parts = tuple(pool.map(copy, range(1, size_bytes // zero.size_bytes + 1)))
        completion = Completion(
            key=key, upload_id=upload_id, parts=parts, crc64=crc64_of_zeros(size_bytes), tag=tag, overwrite=True
        )
        there = complete_upload(store, completion, clock=clock).object
    except AliyunImportError:
        with contextlib.suppress(AliyunImportError):
            store.abort(key, upload_id)
        raise
    _check(there, size_bytes)
    return ZeroObject(
        key=key, etag=there.etag, size_bytes=size_bytes, sent_bytes=zero.sent_bytes, version_id=there.version_id
    )


def _check(there: RemoteObject, size_bytes: int) -> None:
    """Hold the answer against what zeros are. Without a CRC-64 it stands on the source, which was checked."""
    if there.size_bytes != size_bytes or there.crc64 not in (None, crc64_of_zeros(size_bytes)):
        raise TransientError(
            f"The object of zeros {there.key} is not what it should be.",
            code="zeros-corrupted",
            cause=f"{there.size_bytes} bytes with CRC-64 {there.crc64}, wanted {size_bytes} bytes of zeros.",
            remedy="Run the same command again.",
            resumable=True,
        )
