"""This file calls ImportImage, once in effect however often the call has to be sent.

The client token makes a repetition harmless, and it is the caller's, journalled before. Two things are waited for:
passing trouble (retry.py), and a role that RAM knows and ECS does not know yet. That the name is taken can mean that an
earlier call, whose answer was lost, did start the import: then it is found again by our tags, or else it is an error.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import replace

from aliyun_import.context import Clock
from aliyun_import.errors import AliyunImportError, NameTaken, RefusedError, TransientError
from aliyun_import.events import Changed, Emit, Noted, Warned
from aliyun_import.image.find_existing import clear_failed, find_import, name_holder
from aliyun_import.model.image import StartedImport
from aliyun_import.model.request import ImportCall
from aliyun_import.retry import with_retries
from aliyun_import.services.interface import ImageService

# What ECS answers while it does not see the role, or the policy attached to it a moment ago.
ROLE_UNSEEN = frozenset({"role-not-visible", "cloudbox-role"})
RIGHTS_UNSEEN = frozenset({"oss-not-authorized"})
NAME_TAKEN = frozenset({"image-name-taken", "image-importing"})
# The token began an import with other parameters: an earlier run of this push, whose answer was lost.
TOKEN_USED = frozenset({"client-token-reused"})
# A peer (the Packer plugin) sleeps one minute after creating the role; nothing is published. Five such minutes
# leave room, and the wait ends the moment that ECS sees the role.
ROLE_NEW_WAIT_S = 300.0
# A role that was there before this push is seen at once, unless an earlier run made it a moment ago and was stopped.
ROLE_OLD_WAIT_S = 90.0
FIRST_ROLE_WAIT_S = 2.0
LAST_ROLE_WAIT_S = 15.0


def new_client_token() -> str:
    """Make a token for one import: ASCII, 36 of the 64 characters that are allowed."""
    return str(uuid.uuid4())


def submit(
    images: ImageService,
    call: ImportCall,
    *,
    clock: Clock,
    emit: Emit,
    role_changed_recently: bool,
    share: Callable[[], float] = random.random,
) -> StartedImport:
    """Start the import, or find that it was started already; every repetition carries the call's client token.

    RefusedError "image-name-taken" (with the image's id in the details) when the name belongs to an image that is not
    provably ours; the service's own refusals otherwise. `request_id` is empty when the import was found again.
    """
    if call.dry_run:
        raise ValueError("a dry run is asked, not submitted")
    try:
        return _when_role_is_seen(images, call, clock=clock, emit=emit, changed=role_changed_recently, share=share)
    except TransientError:
        # The last answer was lost; the import may run all the same.
        started = _started_already(images, call, clock=clock, emit=emit)
        if started is None:
            raise
        return started
    except RefusedError as error:
        if error.code not in NAME_TAKEN | TOKEN_USED:
            raise
        started = _started_already(images, call, clock=clock, emit=emit)
        if started is not None:
            return started
        if error.code in TOKEN_USED:
            raise
        if clear_failed(images, call.request.name, tags=call.tags, clock=clock, emit=emit) is None:
            raise _name_taken(images, call, error, clock=clock) from error
    return _when_role_is_seen(images, call, clock=clock, emit=emit, changed=role_changed_recently, share=share)


def ask(images: ImageService, call: ImportCall, *, clock: Clock) -> None:
    """Ask the service whether it would take the import; raises what it would answer. Starts nothing."""
    asked = replace(call, dry_run=True)
    started = with_retries(lambda: images.import_image(asked), clock=clock)
    if started is None:
        return
    region = call.request.region
    raise RefusedError(
        "The service took the question whether it would import for the order to import.",
        code="dry-run-started",
        cause=f"DryRun was answered with task {started.task_id} and image {started.image_id}.",
        remedy=f"Run `aliyun-import task cancel {started.task_id} --region {region}` unless the image is wanted.",
        details={"task_id": started.task_id, "image_id": started.image_id, "request_id": started.request_id},
    )


def role_wait_s(attempt: int, *, share: Callable[[], float] = random.random) -> float:
    """Tell how long to wait after so many answers (from 1) that the role is not there: 2 s and growing to 15 s."""
    window = min(LAST_ROLE_WAIT_S, FIRST_ROLE_WAIT_S * 1.5 ** (attempt - 1))
    return window * (0.75 + 0.25 * share())


def _when_role_is_seen(
    images: ImageService,
    call: ImportCall,
    *,
    clock: Clock,
    emit: Emit,
    changed: bool,
    share: Callable[[], float],
) -> StartedImport:
    """Send the call until ECS sees the role, or the deadline has passed and its refusal comes out, explained."""
    unseen = ROLE_UNSEEN | RIGHTS_UNSEEN if changed else ROLE_UNSEEN
    began_s = clock.monotonic_s()
    limit_s = ROLE_NEW_WAIT_S if changed else ROLE_OLD_WAIT_S
    attempt = 1
    while True:
        try:
            return _send(images, call, clock=clock, emit=emit)
        except AliyunImportError as error:
            waited_s = clock.monotonic_s() - began_s
            if error.code not in unseen:
                raise
            if waited_s >= limit_s:
                raise _role_stays_unseen(error, call, waited_s=waited_s, changed=changed) from error
        if attempt == 1:
            emit(_role_unseen_yet(call, limit_s=limit_s))
        wait_s = role_wait_s(attempt, share=share)
        emit(Noted(message=f"ECS does not see the role {call.request.role_name} yet; asked again in {wait_s:.0f} s."))
        clock.sleep(wait_s)
        attempt += 1


def _send(images: ImageService, call: ImportCall, *, clock: Clock, emit: Emit) -> StartedImport:
    started = with_retries(
        lambda: images.import_image(call),
        clock=clock,
        on_retry=lambda error, attempt, wait_s: emit(
            Noted(message=f"ImportImage, attempt {attempt}: {error.summary} Sent again in {wait_s:.0f} s, same token.")
        ),
    )
    if started is None:
        raise RefusedError(
            "The service answered the import as if it had been a question.",
            code="import-not-started",
            cause="ImportImage was answered like a dry run, and none was asked for.",
            remedy="Run the same command again; if it stays so, open a ticket with Alibaba Cloud.",
        )
    return started


def _started_already(images: ImageService, call: ImportCall, *, clock: Clock, emit: Emit) -> StartedImport | None:
    found = find_import(images, name=call.request.name, tags=call.tags, clock=clock)
    if found is None:
        return None
    emit(Changed(what="found the import that was started before", name=f"{found.image_id} {found.task_id}".rstrip()))
    return StartedImport(task_id=found.task_id, image_id=found.image_id, request_id="")


def _name_taken(images: ImageService, call: ImportCall, error: RefusedError, *, clock: Clock) -> RefusedError:
    name, region = call.request.name, call.request.region
    holder = name_holder(images, name, clock=clock)
    if holder is None:
        return error
    return NameTaken(
        f'The name "{name}" belongs to the image {holder.image_id} in {region}.',
        code="image-name-taken",
        cause=f"It is {holder.status}, and nothing proves that this push made it.",
        remedy=f"Pass another --name, or --replace rename to have the name taken from {holder.image_id}.",
        details={**error.details, "image_id": holder.image_id, "image_name": name, "image_status": holder.status},
    )


def _role_unseen_yet(call: ImportCall, *, limit_s: float) -> Warned:
    return Warned(
        code="role-not-visible-yet",
        message=f"ECS does not see the role {call.request.role_name} yet, as it is for a minute or so after a role was "
        "set up.",
        remedy=f"Nothing to do: it is asked again, for up to {limit_s:.0f} s.",
    )


def _role_stays_unseen(
    error: AliyunImportError, call: ImportCall, *, waited_s: float, changed: bool
) -> AliyunImportError:
    """Say the service's refusal again, with what was waited for."""
    name, region = call.request.role_name, call.request.region
    since = "was set up by this push" if changed else "was there before"
    does_not = "may not read the disk as" if error.code in RIGHTS_UNSEEN else "does not see"
    return type(error)(
        f"ECS {does_not} the role {name}, {waited_s:.0f} s after it was first asked to.",
        code=error.code,
        cause=f"{error.summary} The role {since}.",
        remedy=f"Run `aliyun-import role show --role-name {name} --region {region}` to see what is missing, and run "
        "the same command again: what was sent is kept.",
        details=error.details,
        resumable=True,
    )
