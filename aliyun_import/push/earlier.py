"""Earlier runs of a push: whether the disks are the same, whether the image exists, and the state of its import.

A push and its dry run decide by the same functions; the journal of a dry run is a copy in memory.

A user may delete a disk that is reported as imported. So if a fingerprint is no proof, the CRC-64 of the disk as it is
sent decides: a conversion is repeated, and a differencing VHD is read with its parents. An object in OSS is identified
by its size, CRC-64 and ETag.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from aliyun_import.account.check import AccountState
from aliyun_import.disk.convert import fingerprints_of
from aliyun_import.disk.disk import OpenDisks
from aliyun_import.disk.fingerprint import Comparison, decoded, least
from aliyun_import.disk.report import DiskReport
from aliyun_import.errors import AccessError, ImportFailed, RefusedError, TransientError
from aliyun_import.events import Noted, Warned
from aliyun_import.image.decide import Continue, Failed, Observation, Ready, decide
from aliyun_import.image.find_existing import FoundImport, find_import, is_remnant, name_holder, name_taken
from aliyun_import.image.observe import Observer
from aliyun_import.image.replace import with_temporary_name
from aliyun_import.image.wait import LATER_PAUSE_S
from aliyun_import.journal import Journal
from aliyun_import.limits import MAX_NAME_CHARS
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image, TaskStatus
from aliyun_import.model.objects import RemoteObject, UploadedObject
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.push.inspect_stage import SentDisks
from aliyun_import.push.options import PushRun
from aliyun_import.push.state import PushState, fold
from aliyun_import.retry import without_retries
from aliyun_import.services import ImageService
from aliyun_import.upload.complete import crc64_of_source
from aliyun_import.upload.context import UploadContext


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialState:
    """State before this run changes anything. `fingerprints` identify the disks as they are now."""

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
class ActivePush:
    """A started or resumed push: its request with the final name, and the account with the image that has the name."""

    request: ImportRequest
    account: AccountState
    state: PushState


def disk_state(opened: OpenDisks, disk: DiskRequest, report: DiskReport | None, remote: RemoteObject | None) -> str:
    """Return the identity of a disk for the journal: the fingerprints of its files, or its object in OSS."""
    if disk.path is None or report is None:
        url = disk.url
        return f"{url} {remote.size_bytes}:{remote.crc64}:{remote.etag}" if remote else url
    return " ".join(one.encoded() for one in fingerprints_of(opened[disk.path], report))


def comparison_of(before: Sequence[str], now: Sequence[str]) -> Comparison:
    """Return whether the disks of two states are the same. Pure."""
    if len(before) != len(now):
        return Comparison.OTHER
    return least(map(_comparison, before, now))


def _comparison(before: str, now: str) -> Comparison:
    fields_before, fields_now = before.split(" "), now.split(" ")
    if now.startswith("oss://"):
        if before == now:
            return Comparison.SAME if len(fields_now) > 1 else Comparison.UNPROVEN
        # An earlier version wrote the URL alone.
        return Comparison.UNPROVEN if before == fields_now[0] else Comparison.OTHER
    if len(fields_before) != len(fields_now) or before.startswith("oss://"):
        return Comparison.OTHER
    return least(decoded(new).comparison(decoded(old)) for old, new in zip(fields_before, fields_now, strict=True))


def digest_of(disks: Iterable[tuple[int, int]]) -> str:
    """Return the digest that identifies disks in a tag: of size and CRC-64 of each, in their order."""
    text = ",".join(f"{size_bytes}:{crc64:016x}" for size_bytes, crc64 in disks)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def digest_of_objects(objects: Iterable[UploadedObject]) -> str:
    """Return the digest of the disks from which these objects were uploaded."""
    return digest_of((one.size_bytes, one.crc64) for one in objects)


def digest_of_disks(run: PushRun, request: ImportRequest, account: AccountState) -> str:
    """Return the digest of the disks as they are now. `request` has them as they are sent; reads all of them."""
    return digest_of(_size_and_crc(run, request, account, index) for index in range(len(request.disks)))


def _size_and_crc(run: PushRun, request: ImportRequest, account: AccountState, index: int) -> tuple[int, int]:
    disk, remote = request.disks[index], account.objects[index]
    if remote is not None or disk.path is None:
        return (remote.size_bytes, remote.crc64 or 0) if remote else (0, 0)
    source, store = run.disks[disk.path].as_sent(), run.services.store(account.bucket)
    return source.size_bytes, crc64_of_source(UploadContext.of(run.context, source=source, store=store))


def disks_equal_objects(
    run: PushRun, request: ImportRequest, account: AccountState, *, objects: Sequence[UploadedObject], tag: str
) -> bool:
    """Return whether the disks are those of these objects, by size and CRC-64. Reads all of them.

    If the objects are not known, because the import was found without its journal, `tag` is the digest in its image's
    tags.
    """
    for disk, remote, one in zip(request.disks, account.objects, objects, strict=False):
        if disk.path is None and (remote is None or (remote.size_bytes, remote.etag) != (one.size_bytes, one.etag)):
            return False
    return (digest_of_objects(objects) if objects else tag) == digest_of_disks(run, request, account)


def is_of_push(image: Image, state: PushState) -> bool:
    """Return whether a finished image is the one whose id the journal has: by its name and its tags. Pure.

    An id alone is no proof: a sandbox that was reset assigns the same ids to other images. Nor are the tags: an image
    that was replaced since has another name. Region and bucket are those of the journal.
    """
    return image.name == state.name and _has_matching_tags(image, state)


def _has_matching_tags(image: Image, state: PushState) -> bool:
    """Return whether an image has the digest of the objects; without objects the push id, or a digest and the name."""
    digest = image.tags.get(DISK_DIGEST_TAG, "")
    if state.objects:
        return digest == digest_of_objects(state.objects)
    is_named = image.name in (state.name, state.import_name)
    return image.tags.get(PUSH_ID_TAG) == state.push_id or (bool(digest) and is_named)


def contradicts(image: Image, state: PushState) -> bool:
    """Return whether an image is certainly not the one whose id the journal has. Pure.

    Tags may be listed late, so an image that is being imported may have the name and no tags yet.
    """
    if _has_matching_tags(image, state):
        return False
    return PUSH_ID_TAG in image.tags or image.name not in (state.name, state.import_name)


def free_name(name: str, holder: Image | None, images: ImageService) -> str:
    """Return a name that no image has: the given one, or that with -2, -3, ... appended. `holder` has the given one."""
    number, candidate = 1, name
    while holder is not None:
        number += 1
        tail = f"-{number}"
        candidate = f"{name[: MAX_NAME_CHARS - len(tail)]}{tail}"
        holder = name_holder(images, candidate)
    return candidate


def find_earlier_import(
    run: PushRun, request: ImportRequest, account: AccountState, state: PushState
) -> FoundImport | None:
    """Return the import that an earlier run of this push started, with or without its journal.

    With the journal, by the push's id; without it, the image that has the name, or has a temporary one until it gets
    the name, is this push's if its tag has the digest of these disks. None if there is none and the name is free,
    or is taken over (--replace). Raises what `name_taken` returns if the name belongs to another image.
    """
    images = run.services.images
    if state.client_token:
        found = find_import(images, name=state.import_name, tags={PUSH_ID_TAG: state.push_id})
        if found:
            return found
    holder = account.name_holder
    # A failed image of a push only holds the name; `submit` deletes it.
    if holder is not None and (holder.tags.get(PUSH_ID_TAG) == state.push_id or is_remnant(holder, {})):
        holder = None
    # With --force-new a second image is wanted, so an image of the same disk is no result.
    if not run.options.force_new:
        candidates = [holder] if holder is not None else []
        if not state.client_token:
            candidates += with_temporary_name(images, request.name)
        image = _of_these_disks(run, request, account, candidates)
        if image is not None:
            # By all its tags: other images may be of the same disk, and have other names.
            return find_import(images, name=image.name, tags=image.tags)
    if holder is None or run.options.replace:
        return None
    why = (
        "but --force-new requests another image"
        if run.options.force_new
        else "and nothing proves that it was made of these disks"
    )
    raise name_taken(holder, name=request.name, region=request.region, why=why)


def _of_these_disks(
    run: PushRun, request: ImportRequest, account: AccountState, candidates: Sequence[Image]
) -> Image | None:
    """Return the first of the images whose tag has the digest of the disks; None if there is none."""
    tagged = [image for image in candidates if image.tags.get(DISK_DIGEST_TAG)]
    if not tagged:
        return None
    # Reading the disks takes up to minutes; it is done only if an image of this tool has this name, or will get it.
    names = ", ".join(f"{image.image_id} ({image.name})" for image in tagged)
    run.context.emit(Noted(message=f"The disks are compared with the digest in the tags of {names}."))
    digest = digest_of_disks(run, request, account)
    return next((image for image in tagged if image.tags[DISK_DIGEST_TAG] == digest), None)


def with_holder(account: AccountState, name: str, images: ImageService) -> AccountState:
    """Return the account with the image that has `name`, which is not the name that was checked."""
    return replace(account, name_holder=name_holder(images, name))


def finished_before(initial: InitialState) -> Image | None:
    """Return the image that an earlier run of this push created from the same disks, if it still exists."""
    state, run = fold(initial.journal.entries), initial.run
    comparison = comparison_of(state.fingerprints, initial.fingerprints)
    if not state.finished or run.options.force_new or comparison is Comparison.OTHER:
        return None
    image = run.services.images.image(state.image_id)
    if image is not None and image.status.usable and is_of_push(image, state):
        return image if comparison is Comparison.SAME or _prove_same(initial, state, image) else None
    if image is None:
        now = "no longer exists"
    elif image.status.usable:
        now = f'is now another image, named "{image.name}"'
    else:
        now = f"is {image.status}"
    run.context.emit(
        Warned(code="image-gone", message=f"This push made {state.image_id}, which {now}: a new image is created.")
    )
    return None


def resumes(initial: InitialState, state: PushState) -> bool:
    """Return whether the push in the journal is one of the same disks."""
    comparison = comparison_of(state.fingerprints, initial.fingerprints)
    if not state.under_way or comparison is not Comparison.UNPROVEN:
        return state.under_way and comparison is Comparison.SAME
    if state.may_be_importing:
        known = bool(state.objects) or not state.image_id
        return _prove_same(initial, state, None if known else initial.run.services.images.image(state.image_id))
    # The upload compares each disk with its parts in OSS.
    _write_fingerprints(initial, state)
    return True


def _prove_same(initial: InitialState, state: PushState, image: Image | None) -> bool:
    """Return whether the disks are those of the image or import; if so, write their fingerprints to the journal."""
    emit = initial.run.context.emit
    emit(Noted(message="The disk is compared with what was imported: only its content proves that it is the same."))
    tag = image.tags.get(DISK_DIGEST_TAG, "") if image else ""
    if disks_equal_objects(initial.run, initial.disks.request, initial.account, objects=state.objects, tag=tag):
        _write_fingerprints(initial, state)
        return True
    emit(Warned(code="disk-changed", message="The disk changed since it was imported: it is pushed as a new one."))
    return False


def _write_fingerprints(initial: InitialState, state: PushState) -> None:
    """Write the current fingerprints, so that the next run need not repeat the proof."""
    if state.fingerprints != initial.fingerprints:
        initial.journal.write("disks-seen", fingerprints=initial.fingerprints)


def state_of_import(active: ActivePush, run: PushRun, journal: Journal) -> PushState:
    """Return the state, without an import of an earlier run that has failed since, or is not this push's.

    An import that failed before this run is repeated at once. Raises ImportFailed if its task is paused, which keeps
    the name.
    """
    state = active.state
    if not state.submitted:
        return state
    try:
        observed, step = _observe(state, run, region=active.request.region)
    except TransientError:
        return state  # the wait reports it
    except AccessError as error:
        raise error.with_remedy(f"The import of {state.image_id} continues meanwhile.") from error
    if observed.image is not None and contradicts(observed.image, state):
        code, why = "image-gone", f"the image {state.image_id} of an earlier run is now another image"
    elif isinstance(step, Failed) and isinstance(step.error, ImportFailed | RefusedError):
        code, why = step.error.code, f"{step.error.summary} {step.error.cause or ''}".strip()
    else:
        return state
    journal.write("import-failed", reason=code)
    if isinstance(step, Failed) and _is_paused(observed):
        raise step.error
    run.context.emit(Warned(code=code, message=f"The import of an earlier run is repeated: {why}"))
    return fold(journal.entries)


def _observe(state: PushState, run: PushRun, *, region: str) -> tuple[Observation, Ready | Failed | Continue]:
    """Poll an import until it is known to run or to have ended: a new task or image may not be listed yet."""
    images = without_retries(run.services.images)
    observer = Observer(images, run.context, task_id=state.task_id, image_id=state.image_id)
    while True:
        observed = observer.observe()
        step = decide(observed, task_id=state.task_id, image_id=state.image_id, region=region)
        runs = observed.task is not None and observed.task.status.running
        if runs or observed.image is not None or isinstance(step, Failed):
            return observed, step
        run.context.sleep(LATER_PAUSE_S)


def _is_paused(observed: Observation) -> bool:
    return observed.task is not None and observed.task.status is TaskStatus.PAUSED
