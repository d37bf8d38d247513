"""This file finds an import that is under way or done already, so that no push makes a second one.

An image is ours only when its tags prove it: the name alone proves nothing, and the client token can't be asked
for afterwards. ECS answers a repeated ImportImage with the same token by itself; this is for when it does not, or when
the token is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aliyun_import.context import Clock
from aliyun_import.events import Changed, Emit
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image, Task, TaskStatus
from aliyun_import.retry import with_retries
from aliyun_import.services.interface import ImageService

OUR_TAGS = (PUSH_ID_TAG, DISK_DIGEST_TAG)
FAILED_STATUSES = ("CreateFailed", "UnAvailable")
# The best first: a usable image before one that is being made, before any other.
_RANK = {"Available": 0, "Creating": 1, "Waiting": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImport:
    """An import of ours that was found again. `task_id` is empty when no task of it is known any more."""

    image: Image
    task_id: str

    @property
    def image_id(self) -> str:
        """Give the id of the image that is being made, or was."""
        return self.image.image_id


def find_import(images: ImageService, *, name: str, tags: Mapping[str, str], clock: Clock) -> FoundImport | None:
    """Find the import that carries our tags, under whatever name; else the one of that name, if its tags prove it.

    `tags` are those of the push; what counts are the push id and the disk's digest, whichever of them are given, and
    at least one must be. Failed images are not imports to go on with. None when there is nothing of ours.
    """
    proof = {key: tags[key] for key in OUR_TAGS if tags.get(key)}
    if not proof:
        return None
    found = with_retries(lambda: images.images(tags=proof), clock=clock)
    best = best_of(found, proof=proof)
    if best is None:
        # A filter by tags may lag behind a listing by name.
        best = best_of(with_retries(lambda: images.images(name=name), clock=clock), proof=proof)
    if best is None:
        return None
    tasks = with_retries(images.tasks, clock=clock)
    return FoundImport(image=best, task_id=task_of(best.image_id, tasks))


def name_holder(images: ImageService, name: str, *, clock: Clock) -> Image | None:
    """Give the image of ours that has exactly this name, whatever its status; None when the name is free."""
    found = with_retries(lambda: images.images(name=name), clock=clock)
    return found[0] if found else None


def clear_failed(images: ImageService, name: str, *, tags: Mapping[str, str], clock: Clock, emit: Emit) -> Image | None:
    """Delete the image of this name if it is what a failed import of this tool left; give the one deleted, or None."""
    holder = name_holder(images, name, clock=clock)
    if holder is None or not is_remnant(holder, tags):
        return None
    with_retries(lambda: images.delete_image(holder.image_id), clock=clock)
    emit(Changed(what="deleted failed image", name=f"{holder.image_id} ({name})"))
    return holder


def is_remnant(image: Image, tags: Mapping[str, str]) -> bool:
    """Tell whether an image is what a failed import of this tool left: empty, and in possession of its name.

    CreateFailed with a push id of whichever push, or UnAvailable with this push's own id or disk.
    """
    if image.status == "CreateFailed":
        return PUSH_ID_TAG in image.tags
    return image.status in FAILED_STATUSES and shares_proof(image, tags)


def proves(image: Image, proof: Mapping[str, str]) -> bool:
    """Tell whether an image carries every tag of `proof`; an empty proof proves nothing."""
    return bool(proof) and all(image.tags.get(key) == value for key, value in proof.items())


def shares_proof(image: Image, tags: Mapping[str, str]) -> bool:
    """Tell whether an image carries at least one of our tags with the value that the push gives it."""
    return any(tags.get(key) and image.tags.get(key) == tags[key] for key in OUR_TAGS)


def best_of(found: tuple[Image, ...], *, proof: Mapping[str, str]) -> Image | None:
    """Choose among images the one of ours to go on with: usable before being made; never a failed one."""
    ours = [image for image in found if proves(image, proof) and image.status not in FAILED_STATUSES]
    return min(ours, key=lambda image: (_RANK.get(image.status, 2), image.image_id), default=None)


def task_of(image_id: str, tasks: tuple[Task, ...]) -> str:
    """Give the id of the task that makes an image, "" when there is none; the newest one that did not fail."""
    mine = [task for task in tasks if task.image_id == image_id]
    alive = [task for task in mine if task.status not in (TaskStatus.FAILED, TaskStatus.DELETED)]
    return next((task.task_id for task in (*alive, *mine)), "")
