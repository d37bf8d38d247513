"""Leftovers of earlier pushes in a bucket, and their removal.

Leftovers are billed until they are removed: unfinished uploads with their parts, kept objects, their manifests, and
zero objects of killed pushes. A running upload can't be distinguished from a leftover, so only named leftovers are
removed. An object that an import reads is marked, and removed with `force` only.

All objects below the staging prefix were made by this tool. Elsewhere, where --key put a disk, an object counts if it
has the tag of a push. An unfinished upload there may belong to another program; it is listed.
"""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType

from aliyun_import.context import Context
from aliyun_import.errors import RefusedError
from aliyun_import.events import Changed, Warned
from aliyun_import.model.objects import RemoteObject, RemoteUpload, object_url
from aliyun_import.services import ObjectStore
from aliyun_import.upload.complete import TAG_NAME
from aliyun_import.upload.manifest import SUFFIX
from aliyun_import.upload.removal import remove_object
from aliyun_import.upload.zero_object import ZERO_KEY


class LeftoverKind(StrEnum):
    """Kind of a leftover."""

    UPLOAD = "unfinished upload"
    OBJECT = "object"
    MANIFEST = "manifest"
    ZEROS = "object of zeros"
    INSTANCE = "instance of a boot test"
    IMAGE = "image without its name"
    REPLACED = "replaced image"

    @property
    def is_in_ecs(self) -> bool:
        """Whether it is in ECS, where the key is an id, and not in the bucket."""
        return self in (LeftoverKind.INSTANCE, LeftoverKind.IMAGE, LeftoverKind.REPLACED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One leftover. `size_bytes` is its size in OSS, `since_s` the time of its creation, if known.

    `key` is the id of an instance or image, `name` the name of an image. An object with `has_manifest` can be the base
    of a later push. `used_by` is the id of the task that reads the object, the id of the image that is created from
    it, or the process of this machine that uses the instance or image.
    """

    kind: LeftoverKind
    key: str
    size_bytes: int
    since_s: float | None
    name: str = ""
    upload_id: str = ""
    has_manifest: bool = False
    used_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Places to search: everything below `prefix`, objects of pushes below the prefixes `below`, and `keys`."""

    prefix: str
    below: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupResult:
    """Leftovers in a bucket, and in ECS in its region: the remaining and the removed ones.

    `other_buckets` are buckets that may have leftovers according to the journals of this machine.
    """

    bucket: str
    places: Places
    leftovers: tuple[Leftover, ...]
    removed: tuple[Leftover, ...] = ()
    other_buckets: tuple[str, ...] = ()


def clean_up(
    store: ObjectStore,
    context: Context,
    places: Places,
    *,
    remove: tuple[str, ...] = (),
    other_buckets: tuple[str, ...] = (),
    in_use: Mapping[str, str] | None = None,
    force: bool = False,
    region: str = "",
    in_ecs: tuple[Leftover, ...] = (),
    remove_from_ecs: Callable[[Leftover], None] = lambda _: None,
) -> CleanupResult:
    """List the leftovers in a bucket, which need not exist, and remove those that `remove` names by key or pattern.

    `in_ecs` are leftovers in ECS, which are listed too; `remove_from_ecs` removes one. A pattern for them begins with
    "i-" or "m-". A replaced image is removed by its id only, because it is the way to roll back. A text that is the key
    of a leftover is not a pattern. `in_use` maps the URL of an object to the import that reads it: RefusedError
    "object-in-use" before anything is removed, unless `force`.
    """
    in_bucket = find_leftovers(store, places, in_use=in_use or {}) if store.bucket_info() is not None else ()
    found = (*in_ecs, *in_bucket)
    by_id = {one.key for one in found if one.kind is LeftoverKind.REPLACED}
    named: set[str] = set()
    for pattern in remove:
        keys = {one.key for one in found if not one.kind.is_in_ecs or one.key[:2] == pattern[:2]}
        matching = {pattern} if pattern in keys else {key for key in keys - by_id if fnmatchcase(key, pattern)}
        named |= matching
        if not matching:
            context.emit(
                Warned(code="nothing-to-remove", message=f"No leftover has the key {pattern!r}, or matches it.")
            )
    removed = tuple(one for one in found if one.key in named)
    if not force:
        _refuse_used([one for one in removed if one.used_by], bucket=store.bucket, region=region)
    for leftover in removed:
        if leftover.kind.is_in_ecs:
            remove_from_ecs(leftover)
        else:
            remove_leftover(store, leftover)
        context.emit(Changed(what=f"removed {leftover.kind}", name=leftover.key))
    return CleanupResult(
        bucket=store.bucket,
        places=places,
        leftovers=tuple(one for one in found if one not in removed),
        removed=removed,
        other_buckets=other_buckets,
    )


def _refuse_used(used: Sequence[Leftover], *, bucket: str, region: str) -> None:
    if not used:
        return
    first = used[0]
    others = f" (and {len(used) - 1} more are in use)" if used[1:] else ""
    if first.kind.is_in_ecs:
        raise RefusedError(
            f"The {first.kind} {first.key} is in use by {first.used_by}{others}; nothing was removed.",
            code="object-in-use",
            cause="A boot test fails when its instance or image is removed.",
            remedy=f"Wait for {first.used_by} to end, or stop it, which deletes its instance. --force removes it "
            "regardless.",
            details={"key": first.key, "used_by": first.used_by},
        )
    is_task = first.used_by.startswith("t-")
    wait = f"`{shlex.join(['aliyun-import', 'task', 'wait', first.used_by, '--region', region])}` waits for it. "
    raise RefusedError(
        f"{object_url(bucket, first.key)} is being imported by {first.used_by}{others}; nothing was removed.",
        code="object-in-use",
        cause="An import fails when an object that it reads is removed.",
        remedy=f"Run the same command again once the import is done. {wait if is_task else ''}"
        "--force removes the object regardless.",
        details={"bucket": bucket, "key": first.key, "used_by": first.used_by},
    )


def find_leftovers(
    store: ObjectStore, places: Places, *, in_use: Mapping[str, str] = MappingProxyType({})
) -> tuple[Leftover, ...]:
    """Return the leftovers in a bucket, sorted by key."""
    objects: dict[str, RemoteObject] = {}
    uploads: dict[str, RemoteUpload] = {}
    for prefix, keys in _searches(places):
        objects |= {
            existing.key: existing for existing in store.list_objects(prefix) if not keys or existing.key in keys
        }
        uploads |= {up.upload_id: up for up in store.list_uploads(prefix) if not keys or up.key in keys}
    ours = (
        existing
        for existing in objects.values()
        if existing.key.startswith(places.prefix) or _has_tag(store, existing.key)
    )
    found = [
        Leftover(
            kind=_kind(existing.key),
            key=existing.key,
            size_bytes=existing.size_bytes,
            since_s=existing.last_modified_s,
            has_manifest=existing.key + SUFFIX in objects,
            used_by=in_use.get(object_url(store.bucket, existing.key), ""),
        )
        for existing in ours
    ]
    found += _unfinished(store, uploads.values())
    return tuple(sorted(found, key=lambda left: (left.key, left.kind)))


def _searches(places: Places) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the prefixes to list, each with the wanted keys (empty: all)."""
    for prefix in (places.prefix, *places.below):
        yield prefix, frozenset()
    for key in places.keys:
        if not key.startswith((places.prefix, *places.below)):
            yield key, frozenset((key, key + SUFFIX))


def _has_tag(store: ObjectStore, key: str) -> bool:
    existing = store.head(key)
    return existing is not None and TAG_NAME in existing.metadata


def _unfinished(store: ObjectStore, uploads: Iterable[RemoteUpload]) -> Iterator[Leftover]:
    for upload in uploads:
        try:
            parts = store.list_parts(upload.key, upload.upload_id)
        except RefusedError as error:
            if error.code != "upload-vanished":
                raise
            continue  # completed or aborted since it was listed
        yield Leftover(
            kind=LeftoverKind.UPLOAD,
            key=upload.key,
            size_bytes=sum(part.size_bytes for part in parts),
            since_s=upload.initiated_s,
            upload_id=upload.upload_id,
        )


def remove_leftover(store: ObjectStore, leftover: Leftover) -> None:
    """Remove a leftover; succeeds if it does not exist. The manifest of an object is a separate leftover."""
    if leftover.kind is LeftoverKind.UPLOAD:
        store.abort(leftover.key, leftover.upload_id)
    else:
        remove_object(store, leftover.key)


def _kind(key: str) -> LeftoverKind:
    if key.endswith(SUFFIX):
        return LeftoverKind.MANIFEST
    return LeftoverKind.ZEROS if ZERO_KEY.search(key) else LeftoverKind.OBJECT
