"""Dry run of a push: everything is checked, the service is asked, the plan is returned, and nothing is changed."""

import uuid
from dataclasses import replace
from typing import Any

from aliyun_import.account.check import AccountState
from aliyun_import.errors import AccessError
from aliyun_import.events import Event, UploadPlanned
from aliyun_import.image.replace import temporary_name
from aliyun_import.model.request import ImportRequest
from aliyun_import.push.options import PushResult, PushRun
from aliyun_import.push.stages import ask_ecs, upload_request
from aliyun_import.role.ensure import inspect_role
from aliyun_import.role.spec import needs_of, role_name_of
from aliyun_import.upload.plan import PartKind, UploadPlan
from aliyun_import.upload.upload import preview_upload


def dry_run(request: ImportRequest, account: AccountState, run: PushRun) -> PushResult:
    """Return what a push would do. Both ids of the result are empty; docs/json.md describes `plan`.

    `request` has the disks as they are sent. Raises what ECS would refuse, except what the push itself would provide.
    """
    disks = [_disk_plan(request, index, account, run) for index, disk in enumerate(request.disks) if disk.path]
    name = temporary_name(request.name, uuid.uuid4().hex) if run.options.replace else request.name
    plan = {
        "image_name": request.name,
        "region": request.region,
        "steps": _steps(request, account, run),
        "disks": disks,
        "parameters": _parameters(request),
        "service_says": ask_ecs(replace(request, name=name), account, run, keys=[one["key"] for one in disks]),
    }
    return PushResult(region=request.region, image_name=request.name, dry_run=True, plan=plan)


def _disk_plan(request: ImportRequest, index: int, account: AccountState, run: PushRun) -> dict[str, Any]:
    keys: list[str] = []

    def emit(event: Event) -> None:
        if isinstance(event, UploadPlanned):
            keys.append(event.key)
        run.context.emit(event)

    plan = preview_upload(
        upload_request(request, run.options, index),
        replace(run.context, emit=emit),
        store=run.services.store(account.bucket) if account.bucket_info else None,
    )
    parts = {kind: sum(1 for part in plan.parts if part.kind is kind) for kind in PartKind}
    return {
        "disk": str(request.disks[index].path),
        "key": keys[-1],
        "total_bytes": plan.size_bytes,
        "send_bytes": plan.bytes_of(PartKind.SEND),
        "send_parts": parts[PartKind.SEND],
        "zero_bytes": plan.bytes_of(PartKind.ZERO),
        "zero_parts": parts[PartKind.ZERO],
        "base_bytes": plan.bytes_of(PartKind.BASE),
        "base_parts": parts[PartKind.BASE],
        "gap_bytes": plan.gap_bytes,
        "parts": len(plan.parts),
        "requests": plan.requests,
        **_time(plan, limit_rate_bytes_s=run.options.transfer.limit_rate_bytes_s),
    }


def _time(plan: UploadPlan, *, limit_rate_bytes_s: float | None) -> dict[str, Any]:
    """Return the time that the upload takes at --limit-rate; without one nothing is known about the rate."""
    return {
        "rate_bytes_s": round(limit_rate_bytes_s) if limit_rate_bytes_s else None,
        "rate_source": "given" if limit_rate_bytes_s else None,
        "rate_measured_at_s": None,
        "estimate_s": plan.seconds_at(limit_rate_bytes_s) if limit_rate_bytes_s else None,
    }


def _steps(request: ImportRequest, account: AccountState, run: PushRun) -> list[str]:
    steps = []
    if account.bucket and account.bucket_info is None:
        steps.append(f"create the bucket {account.bucket}, private, in {request.region}")
    name, needs = role_name_of(request), needs_of(request)
    try:
        role = inspect_role(run.services.roles, name, bucket=account.bucket or None, needs=needs)
    except AccessError as error:
        return [*steps, f"use the role {name}, which could not be read: {error.summary}"]
    if role.role is None:
        return [*steps, f"create the role {name}", f"attach the system policy {needs.system_policy} to it"]
    if role.missing:
        steps.append(f"attach the system policy {needs.system_policy} to the role {name}")
    return steps


def _parameters(request: ImportRequest) -> dict[str, str]:
    values = {
        "format": request.disks[0].format,
        "size": f"{request.disks[0].size_gib} GiB" if request.disks[0].size_gib else None,
        "os": request.os_type,
        "platform": request.platform,
        "arch": request.architecture,
        "boot": request.boot_mode,
        "nvme": request.nvme_support,
        "license": request.license_type,
    }
    return {name: str(value) for name, value in values.items() if value}
