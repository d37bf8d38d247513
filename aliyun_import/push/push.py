"""A push from the first stage to the last, resumed where an earlier run stopped.

    inspect    the disks, and whether they can be imported          needs no account
    look       identity, bucket, image name                         then the journal is opened and locked
    convert    disks that ECS does not accept; their content is checked      only for these
    role       the role that lets ECS read the bucket
    upload     each disk to its object, proven
    import     ImportImage, its token in the journal before the call
    wait       until the image is usable, or failed with its reason
    finish     names exchanged (--replace), staging objects deleted

Each stage takes the results of those before it and returns its own. Every step that costs or creates something writes
its intent to the journal first, and checks for its own traces before it acts: a push that is killed at any instant and
run again ends in one image. (Renderers show "look" as account and "finish" as cleanup; scripts read the old names.)
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aliyun_import.account.check import AccountState, check_account
from aliyun_import.cleanup import leftovers_command
from aliyun_import.context import Context
from aliyun_import.disk.fingerprint import Likeness
from aliyun_import.errors import AccessError, AliyunImportError, ImportFailed, TransientError
from aliyun_import.events import Noted, RunStarted, Warned
from aliyun_import.image.decide import Failed, Observation, decide
from aliyun_import.image.observe import Observer
from aliyun_import.journal import Journal, open_journal
from aliyun_import.model.image import DISK_DIGEST_TAG, Image, TaskStatus
from aliyun_import.model.objects import UploadedObject
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.push.dry_run import dry_run
from aliyun_import.push.earlier import (
    are_of,
    contradicts,
    disk_state,
    find_earlier_import,
    free_name,
    is_of_push,
    likeness_of,
    with_holder,
)
from aliyun_import.push.inspect_stage import SentDisks, inspect_stage
from aliyun_import.push.options import PushOptions, PushResult, PushRun
from aliyun_import.push.stages import (
    adopt,
    ask_stage,
    cleanup_stage,
    import_stage,
    role_stage,
    upload_stage,
    wait_stage,
)
from aliyun_import.push.state import PushState, fold
from aliyun_import.services.interface import Services
from aliyun_import.services.retrying import add_retries, without_retries


def push(request: ImportRequest, options: PushOptions, services: Services, context: Context) -> PushResult:
    """Make a usable image of the disks of a request; events are emitted on this thread.

    Raises AliyunImportError of every kind. Whatever it raises, nothing that was sent is lost: the same call resumes.
    """
    began_s = context.clock.monotonic_s()
    run = PushRun(options=options, services=add_retries(services, context), context=context)
    inspection = inspect_stage(request, run)
    account = _account_stage(inspection.request, run)
    with SentDisks(inspection, run) as disks:
        if options.dry_run:
            return dry_run(disks.request, account, run)
        with open_journal(options.state_dir, _identity(request, account, services.endpoint)) as journal:
            try:
                result = _run_stages(disks, account, run, journal)
            except AliyunImportError as error:
                raise _naming_staged(error, fold(journal.entries), request.region, account.bucket) from error
    return replace(result, seconds=context.clock.monotonic_s() - began_s)


def _account_stage(request: ImportRequest, run: PushRun) -> AccountState:
    with run.context.stage("look", "checking identity, region, bucket and image name") as stage:
        account = check_account(
            request, run.services, run.context, bucket=run.options.bucket, dry_run=run.options.dry_run
        )
        bucket = f"bucket {account.bucket}" if account.bucket else "no upload"
        stage.detail = f"account {account.identity.account_id}, {bucket}"
    return account


def _identity(request: ImportRequest, account: AccountState, endpoint: str) -> Mapping[str, str]:
    """Return what makes two pushes the same one: the disks, the image's name, the account, region and bucket."""
    disks = [str(disk.path.absolute()) if disk.path else _disk_name(disk) for disk in request.disks]
    return {
        "name": request.name,
        "region": request.region,
        "account": account.identity.account_id,
        "bucket": account.bucket,
        "disks": "\n".join(disks),
        "endpoint": endpoint,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What this run found before it changed anything. `fingerprints` identify the disks as they are now."""

    disks: SentDisks
    account: AccountState
    fingerprints: tuple[str, ...]
    run: PushRun
    journal: Journal

    @property
    def request(self) -> ImportRequest:
        """The request with inferred parameters, and the disks as the user named them."""
        return self.disks.inspection.request


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A push that has begun, or was resumed: its request under the final name, and the image that has the name."""

    request: ImportRequest
    account: AccountState
    state: PushState


def _run_stages(disks: SentDisks, account: AccountState, run: PushRun, journal: Journal) -> PushResult:
    """Run the stages that are left, and return the result."""
    inspected = disks.inspection
    fingerprints = tuple(map(disk_state, inspected.request.disks, inspected.reports, account.objects))
    found = _Found(disks=disks, account=account, fingerprints=fingerprints, run=run, journal=journal)
    finished = _finished_before(found)
    if finished is not None:
        with run.context.stage("import") as stage:
            stage.detail = f"already imported as {finished.image_id} ({finished.created or 'earlier'}), nothing to do"
        return _result(found.request, fold(journal.entries), finished, already_there=True)
    begun = _begin(found)
    state = _state_of_import(begun, run, journal)
    if not state.submitted:
        state = _import(replace(begun, state=state), replace(disks.request, name=begun.request.name), run, journal)
    disks.close()
    if not run.options.wait:
        return _left_running(begun, state, run)
    image = wait_stage(begun.request, state, run, journal)
    image, left = cleanup_stage(begun.request, image, state, account, run, journal)
    return replace(_result(begun.request, state, image), left_over=left)


def _finished_before(found: _Found) -> Image | None:
    """Return the image that this very push made before of these very disks, if it still exists."""
    state, run = fold(found.journal.entries), found.run
    likeness = likeness_of(state.fingerprints, found.fingerprints)
    if not state.finished or run.options.force_new or likeness is Likeness.OTHER:
        return None
    image = run.services.images.image(state.image_id)
    if image is not None and image.status.usable and is_of_push(image, state):
        return image if likeness is Likeness.SAME or _prove_same(found, state, image) else None
    if image is None:
        now = "is gone"
    elif image.status.usable:
        now = f'is another image by now, named "{image.name}"'
    else:
        now = f"is {image.status}"
    run.context.emit(
        Warned(code="image-gone", message=f"This push made {state.image_id}, which {now}: a new image is made.")
    )
    return None


def _prove_same(found: _Found, state: PushState, image: Image | None) -> bool:
    """Return whether the disks are what the image was, or is, made of; if so, the journal gets their state now."""
    emit = found.run.context.emit
    emit(Noted(message="The disk is compared with what was imported: only its content proves that it is the same."))
    tag = image.tags.get(DISK_DIGEST_TAG, "") if image else ""
    if are_of(found.run, found.disks.request, found.account, objects=state.objects, tag=tag):
        _write_fingerprints(found, state)
        return True
    emit(Warned(code="disk-changed", message="The disk changed since it was imported: it is pushed as a new one."))
    return False


def _write_fingerprints(found: _Found, state: PushState) -> None:
    """Write what the disks are now, so that the next run need not prove again what this one proved."""
    if state.fingerprints != found.fingerprints:
        found.journal.write("disks-seen", fingerprints=found.fingerprints)


def _resumes(found: _Found, state: PushState) -> bool:
    """Return whether the push in the journal is one of these very disks."""
    likeness = likeness_of(state.fingerprints, found.fingerprints)
    if not state.under_way or likeness is not Likeness.UNPROVEN:
        return state.under_way and likeness is Likeness.SAME
    if state.may_be_importing:
        known = bool(state.objects) or not state.image_id
        return _prove_same(found, state, None if known else found.run.services.images.image(state.image_id))
    # The upload compares each disk with what is in OSS of it.
    _write_fingerprints(found, state)
    return True


def _begin(found: _Found) -> _Begun:
    """Resume the push in the journal, or begin one."""
    state, run, journal = fold(found.journal.entries), found.run, found.journal
    request, account, images = found.request, found.account, found.run.services.images
    resumed = _resumes(found, state)
    if resumed:
        name = state.name
    else:
        name = request.name
        if state.under_way and state.staged:
            run.context.emit(_object_stays(state.staged, request.region, account.bucket))
        if run.options.force_new and not run.options.name_given:
            name = free_name(name, account.name_holder, images)
        journal.write("push-started", push_id=uuid.uuid4().hex, name=name, fingerprints=found.fingerprints)
    if name != request.name:
        request = replace(request, name=name)
        account = with_holder(account, name, images)
    state = fold(journal.entries)
    run.context.emit(
        RunStarted(
            push_id=state.push_id,
            region=request.region,
            name=name,
            disks=tuple(map(_disk_name, request.disks)),
            resumed=resumed,
        )
    )
    return _Begun(request=request, account=account, state=state)


def _state_of_import(begun: _Begun, run: PushRun, journal: Journal) -> PushState:
    """Return the state, without an import of an earlier run that has failed since, or is not this push's.

    What failed before this run began is no failure of this run: the disk is imported again, at once.
    """
    state, region = begun.state, begun.request.region
    if not state.submitted:
        return state
    images = without_retries(run.services.images)
    try:
        observed = Observer(images, run.context, task_id=state.task_id, image_id=state.image_id).observe()
    except (AccessError, TransientError):
        return state  # the wait reports it
    step = decide(observed, task_id=state.task_id, image_id=state.image_id, region=region)
    if observed.image is not None and contradicts(observed.image, state):
        code, why = "image-gone", f"the image {state.image_id} of an earlier run is another one by now"
    elif isinstance(step, Failed) and isinstance(step.error, ImportFailed) and not _is_paused(observed):
        code, why = step.error.code, f"{step.error.summary} {step.error.cause or ''}".strip()
    else:
        return state
    run.context.emit(Warned(code=code, message=f"The import of an earlier run is repeated: {why}"))
    journal.write("import-failed", reason=code)
    return fold(journal.entries)


def _is_paused(observed: Observation) -> bool:
    """Return whether the task is paused: it may still have to be cancelled, which the error of the wait explains."""
    return observed.task is not None and observed.task.status is TaskStatus.PAUSED


def _import(begun: _Begun, sent: ImportRequest, run: PushRun, journal: Journal) -> PushState:
    """Find the import that an earlier run began; else ensure the role, upload, and begin it."""
    earlier = find_earlier_import(run, sent, begun.account, begun.state)
    if earlier:
        return adopt(earlier, run, journal)
    role = role_stage(sent, run, bucket=begun.account.bucket)
    ask_stage(sent, begun.account, run, journal)
    objects = upload_stage(sent, begun.account, run, journal)
    return import_stage(sent, objects, role, run, journal)


def _left_running(begun: _Begun, state: PushState, run: PushRun) -> PushResult:
    region, bucket = begun.request.region, begun.account.bucket
    if state.staged:
        remove = _leftovers_command(state.staged, region, bucket)
        run.context.emit(
            Warned(
                code="object-stays",
                message=f"The staging object stays until the import is done: {_urls(state.staged)}.",
                remedy="Run the same command without --no-wait to finish and delete it, or delete it with "
                f"{remove} once the import is done.",
            )
        )
    left = tuple(_url(one) for one in state.objects)
    return replace(_result(begun.request, state, None), left_over=left)


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
        already_there=already_there,
    )


def _naming_staged(error: AliyunImportError, state: PushState, region: str, bucket: str) -> AliyunImportError:
    """Return the error with the objects that stay in OSS."""
    if not state.staged:
        return error
    stays = f"{_urls(state.staged)} {'stays' if len(state.staged) == 1 else 'stay'} in OSS until then"
    if state.submitted:
        return error.advised(f"{stays}.")
    return error.advised(f"{stays}; to discard instead, run {_leftovers_command(state.staged, region, bucket)}.")


def _object_stays(staged: Sequence[UploadedObject], region: str, bucket: str) -> Warned:
    return Warned(
        code="object-stays",
        message=f"The disk is not the one of an earlier run, whose object stays in OSS: {_urls(staged)}.",
        remedy=f"Once no import reads it any more, delete it with {_leftovers_command(staged, region, bucket)}.",
    )


def _leftovers_command(objects: Sequence[UploadedObject], region: str, bucket: str) -> str:
    return leftovers_command(region=region, bucket=bucket, keys=[one.key for one in objects])


def _urls(objects: Sequence[UploadedObject]) -> str:
    return ", ".join(map(_url, objects))


def _url(one: UploadedObject) -> str:
    return f"oss://{one.bucket}/{one.key}"


def _disk_name(disk: DiskRequest) -> str:
    return str(disk.path) if disk.path else f"oss://{disk.bucket}/{disk.key}"
