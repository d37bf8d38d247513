"""Last stage of a push: the names are exchanged (--replace), and the staging objects are deleted."""

from dataclasses import replace

from aliyun_import.account.check import AccountState
from aliyun_import.errors import AccessError, AliyunImportError, ImportFailed, RefusedError
from aliyun_import.events import Changed, Noted, Warned
from aliyun_import.image.find_existing import clear_failed
from aliyun_import.image.replace import replace_image, take_name
from aliyun_import.journal import Journal
from aliyun_import.model.image import PUSH_ID_TAG, Image
from aliyun_import.model.objects import UploadedObject, object_url
from aliyun_import.model.request import ImportRequest
from aliyun_import.push.options import Kept, PushRun
from aliyun_import.push.retention import apply_retention
from aliyun_import.push.stages import upload_request
from aliyun_import.push.state import PushState
from aliyun_import.services import ObjectStore
from aliyun_import.sizes import size
from aliyun_import.upload.manifest import SUFFIX
from aliyun_import.upload.removal import remove_object


def finish_image(request: ImportRequest, image: Image, state: PushState, run: PushRun, journal: Journal) -> Image:
    """Set the boot mode of a usable image, and return it.

    Raises ImportFailed "object-replaced" before that if an object is not the one that was proven equal to the disk.
    """
    _check_objects(image, state, run, journal)
    return _with_boot_mode(request, image, run)


def cleanup_stage(
    request: ImportRequest, image: Image, state: PushState, account: AccountState, run: PushRun, journal: Journal
) -> tuple[Image, tuple[str, ...], Kept]:
    """Give the image its name, delete the staging objects, and apply --keep-last.

    Return the image, the URLs of the objects of this push that remain, and what stays of this image name.
    """
    with run.context.stage("finish") as stage:
        if run.options.replace:
            image = replace_image(
                run.services.images,
                run.context,
                image,
                name=request.name,
                policy=run.options.replace,
                region=request.region,
            )
        elif image.name != request.name and image.name == state.import_name:
            image = take_name(run.services.images, run.context, image, name=request.name, region=request.region)
        _delete_failed_images(image, state, run)
        store = run.services.store(account.bucket) if account.bucket else None
        left = _remove_staging(state, run, journal, store)
        journal.write("finished", image_id=image.image_id)
        kept = _retain(request, image, run, store)
        if not state.objects:  # the import was found, without its journal
            left = _found_staging(request, run, store)
        removed = sum(one.made_by_us for one in state.objects)
        stage.detail = f"left in OSS: {', '.join(left)}{_kept_in_all(request, kept)}" if left else _cleaned(removed)
    return image, left, kept


def _with_boot_mode(request: ImportRequest, image: Image, run: PushRun) -> Image:
    """Set a boot mode that ImportImage does not take; safe to repeat."""
    mode = request.boot_mode
    if mode is None or mode is mode.imported_as or image.boot_mode == mode:
        return image
    run.services.images.set_boot_mode(image.image_id, mode=mode)
    run.context.emit(Changed(what=f"set boot mode {mode}", name=image.image_id))
    return replace(image, boot_mode=mode)


def _delete_failed_images(image: Image, state: PushState, run: PushRun) -> None:
    """Delete the empty images that failed imports of this push left and that did not have to be deleted before."""
    if not state.failed_tokens:
        return
    tags = {PUSH_ID_TAG: state.push_id}
    try:
        for leftover in run.services.images.images(tags=tags):
            if leftover.image_id != image.image_id:
                clear_failed(run.services.images, run.context, leftover, tags=tags)
    except (AccessError, RefusedError) as error:
        message = f"An image that a failed import of this push left may remain: {error.summary}"
        run.context.emit(Warned(code="old-image-kept", message=message, remedy=error.remedy))


def _check_objects(image: Image, state: PushState, run: PushRun, journal: Journal) -> None:
    """Compare each object with its state when it was proven: ECS read it later."""
    for uploaded in state.objects:
        if uploaded.key in state.removed_keys:
            continue
        try:
            there = run.services.store(uploaded.bucket).head(uploaded.key)
            missing = "" if there else "It does not exist any more."
        except (AccessError, RefusedError) as error:
            there, missing = None, error.summary
        if there is None:
            message = f"{uploaded.url} could not be compared after the import with what was proven before it. {missing}"
            run.context.emit(Warned(code="unproven", message=message))
        elif (there.etag, there.size_bytes) != (uploaded.etag, uploaded.size_bytes):
            raise _replaced(image, uploaded.url, run, journal)


def _replaced(image: Image, url: str, run: PushRun, journal: Journal) -> ImportFailed:
    """Delete the image, whose content is unknown, and return the error of the object that was replaced."""
    journal.write("import-failed", reason="object-replaced")
    remedy = "Use a --bucket to which no one else can write, and run the same command again; it uploads the disk again."
    try:
        run.services.images.delete_image(image.image_id)
        run.context.emit(Changed(what="deleted image", name=f"{image.image_id} ({image.name})"))
    except AliyunImportError as error:
        remedy = f"Delete the image {image.image_id}, which could not be deleted: {error.summary} {remedy}"
    return ImportFailed(
        f"{url} was replaced after it was proven equal to the disk.",
        code="object-replaced",
        cause=f"It was replaced before ECS had imported it, so the content of the image {image.image_id} is unknown.",
        remedy=remedy,
        details={"image_id": image.image_id},
    )


def _cleaned(removed: int) -> str:
    objects = "staging object" if removed == 1 else f"{removed} staging objects"
    return f"{objects} removed, nothing is left in OSS" if removed else "nothing is left in OSS"


def _retain(request: ImportRequest, image: Image, run: PushRun, store: ObjectStore | None) -> Kept:
    """Apply --keep-last; return what stays of this image name."""
    if not run.options.replace and not run.options.transfer.keep_object:
        return Kept()
    local = [index for index, disk in enumerate(request.disks) if disk.path]
    stems = [upload_request(request, run.options, index).key_stem for index in local]
    return apply_retention(run, image, store=store, stems=stems)


def _kept_in_all(request: ImportRequest, kept: Kept) -> str:
    """Return number and total size of the kept objects of this image name; each push with --keep-object adds one."""
    if len(kept.objects) < 2:
        return ""
    return f"; objects of {request.name} kept in all: {len(kept.objects)}, {size(kept.object_bytes)}"


def _found_staging(request: ImportRequest, run: PushRun, store: ObjectStore | None) -> tuple[str, ...]:
    """Return the URLs of the objects of a push whose journal is lost.

    They are not deleted: whether they should be kept is not known.
    """
    found: list[str] = []
    for index, disk in enumerate(request.disks):
        if disk.path is None or store is None:
            continue
        upload = upload_request(request, run.options, index)
        try:
            objects = store.list_objects(upload.key or f"{upload.key_stem}-")
        except AliyunImportError:  # the image exists, and that is the result
            continue
        found += [
            object_url(store.bucket, one.key)
            for one in objects
            if upload.key in (None, one.key) and not one.key.endswith(SUFFIX)
        ]
    return tuple(found)


def _remove_staging(state: PushState, run: PushRun, journal: Journal, store: ObjectStore | None) -> tuple[str, ...]:
    """Delete the objects that this push made, unless --keep-object is given; return the URLs of those that remain.

    An object that can't be deleted is a warning with the command for it: the image exists, and that is the result.
    """
    left: list[str] = []
    for uploaded in state.objects:
        url = uploaded.url
        left += [object_url(uploaded.bucket, key) for key in uploaded.left_over]
        if not uploaded.made_by_us and is_gone(run.services.store(uploaded.bucket), uploaded):
            continue  # removed by the push that made it
        if not uploaded.made_by_us or run.options.transfer.keep_object:
            left.append(url)
        elif uploaded.key in state.removed_keys:
            continue
        elif store is not None and _remove(uploaded, run, store):
            journal.write("object-removed", key=uploaded.key)
        else:
            left.append(url)
    return tuple(left)


def is_gone(store: ObjectStore, one: UploadedObject) -> bool:
    """Return whether an object no longer exists; False if OSS does not answer."""
    try:
        return store.head(one.key) is None
    except AliyunImportError:
        return False


def _remove(uploaded: UploadedObject, run: PushRun, store: ObjectStore) -> bool:
    url = uploaded.url
    try:
        remove_object(store, uploaded.key)
    except AliyunImportError as error:
        run.context.emit(
            Warned(
                code="object-not-removed",
                message=f"The staging object {url} was not removed: {error.summary}",
                remedy=f"It costs storage until you remove it: aliyun oss rm {url}",
            )
        )
        return False
    run.context.emit(Noted(message=f"removed the staging object {url}"))
    return True
