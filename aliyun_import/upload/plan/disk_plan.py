"""This file plans a disk as it is: what it holds, what the base holds of it already, and the parts that follow."""

import threading
from collections.abc import Callable

from aliyun_import.context import Clock
from aliyun_import.disk.disk import Disk, open_disk
from aliyun_import.errors import AccessError, RefusedError
from aliyun_import.events import Emit, Noted, SurveyProgress, UploadPlanned
from aliyun_import.services.interface import ObjectStore
from aliyun_import.upload.context import TransferOptions, UploadContext, UploadRequest
from aliyun_import.upload.manifest import Base, find_base, unchanged_ranges
from aliyun_import.upload.plan.plan import PartKind, UploadPlan, plan_upload
from aliyun_import.upload.resume.find import candidate_keys
from aliyun_import.upload.zero_scan import BlockDigests, scan_zeros

# A survey that takes longer than the first is told of, and then twice a second; most take none.
_SURVEY_FIRST_S, _SURVEY_EVERY_S = 2.0, 0.5


def plan_disk(
    source: Disk,
    base: Base | None,
    *,
    grain_bytes: int | None,
    stop: threading.Event,
    clock: Clock,
    emit: Emit,
    with_digests: bool = False,
) -> tuple[UploadPlan, BlockDigests | None]:
    """Survey the disk and plan its upload. The digests come with it where they were wanted, or a base needed them.

    A base decides the grain: what was compared by one grain can't be compared by another.
    """
    seen = scan_zeros(
        source,
        stop=stop,
        grain_bytes=base.manifest.digests.grain_bytes if base else grain_bytes,
        with_digests=with_digests or base is not None,
        told=_telling(str(source.path), clock=clock, emit=emit),
    )
    if base is None or seen.digests is None:
        return plan_upload(source.size_bytes, seen.data), seen.digests
    unchanged = unchanged_ranges(seen.digests, base.manifest.digests)
    return plan_upload(source.size_bytes, seen.data, unchanged=unchanged, base=base.object), seen.digests


def _telling(disk: str, *, clock: Clock, emit: Emit) -> Callable[[int, int], None]:
    next_s = clock.monotonic_s() + _SURVEY_FIRST_S

    def tell(done_bytes: int, total_bytes: int) -> None:
        nonlocal next_s
        if (now_s := clock.monotonic_s()) >= next_s:
            next_s = now_s + _SURVEY_EVERY_S
            emit(SurveyProgress(disk=disk, done_bytes=done_bytes, total_bytes=total_bytes))

    return tell


def digests_of(source: Disk, *, grain_bytes: int | None, stop: threading.Event) -> BlockDigests:
    """Read the whole disk for its digests, where the plan was made without them (by an earlier run)."""
    digests = scan_zeros(source, stop=stop, grain_bytes=grain_bytes, with_digests=True).digests
    if digests is None:
        raise AssertionError("a survey with digests has them")
    return digests


def plan_event(plan: UploadPlan, *, disk: str, key: str) -> UploadPlanned:
    """Tell a plan as an event."""
    return UploadPlanned(
        disk=disk,
        key=key,
        total_bytes=plan.size_bytes,
        send_bytes=plan.bytes_of(PartKind.SEND),
        zero_bytes=plan.bytes_of(PartKind.ZERO),
        base_bytes=plan.bytes_of(PartKind.BASE),
        parts=len(plan.parts),
        requests=plan.requests,
        gap_bytes=plan.gap_bytes,
    )


def preview(
    delivery: UploadRequest, *, store: ObjectStore | None, options: TransferOptions, clock: Clock, emit: Emit
) -> UploadPlan:
    """Tell what `deliver` would do, and write nothing anywhere: for `push --dry-run`.

    With a store the base is looked for, so that the plan is the one that `deliver` would begin with; without one, or
    without a bucket, everything that is not zero is planned to be sent. `UploadPlan.seconds_at` estimates the time.
    """
    with open_disk(delivery.path) as source:
        sample = source.fingerprint().sample
        base = None
        if store is not None:
            context = UploadContext(source=source, store=store, clock=clock, emit=emit, stop=threading.Event())
            base = _base_for_preview(context, delivery)
        plan, _ = plan_disk(
            source, base, grain_bytes=options.grain_bytes, stop=threading.Event(), clock=clock, emit=emit
        )
    key = delivery.key or next(candidate_keys(delivery.key_stem, sample=sample, suffix=delivery.suffix))
    emit(plan_event(plan, disk=str(delivery.path), key=key))
    return plan


def _base_for_preview(context: UploadContext, delivery: UploadRequest) -> Base | None:
    """Look for the base where there is a bucket to look in; what the look itself fails of is not a preview's matter."""
    try:
        if context.store.bucket_info() is None:
            return None
        return find_base(context, base_key=delivery.base_key, key_stem=delivery.key_stem)
    except (AccessError, RefusedError) as error:
        context.emit(Noted(message=f"No base was looked for. {error.summary}"))
        return None
