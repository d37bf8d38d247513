"""This file decides what the image is called, and what to do when somebody has the name already."""

from dataclasses import replace

from aliyun_import.account.check import AccountState
from aliyun_import.context import Clock
from aliyun_import.errors import NameTaken
from aliyun_import.events import Noted
from aliyun_import.image.find_existing import FoundImport, find_import, is_remnant, name_holder
from aliyun_import.limits import MAX_NAME_CHARS
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image
from aliyun_import.model.request import ImportRequest
from aliyun_import.push.context import PushContext
from aliyun_import.push.same_disks import digest_of_disks
from aliyun_import.push.state import PushState
from aliyun_import.services.interface import ImageService


def find_free_name(request: ImportRequest, images: ImageService, *, clock: Clock) -> ImportRequest:
    """Give the request a name that nobody has: its own, or that with -2, -3, ... behind it."""
    number, name = 1, request.name
    while name_holder(images, name, clock=clock) is not None:
        number += 1
        tail = f"-{number}"
        name = f"{request.name[: MAX_NAME_CHARS - len(tail)]}{tail}"
    return replace(request, name=name)


def find_earlier_import(
    run: PushContext, request: ImportRequest, ready: AccountState, state: PushState
) -> FoundImport | None:
    """Find the import that an earlier run of this push began, whatever became of its journal.

    With the journal, by the push's id; without it, the image that has the name is ours if its tag carries the digest
    of these very disks. None when there is nothing of ours and the name is free, or is about to be taken over
    (--replace). RefusedError "image-name-taken" when the name belongs to another image.
    """
    if state.client_token:
        found = find_import(
            run.cloud.images, name=state.import_name, tags={PUSH_ID_TAG: state.push_id}, clock=run.clock
        )
        if found:
            return found
    holder = ready.name_holder
    # A failed image that a push left behind holds nothing but the name, which `submit` frees.
    if holder is None or holder.tags.get(PUSH_ID_TAG) == state.push_id or is_remnant(holder, {}):
        return None
    # With --force-new a twin is wanted, so that an image of the same disk is no reason to stop early.
    if not run.options.force_new and _is_of_these_disks(run, request, ready, holder):
        # By all its tags: other images may be of the same disk, and have other names.
        return find_import(run.cloud.images, name=request.name, tags=holder.tags, clock=run.clock)
    if run.options.replace:
        return None
    why = (
        "--force-new wants another image" if run.options.force_new else "nothing proves that it was made of these disks"
    )
    raise NameTaken(
        f'The name "{request.name}" belongs to the image {holder.image_id} in {request.region}.',
        code="image-name-taken",
        cause=f"It was created {holder.created or 'earlier'}, is {holder.status}, and {why}.",
        remedy=f"Pass another --name, or --replace rename to take the name from {holder.image_id} once the new image "
        "is usable.",
        details={"image_id": holder.image_id, "image_name": request.name, "image_status": holder.status},
    )


def _is_of_these_disks(run: PushContext, request: ImportRequest, ready: AccountState, holder: Image) -> bool:
    digest = holder.tags.get(DISK_DIGEST_TAG)
    if not digest:
        return False
    # Reading the disks costs up to minutes, and is done only where an image of ours has the very name.
    run.emit(Noted(message=f"{holder.image_id} has the name; comparing the disks with the digest in its tags"))
    return digest == digest_of_disks(run, request, ready)
