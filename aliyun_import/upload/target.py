"""This file chooses the object's key, and decides about an object that is there already.

Without --key the name carries a digest of the disk's size and sampled content, so that another machine, or this one
without its journal, comes to the same name and finds what is there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from aliyun_import.disk.fingerprint import Fingerprint, Likeness
from aliyun_import.errors import RefusedError
from aliyun_import.events import Noted
from aliyun_import.model import RemoteObject, UploadedObject
from aliyun_import.upload.existing import crc64_of_source
from aliyun_import.upload.finish import BY_OBJECT, TAG_NAME
from aliyun_import.upload.record import UploadRecord
from aliyun_import.upload.setting import Setting

# Enough of the content's digest that two disks of one name don't meet by accident: 48 bits.
DIGEST_CHARS = 12
# Builds that differ only where the sample does not look come to the same digest; they are counted.
NAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the object goes; and, when it is there and is the disk, what it is and whether this push made it."""

    key: str
    there: RemoteObject | None = None
    crc64: int = 0
    proof: str = ""
    made_by_us: bool = False


def candidate_keys(key_stem: str, *, sample: str, suffix: str) -> Iterator[str]:
    """Give the names that an object without --key may have, in the order in which they are tried."""
    stem = f"{key_stem}-{sample[:DIGEST_CHARS]}"
    yield f"{stem}{suffix}"
    for number in range(2, NAMES):
        yield f"{stem}-{number}{suffix}"


def zero_stem(key_stem: str, *, sample: str) -> str:
    """Name where this push keeps its zero object: below the staging prefix, apart from the disks."""
    return f"{key_stem.partition('/')[0]}/zeros-{sample[:DIGEST_CHARS]}"


def choose_target(
    setting: Setting, record: UploadRecord, *, fingerprint: Fingerprint, named: str | None, candidates: Iterator[str]
) -> Target:
    """Find the key: the named one, or the first candidate where there is nothing, or this very disk.

    What the journal says of a finished object counts while the fingerprint tells that the disk is the same one. Where
    it can't tell, the disk is read, and its CRC-64 tells.

    Raises RefusedError "object-exists" when another object is at the key that the user named.
    """
    store = setting.store
    crc: int | None = None
    for key in [named] if named else candidates:
        there = setting.ask(partial(store.head, key))
        if there is None:
            return Target(key=key)
        likeness = fingerprint.likeness(record.fingerprint) if record.fingerprint else Likeness.OTHER
        before = _known(record.finished, key, there) if likeness is not Likeness.OTHER else None
        if before and likeness is Likeness.SAME:
            return _as_before(before, there)
        can_compare = there.crc64 is not None or before is not None
        if crc is None and can_compare and there.size_bytes == setting.source.size_bytes:
            setting.emit(
                Noted(message=f"The disk is compared with oss://{store.bucket}/{key}, which is there already.")
            )
            crc = crc64_of_source(setting)
        if before and crc == before.crc64 and there.crc64 in (None, crc):
            return _as_before(before, there)
        if crc is not None and crc == there.crc64 and there.size_bytes == setting.source.size_bytes:
            is_ours = bool(record.tag) and there.metadata.get(TAG_NAME) == record.tag
            return Target(key=key, there=there, crc64=crc, proof=BY_OBJECT, made_by_us=is_ours)
        if named:
            break
        setting.emit(Noted(message=f"oss://{store.bucket}/{key} is another build of this disk, or can't be compared."))
    raise _exists(store.bucket, named or f"{setting.disk}")


def _known(finished: UploadedObject | None, key: str, there: RemoteObject) -> UploadedObject | None:
    """Give what the journal knows of the object that is there, if it is that object still."""
    if finished is None:
        return None
    same = (finished.key, finished.etag, finished.size_bytes) == (key, there.etag, there.size_bytes)
    return finished if same else None


def _as_before(before: UploadedObject, there: RemoteObject) -> Target:
    return Target(key=before.key, there=there, crc64=before.crc64, proof=before.proof, made_by_us=before.made_by_us)


def _exists(bucket: str, key: str) -> RefusedError:
    where = f"oss://{bucket}/{key}"
    return RefusedError(
        f"There is another object at {where} already.",
        code="object-exists",
        cause="It is not this disk: its size or its CRC-64 is another.",
        remedy=f"Remove {where}, or name another key with --key.",
        details={"bucket": bucket, "key": key},
    )
