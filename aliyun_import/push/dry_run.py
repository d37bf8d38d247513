"""This file is the dry run: everything is looked at, the service is asked, the plan is told, and nothing is changed."""

from typing import Any

from aliyun_import.account.check import AccountState
from aliyun_import.context import Context
from aliyun_import.errors import AccessError, RefusedError
from aliyun_import.events import Emit, Event, UploadPlanned
from aliyun_import.image.submit import ask, new_client_token
from aliyun_import.model.request import DiskMapping, ImportCall, ImportRequest
from aliyun_import.push.context import PushContext, PushResult
from aliyun_import.push.inspect_stage import Inspected
from aliyun_import.push.rate import recall
from aliyun_import.push.upload_stage import delivery_of
from aliyun_import.role.inspect import RoleState, inspect_role
from aliyun_import.role.spec import needs_of, role_name_of
from aliyun_import.upload.plan import PartKind, UploadPlan
from aliyun_import.upload.upload import preview_upload

# What the service answers to a question about a disk that was not uploaded yet.
NOT_THERE_YET = frozenset({"object-missing", "bucket-missing", "oss-object-missing", "oss-bucket-missing"})


def preview(run: PushContext, inspected: Inspected, ready: AccountState) -> PushResult:
    """Tell what a push would do. The two ids of the result are empty, `plan` is what docs/json.md describes."""
    request = inspected.request
    keys: dict[int, str] = {}
    disks: list[dict[str, Any]] = []
    for index, disk in enumerate(request.disks):
        if disk.path:
            document = _disk_plan(run, request, index, ready)
            keys[index] = document["key"]
            disks.append(document)
    steps = _steps(run, request, ready)
    plan = {
        "image_name": request.name,
        "region": request.region,
        "steps": steps,
        "disks": disks,
        "parameters": _parameters(request),
        "service_says": _asked(run, request, ready, keys),
    }
    return PushResult(region=request.region, image_name=request.name, dry_run=True, plan=plan)


def _disk_plan(run: PushContext, request: ImportRequest, index: int, ready: AccountState) -> dict[str, Any]:
    told: list[UploadPlanned] = []

    def listen(event: Event) -> None:
        if isinstance(event, UploadPlanned):
            told.append(event)
        run.emit(event)

    emit: Emit = listen
    plan = preview_upload(
        delivery_of(request, run.options, index),
        Context(clock=run.clock, emit=emit, cancel=run.stop),
        store=run.cloud.store(ready.bucket) if ready.bucket_info else None,
    )
    parts = {kind: sum(1 for part in plan.parts if part.kind is kind) for kind in PartKind}
    return {
        "disk": str(request.disks[index].path),
        "key": told[-1].key,
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
        **_time(run, plan),
    }


def _time(run: PushContext, plan: UploadPlan) -> dict[str, Any]:
    """Estimate the time at the rate that was measured last or is given, the lower of both where there are both."""
    given = run.options.transfer.limit_rate_bytes_s
    measured = recall(run.options.state_dir, run.cloud.oss_endpoint)
    if measured and not (given and given < measured.bytes_s):
        rate, source, at_s = measured.bytes_s, "measured", measured.at_s
    elif given:
        rate, source, at_s = given, "given", None
    else:
        return {"rate_bytes_s": None, "rate_source": None, "rate_measured_at_s": None, "estimate_s": None}
    return {
        "rate_bytes_s": round(rate),
        "rate_source": source,
        "rate_measured_at_s": at_s,
        "estimate_s": plan.seconds_at(rate),
    }


def _steps(run: PushContext, request: ImportRequest, ready: AccountState) -> list[str]:
    steps = []
    if ready.bucket and ready.bucket_info is None:
        steps.append(f"create the bucket {ready.bucket}, private, in {request.region}")
    name = role_name_of(request)
    try:
        sight = inspect_role(
            run.cloud.roles, name, bucket=ready.bucket or None, clock=run.clock, needs=needs_of(request)
        )
    except AccessError as error:
        return [*steps, f"see to the role {name}, which could not be looked at: {error.summary}"]
    return steps + _role_steps(name, sight, request)


def _role_steps(name: str, sight: RoleState, request: ImportRequest) -> list[str]:
    policy = needs_of(request).system_policy
    if sight.role is None:
        return [f"create the role {name}", f"attach the system policy {policy} to it"]
    return [f"attach the system policy {policy} to the role {name}"] if sight.missing else []


def _parameters(request: ImportRequest) -> dict[str, str]:
    told = {
        "format": request.disks[0].format,
        "size": f"{request.disks[0].size_gib} GiB" if request.disks[0].size_gib else None,
        "os": request.os_type,
        "platform": request.platform,
        "arch": request.architecture,
        "boot": request.boot_mode,
        "nvme": request.nvme_support,
        "license": request.license_type,
    }
    return {name: str(value) for name, value in told.items() if value}


def _asked(run: PushContext, request: ImportRequest, ready: AccountState, keys: dict[int, str]) -> str:
    """Ask the service itself; its refusals come out, but for what the push itself would see to."""
    call = ImportCall(
        request=request,
        mappings=tuple(
            DiskMapping(
                bucket=disk.bucket or ready.bucket,
                key=disk.key or keys[index],
                format=disk.format,
                size_gib=disk.size_gib,
            )
            for index, disk in enumerate(request.disks)
        ),
        client_token=new_client_token(),
        tags=request.tags,
    )
    try:
        ask(run.cloud.images, call, clock=run.clock)
    except RefusedError as error:
        if error.code in NOT_THERE_YET and keys:
            return "was asked, and misses nothing but the disk, which is not uploaded yet"
        if error.code == "role-not-visible":
            return "was asked, and misses the role, which the push would see to"
        raise
    return "was asked, and would take it"
