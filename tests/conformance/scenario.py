"""Calls of ECS, RAM and STS that every RPC client makes, as data for Python and Node.

A call has its parameters by the names of the API reference; lists are lists. "{name}" in a string stands for a value
of an earlier response (`save`: name -> path in the response). `settings` are set in the sandbox before the call.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

REGION = "cn-hangzhou"
ROLE = "AliyunECSImageImportDefaultRole"
EXPORT_ROLE = "AliyunECSImageExportDefaultRole"
TRUST = json.dumps(
    {
        "Version": "1",
        "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["ecs.aliyuncs.com"]}}],
    }
)
POLICY = json.dumps({"Version": "1", "Statement": [{"Action": "ecs:*", "Effect": "Allow", "Resource": "*"}]})
SYSTEM: dict[str, Any] = {"PolicyType": "System", "PolicyName": "AliyunECSImageImportRolePolicy"}
CUSTOM: dict[str, Any] = {"PolicyType": "Custom", "PolicyName": "conform"}
DISK = [{"OSSBucket": "bkt", "OSSObject": "disk.raw", "Format": "raw"}]
TAG = [{"Key": "k", "Value": "v"}]
# All durations are zero, so that no call has to wait for an earlier one.
SETTINGS = {
    "import_s": 0.0, "import_queue_s": 0.0, "image_ready_s": 0.0, "copy_s": 0.0, "snapshot_held_s": 0.0,
    "instance_pending_s": 0.0, "instance_start_s": 0.0, "console_lag_s": 0.0, "instance_console": "boots",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call of one action, and the error code it must have."""

    service: str
    action: str
    parameters: dict[str, Any] = field(default_factory=dict)
    code: str = ""
    """The expected error code; empty for success."""
    save: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def _ram(action: str, code: str = "", save: dict[str, str] | None = None, **parameters: Any) -> Call:
    return Call("ram", action, parameters, code, save or {})


def _ecs(
    action: str,
    code: str = "",
    save: dict[str, str] | None = None,
    settings: dict[str, Any] | None = None,
    **parameters: Any,
) -> Call:
    return Call("ecs", action, {"RegionId": REGION, **parameters}, code, save or {}, settings or {})


CALLS: tuple[Call, ...] = (
    Call("sts", "GetCallerIdentity"),
    _ram("GetRole", "EntityNotExist.Role", RoleName=ROLE),
    _ram("CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=TRUST),
    _ram("CreateRole", "EntityAlreadyExists.Role", RoleName=ROLE, AssumeRolePolicyDocument=TRUST),
    _ram("CreateRole", "MalformedPolicyDocument", RoleName="Other", AssumeRolePolicyDocument="{}"),
    _ram("GetRole", save={"arn": "Role.Arn"}, RoleName=ROLE),
    _ram("ListRoles", MaxItems=10),
    _ram("UpdateRole", RoleName=ROLE, NewAssumeRolePolicyDocument=TRUST),
    _ram("GetPolicy", **SYSTEM),
    _ram("GetPolicy", "EntityNotExist.Policy", **CUSTOM),
    _ram("AttachPolicyToRole", RoleName=ROLE, **SYSTEM),
    _ram("AttachPolicyToRole", "EntityAlreadyExists.Role.Policy", RoleName=ROLE, **SYSTEM),
    _ram("ListPoliciesForRole", RoleName=ROLE),
    _ram("CreateRole", RoleName=EXPORT_ROLE, AssumeRolePolicyDocument=TRUST),
    _ram("AttachPolicyToRole", RoleName=EXPORT_ROLE, PolicyType="System",
         PolicyName="AliyunECSImageExportRolePolicy"),
    _ram("CreatePolicy", PolicyName="conform", PolicyDocument=POLICY),
    _ram("CreatePolicy", "EntityAlreadyExists.Policy", PolicyName="conform", PolicyDocument=POLICY),
    _ram("ListPolicies", PolicyType="Custom"),
    _ram("CreatePolicyVersion", PolicyName="conform", PolicyDocument=POLICY),
    _ram("GetPolicyVersion", VersionId="v2", **CUSTOM),
    _ram("ListPolicyVersions", **CUSTOM),
    _ram("SetDefaultPolicyVersion", PolicyName="conform", VersionId="v2"),
    _ram("DeletePolicyVersion", PolicyName="conform", VersionId="v1"),
    _ram("CreateUser", UserName="ci"),
    _ram("CreateUser", "EntityAlreadyExists.User", UserName="ci"),
    _ram("GetUser", UserName="ci"),
    _ram("ListUsers"),
    _ram("AttachPolicyToUser", UserName="ci", **CUSTOM),
    _ram("ListPoliciesForUser", UserName="ci"),
    _ram("ListEntitiesForPolicy", **CUSTOM),
    _ram("DeletePolicy", "DeleteConflict.Policy.Entity", PolicyName="conform"),
    _ram("CreateAccessKey", save={"key": "AccessKey.AccessKeyId"}, UserName="ci"),
    _ram("ListAccessKeys", UserName="ci"),
    _ram("UpdateAccessKey", UserName="ci", UserAccessKeyId="{key}", Status="Inactive"),
    _ram("DeleteAccessKey", UserName="ci", UserAccessKeyId="{key}"),
    _ram("DetachPolicyFromUser", UserName="ci", **CUSTOM),
    _ram("DeleteUser", UserName="ci"),
    _ram("DetachPolicyFromRole", "EntityNotExist.Role.Policy", RoleName=ROLE, **CUSTOM),
    _ram("DeletePolicy", PolicyName="conform"),
    _ram("DeleteRole", "DeleteConflict.Role.Policy", RoleName=ROLE),
    # The account itself cannot assume a role.
    Call("sts", "AssumeRole", {"RoleArn": "{arn}", "RoleSessionName": "run"}, "NoPermission"),
    _ecs("DescribeRegions"),
    _ecs("DescribeZones"),
    _ecs("ImportImage", "DRYRUN.SUCCESS", ImageName="conform", DiskDeviceMapping=DISK, DryRun=True),
    _ecs("ImportImage", save={"image": "ImageId", "task": "TaskId"}, ImageName="conform", DiskDeviceMapping=DISK,
         Tag=TAG, ClientToken="conform-1"),
    _ecs("ImportImage", ImageName="conform", DiskDeviceMapping=DISK, Tag=TAG, ClientToken="conform-1"),
    _ecs("ImportImage", "InvalidImageName.Duplicated", ImageName="conform", DiskDeviceMapping=DISK),
    _ecs("ImportImage", "InvalidPlatform.Malformed", Platform="Debbian", DiskDeviceMapping=DISK),
    _ecs("DescribeTasks", TaskAction="ImportImage"),
    _ecs("DescribeTaskAttribute", TaskId="{task}"),
    _ecs("DescribeTaskAttribute", "InvalidTaskId.NotFound", TaskId="t-none"),
    _ecs("CancelTask", "InvalidTaskId.IncorrectTaskStatus", TaskId="{task}"),
    _ecs("DescribeImages", save={"image": "Images.Image.0.ImageId"}, ImageName="conform", ImageOwnerAlias="self"),
    _ecs("ModifyImageAttribute", ImageId="{image}", ImageFamily="conform", Description="by a test"),
    _ecs("ModifyImageAttribute", "InvalidImageId.NotFound", ImageId="m-none", Description="by a test"),
    _ecs("DescribeImageFromFamily", ImageFamily="conform"),
    _ecs("DescribeImageSupportInstanceTypes", ImageId="{image}"),
    _ecs("TagResources", ResourceType="image", ResourceId=["{image}"], Tag=[{"Key": "l", "Value": "w"}]),
    _ecs("ListTagResources", ResourceType="image", ResourceId=["{image}"]),
    _ecs("DescribeTags", ResourceType="image", ResourceId="{image}"),
    _ecs("UntagResources", ResourceType="image", ResourceId=["{image}"], TagKey=["l"]),
    _ecs("ModifyImageSharePermission", ImageId="{image}", AddAccount=["2000000000000000"]),
    _ecs("DescribeImageSharePermission", ImageId="{image}"),
    _ecs("DeleteImage", "ImageUseShared", ImageId="{image}"),
    _ecs("ModifyImageSharePermission", ImageId="{image}", RemoveAccount=["2000000000000000"]),
    _ecs("CopyImage", save={"copy": "ImageId"}, ImageId="{image}", DestinationRegionId="cn-beijing",
         DestinationImageName="conform", settings={"copy_s": 3600.0}),
    _ecs("CancelCopyImage", RegionId="cn-beijing", ImageId="{copy}"),
    _ecs("CancelCopyImage", "ImageCreatedNotFromCopy", ImageId="{image}"),
    _ecs("CopyImage", "InvalidImageId.NotFound", ImageId="m-none", DestinationRegionId="cn-beijing"),
    _ecs("ExportImage", ImageId="{image}", OSSBucket="bkt", OSSPrefix="out"),
    _ecs("DescribeInstanceTypes"),
    _ecs("DescribeAvailableResource", DestinationResource="InstanceType"),
    _ecs("DescribeVSwitches", save={"vswitch": "VSwitches.VSwitch.0.VSwitchId"}),
    _ecs("DescribeSecurityGroups", save={"group": "SecurityGroups.SecurityGroup.0.SecurityGroupId"}),
    _ecs("RunInstances", "DryRunOperation", ImageId="{image}", InstanceType="ecs.g7.large", VSwitchId="{vswitch}",
         SecurityGroupId="{group}", DryRun=True),
    _ecs("RunInstances", save={"instance": "InstanceIdSets.InstanceIdSet.0"}, ImageId="{image}",
         InstanceType="ecs.g7.large", VSwitchId="{vswitch}", SecurityGroupId="{group}", Amount=1),
    _ecs("DescribeInstances", InstanceIds='["{instance}"]'),
    _ecs("DescribeInstanceStatus", InstanceId=["{instance}"]),
    _ecs("GetInstanceConsoleOutput", InstanceId="{instance}"),
    _ecs("GetInstanceScreenshot", InstanceId="{instance}"),
    _ecs("DeleteImage", "ImageUsingByInstance", ImageId="{image}"),
    _ecs("DeleteInstance", "IncorrectInstanceStatus", InstanceId="{instance}"),
    _ecs("DeleteInstance", InstanceId="{instance}", Force=True),
    _ecs("DescribeSnapshots", save={"snapshot": "Snapshots.Snapshot.0.SnapshotId"}),
    _ecs("DeleteSnapshot", "SnapshotCreatedImage", SnapshotId="{snapshot}"),
    _ecs("DeleteImage", ImageId="{image}"),
    _ecs("DeleteSnapshot", SnapshotId="{snapshot}"),
    _ecs("DeleteImage", "InvalidImageId.NotFound", ImageId="{image}"),
    # Not implemented: refused with the name of the operation.
    _ecs("CreateImage", SnapshotId="s-1"),
    _ecs("DescribeAccountAttributes"),
    _ecs("DescribeDisks"),
    _ram("GetAccountAlias"),
)  # fmt: skip


def filled(value: Any, saved: dict[str, str]) -> Any:
    """Return parameters with each "{name}" replaced by its saved value."""
    if isinstance(value, str):
        for name, text in saved.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, list):
        return [filled(each, saved) for each in value]
    if isinstance(value, dict):
        return {name: filled(each, saved) for name, each in value.items()}
    return value


def found(answer: Any, path: str) -> str:
    """Return the string at a path such as Images.Image.0.ImageId."""
    for step in path.split("."):
        answer = answer[int(step)] if step.isdecimal() else answer[step]
    return str(answer)


def as_json() -> list[dict[str, Any]]:
    """Return the calls as JSON objects, for a client in another process."""
    return [asdict(call) for call in CALLS]
