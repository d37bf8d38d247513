"""This file is the import and the wait: ImportImage is called once in effect, and followed to its end."""

from dataclasses import replace

from aliyun_import.errors import AliyunImportError, ImportFailed, Interrupted, RefusedError
from aliyun_import.events import ImportSubmitted, Noted
from aliyun_import.image.find_existing import FoundImport
from aliyun_import.image.replace import temporary_name
from aliyun_import.image.submit import new_client_token, submit
from aliyun_import.image.wait.wait import wait
from aliyun_import.journal import Journal
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image
from aliyun_import.model.objects import UploadedObject
from aliyun_import.model.request import DiskMapping, ImportCall, ImportRequest
from aliyun_import.push.context import PushContext
from aliyun_import.push.stage import stage
from aliyun_import.push.state import PushState, fold, object_fields
from aliyun_import.push.upload_stage import digest_of
from aliyun_import.role.spec import role_name_of


def adopt(found: FoundImport, *, run: PushContext, journal: Journal) -> None:
    """Take an import that was found again for this push's own."""
    journal.write("submitted", task_id=found.task_id, image_id=found.image_id)
    run.emit(Noted(message=f"going on with the image {found.image_id} that an earlier run began"))


def start(
    request: ImportRequest,
    objects: tuple[UploadedObject, ...],
    *,
    run: PushContext,
    journal: Journal,
    role_changed: bool,
) -> None:
    """Call ImportImage; the token is in the journal before, the answer after.

    An earlier run that wrote its token and was killed before the answer leaves the token to this one: ECS answers a
    repeated call with the same token by the import that it began.
    """
    state = fold(journal.entries)
    if not state.client_token:
        journal.write(
            "submitting",
            client_token=_token(request, state),
            name=_import_name(request, run, state),
            objects=[object_fields(one) for one in objects],
        )
        state = fold(journal.entries)
    call = ImportCall(
        request=replace(request, name=state.import_name, role_name=role_name_of(request)),
        mappings=mappings(request, state.objects),
        client_token=state.client_token,
        tags={
            **request.tags,
            PUSH_ID_TAG: state.push_id,
            DISK_DIGEST_TAG: digest_of((one.size_bytes, one.crc64) for one in state.objects),
        },
    )
    with stage("import", emit=run.emit, clock=run.clock, doing="calling ImportImage") as words:
        try:
            started = submit(run.cloud.images, call, clock=run.clock, emit=run.emit, role_changed_recently=role_changed)
        except RefusedError as error:
            # A refusal is an answer: nothing was begun. The next try may differ in its parameters, which the
            # service would refuse under the old token (IdempotentParameterMismatch).
            journal.write("import-failed", reason=error.code)
            raise
        journal.write("submitted", task_id=started.task_id, image_id=started.image_id)
        words.detail = f"task {started.task_id} makes image {started.image_id}"
    run.emit(ImportSubmitted(task_id=started.task_id, image_id=started.image_id))


def follow(request: ImportRequest, *, run: PushContext, journal: Journal) -> Image:
    """Wait until the image is usable. A failed import is written down, so that the next run begins another."""
    state = fold(journal.entries)
    with stage("wait", emit=run.emit, clock=run.clock, doing=f"the import of {state.image_id}") as words:
        try:
            image = wait(
                run.cloud.images,
                task_id=state.task_id,
                image_id=state.image_id,
                region=request.region,
                clock=run.clock,
                emit=run.emit,
                timeout_s=run.options.timeout_s,
                check_results=request.detection_strategy is not None,
            )
        except ImportFailed as error:
            journal.write("import-failed", reason=error.code)
            raise
        except Interrupted as stopped:
            raise _detached(stopped, request, state, run=run, journal=journal) from stopped
        words.detail = f"image {image.image_id} is usable"
    return image


def _detached(
    stopped: Interrupted, request: ImportRequest, state: PushState, *, run: PushContext, journal: Journal
) -> AliyunImportError:
    wait_on = f"aliyun-import task wait {state.task_id} --region {request.region}"
    details = {"task_id": state.task_id, "image_id": state.image_id}
    if not run.options.cancel_on_interrupt:
        return Interrupted(
            f"Stopped waiting; the import goes on as task {state.task_id}.",
            code="detached",
            remedy=f"Run the same command again to finish, or follow it with `{wait_on}`; "
            f"`aliyun-import task cancel {state.task_id} --region {request.region}` cancels it.",
            details=details,
            resumable=True,
        )
    try:
        run.cloud.images.cancel_task(state.task_id)
    except AliyunImportError as error:
        return Interrupted(
            f"Stopped; the task {state.task_id} could not be cancelled: {error.summary}",
            code="not-cancelled",
            remedy=f"See how it stands with `{wait_on}`.",
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


def _token(request: ImportRequest, state: PushState) -> str:
    # The user's own token serves once: after a failed import the same token would answer with the same failure.
    given = request.client_token
    return given if given and given not in state.failed_tokens else new_client_token()


def _import_name(request: ImportRequest, run: PushContext, state: PushState) -> str:
    return temporary_name(request.name, state.push_id) if run.options.replace else request.name


def mappings(request: ImportRequest, objects: tuple[UploadedObject, ...]) -> tuple[DiskMapping, ...]:
    """Say which object is which disk, in the order of the disks."""
    return tuple(
        DiskMapping(bucket=uploaded.bucket, key=uploaded.key, format=disk.format, size_gib=disk.size_gib)
        for disk, uploaded in zip(request.disks, objects, strict=True)
    )
