"""Operations on snapshots. Each disk of an image has one, which DeleteImage does not delete."""

import re

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs import rules
from aliyun_import.sandbox.ecs.rules import region_of
from aliyun_import.sandbox.ecs.state import Ecs, Image, Snapshot, owned
from aliyun_import.sandbox.importer import engine

USAGES = ("image", "disk", "image_disk", "none")
STATUSES = ("progressing", "accomplished", "failed", "all")


def describe_snapshots(call: RpcCall) -> dict[str, Value]:
    """DescribeSnapshots: by page number, or by NextToken."""
    region = region_of(call)
    engine.refresh(call.state)
    ids, tags = rules.json_ids(call, "SnapshotIds", "InvalidSnapshotIds.Malformed"), rules.tag_filter(call)
    usage = call.choice("Usage", USAGES, "InvalidUsage")
    status = call.choice("Status", STATUSES, "InvalidStatus.NotFound")
    name = call.get("SnapshotName")
    found = [
        each
        for each in owned(call.state.part(Ecs).snapshots, call.account_id, region)
        if (not ids or each.id in ids)
        and name in ("", each.name)
        and usage in ("", _usage(call, each))
        and status in ("", "all", _status(call, each))
        and rules.has_tags(each.tags, tags)
    ]
    call.end_dry_run()
    if call.get("MaxResults") or call.get("NextToken"):
        return _from_token(call, found)
    return rules.paged(call, "Snapshots", "Snapshot", found, lambda each: _shown(call, each)) | {"NextToken": ""}


def _from_token(call: RpcCall, found: list[Snapshot]) -> dict[str, Value]:
    token = call.get("NextToken", "0")
    if not re.fullmatch(r"[0-9]{1,9}", token):
        raise Refusal("InvalidParameter", "NextToken")
    first, most = int(token), call.number("MaxResults", default=10, high=100)
    page: list[Value] = [_shown(call, each) for each in found[first : first + most]]
    following = str(first + most) if first + most < len(found) else ""
    return {"Snapshots": {"Snapshot": page}, "NextToken": following, "TotalCount": len(found)}


def _shown(call: RpcCall, each: Snapshot) -> Value:
    status = _status(call, each)
    return {
        "SnapshotId": each.id,
        "SnapshotName": each.name,
        "Description": "",
        "Status": status,
        "Progress": "100%" if status == "accomplished" else "0%",
        "Usage": _usage(call, each),
        "SourceDiskId": "",
        "SourceDiskType": "system" if each.system else "data",
        "SourceDiskSize": str(each.size_gib),
        "SourceStorageType": "disk",
        "SnapshotType": "user",
        "Category": "standard",
        "ProductCode": "",
        "CreationTime": utc_seconds(each.created_s),
        "RetentionDays": 0,
        "RemainTime": 0,
        "Encrypted": each.encrypted,
        "Available": status == "accomplished",
        "Tags": rules.shown_tags(each.tags),
    }


def _image(call: RpcCall, each: Snapshot) -> Image | None:
    return call.state.part(Ecs).images.get(each.image_id)


def _status(call: RpcCall, each: Snapshot) -> str:
    """Return the status. Until an import ends, its snapshots are `failed` ("Import custom images")."""
    image = _image(call, each)
    if image is None or image.status not in ("Creating", "Waiting", "CreateFailed"):
        return "accomplished"
    return "progressing" if image.copy is not None and image.status != "CreateFailed" else "failed"


def _has_disk(call: RpcCall, each: Snapshot) -> bool:
    instances = call.state.part(Ecs).instances.values()
    return any(instance.image_id == each.image_id for instance in instances)


def _usage(call: RpcCall, each: Snapshot) -> str:
    uses = ["image"] if _image(call, each) is not None else []
    uses += ["disk"] if _has_disk(call, each) else []
    return "_".join(uses) or "none"


def delete_snapshot(call: RpcCall) -> dict[str, Value]:
    """DeleteSnapshot: refuse the snapshot of an image, also for a time after DeleteImage.

    A snapshot from which disks were created needs Force.
    """
    engine.refresh(call.state)
    ecs, force = call.state.part(Ecs), call.flag("Force")
    each = ecs.snapshots.get(call.required("SnapshotId"))
    # The region is optional in this call, because the id is unique.
    if each is None or each.account_id != call.account_id or call.get("RegionId", each.region) != each.region:
        raise Refusal("InvalidSnapshotId.NotFound")
    if _image(call, each) is not None or call.state.clock.now_s() < each.held_until_s:
        raise Refusal("SnapshotCreatedImage")
    if _has_disk(call, each) and not force:
        raise Refusal("SnapshotCreatedDisk")
    call.end_dry_run()
    del ecs.snapshots[each.id]
    return {}
