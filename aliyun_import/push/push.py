"""This file is a push from the first stage to the last, rolled forward from wherever an earlier run stopped.

    inspect    what the disks are, and whether they can be imported         no account needed
    look       who we are, the bucket, the name                             then the journal is opened and locked
    convert    disks that ECS does not take; what is inside is judged       only for these
    role       the role that lets ECS read the bucket
    upload     each disk to its object, proven
    import     ImportImage, its token journalled before the call
    wait       until the image is usable, or failed with its reason
    finish     names exchanged (--replace), staging objects removed

Every step that costs or creates something writes its intent to the journal first, and looks for its own traces before
it acts: killed at any instant, the same command ends in one image.
"""

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache

from aliyun_import.account.check import AccountState, check_account
from aliyun_import.cleanup import leftovers_command
from aliyun_import.context import Clock
from aliyun_import.disk.fingerprint import Likeness
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Emit, Noted, RunStarted, Warned
from aliyun_import.image.find_existing import name_holder
from aliyun_import.image.replace import replace_image
from aliyun_import.journal import Journal, open_journal
from aliyun_import.model.image import DISK_DIGEST_TAG, Image
from aliyun_import.model.objects import UploadedObject
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.push import submit_stage as importing
from aliyun_import.push.context import Cloud, PushContext, PushOptions, PushResult
from aliyun_import.push.dry_run import preview
from aliyun_import.push.existing_image import find_earlier_import, find_free_name
from aliyun_import.push.inspect_stage import Inspected, inspect
from aliyun_import.push.prepare import converted
from aliyun_import.push.same_disks import are_of, likeness_of, seen
from aliyun_import.push.stage import stage
from aliyun_import.push.state import PushState, fold
from aliyun_import.push.upload_stage import found_staging, remove_staging, upload_all
from aliyun_import.retry import with_retries
from aliyun_import.role.ensure import RoleChange, ensure_role
from aliyun_import.role.spec import needs_of, role_name_of

# Deprecated images were Available once, and instances still start from them.
USABLE = ("Available", "Deprecated")
ROLE_WORDS = {
    "ready": "is ready",
    "created": "was created",
    "attached": "got what it lacked",
    "extended": "lets ECS assume it now",
    "unseen": "could not be looked at",
}


def push(
    request: ImportRequest, options: PushOptions, cloud: Cloud, *, clock: Clock, emit: Emit, stop: threading.Event
) -> PushResult:
    """Take the disks of a request to a usable image; events are emitted from this thread.

    Raises AliyunImportError of every kind. Whatever it raises, nothing that was sent is lost: the same call goes on.
    """
    run = PushContext(options=options, cloud=cloud, clock=clock, emit=emit, stop=stop)
    began_s = clock.monotonic_s()
    inspected, ready = _before_the_first_byte(request, run)
    if options.dry_run:
        with converted(inspected, run) as sent:
            return preview(run, sent, ready)
    with open_journal(options.state_dir, _identity(request, ready, cloud)) as journal:
        result = _Push(run, inspected, ready, journal).roll_forward()
    return replace(result, seconds=clock.monotonic_s() - began_s)


def _before_the_first_byte(request: ImportRequest, run: PushContext) -> tuple[Inspected, AccountState]:
    options, cloud = run.options, run.cloud
    with stage("inspect", emit=run.emit, clock=run.clock, doing="looking at the disk") as words:
        inspected = inspect(request, options, emit=run.emit)
        words.detail = "nothing speaks against importing it"
    with stage("look", emit=run.emit, clock=run.clock, doing="asking who we are, and about bucket and name") as words:
        ready = check_account(
            inspected.request,
            identity=cloud.identity,
            store=cloud.store,
            images=cloud.images,
            bucket=options.bucket,
            dry_run=options.dry_run,
            clock=run.clock,
            emit=run.emit,
        )
        words.detail = (
            f"account {ready.identity.account_id}, {f'bucket {ready.bucket}' if ready.bucket else 'no upload'}"
        )
    return inspected, ready


def _identity(request: ImportRequest, ready: AccountState, cloud: Cloud) -> Mapping[str, str]:
    """Say what makes two pushes the same one: the disks, the image's name, the account, the place."""
    disks = [str(disk.path.absolute()) if disk.path else f"oss://{disk.bucket}/{disk.key}" for disk in request.disks]
    return {
        "name": request.name,
        "region": request.region,
        "account": ready.identity.account_id,
        "bucket": ready.bucket,
        "disks": "\n".join(disks),
        "endpoint": cloud.endpoint,
    }


class _Push:
    """One run of one push, with its journal open."""

    def __init__(self, run: PushContext, inspected: Inspected, ready: AccountState, journal: Journal) -> None:
        self._run = run
        self._inspected = inspected
        self._ready = ready
        self._journal = journal

    @property
    def _state(self) -> PushState:
        return fold(self._journal.entries)

    @property
    def _request(self) -> ImportRequest:
        return self._inspected.request

    def roll_forward(self) -> PushResult:
        """Do what is still to do, and give the result; an error names what stays in OSS by then."""
        try:
            return self._roll_forward()
        except AliyunImportError as error:
            raise self._with_staged(error) from error

    def _roll_forward(self) -> PushResult:
        now = tuple(map(seen, self._request.disks, self._inspected.reports, self._ready.objects))
        with ExitStack() as files:
            # Once at the most: to compare with what was sent, to send, or for both.
            sent = cache(lambda: files.enter_context(converted(self._inspected, self._run)).request)
            finished = self._finished_before(now, sent)
            if finished:
                return self._result(finished, already_there=True)
            self._begin(now, sent)
            if not self._state.submitted:
                self._import(replace(sent(), name=self._request.name))
        if not self._run.options.wait:
            return self._left_running()
        image = importing.follow(self._request, run=self._run, journal=self._journal)
        return self._finish(image)

    def _finished_before(self, now: tuple[str, ...], sent: Callable[[], ImportRequest]) -> Image | None:
        """Give the image that this very push made before of these very disks, if it is still there."""
        state = self._state
        likeness = likeness_of(state.fingerprints, now)
        if not state.finished or self._run.options.force_new or likeness is Likeness.OTHER:
            return None
        image = self._image_of(state)
        if image is not None and image.status in USABLE:
            return image if likeness is Likeness.SAME or self._is_proven(now, sent, image) else None
        status = "is gone" if image is None else f"is {image.status}"
        self._run.emit(
            Warned(code="image-gone", message=f"This push made {state.image_id}, which {status}: another is made.")
        )
        return None

    def _image_of(self, state: PushState) -> Image | None:
        return with_retries(lambda: self._run.cloud.images.image(state.image_id), clock=self._run.clock)

    def _is_proven(self, now: tuple[str, ...], sent: Callable[[], ImportRequest], image: Image | None) -> bool:
        """Compare the disks with what the image was, or is, made of; what proves to be the same is written down."""
        run, state = self._run, self._state
        run.emit(Noted(message="The disk is compared with what was imported: its content alone tells if it changed."))
        tag = image.tags.get(DISK_DIGEST_TAG, "") if image else ""
        if are_of(run, sent(), self._ready, objects=state.objects, tag=tag):
            self._see(now)
            return True
        run.emit(
            Warned(code="disk-changed", message="The disk changed since it was imported: it is pushed as another one.")
        )
        return False

    def _see(self, now: tuple[str, ...]) -> None:
        """Write down what the disks are now, so that the next run believes what this one proved."""
        if self._state.fingerprints != now:
            self._journal.write("disks-seen", fingerprints=now)

    def _goes_on(self, now: tuple[str, ...], sent: Callable[[], ImportRequest]) -> bool:
        """Tell whether the push that the journal tells of is one of these very disks."""
        state = self._state
        likeness = likeness_of(state.fingerprints, now)
        if not state.under_way or likeness is not Likeness.UNPROVEN:
            return state.under_way and likeness is Likeness.SAME
        if state.may_be_importing:
            known = bool(state.objects) or not state.image_id
            return self._is_proven(now, sent, None if known else self._image_of(state))
        # The upload compares each disk with what is in OSS of it.
        self._see(now)
        return True

    def _begin(self, now: tuple[str, ...], sent: Callable[[], ImportRequest]) -> None:
        """Go on with the push that the journal tells of, or begin one."""
        run, resumed = self._run, self._goes_on(now, sent)
        state = self._state
        if resumed:
            self._rename(replace(self._request, name=state.name))
        else:
            if state.under_way and state.staged:
                run.emit(
                    Warned(
                        code="object-stays",
                        message=f"The disk is another one than in an earlier run, whose object stays in OSS: "
                        f"{_urls(state.staged)}.",
                        remedy=f"Once no import reads it any more, {self._leftovers_command(state.staged)} removes it.",
                    )
                )
            if run.options.force_new and not run.options.name_given:
                self._rename(find_free_name(self._request, run.cloud.images, clock=run.clock))
            self._journal.write("push-started", push_id=uuid.uuid4().hex, name=self._request.name, fingerprints=now)
        run.emit(
            RunStarted(
                push_id=self._state.push_id,
                region=self._request.region,
                name=self._request.name,
                disks=tuple(_disk_words(disk) for disk in self._request.disks),
                resumed=resumed,
            )
        )

    def _with_staged(self, error: AliyunImportError) -> AliyunImportError:
        state = self._state
        if not state.staged:
            return error
        stays = f"{_urls(state.staged)} {'stays' if len(state.staged) == 1 else 'stay'} in OSS until then"
        gives_up = "" if state.submitted else f"; {self._leftovers_command(state.staged)} gives up"
        return error.advised(f"{stays}{gives_up}.")

    def _leftovers_command(self, objects: Sequence[UploadedObject]) -> str:
        return leftovers_command(
            region=self._request.region, bucket=self._ready.bucket, keys=[one.key for one in objects]
        )

    def _rename(self, request: ImportRequest) -> None:
        if request.name != self._request.name:
            self._inspected = replace(self._inspected, request=request)
            holder = name_holder(self._run.cloud.images, request.name, clock=self._run.clock)
            self._ready = replace(self._ready, name_holder=holder)

    def _import(self, request: ImportRequest) -> None:
        """Find the import that an earlier run began; else see to the role, upload, and begin it."""
        run, journal = self._run, self._journal
        earlier = find_earlier_import(run, request, self._ready, self._state)
        if earlier:
            importing.adopt(earlier, run=run, journal=journal)
            return
        role = self._see_to_role(request)
        objects = upload_all(run, request, self._ready, journal=journal)
        importing.start(request, objects, run=run, journal=journal, role_changed=role.changed)

    def _see_to_role(self, request: ImportRequest) -> RoleChange:
        run, name = self._run, role_name_of(request)
        with stage("role", emit=run.emit, clock=run.clock, doing=f"looking at {name}") as words:
            role = ensure_role(
                run.cloud.roles,
                name,
                bucket=self._ready.bucket or None,
                fix=run.options.fix_role,
                clock=run.clock,
                emit=run.emit,
                needs=needs_of(request),
            )
            words.detail = f"{role.name} {ROLE_WORDS[role.state]}"
        return role

    def _left_running(self) -> PushResult:
        state = self._state
        if state.staged:
            self._run.emit(
                Warned(
                    code="object-stays",
                    message=f"The staging object stays until the import is done: {_urls(state.staged)}.",
                    remedy="Run the same command without --no-wait to finish and remove it, or remove it with "
                    f"{self._leftovers_command(state.staged)} once the import is done.",
                )
            )
        left = tuple(f"oss://{one.bucket}/{one.key}" for one in state.objects)
        return replace(self._result(None), left_over=left)

    def _finish(self, image: Image) -> PushResult:
        """Exchange the names where that was asked for, remove the staging objects, and close the books."""
        run, state = self._run, self._state
        with stage("finish", emit=run.emit, clock=run.clock) as words:
            if run.options.replace:
                image = replace_image(
                    run.cloud.images,
                    image,
                    name=self._request.name,
                    policy=run.options.replace,
                    region=self._request.region,
                    clock=run.clock,
                    emit=run.emit,
                )
            store = run.cloud.store(self._ready.bucket) if self._ready.bucket else None
            left = remove_staging(run, store, state.objects, self._journal, state.removed_keys)
            if not state.objects:  # the import was found again, without its journal
                left = found_staging(run, self._request, store)
            words.detail = f"left in OSS: {', '.join(left)}" if left else "nothing is left in OSS"
        self._journal.write("finished", image_id=image.image_id)
        return replace(self._result(image), left_over=left)

    def _result(self, image: Image | None, *, already_there: bool = False) -> PushResult:
        state = self._state
        return PushResult(
            region=self._request.region,
            image_name=image.name if image else self._request.name,
            image_id=image.image_id if image else state.image_id,
            image_status=image.status if image else "",
            task_id=state.task_id,
            push_id=state.push_id,
            objects=state.objects,
            sent_bytes=sum(one.sent_bytes for one in state.objects),
            already_there=already_there,
        )


def _urls(objects: Iterable[UploadedObject]) -> str:
    return ", ".join(f"oss://{one.bucket}/{one.key}" for one in objects)


def _disk_words(disk: DiskRequest) -> str:
    return str(disk.path) if disk.path else f"oss://{disk.bucket}/{disk.key}"
