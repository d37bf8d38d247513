"""Call of ImportImage that starts one import, even if it is sent several times.

The client token makes repetitions safe; the caller writes it to the journal before the call. This module waits for a
role that RAM has and ECS does not find yet; `retry` retries transient failures. A taken name can mean that
an earlier call, whose answer was lost, started the import: its tags then identify it; otherwise it is an error.
"""

import random
import uuid
from collections.abc import Callable
from dataclasses import replace

from aliyun_import.context import Context
from aliyun_import.errors import (
    AliyunImportError,
    ClientTokenReused,
    ImageImporting,
    NameTaken,
    RefusedError,
    RoleNotAuthorized,
    RoleNotVisible,
    TransientError,
)
from aliyun_import.events import Changed, Noted, Warned
from aliyun_import.image.find_existing import (
    FoundImport,
    clear_failed,
    find_import,
    is_of_same_disk,
    name_holder,
    name_taken,
    with_task,
)
from aliyun_import.model.image import StartedImport
from aliyun_import.model.request import ImportCall
from aliyun_import.services import ImageService

# No time is published; the Packer plugin sleeps one minute after creating the role. Five minutes are enough, and the
# wait ends as soon as ECS finds the role.
ROLE_NEW_WAIT_S = 300.0
# ECS finds a role that existed before this push at once, unless an earlier run created it and was stopped.
ROLE_OLD_WAIT_S = 90.0
FIRST_ROLE_WAIT_S = 2.0
LAST_ROLE_WAIT_S = 15.0


def new_client_token() -> str:
    """Return a token for one import: 36 ASCII characters; 64 are allowed."""
    return str(uuid.uuid4())


def submit(
    images: ImageService,
    context: Context,
    call: ImportCall,
    *,
    role_changed_recently: bool,
    accept_same_disk: bool = False,
    share: Callable[[], float] = random.random,
) -> StartedImport:
    """Start the import, or find the import that was already started; all attempts have the call's client token.

    With `accept_same_disk`, the result may be an image with the same name and disk from another push: two machines
    that run the same command get one image. RefusedError "image-name-taken" (with the image's id in the details) if
    the name belongs to another image; otherwise the refusals of the service. `request_id` is empty if the import was
    found.
    """
    if call.dry_run:
        raise ValueError("a dry run is for dry_run_import, not for submit")
    try:
        return _send_until_role_known(images, context, call, changed=role_changed_recently, share=share)
    except TransientError:
        # The last answer was lost; the import may be running.
        found = find_import(images, name=call.request.name, tags=call.tags)
        if found is None:
            raise
        return _started(found, context)
    except (NameTaken, ImageImporting, ClientTokenReused) as error:
        found = _import_behind(error, images, context, call, accept_same_disk=accept_same_disk)
        if found is not None:
            return _started(found, context)
    return _send_until_role_known(images, context, call, changed=role_changed_recently, share=share)


def _import_behind(
    error: RefusedError, images: ImageService, context: Context, call: ImportCall, *, accept_same_disk: bool
) -> FoundImport | None:
    """Return the import that caused the refusal, None if its failed image was deleted and the name is free.

    Raises an error if the name or the token belongs to another image.
    """
    request = call.request
    found = find_import(images, name=request.name, tags=call.tags)
    if found is not None:
        return found
    if isinstance(error, ClientTokenReused):
        # The token belongs to an import with other parameters.
        raise error
    holder = name_holder(images, request.name)
    if holder is None:
        raise error
    if clear_failed(images, context, holder, tags=call.tags):
        return None
    if accept_same_disk and is_of_same_disk(holder, call.tags):
        return with_task(images, holder)
    why = "and nothing proves that this push made it"
    raise name_taken(holder, name=request.name, region=request.region, why=why, details=error.details) from error


def dry_run_import(images: ImageService, call: ImportCall) -> None:
    """Check whether the service would accept the import, without starting it. Raises the service's refusal."""
    asked = replace(call, dry_run=True)
    started = images.import_image(asked)
    if started is None:
        return
    region = call.request.region
    raise RefusedError(
        "The service started an import although a dry run was requested.",
        code="dry-run-started",
        cause=f"DryRun was answered with task {started.task_id} and image {started.image_id}.",
        remedy=f"Run `aliyun-import task cancel {started.task_id} --region {region}` unless the image is wanted.",
        details={"task_id": started.task_id, "image_id": started.image_id, "request_id": started.request_id},
    )


def role_wait_s(attempt: int, *, share: Callable[[], float] = random.random) -> float:
    """Return the wait after this many answers, from 1, that ECS does not find the role: 2 s, growing to 15 s."""
    window = min(LAST_ROLE_WAIT_S, FIRST_ROLE_WAIT_S * 1.5 ** (attempt - 1))
    return window * (0.75 + 0.25 * share())


def _send_until_role_known(
    images: ImageService, context: Context, call: ImportCall, *, changed: bool, share: Callable[[], float]
) -> StartedImport:
    """Send the call until ECS finds the role; after the deadline raise the refusal, with an explanation."""
    # Answers of ECS while it does not find the role, or the policy that was just attached to it.
    unseen = (RoleNotVisible, RoleNotAuthorized) if changed else (RoleNotVisible,)
    began_s = context.clock.monotonic_s()
    limit_s = ROLE_NEW_WAIT_S if changed else ROLE_OLD_WAIT_S
    attempt = 1
    while True:
        try:
            return _send(images, call)
        except unseen as error:
            waited_s = context.clock.monotonic_s() - began_s
            if waited_s >= limit_s:
                raise _role_stays_unseen(error, call, waited_s=waited_s, changed=changed) from error
        if attempt == 1:
            context.emit(_role_not_known_yet(call, limit_s=limit_s))
        wait_s = role_wait_s(attempt, share=share)
        role = call.request.role_name
        context.emit(Noted(message=f"ECS does not find the role {role} yet; next attempt in {wait_s:.0f} s."))
        context.sleep(wait_s)
        attempt += 1


def _send(images: ImageService, call: ImportCall) -> StartedImport:
    started = images.import_image(call)
    if started is None:
        raise RefusedError(
            "The service treated the import as a dry run.",
            code="import-not-started",
            cause="ImportImage was answered like a dry run, and none was requested.",
            remedy="Run the same command again; if that does not help, open a ticket with Alibaba Cloud.",
        )
    return started


def _started(found: FoundImport, context: Context) -> StartedImport:
    name = f"{found.image_id} {found.task_id}".rstrip()
    context.emit(Changed(what="found the import that was started before", name=name))
    return StartedImport(task_id=found.task_id, image_id=found.image_id, request_id="")


def _role_not_known_yet(call: ImportCall, *, limit_s: float) -> Warned:
    return Warned(
        code="role-not-visible-yet",
        message=f"ECS does not find the role {call.request.role_name} yet. This is normal for about a minute after a "
        "role is set up.",
        remedy=f"No action: the call is repeated, for up to {limit_s:.0f} s.",
    )


def _role_stays_unseen(
    error: AliyunImportError, call: ImportCall, *, waited_s: float, changed: bool
) -> AliyunImportError:
    """Return the service's refusal with the duration of the wait."""
    name, region = call.request.role_name, call.request.region
    since = "was set up by this push" if changed else "existed before"
    does_not = "can't read the disk with" if isinstance(error, RoleNotAuthorized) else "does not find"
    return type(error)(
        f"ECS {does_not} the role {name}, {waited_s:.0f} s after the first attempt.",
        code=error.code,
        cause=f"{error.summary} The role {since}.",
        remedy=f"Run `aliyun-import role show --role-name {name} --region {region}` to list what is missing, and run "
        "the same command again: the uploaded object is kept.",
        details=error.details,
        resumable=True,
    )
