"""Transfer of a name to a new image: create, verify, then replace.

The new image was imported under a temporary name and is usable. The next step depends on the current state only, so
that a push that is killed between two steps resumes where it stopped:

    another image has the name      it is renamed to its retired name
    no image has the name           the new image is renamed to it
    the retired image exists        it is deleted, if requested (last, so that nothing is lost before)

Between the first and the second step no image has the name, for about a second, because names are unique.
"""

import re
from dataclasses import dataclass

from aliyun_import.context import Context
from aliyun_import.errors import AccessError, NameTaken, RefusedError
from aliyun_import.events import Changed, Noted, Warned
from aliyun_import.image.find_existing import clear_failed, name_holder, name_taken
from aliyun_import.limits import MAX_NAME_CHARS
from aliyun_import.model.image import PUSH_ID_TAG, Image, ImageStatus
from aliyun_import.services import ImageService

POLICIES = ("rename", "delete")
# Pattern of the ending that `retired_name` adds.
_REPLACED = r"-replaced-[0-9]{8}[0-9A-Za-z]{6}"


@dataclass(frozen=True, slots=True)
class Rename:
    """Rename an image. `retires`: it is the old image."""

    image_id: str
    name: str
    retires: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the old image, which has its retired name."""

    image_id: str


Step = Rename | Delete


def temporary_name(name: str, push_id: str) -> str:
    """Return the name of an image while it is created: at most 128 characters, the same for the same push."""
    return _with_ending(name, f"-new-{re.sub(r'[^A-Za-z0-9]', '', push_id)[:8]}")


def has_temporary_name(image: Image) -> bool:
    """Return whether an image still has the temporary name from its creation."""
    push_id = image.tags.get(PUSH_ID_TAG, "")
    return bool(push_id) and image.name.endswith(temporary_name("", push_id))


def with_temporary_name(images: ImageService, name: str) -> list[Image]:
    """Return the images that still have the temporary name for `name`, usable ones first, without failed ones."""
    found = [one for one in images.images() if has_temporary_name(one) and not one.status.failed]
    ours = [one for one in found if one.name == temporary_name(name, one.tags[PUSH_ID_TAG])]
    return sorted(ours, key=lambda one: not one.is_usable)


def was_replaced(image: Image, name: str | None = None) -> bool:
    """Return whether an image has the retired name of a replaced image (with `name`: of that name)."""
    return re.fullmatch((".+" if name is None else re.escape(name)) + _REPLACED, image.name) is not None


def retired_name(name: str, new: Image) -> str:
    """Return the name of the old image after its replacement: with the creation date of the new one, and its id's end.

    A time alone is no name: two images of one second may replace images of the same name, one after the other.
    """
    date = re.sub(r"[^0-9]", "", new.created)[:8]
    return _with_ending(name, f"-replaced-{date}{re.sub(r'[^A-Za-z0-9]', '', new.image_id)[-6:]}")


def next_replacement(new: Image, *, name: str, holder: Image | None, retired: Image | None, policy: str) -> Step | None:
    """Return the next step from the current state; None if all is done.

    `holder` is the image that now has the name, `retired` the image that has the retired name.
    """
    if holder is not None and holder.image_id != new.image_id:
        return Rename(holder.image_id, retired_name(name, new), retires=True)
    if holder is None:
        return Rename(new.image_id, name, retires=False)
    if policy == "delete" and retired is not None:
        return Delete(retired.image_id)
    return None


def replace_image(images: ImageService, context: Context, new: Image, *, name: str, policy: str, region: str) -> Image:
    """Rename the usable image `new` to `name` and return it; the image that had the name is renamed or deleted.

    `policy` is "rename" or "delete". Safe to repeat. RefusedError "replacement-not-usable" before anything is changed,
    "name-not-free" if other images take the name repeatedly. If the old image can't be deleted, a warning is emitted,
    because the new image already has the name.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy is one of {POLICIES}, not {policy!r}")
    _refuse_unusable(new)
    for _ in range(6):  # three steps, and more if other images take the name meanwhile
        holder = name_holder(images, name)
        retired = name_holder(images, retired_name(name, new))
        step = next_replacement(new, name=name, holder=holder, retired=retired, policy=policy)
        if step is None or not _take(images, context, step, name=name, region=region):
            return images.image(new.image_id) or new
    raise RefusedError(
        f'The name "{name}" is taken repeatedly by other images.',
        code="name-not-free",
        cause=f"The new image {new.image_id} is usable and has the name {new.name}.",
        remedy=f"Rename it in the console once no other image has the name in {region}.",
        details={"image_id": new.image_id, "image_name": name, "region": region},
    )


def take_name(images: ImageService, context: Context, new: Image, *, name: str, region: str) -> Image:
    """Rename the usable image `new` to a name that was free before its import, and return it. Safe to repeat.

    A failed image of a push that has the name is deleted. NameTaken if another image took the name meanwhile.
    """
    _refuse_unusable(new)
    for _ in range(2):
        if _rename(images, new.image_id, name):
            context.emit(Changed(what="named image", name=f"{new.image_id} {name}"))
            break
        holder = name_holder(images, name)
        if holder is None or holder.image_id == new.image_id:
            break  # the answer to an earlier attempt was lost
        if not clear_failed(images, context, holder, tags={}):
            taken = name_taken(holder, name=name, region=region, why="and was free before the import")
            raise taken.with_remedy(f"The new image {new.image_id} is usable, and keeps the name {new.name}.")
    return images.image(new.image_id) or new


def _take(images: ImageService, context: Context, step: Step, *, name: str, region: str) -> bool:
    """Take one step; return False if it failed and no other step is needed."""
    match step:
        case Rename(image_id, new_name, retires):
            if not _rename(images, image_id, new_name):
                return True
            what = "renamed the image that had the name" if retires else "named image"
            context.emit(Changed(what=what, name=f"{image_id} {new_name}"))
            return True
        case Delete(image_id):
            return _delete(images, context, image_id, name=name, region=region)


def _rename(images: ImageService, image_id: str, name: str) -> bool:
    """Rename an image; return False if the name is taken, maybe by this image after a lost answer."""
    try:
        images.rename_image(image_id, name=name)
    except NameTaken:
        return False
    return True


def _delete(images: ImageService, context: Context, image_id: str, *, name: str, region: str) -> bool:
    try:
        images.delete_image(image_id)
    except (RefusedError, AccessError) as error:
        context.emit(
            Warned(
                code="old-image-kept",
                message=f'The image {image_id}, which had the name "{name}", could not be deleted: {error.summary}',
                remedy=f"Delete {image_id} in {region} in the console when nothing uses it.",
            )
        )
        return False
    context.emit(Changed(what="deleted the image that had the name", name=image_id))
    context.emit(
        Noted(message=f"The snapshots of {image_id} remain and are billed until you delete them in the console.")
    )
    return True


def _refuse_unusable(new: Image) -> None:
    if new.status is ImageStatus.AVAILABLE and new.is_usable:
        return
    raise RefusedError(
        f"The image {new.image_id} is {new.status} and can't replace another.",
        code="replacement-not-usable",
        remedy="Run the same command again once it is Available.",
        details={"image_id": new.image_id, "image_status": str(new.status)},
    )


def _with_ending(name: str, ending: str) -> str:
    return name[: MAX_NAME_CHARS - len(ending)] + ending
