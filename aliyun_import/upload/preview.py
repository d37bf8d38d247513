"""This file tells what an upload would do, without doing any of it."""

import threading

from aliyun_import.disk.packed_source import open_disk
from aliyun_import.errors import AccessError, RefusedError
from aliyun_import.events import Emit, Noted
from aliyun_import.ports import Clock, ObjectStore
from aliyun_import.upload.delivery import Delivery, TransferOptions
from aliyun_import.upload.delta import Base, find_base
from aliyun_import.upload.plan import UploadPlan
from aliyun_import.upload.planning import plan_disk, plan_event
from aliyun_import.upload.setting import Setting
from aliyun_import.upload.target import candidate_keys


def preview(
    delivery: Delivery, *, store: ObjectStore | None, options: TransferOptions, clock: Clock, emit: Emit
) -> UploadPlan:
    """Tell what `deliver` would do, and write nothing anywhere: for `push --dry-run`.

    With a store the base is looked for, so that the plan is the one that `deliver` would begin with; without one, or
    without a bucket, everything that is not zero is planned to be sent. `UploadPlan.seconds_at` estimates the time.
    """
    with open_disk(delivery.path) as source:
        sample = source.fingerprint().sample
        base = None
        if store is not None:
            setting = Setting(source=source, store=store, clock=clock, emit=emit, stop=threading.Event())
            base = _base_for_preview(setting, delivery)
        plan, _ = plan_disk(
            source, base, grain_bytes=options.grain_bytes, stop=threading.Event(), clock=clock, emit=emit
        )
    key = delivery.key or next(candidate_keys(delivery.key_stem, sample=sample, suffix=delivery.suffix))
    emit(plan_event(plan, disk=str(delivery.path), key=key))
    return plan


def _base_for_preview(setting: Setting, delivery: Delivery) -> Base | None:
    """Look for the base where there is a bucket to look in; what the look itself fails of is not a preview's matter."""
    try:
        if setting.store.bucket_info() is None:
            return None
        return find_base(setting, base_key=delivery.base_key, key_stem=delivery.key_stem)
    except (AccessError, RefusedError) as error:
        setting.emit(Noted(message=f"No base was looked for. {error.summary}"))
        return None
