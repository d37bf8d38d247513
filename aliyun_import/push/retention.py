"""Retention: number of objects and images of one name that a push keeps, which bounds the storage of a nightly job."""

from collections.abc import Sequence

from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Changed, Noted, Warned
from aliyun_import.image.replace import was_replaced
from aliyun_import.model.image import Image
from aliyun_import.model.objects import RemoteObject, object_url
from aliyun_import.push.options import Kept, PushRun
from aliyun_import.services import ObjectStore
from aliyun_import.upload.manifest import SUFFIX
from aliyun_import.upload.removal import remove_object
from aliyun_import.upload.resume import key_pattern


def apply_retention(run: PushRun, image: Image, *, store: ObjectStore | None, stems: Sequence[str]) -> Kept:
    """Remove what --keep-last does not keep, and return what is kept.

    `stems` are the prefixes of the keys of each disk. A failure is a warning, since the image exists. Nothing is
    removed while another import runs in the region, which might read it.
    """
    try:
        objects = {stem: _objects(store, stem) for stem in stems} if store is not None else {}
        images = _replaced(run, image) if run.options.replace else ()
        last = run.options.keep_last
        if last is not None and not _is_importing(run):
            for stem, found in objects.items():
                objects[stem] = tuple(one for one in found if not _remove(run, store, one, found[:last]))
            images = tuple(one for one in images if not _delete(run, one, images[:last]))
    except AliyunImportError as error:
        run.context.emit(
            Warned(
                code="retention-failed",
                message=f"Objects and images of earlier pushes could not be listed: {error.summary}",
                remedy="The image is usable; the next push tries again.",
            )
        )
        return Kept()
    kept = [one for found in objects.values() for one in found]
    return Kept(
        objects=tuple(one.key for one in kept),
        object_bytes=sum(one.size_bytes for one in kept),
        images=tuple(one.image_id for one in images),
    )


def _objects(store: ObjectStore, stem: str) -> tuple[RemoteObject, ...]:
    """Return the objects of a disk that can be bases, the newest first."""
    listed = {one.key: one for one in store.list_objects(f"{stem}-")}
    pattern = key_pattern(stem)
    bases = [one for key, one in listed.items() if pattern.fullmatch(key) and key + SUFFIX in listed]
    return tuple(sorted(bases, key=lambda one: one.last_modified_s or 0.0, reverse=True))


def _replaced(run: PushRun, image: Image) -> tuple[Image, ...]:
    """Return the images that had this name and were renamed, the newest first."""
    found = [one for one in run.services.images.images() if was_replaced(one, image.name)]
    return tuple(sorted(found, key=lambda one: one.created, reverse=True))


def _is_importing(run: PushRun) -> bool:
    running = [one.task_id for one in run.services.images.tasks() if one.status.running]
    if running:
        message = f"Nothing that is kept is removed while imports run: {', '.join(running)}."
        run.context.emit(Noted(message=message))
    return bool(running)


def _remove(run: PushRun, store: ObjectStore | None, one: RemoteObject, kept: Sequence[RemoteObject]) -> bool:
    """Remove an object with its manifest unless it is kept; return whether it was removed."""
    if one in kept or store is None:
        return False
    try:
        # The manifest first: an object without one is never used as a base, so the removal may stop between the two.
        remove_object(store, one.key + SUFFIX)
        remove_object(store, one.key)
    except AliyunImportError as error:
        _warn(run, object_url(store.bucket, one.key), error)
        return False
    run.context.emit(Changed(what="removed the object of an earlier push", name=object_url(store.bucket, one.key)))
    return True


def _delete(run: PushRun, one: Image, kept: Sequence[Image]) -> bool:
    """Delete an image unless it is kept; return whether it was deleted."""
    if one in kept:
        return False
    try:
        run.services.images.delete_image(one.image_id)
    except AliyunImportError as error:
        _warn(run, f"The image {one.image_id}", error)
        return False
    run.context.emit(Changed(what="deleted a replaced image (its snapshot stays)", name=f"{one.image_id} {one.name}"))
    return True


def _warn(run: PushRun, what: str, error: AliyunImportError) -> None:
    run.context.emit(
        Warned(
            code="retention-failed",
            message=f"{what} is beyond --keep-last and could not be removed: {error.summary}",
            remedy="The image of this push is usable; the next push tries again.",
        )
    )
