"""Search for an existing import of a push, so that no push starts a second one.

Only its tags prove that this tool created an image: a name proves nothing, and the client token can't be queried. ECS
answers a repeated ImportImage with the same token with the same import; this module is for other cases, and for a lost
token.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from aliyun_import.context import Context
from aliyun_import.errors import AliyunImportError, NameTaken, TransientError
from aliyun_import.events import Changed
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image, ImageStatus, Task, TaskStatus
from aliyun_import.services import ImageService

PROOF_TAGS = (PUSH_ID_TAG, DISK_DIGEST_TAG)
# Order of preference: a usable image, one that is being created, any other.
_RANK = {ImageStatus.AVAILABLE: 0, ImageStatus.CREATING: 1, ImageStatus.WAITING: 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImport:
    """An existing import. `task_id` is empty if its task is not listed any more."""

    image: Image
    task_id: str

    @property
    def image_id(self) -> str:
        """The id of its image."""
        return self.image.image_id


def find_import(images: ImageService, *, name: str, tags: Mapping[str, str]) -> FoundImport | None:
    """Return the import that has these tags, with any name, None if there is none. Failed images do not count.

    `tags` are those of the push. The push id and the disk's digest are compared, if given; at least one must be given.
    """
    proof = {key: tags[key] for key in PROOF_TAGS if tags.get(key)}
    if not proof:
        return None
    best = best_of(images.images(tags=proof), proof=proof)
    if best is None:
        # New tags may appear later in a list by tags than in a list by name.
        best = best_of(images.images(name=name), proof=proof)
    return None if best is None else with_task(images, best)


def with_task(images: ImageService, image: Image) -> FoundImport:
    """Return an image with its import task."""
    return FoundImport(image=image, task_id=task_id_of(image.image_id, images.tasks()))


def name_holder(images: ImageService, name: str) -> Image | None:
    """Return the account's image with exactly this name, in any status; None if the name is free."""
    found = images.images(name=name)
    return found[0] if found else None


def clear_failed(images: ImageService, context: Context, holder: Image, *, tags: Mapping[str, str]) -> bool:
    """Delete an image if it is left from a failed import of this tool; return whether it was deleted."""
    if not is_remnant(holder, tags):
        return False
    images.delete_image(holder.image_id)
    context.emit(Changed(what="deleted failed image", name=f"{holder.image_id} ({holder.name})"))
    return True


def is_remnant(image: Image, tags: Mapping[str, str]) -> bool:
    """Return whether an image is left from a failed import of this tool; it is empty, but has its name.

    CreateFailed with the push id of any push, or UnAvailable with the push id or the digest of `tags`.
    """
    if image.status is ImageStatus.CREATE_FAILED:
        return PUSH_ID_TAG in image.tags
    return image.status.failed and shares_proof(image, tags)


def proves(image: Image, proof: Mapping[str, str]) -> bool:
    """Return whether an image has every tag of `proof`, which must not be empty."""
    return bool(proof) and all(image.tags.get(key) == value for key, value in proof.items())


def shares_proof(image: Image, tags: Mapping[str, str]) -> bool:
    """Return whether an image has at least one of PROOF_TAGS with its value in `tags`."""
    return any(tags.get(key) and image.tags.get(key) == tags[key] for key in PROOF_TAGS)


def is_of_same_disk(image: Image, tags: Mapping[str, str]) -> bool:
    """Return whether an image, of any push, is of the disk whose digest is in `tags`."""
    digest = tags.get(DISK_DIGEST_TAG)
    return bool(digest) and image.tags.get(DISK_DIGEST_TAG) == digest and not image.status.failed


def best_of(found: tuple[Image, ...], *, proof: Mapping[str, str]) -> Image | None:
    """Return the best image with the proof, None without one. Usable images are preferred, failed ones ignored."""
    ours = [image for image in found if proves(image, proof) and not image.status.failed]
    return min(ours, key=lambda image: (_RANK.get(image.status, 2), image.image_id), default=None)


def task_id_of(image_id: str, tasks: tuple[Task, ...]) -> str:
    """Return the id of an image's import task, "" if there is none; the newest one that has not failed is preferred."""
    of_image = [task for task in tasks if task.image_id == image_id]
    alive = [task for task in of_image if task.status not in (TaskStatus.FAILED, TaskStatus.DELETED)]
    return next((task.task_id for task in (*alive, *of_image)), "")


def name_taken(
    holder: Image, *, name: str, region: str, why: str, details: Mapping[str, str] | None = None
) -> AliyunImportError:
    """Return the error of a name that another image has.

    NameTaken, or TransientError "image-creating" while the image is being created and its disk is unknown: another
    machine may be pushing the same disk. Only a usable image can be replaced.
    """
    operands = {**(details or {}), "image_id": holder.image_id, "image_name": name, "image_status": str(holder.status)}
    summary = f'The name "{name}" belongs to the image {holder.image_id} in {region}.'
    if holder.status in (ImageStatus.CREATING, ImageStatus.WAITING) and DISK_DIGEST_TAG not in holder.tags:
        return TransientError(
            summary,
            code="image-creating",
            cause=f"It is being created, {why}.",
            remedy=f"Run the same command again once {holder.image_id} is usable, or pass another --name.",
            details=operands,
            resumable=True,
        )
    remedy = "Pass another --name."
    if holder.is_usable:
        remedy = (
            f"Pass another --name, or --replace rename to give the name of {holder.image_id} to the new image once it "
            "is usable."
        )
    return NameTaken(
        summary,
        code="image-name-taken",
        cause=f"It was created {holder.created or 'earlier'}, is {holder.status}, {why}.",
        remedy=remedy,
        details=operands,
    )
