"""Stages of a push from the role to the end of the import: role, dry run, upload, import, wait.

Each stage takes the results of those before it and returns its own. The journal records what costs or creates something
before it happens.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from aliyun_import.account.check import AccountState
from aliyun_import.disk.disk import Disk
from aliyun_import.errors import (
    AliyunImportError,
    BucketMissing,
    DetectionUnsupported,
    ImageImporting,
    ImportFailed,
    Interrupted,
    NameTaken,
    ObjectMissing,
    RefusedError,
    RoleNotAuthorized,
    RoleNotVisible,
)
from aliyun_import.events import ImportSubmitted, Noted
from aliyun_import.image.find_existing import FoundImport
from aliyun_import.image.replace import temporary_name
from aliyun_import.image.submit import dry_run_import, new_client_token, submit
from aliyun_import.image.wait import wait, wait_for_check
from aliyun_import.journal import Journal
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image
from aliyun_import.model.objects import KEY_PREFIX, RemoteObject, UploadedObject
from aliyun_import.model.request import DiskFormat, DiskMapping, DiskRequest, ImportCall, ImportRequest
from aliyun_import.push.earlier import digest_of_objects
from aliyun_import.push.options import PushOptions, PushRun
from aliyun_import.push.state import PushState, fold, object_fields
from aliyun_import.retry import without_retries
from aliyun_import.role.ensure import RoleChange, RoleOutcome, ensure_role
from aliyun_import.role.spec import needs_of, role_name_of
from aliyun_import.services import ObjectStore
from aliyun_import.upload.context import UploadRequest
from aliyun_import.upload.upload import upload_disk

_ROLE_DETAIL = {
    RoleOutcome.READY: "is ready",
    RoleOutcome.CREATED: "was created",
    RoleOutcome.ATTACHED: "got the missing policy",
    RoleOutcome.EXTENDED: "now lets ECS assume it",
    RoleOutcome.UNSEEN: "could not be read",
}


def role_stage(request: ImportRequest, run: PushRun, *, bucket: str) -> RoleChange:
    """Ensure the role by which ECS reads the bucket."""
    name = role_name_of(request)
    with run.context.stage("role", f"inspecting {name}") as stage:
        role = ensure_role(
            run.services.roles,
            run.context,
            name,
            bucket=bucket or None,
            fix=run.options.fix_role,
            needs=needs_of(request),
        )
        stage.detail = f"{role.name} {_ROLE_DETAIL[role.state]}"
    return role


def dry_run_in_ecs(request: ImportRequest, account: AccountState, run: PushRun, *, keys: Sequence[str]) -> str:
    """Return the answer of ECS to a dry run of ImportImage, as text. Raises its refusal.

    `keys` are those of the local disks, in their order. An object that is not uploaded yet, and a role that was just
    created, are not refusals.
    """
    planned = iter(keys)
    call = ImportCall(
        request=replace(request, role_name=role_name_of(request)),
        mappings=tuple(
            DiskMapping(
                bucket=disk.bucket or account.bucket,
                key=disk.key or next(planned),
                format=disk.format,
                size_gib=disk.size_gib,
            )
            for disk in request.disks
        ),
        client_token=new_client_token(),
        tags=request.tags,
    )
    try:
        dry_run_import(run.services.images, call)
    except (ObjectMissing, BucketMissing):
        # The answer about a disk that is not uploaded yet.
        if not keys:
            raise
        return "accepts the request; only the disk is missing, which is not uploaded yet"
    except (RoleNotVisible, RoleNotAuthorized):
        return "accepts the request; only the role is missing, which the push would create"
    return "accepts the request"


def dry_run_stage(request: ImportRequest, account: AccountState, run: PushRun, journal: Journal) -> ImportRequest:
    """Raise before the upload what ECS would refuse after it: a missing permission, a quota, a parameter.

    Returns the request, without an image check that ECS does not offer. A resumed push asks again only if its request
    has changed, and not after every disk is uploaded.
    """
    state = fold(journal.entries)
    local = [index for index, disk in enumerate(request.disks) if disk.path]
    if not set(local) - state.uploaded.keys():
        return request
    name = temporary_name(request.name, state.push_id) if run.options.is_named_last else request.name
    request_digest = hashlib.sha256(repr(replace(request, name=name)).encode()).hexdigest()[:16]
    if state.accepted_digest == request_digest:
        return request
    uploads = [upload_request(request, run.options, index) for index in local]
    keys = [upload.key or f"{upload.key_stem}{upload.suffix}" for upload in uploads]
    try:
        answer = dry_run_in_ecs(replace(request, name=name), account, run, keys=keys)
    except DetectionUnsupported as error:
        return dry_run_stage(without_detection(request, error, run), account, run, journal)
    except (ImageImporting, NameTaken):
        return request  # `find_earlier_import` has judged the name; `submit` removes a failed image that has it
    journal.write("accepted", request=request_digest)
    run.context.emit(Noted(message=f"ECS {answer}"))
    return request


def upload_stage(
    request: ImportRequest, account: AccountState, run: PushRun, journal: Journal
) -> tuple[UploadedObject, ...]:
    """Upload every local disk, one after the other; return the object of each disk, in their order."""
    return tuple(
        _upload(
            run.disks[disk.path],
            upload_request(request, run.options, index),
            run,
            journal,
            store=run.services.store(account.bucket),
        )
        if disk.path
        else _existing(disk, account.objects[index])
        for index, disk in enumerate(request.disks)
    )


def upload_request(request: ImportRequest, options: PushOptions, index: int) -> UploadRequest:
    """Return the destination of a disk; --key and --base are for the system disk."""
    disk_label = "system" if index == 0 else f"data-{index}"
    return UploadRequest(
        disk_index=index,
        region=request.region,
        key=options.key if index == 0 else None,
        key_stem=f"{KEY_PREFIX}{request.name}/{disk_label}",
        suffix=f".{(request.disks[index].format or DiskFormat.RAW).lower()}",
        base_key=options.base_key if index == 0 else None,
    )


def _upload(
    disk: Disk, request: UploadRequest, run: PushRun, journal: Journal, *, store: ObjectStore
) -> UploadedObject:
    with run.context.stage("upload", str(disk.name)) as stage:
        uploaded = upload_disk(disk, request, run.context, store=store, journal=journal, options=run.options.transfer)
        stage.detail = f"{uploaded.url} equals the disk, proven by {uploaded.proof}"
    return uploaded


def _existing(disk: DiskRequest, remote: RemoteObject | None) -> UploadedObject:
    """Return an object that the user uploaded; it is never removed."""
    assert disk.bucket is not None and remote is not None  # noqa: S101, PT018 -- the account check found one for each
    return UploadedObject(
        bucket=disk.bucket,
        key=remote.key,
        size_bytes=remote.size_bytes,
        crc64=remote.crc64 or 0,
        etag=remote.etag,
        proof="used as it was in OSS",
        made_by_us=False,
    )


def continue_import(found: FoundImport, run: PushRun, journal: Journal) -> PushState:
    """Continue with an import that was found; return the state with it."""
    journal.write("submitted", task_id=found.task_id, image_id=found.image_id, name=found.image.name)
    run.context.emit(Noted(message=f"resuming with the image {found.image_id} that an earlier run started"))
    return fold(journal.entries)


def import_stage(
    request: ImportRequest,
    objects: tuple[UploadedObject, ...],
    role: RoleChange,
    run: PushRun,
    journal: Journal,
) -> PushState:
    """Call ImportImage, and return the state with the task.

    The journal has the token before the call and the answer after it. If an earlier run was killed between the two,
    this one repeats the call with the same token, and ECS returns the import that it started.
    """
    state = fold(journal.entries)
    if not state.client_token:
        journal.write(
            "submitting",
            client_token=_token(request, state),
            name=temporary_name(request.name, state.push_id) if run.options.is_named_last else request.name,
            objects=[object_fields(one) for one in objects],
            checked=request.detection_strategy == "Standard",
        )
        state = fold(journal.entries)
    call = _call(request, state)
    with run.context.stage("import", "calling ImportImage") as stage:
        try:
            started = submit(
                run.services.images,
                run.context,
                call,
                role_changed_recently=role.changed,
                accept_same_disk=not (run.options.force_new or run.options.is_named_last),
            )
        except RefusedError as error:
            # A refusal is an answer: nothing was active. The next attempt may differ in its parameters, which the
            # service would refuse under the old token (IdempotentParameterMismatch).
            journal.write("import-failed", reason=error.code)
            if isinstance(error, DetectionUnsupported):
                return import_stage(without_detection(request, error, run), objects, role, run, journal)
            raise
        journal.write("submitted", task_id=started.task_id, image_id=started.image_id)
        stage.detail = f"task {started.task_id} creates image {started.image_id}"
    run.context.emit(ImportSubmitted(task_id=started.task_id, image_id=started.image_id))
    return fold(journal.entries)


def without_detection(request: ImportRequest, error: DetectionUnsupported, run: PushRun) -> ImportRequest:
    """Return a request without the image check, which ECS refused: the check is optional."""
    run.context.emit(Noted(message=f"{error.summary} It is imported without the check."))
    return replace(request, detection_strategy="none")


def _token(request: ImportRequest, state: PushState) -> str:
    # The user's own token is used once: after a failed import ECS would answer it with the same failure.
    given = request.client_token
    return given if given and given not in state.failed_tokens else new_client_token()


def _call(request: ImportRequest, state: PushState) -> ImportCall:
    identity_tags = {PUSH_ID_TAG: state.push_id, DISK_DIGEST_TAG: digest_of_objects(state.objects)}
    return ImportCall(
        request=replace(request, name=state.import_name, role_name=role_name_of(request)),
        mappings=tuple(
            DiskMapping(bucket=uploaded.bucket, key=uploaded.key, format=disk.format, size_gib=disk.size_gib)
            for disk, uploaded in zip(request.disks, state.objects, strict=True)
        ),
        client_token=state.client_token,
        tags={**request.tags, **identity_tags},
    )


def wait_stage(request: ImportRequest, state: PushState, run: PushRun, journal: Journal) -> Image:
    """Wait until the image is usable. The journal records a failed import, so that the next run starts another."""
    began_s = run.context.clock.monotonic_s()
    with run.context.stage("wait", f"the import of {state.image_id}") as stage:
        try:
            image = wait(
                run.services.images,
                run.context,
                task_id=state.task_id,
                image_id=state.image_id,
                region=request.region,
                timeout_s=run.options.timeout_s,
            )
        except ImportFailed as error:
            journal.write("import-failed", reason=error.code)
            raise
        except RefusedError as error:
            if error.code != "task-unknown":
                raise
            # The account or the sandbox was reset: the task will never be found.
            journal.write("import-failed", reason=error.code)
            raise error.with_remedy("Run the same command again to import the disk again.", resumable=True) from error
        except Interrupted as stopped:
            raise _detached(stopped, request, state, run, journal) from stopped
        stage.detail = f"image {image.image_id} is usable"
        if state.is_checked:
            limit_s, waited_s = run.options.timeout_s, run.context.clock.monotonic_s() - began_s
            left_s = None if limit_s is None else max(0.0, limit_s - waited_s)
            image = wait_for_check(run.services.images, run.context, image, region=request.region, timeout_s=left_s)
    return image


def _detached(
    stopped: Interrupted, request: ImportRequest, state: PushState, run: PushRun, journal: Journal
) -> Interrupted:
    task = f"{state.task_id} --region {request.region}"
    details = {"task_id": state.task_id, "image_id": state.image_id}
    if not run.options.cancel_on_interrupt:
        return Interrupted(
            f"Stopped waiting; the import continues as task {state.task_id}.",
            code="detached",
            remedy=f"Run the same command again to finish, or wait with `aliyun-import task wait {task}`; "
            f"`aliyun-import task cancel {task}` cancels it.",
            details=details,
            resumable=True,
        )
    try:
        # Without retries: the run is cancelled, which also ends the pauses between attempts.
        without_retries(run.services.images).cancel_task(state.task_id)
    except AliyunImportError as error:
        return Interrupted(
            f"Stopped; the task {state.task_id} could not be cancelled: {error.summary}",
            code="not-cancelled",
            remedy=f"Follow it with `aliyun-import task wait {task}`.",
            details=details,
            resumable=True,
        )
    journal.write("import-failed", reason=stopped.code)
    return Interrupted(
        f"Stopped, and the import task {state.task_id} was cancelled; the disk stays in OSS.",
        code="cancelled",
        remedy="Run the same command again to import it without another upload.",
        details=details,
        resumable=True,
    )
