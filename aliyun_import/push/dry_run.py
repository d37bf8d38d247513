"""Dry run of a push: checks, the answer of ECS, and the plan, without any change."""

from dataclasses import replace
from typing import Any

from aliyun_import.boot.instance_choice import InstanceOffer
from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk
from aliyun_import.errors import DetectionUnsupported, ImageImporting, NameTaken
from aliyun_import.events import Changed, Emit, Event
from aliyun_import.image.replace import temporary_name
from aliyun_import.journal import Journal
from aliyun_import.model.request import ImportRequest, parameters
from aliyun_import.model.roles import Policy, Role
from aliyun_import.push.boot_stage import refuse_known_failure
from aliyun_import.push.earlier import ActivePush
from aliyun_import.push.options import PushResult, PushRun
from aliyun_import.push.stages import dry_run_in_ecs, upload_request, without_detection
from aliyun_import.push.state import PushState
from aliyun_import.role.ensure import ensure_role
from aliyun_import.role.spec import needs_of, role_name_of
from aliyun_import.services import RoleService
from aliyun_import.upload.context import UploadRequest
from aliyun_import.upload.plan import PartKind, UploadPlan
from aliyun_import.upload.transfer.concurrency import piece_bytes_for
from aliyun_import.upload.transfer.parts import in_pieces
from aliyun_import.upload.upload import preview_upload


def dry_run(
    request: ImportRequest, active: ActivePush, run: PushRun, journal: Journal, *, offer: InstanceOffer | None
) -> PushResult:
    """Return what a push would do from here on, in `plan` (docs/json.md describes it). `journal` is a copy.

    `request` has the disks as they are sent, `offer` is the instance that the image would be tested with. Raises what
    the push would raise, and what ECS would refuse, except what the push itself would provide. The ids of the result
    are those of an import that the push would follow, else empty.
    """
    state = active.state
    plan = empty_plan(request)
    plan["boot_test"] = _instance(offer) if offer else None
    if state.submitted:
        _refuse_known_failure(request, active, run)
        plan["steps"] = [_followed(state)]
    else:
        plan["steps"] = _steps(request, active, run)
        plan["disks"] = [
            _disk_plan(run.disks[disk.path], upload_request(request, run.options, index), active, run, journal)
            for index, disk in enumerate(request.disks)
            if disk.path
        ]
        plan["service_says"] = _answer(request, active, run, keys=[one["key"] for one in plan["disks"]])
    return PushResult(
        region=request.region,
        image_name=request.name,
        image_id=state.image_id,
        task_id=state.task_id,
        dry_run=True,
        plan=plan,
    )


def empty_plan(request: ImportRequest) -> dict[str, Any]:
    """Return the plan of a push that changes nothing."""
    return {
        "image_name": request.name,
        "region": request.region,
        "steps": [],
        "disks": [],
        "boot_test": None,
        "parameters": _parameters(request),
        "service_says": "",
    }


def _instance(offer: InstanceOffer) -> dict[str, Any]:
    return {
        "instance_type": offer.instance_type.name,
        "processors": offer.instance_type.processors,
        "memory_gib": offer.instance_type.memory_gib,
        "zone": offer.zone,
        "disk_category": offer.disk.category,
        "disk_gib": offer.disk_gib,
        "vswitch": offer.vswitch_id,
        "security_group": offer.security_group_id,
        "longest_life_s": offer.longest_life_s,
    }


def _refuse_known_failure(request: ImportRequest, active: ActivePush, run: PushRun) -> None:
    image = run.services.images.image(active.state.image_id)
    if image is not None and (run.options.boot_test == "cloud" or image.name != request.name):
        refuse_known_failure(request, image, run, account_id=active.account.identity.account_id)


def _followed(state: PushState) -> str:
    if not state.task_id:
        return f"use the image {state.image_id}, which an earlier push made of this disk"
    return f"follow the import task {state.task_id}, which creates the image {state.image_id}"


def _answer(request: ImportRequest, active: ActivePush, run: PushRun, *, keys: list[str]) -> str:
    name = temporary_name(request.name, active.state.push_id) if run.options.is_named_last else request.name
    try:
        return dry_run_in_ecs(replace(request, name=name), active.account, run, keys=keys)
    except DetectionUnsupported as error:
        return _answer(without_detection(request, error, run), active, run, keys=keys)
    except (ImageImporting, NameTaken):
        return "accepts the name only once the failed image that has it is deleted, which the push does"


def _disk_plan(
    disk: Disk, request: UploadRequest, active: ActivePush, run: PushRun, journal: Journal
) -> dict[str, Any]:
    preview = preview_upload(
        disk,
        request,
        run.context,
        store=run.services.store(active.account.bucket),
        journal=journal,
        options=run.options.transfer,
        has_bucket=active.account.bucket_info is not None,
    )
    plan = preview.plan or UploadPlan(size_bytes=0, parts=(), gap_bytes=0, zero_source_bytes=0)
    plan = in_pieces(plan, max_bytes=piece_bytes_for(run.options.transfer.limit_rate_bytes_s))
    parts = {kind: sum(1 for part in plan.parts if part.kind is kind) for kind in PartKind}
    return {
        "disk": str(disk.name),
        "key": preview.key,
        "total_bytes": preview.size_bytes,
        "send_bytes": plan.bytes_of(PartKind.SEND),
        "send_parts": parts[PartKind.SEND],
        "zero_bytes": plan.bytes_of(PartKind.ZERO),
        "zero_parts": parts[PartKind.ZERO],
        "base_bytes": plan.bytes_of(PartKind.BASE),
        "base_parts": parts[PartKind.BASE],
        "gap_bytes": plan.gap_bytes,
        "kept_bytes": preview.kept_bytes,
        "parts": len(plan.parts),
        "requests": plan.requests if preview.plan else 0,
        "in_oss": preview.plan is None,
        **_time(plan, limit_rate_bytes_s=run.options.transfer.limit_rate_bytes_s),
    }


def _time(plan: UploadPlan, *, limit_rate_bytes_s: float | None) -> dict[str, Any]:
    """Return the duration of the upload at --limit-rate, None without it."""
    return {
        "rate_bytes_s": round(limit_rate_bytes_s) if limit_rate_bytes_s else None,
        "rate_source": "given" if limit_rate_bytes_s else None,
        "rate_measured_at_s": None,
        "estimate_s": plan.seconds_at(limit_rate_bytes_s) if limit_rate_bytes_s else None,
    }


def _steps(request: ImportRequest, active: ActivePush, run: PushRun) -> list[str]:
    """Return what would be created or changed before the upload; raises what the push would raise."""
    account, steps = active.account, []
    if account.bucket and account.bucket_info is None:
        steps.append(f"create the bucket {account.bucket}, private, in {request.region}")
    roles = PlannedRoles(run.services.roles)
    ensure_role(
        roles,
        Context(clock=run.context.clock, emit=without_changes(run.context.emit), cancel=run.context.cancel),
        role_name_of(request),
        bucket=account.bucket or None,
        fix=run.options.fix_role,
        needs=needs_of(request),
    )
    return [*steps, *roles.steps]


class PlannedRoles:
    """RoleService that reads, and records the changes that it would make in `steps`."""

    def __init__(self, roles: RoleService) -> None:
        self.role = roles.role
        self.attached_policies = roles.attached_policies
        self.policy_document = roles.policy_document
        self.steps: list[str] = []

    def create_role(self, name: str, *, trust_policy: str, description: str) -> Role:
        """Record that the role would be created."""
        del description
        self.steps.append(f"create the role {name}")
        return Role(name=name, arn="", trust_policy=trust_policy)

    def update_trust_policy(self, name: str, *, trust_policy: str) -> None:
        """Record that the trust policy would be extended."""
        del trust_policy
        self.steps.append(f"extend the trust policy of the role {name}")

    def attach_policy(self, policy: Policy, *, role_name: str) -> None:
        """Record that a policy would be attached."""
        self.steps.append(f"attach the {policy.type.lower()} policy {policy.name} to the role {role_name}")


def without_changes(emit: Emit) -> Emit:
    """Return an Emit that leaves out Changed: in a dry run nothing is changed."""

    def emit_rest(event: Event) -> None:
        if not isinstance(event, Changed):
            emit(event)

    return emit_rest


def _parameters(request: ImportRequest) -> dict[str, str]:
    """Return the values of ImportImage as text, by their names in the plan."""
    system = request.disks[0]
    values = {"format": system.format, "size": f"{system.size_gib} GiB" if system.size_gib else None}
    values |= {one.plan_name: getattr(request, one.name) for one in parameters()}
    return {name: str(value) for name, value in values.items() if value}
