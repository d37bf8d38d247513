"""A push from the first stage to the last, resumed where an earlier run stopped.

    inspect    the disks, and whether they can be imported          needs no account
    look       identity, bucket, image name; the journal is opened and locked after it
    convert    disks that ECS does not accept; their content is checked      only for these
    role       the role that lets ECS read the bucket
    upload     each disk to its object, proven
    import     ImportImage, its token in the journal before the call
    wait       until the image is usable, or failed with its reason
    boot       an instance of the image (--boot-test cloud)
    finish     names exchanged (--replace), staging objects deleted, --keep-last applied

Each stage takes the results of those before it and returns its own. Every step that costs or creates something writes
its intent to the journal first, and checks for its own traces before it acts: a push that is killed at any instant and
run again ends in one image. (Renderers show "look" as account and "finish" as cleanup; scripts read the names above.)
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from aliyun_import.account.check import AccountState, check_account, ensure_bucket
from aliyun_import.boot.instance_choice import Cloud, Confirm
from aliyun_import.context import Context
from aliyun_import.disk.disk import OpenDisks
from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError, ImportFailed
from aliyun_import.events import Noted, RunStarted, Warned
from aliyun_import.image.failure import with_commands
from aliyun_import.journal import Journal, copy_journal, open_journal
from aliyun_import.model.image import Image
from aliyun_import.model.objects import UploadedObject
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.push.boot_stage import (
    boot_stage,
    confirm_instance,
    image_boot_stage,
    refuse_contradictions,
    refuse_known_failure,
)
from aliyun_import.push.cleanup_stage import cleanup_stage, finish_image, is_gone
from aliyun_import.push.dry_run import dry_run, empty_plan
from aliyun_import.push.earlier import (
    ActivePush,
    InitialState,
    disk_state,
    find_earlier_import,
    finished_before,
    free_name,
    resumes,
    state_of_import,
    with_holder,
)
from aliyun_import.push.inspect_stage import SentDisks, inspect_stage
from aliyun_import.push.options import PushOptions, PushResult, PushRun
from aliyun_import.push.stages import (
    continue_import,
    dry_run_stage,
    import_stage,
    role_stage,
    upload_stage,
    wait_stage,
)
from aliyun_import.push.state import PushState, fold
from aliyun_import.retry import add_retries, without_retries
from aliyun_import.services import Services
from aliyun_import.upload.removal import leftovers_command


def push(
    request: ImportRequest,
    options: PushOptions,
    services: Services,
    context: Context,
    *,
    is_name_given: bool = True,
    cloud: Cloud | None = None,
    confirm: Confirm = lambda _: None,
) -> PushResult:
    """Create a usable image from the disks of a request; events are emitted on this thread.

    Raises AliyunImportError. After any error the same call resumes, and nothing that was sent is lost. A dry run takes
    the same decisions on a copy of the journal, and changes nothing. With `force_new` the image gets a free name unless
    `is_name_given`. A boot test of the image needs `cloud`; `confirm`
    is called before anything is sent, and raises an error to refuse the cost of its instance.
    """
    began_s = context.clock.monotonic_s()
    refuse_contradictions(options)
    retrying = add_retries(services, context)
    open_or_copy = copy_journal if options.dry_run else open_journal
    with OpenDisks() as disks:
        run = PushRun(
            options=options,
            services=retrying,
            context=context,
            disks=disks,
            is_name_given=is_name_given,
            cloud=cloud,
            confirm=confirm,
        )
        inspection = inspect_stage(request, run)
        account = _account_stage(inspection.request, run)
        with open_or_copy(options.state_dir, _identity(request, account, services.endpoint)) as journal:
            try:
                result = _run_stages(SentDisks(inspection, run), account, run, journal)
            except AliyunImportError as failed:
                error = _with_commands(failed, request, account)
                staged = _still_staged(error, fold(journal.entries), run, bucket=account.bucket)
                raise _with_staged(error, staged, request.region, account.bucket) from failed
    return replace(result, seconds=context.clock.monotonic_s() - began_s)


def _account_stage(request: ImportRequest, run: PushRun) -> AccountState:
    """Check the account without changing it; report its id and the source of the credentials."""
    with run.context.stage("look", "checking identity, region, bucket and image name") as stage:
        account = check_account(
            request,
            run.services,
            run.context,
            bucket=run.options.bucket,
            skip_checks=run.options.skip_checks,
            force=run.options.force,
        )
        keys = f", credentials from {run.services.credentials}" if run.services.credentials else ""
        bucket = f"bucket {account.bucket}" if account.bucket else "no upload"
        stage.detail = f"account {account.identity.account_id}{keys}, {bucket}"
    return account


def _identity(request: ImportRequest, account: AccountState, endpoint: str) -> Mapping[str, str]:
    """Return the identity of a push: two pushes with the same one share a journal."""
    disks = [str(disk.path.absolute()) if disk.path else _disk_name(disk) for disk in request.disks]
    return {
        "name": request.name,
        "region": request.region,
        "account": account.identity.account_id,
        "bucket": account.bucket,
        "disks": "\n".join(disks),
        "endpoint": endpoint,
    }


def _run_stages(disks: SentDisks, account: AccountState, run: PushRun, journal: Journal) -> PushResult:
    inspected = disks.inspection
    states = map(partial(disk_state, run.disks), inspected.request.disks, inspected.reports, account.objects)
    initial = InitialState(disks=disks, account=account, fingerprints=tuple(states), run=run, journal=journal)
    finished = finished_before(initial)
    if finished is not None:
        return _already_there(initial, finished)
    active = _begin(initial)
    state = state_of_import(active, run, journal)
    sent = initial.request
    if not state.submitted:
        sent = replace(disks.request, name=active.request.name)
        found = find_earlier_import(run, sent, active.account, state)
        state = continue_import(found, run, journal) if found else state
    active = replace(active, state=state)
    tested = None if state.submitted else boot_stage(sent, disks, run, journal)
    account_id = account.identity.account_id
    offer = confirm_instance(sent, run, account_id=account_id, image_id=state.image_id)
    if run.options.dry_run:
        return replace(dry_run(sent, active, run, journal, offer=offer), boot_test=tested)
    if not state.submitted:
        state = _import(active, sent, run, journal)
    run.disks.close()
    if not run.options.wait:
        return replace(_left_running(active, state, run), boot_test=tested)
    image = wait_stage(active.request, state, run, journal)
    image = finish_image(active.request, image, state, run, journal)
    cloud_tested = image_boot_stage(active.request, image, run, journal, account_id=account_id, offer=offer)
    image, left, kept = cleanup_stage(active.request, image, state, account, run, journal)
    result = replace(_result(active.request, state, image), left_over=left, kept=kept)
    return replace(result, boot_test=tested, cloud_boot_test=cloud_tested)


def _already_there(initial: InitialState, image: Image) -> PushResult:
    """Return the result with the image of an earlier run; --boot-test cloud tests it if that was not done."""
    request, run, journal, tested = initial.request, initial.run, initial.journal, None
    account_id = initial.account.identity.account_id
    if run.options.boot_test == "cloud":
        offer = confirm_instance(request, run, account_id=account_id, image_id=image.image_id)
        if run.options.dry_run:
            refuse_known_failure(request, image, run, account_id=account_id)
        else:
            tested = image_boot_stage(request, image, run, journal, account_id=account_id, offer=offer)
    with run.context.stage("import") as stage:
        stage.detail = f"already imported as {image.image_id} ({image.created or 'earlier'}), nothing to do"
    result = replace(_result(request, fold(journal.entries), image, already_there=True), cloud_boot_test=tested)
    return replace(result, dry_run=True, plan=empty_plan(request)) if run.options.dry_run else result


def _begin(initial: InitialState) -> ActivePush:
    """Resume the push in the journal, or start a new one."""
    state, run, journal = fold(initial.journal.entries), initial.run, initial.journal
    request, account, images = initial.request, initial.account, initial.run.services.images
    resumed = resumes(initial, state)
    if resumed:
        name = state.name
    else:
        name = request.name
        if state.under_way and state.staged:
            run.context.emit(_object_stays(state.staged, request.region, account.bucket))
        if state.under_way and state.image_id and state.import_name != state.name:
            run.context.emit(_image_stays(state, request.region, account.bucket))
        if run.options.force_new and not run.is_name_given:
            name = free_name(name, account.name_holder, images)
        journal.write("push-started", push_id=uuid.uuid4().hex, name=name, fingerprints=initial.fingerprints)
    if name != request.name:
        request = replace(request, name=name)
        account = with_holder(account, name, images)
    state = fold(journal.entries)
    if not run.options.dry_run:
        started = RunStarted(
            push_id=state.push_id,
            region=request.region,
            name=name,
            disks=tuple(map(_disk_name, request.disks)),
            resumed=resumed,
        )
        run.context.emit(started)
    return ActivePush(request=request, account=account, state=state)


def _import(active: ActivePush, sent: ImportRequest, run: PushRun, journal: Journal) -> PushState:
    """Ensure bucket and role, upload the disks, and start the import."""
    account = ensure_bucket(active.account, run.services, run.context, region=sent.region)
    role = role_stage(sent, run, bucket=account.bucket)
    sent = dry_run_stage(sent, account, run, journal)
    objects = upload_stage(sent, account, run, journal)
    return import_stage(sent, objects, role, run, journal)


def _left_running(active: ActivePush, state: PushState, run: PushRun) -> PushResult:
    mode = active.request.boot_mode
    if mode is not None and mode is not mode.imported_as:
        later = f"The image is imported with {mode.imported_as}; the same command without --no-wait sets {mode}."
        run.context.emit(Noted(message=later))
    left = tuple(one.url for one in state.objects)
    return replace(_result(active.request, state, None), left_over=left)


def _result(
    request: ImportRequest, state: PushState, image: Image | None, *, already_there: bool = False
) -> PushResult:
    return PushResult(
        region=request.region,
        image_name=image.name if image else request.name,
        image_id=image.image_id if image else state.image_id,
        image_status=str(image.status) if image else "",
        task_id=state.task_id,
        push_id=state.push_id,
        objects=state.objects,
        sent_bytes=sum(one.sent_bytes for one in state.objects),
        saved_bytes=sum(one.saved_bytes for one in state.objects),
        architecture=str(request.architecture or ""),
        already_there=already_there,
    )


def _with_commands(error: AliyunImportError, request: ImportRequest, account: AccountState) -> AliyunImportError:
    if not isinstance(error, ImportFailed):
        return error
    disks = [disk.path for disk in request.disks if disk.path]
    bucket = account.bucket or next((disk.bucket for disk in request.disks if disk.bucket), "")
    return with_commands(error, disks=disks, bucket=bucket, region=request.region)


def _still_staged(error: AliyunImportError, state: PushState, run: PushRun, *, bucket: str) -> PushState:
    """Return the state without objects that no longer exist, a possible reason of a failed import."""
    if not isinstance(error, ImportFailed):
        return state
    store = without_retries(run.services.store(bucket)) if bucket else None
    gone = {one.key for one in state.staged if store is not None and is_gone(store, one)}
    return replace(state, removed_keys=state.removed_keys | gone)


def _with_staged(error: AliyunImportError, state: PushState, region: str, bucket: str) -> AliyunImportError:
    """Return the error with a remedy that names the objects that stay in OSS."""
    if error.code == ErrorCode.IMAGE_DOES_NOT_BOOT and not state.finished:
        keys = [error.details["image_id"], *(one.key for one in state.staged)]
        discard = leftovers_command(region=region, bucket=bucket, keys=keys)
        also = f" and {_urls(state.staged)}" if state.staged else ""
        return error.with_remedy(f"{discard} discards the image{also}.")
    if not state.staged:
        return error
    one = len(state.staged) == 1
    stays = f"{_urls(state.staged)} {'stays' if one else 'stay'} in OSS for the next run of the same command"
    if state.submitted:
        return error.with_remedy(f"{stays}.")
    discard = _leftovers_command(state.staged, region, bucket)
    return error.with_remedy(f"{stays}; to discard {'it' if one else 'them'} instead, run {discard}.")


def _object_stays(staged: Sequence[UploadedObject], region: str, bucket: str) -> Warned:
    return Warned(
        code="object-stays",
        message=f"The disk differs from that of an earlier run. Its object remains in OSS: {_urls(staged)}.",
        remedy=f"Once no import reads it any more, delete it with {_leftovers_command(staged, region, bucket)}.",
    )


def _image_stays(state: PushState, region: str, bucket: str) -> Warned:
    return Warned(
        code="image-stays",
        message="The disk differs from that of an earlier run. "
        f"Its image {state.image_id} remains, as {state.import_name}.",
        remedy=f"Delete it with {leftovers_command(region=region, bucket=bucket, keys=[state.image_id])}.",
    )


def _leftovers_command(objects: Sequence[UploadedObject], region: str, bucket: str) -> str:
    return leftovers_command(region=region, bucket=bucket, keys=[one.key for one in objects])


def _urls(objects: Sequence[UploadedObject]) -> str:
    return ", ".join(one.url for one in objects)


def _disk_name(disk: DiskRequest) -> str:
    return str(disk.path) if disk.path else disk.url
