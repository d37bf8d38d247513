"""This file finds what earlier pushes left below the staging prefix of a bucket, and removes it on request.

Everything there costs money until it is removed: unfinished uploads with their parts, objects that were kept, their
manifests, and objects of zeros of pushes that were killed. What is in use by a push that runs now looks the same as
what was left, so that nothing is removed unasked.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from aliyun_import.errors import RefusedError
from aliyun_import.ports import ObjectStore
from aliyun_import.upload.delta import SUFFIX

_ZEROS = re.compile(r"(^|/)zeros-[0-9a-f]{12}-\d+$")


class LeftoverKind(StrEnum):
    """What was left."""

    UPLOAD = "unfinished upload"
    OBJECT = "object"
    MANIFEST = "manifest"
    ZEROS = "object of zeros"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One thing that was left: `size_bytes` is what OSS stores for it, `since_s` when it was made, if that is known.

    `has_manifest` says that an object can be the base of a later push.
    """

    kind: LeftoverKind
    key: str
    size_bytes: int
    since_s: float | None
    upload_id: str = ""
    has_manifest: bool = False


def find_leftovers(store: ObjectStore, prefix: str) -> tuple[Leftover, ...]:
    """List what is left below the prefix, by key. Raises what the store raises; asks once, without retries."""
    objects = store.list_objects(prefix)
    keys = {there.key for there in objects}
    found = [
        Leftover(
            kind=_kind(there.key),
            key=there.key,
            size_bytes=there.size_bytes,
            since_s=there.last_modified_s,
            has_manifest=there.key + SUFFIX in keys,
        )
        for there in objects
    ]
    for upload in store.list_uploads(prefix):
        try:
            parts = store.list_parts(upload.key, upload.upload_id)
        except RefusedError as error:
            if error.code != "upload-vanished":
                raise
            continue  # completed or aborted since it was listed
        found.append(
            Leftover(
                kind=LeftoverKind.UPLOAD,
                key=upload.key,
                size_bytes=sum(part.size_bytes for part in parts),
                since_s=upload.initiated_s,
                upload_id=upload.upload_id,
            )
        )
    return tuple(sorted(found, key=lambda left: (left.key, left.kind)))


def remove_leftover(store: ObjectStore, leftover: Leftover) -> None:
    """Remove one for good; fine when it is gone already. An object's manifest is a leftover of its own."""
    if leftover.kind is LeftoverKind.UPLOAD:
        store.abort(leftover.key, leftover.upload_id)
    else:
        store.delete(leftover.key)


def _kind(key: str) -> LeftoverKind:
    if key.endswith(SUFFIX):
        return LeftoverKind.MANIFEST
    return LeftoverKind.ZEROS if _ZEROS.search(key) else LeftoverKind.OBJECT
