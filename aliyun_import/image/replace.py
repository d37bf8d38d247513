"""This file gives an image the name that another image has: make, verify, then replace, never the other way round.

The new image was imported under a temporary name and is usable. What is observed decides the next step, so that a push
killed between two of them goes on where it stopped:

    name held by another        that one is renamed to its retired name
    name free                   the new image gets it
    retired one still there     it is deleted, if that was asked for (last of all: until then nothing is lost)

Between the first and the second step nobody has the name, for about a second: two images can't share one.
"""

import re
from dataclasses import dataclass

from aliyun_import.context import Clock
from aliyun_import.errors import AccessError, RefusedError
from aliyun_import.events import Changed, Emit, Noted, Warned
from aliyun_import.image.find_existing import name_holder
from aliyun_import.limits import MAX_NAME_CHARS
from aliyun_import.model.image import Image
from aliyun_import.retry import with_retries
from aliyun_import.services.interface import ImageService

POLICIES = ("rename", "delete")


@dataclass(frozen=True, slots=True)
class Rename:
    """Give an image another name. `retires`: it is the old one, which makes room."""

    image_id: str
    name: str
    retires: bool


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the old image, which has its retired name by now."""

    image_id: str


Step = Rename | Delete


def temporary_name(name: str, push_id: str) -> str:
    """Name the image while it is being made: the same name for the same push, within the limit of 128 characters."""
    return _with_ending(name, f"-new-{re.sub(r'[^A-Za-z0-9]', '', push_id)[:8]}")


def retired_name(name: str, new: Image) -> str:
    """Name the old image once it is replaced: by when the new one was created, so that a repetition finds it again."""
    stamp = re.sub(r"[^0-9]", "", new.created)[:14] or re.sub(r"[^A-Za-z0-9]", "", new.image_id)[-12:]
    return _with_ending(name, f"-replaced-{stamp}")


def next_replacement(new: Image, *, name: str, holder: Image | None, retired: Image | None, policy: str) -> Step | None:
    """Decide the next step from what is observed; None when all is done.

    `holder` is the image that has the name now, `retired` the one that has the retired name.
    """
    if holder is not None and holder.image_id != new.image_id:
        return Rename(holder.image_id, retired_name(name, new), retires=True)
    if holder is None:
        return Rename(new.image_id, name, retires=False)
    if policy == "delete" and retired is not None:
        return Delete(retired.image_id)
    return None


def replace_image(
    images: ImageService, new: Image, *, name: str, policy: str, region: str, clock: Clock, emit: Emit
) -> Image:
    """Let the usable image `new` take `name`; the image that had it is renamed or deleted, as `policy` says.

    Safe to repeat. RefusedError "replacement-not-usable" before anything is touched, "name-not-free" when somebody
    else keeps taking the name. That the old image can't be deleted is a warning: the new one has the name by then.
    """
    if policy not in POLICIES:
        raise ValueError(f"policy is one of {POLICIES}, not {policy!r}")
    _refuse_unusable(new)
    for _ in range(6):  # three steps; the rest is for somebody else who takes the name meanwhile
        holder = name_holder(images, name, clock=clock)
        retired = name_holder(images, retired_name(name, new), clock=clock)
        step = next_replacement(new, name=name, holder=holder, retired=retired, policy=policy)
        if step is None or not _take(images, step, name=name, region=region, clock=clock, emit=emit):
            return with_retries(lambda: images.image(new.image_id), clock=clock) or new
    raise RefusedError(
        f'The name "{name}" is taken again and again by somebody else.',
        code="name-not-free",
        cause=f"The new image {new.image_id} is usable and is called {new.name}.",
        remedy=f"Give it the name in the console when nobody else uses it in {region}.",
        details={"image_id": new.image_id, "image_name": name, "region": region},
    )


def _take(images: ImageService, step: Step, *, name: str, region: str, clock: Clock, emit: Emit) -> bool:
    """Take one step; False when it can't be taken and none need follow."""
    match step:
        case Rename(image_id, new_name, retires):
            if not _rename(images, image_id, new_name, clock=clock):
                return True
            what = "renamed the image that had the name" if retires else "named image"
            emit(Changed(what=what, name=f"{image_id} {new_name}"))
            return True
        case Delete(image_id):
            return _delete(images, image_id, name=name, region=region, clock=clock, emit=emit)


def _rename(images: ImageService, image_id: str, name: str, *, clock: Clock) -> bool:
    """Rename; False when the name was taken meanwhile, or the answer was lost and it is done already."""
    try:
        with_retries(lambda: images.rename_image(image_id, name=name), clock=clock)
    except RefusedError as error:
        if error.code != "image-name-taken":
            raise
        return False
    return True


def _delete(images: ImageService, image_id: str, *, name: str, region: str, clock: Clock, emit: Emit) -> bool:
    try:
        with_retries(lambda: images.delete_image(image_id), clock=clock)
    except (RefusedError, AccessError) as error:
        emit(
            Warned(
                code="old-image-kept",
                message=f'The image {image_id}, which had the name "{name}", could not be deleted: {error.summary}',
                remedy=f"Delete {image_id} in {region} in the console when nothing uses it any more.",
            )
        )
        return False
    emit(Changed(what="deleted the image that had the name", name=image_id))
    emit(Noted(message=f"The snapshots of {image_id} stay and are billed until they are deleted in the console."))
    return True


def _refuse_unusable(new: Image) -> None:
    if new.status == "Available" and new.usable is not False:
        return
    raise RefusedError(
        f"The image {new.image_id} is {new.status} and replaces nothing.",
        code="replacement-not-usable",
        remedy="Run the same command again when it is Available.",
        details={"image_id": new.image_id, "image_status": new.status},
    )


def _with_ending(name: str, ending: str) -> str:
    return name[: MAX_NAME_CHARS - len(ending)] + ending
