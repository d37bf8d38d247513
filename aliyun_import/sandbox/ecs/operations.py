"""Tables of the operations of ECS and VPC."""

from collections.abc import Callable

from aliyun_import.sandbox.core.http_types import Operation
from aliyun_import.sandbox.core.rpc import RpcCall, RpcOperation, RpcService, Value
from aliyun_import.sandbox.ecs import catalog, copies, images, instances, snapshots, tags, tasks
from aliyun_import.sandbox.ecs.import_export import export_image, import_image
from aliyun_import.sandbox.ecs.state import ATTRIBUTES

_ATTRIBUTES = tuple(one.parameter for one in ATTRIBUTES.values())
_CHANGEABLE = tuple(one.parameter for one in ATTRIBUTES.values() if one.changes)


def _row(name: str, do: Callable[[RpcCall], dict[str, Value]], *params: str, service: str = "ecs") -> RpcOperation:
    return Operation(name=name, action=f"{service}:{name}", params=params, do=do)


VPC = RpcService(
    name="vpc",
    version=catalog.VPC_VERSION,
    no_permission="Forbidden.RAM",
    operations=(
        _row("DescribeVSwitches", catalog.describe_vswitches, "VSwitchId", "VpcId", "ZoneId", "Tag.*", "PageNumber",
             "PageSize", service="vpc"),
        _row("TagResources", tags.tag_resources, "ResourceType", "ResourceId.*", "Tag.*", service="vpc"),
        _row("UnTagResources", tags.untag_resources, "ResourceType", "ResourceId.*", "TagKey.*", "All", service="vpc"),
    ),
)  # fmt: skip


ECS = RpcService(
    name="ecs",
    version="2014-05-26",
    no_permission="Forbidden.RAM",
    operations=(
        _row("ImportImage", import_image, "ImageName", *_ATTRIBUTES, "RoleName", "StorageLocationArn",
             "DiskDeviceMapping.*", "Tag.*", "ClientToken", "DryRun"),
        _row("DescribeTasks", tasks.describe_tasks, "TaskIds", "ResourceIds.*", "TaskAction", "TaskStatus", "StartTime",
             "EndTime", "PageNumber", "PageSize"),
        _row("DescribeTaskAttribute", tasks.describe_task_attribute, "TaskId"),
        _row("CancelTask", tasks.cancel_task, "TaskId"),
        _row("DescribeImages", images.describe_images, "Status", "Usable", "ImageId", "ImageName", "ImageFamily",
             "ResourceGroupId", "Architecture", "OSType", "ImageOwnerAlias", "IsPublic", "SnapshotId", "Usage",
             "ImageOwnerId", "InstanceType", "Tag.*", "Filter.*", "PageNumber", "PageSize", "DryRun"),
        _row("ModifyImageAttribute", images.modify_image_attribute, "ImageId", "ImageName", "Description", "Status",
             "ImageFamily", *_CHANGEABLE, "DryRun"),
        _row("DeleteImage", images.delete_image, "ImageId", "Force", "DryRun"),
        _row("DescribeImageFromFamily", images.describe_image_from_family, "ImageFamily"),
        _row("CopyImage", copies.copy_image, "ImageId", "DestinationRegionId", "DestinationImageName",
             "DestinationDescription", "Encrypted", "KMSKeyId", "ResourceGroupId", "Tag.*", "ClientToken", "DryRun"),
        _row("CancelCopyImage", copies.cancel_copy_image, "ImageId"),
        _row("ModifyImageSharePermission", images.modify_image_share_permission, "ImageId", "AddAccount.*",
             "RemoveAccount.*", "LaunchPermission", "DryRun"),
        _row("DescribeImageSharePermission", images.describe_image_share_permission, "ImageId", "PageNumber",
             "PageSize"),
        _row("ExportImage", export_image, "ImageId", "OSSBucket", "OSSPrefix", "ImageFormat", "RoleName", "DryRun"),
        _row("DescribeSnapshots", snapshots.describe_snapshots, "SnapshotIds", "SnapshotName", "Usage", "Status",
             "Tag.*", "PageNumber", "PageSize", "MaxResults", "NextToken", "DryRun"),
        _row("DeleteSnapshot", snapshots.delete_snapshot, "SnapshotId", "Force", "DryRun"),
        _row("UntagResources", tags.untag_resources, "ResourceType", "ResourceId.*", "TagKey.*", "All"),
        _row("ListTagResources", tags.list_tag_resources, "ResourceType", "ResourceId.*", "Tag.*"),
        _row("DescribeTags", tags.describe_tags, "ResourceType", "ResourceId", "Tag.*", "PageNumber", "PageSize"),
        _row("TagResources", tags.tag_resources, "ResourceType", "ResourceId.*", "Tag.*"),
        _row("RunInstances", instances.run_instances, "ImageId", "ImageFamily", "InstanceType", "VSwitchId", "ZoneId",
             "SecurityGroupId", "InstanceName", "InstanceChargeType", "SpotStrategy", "SpotDuration", "Amount",
             "InternetMaxBandwidthOut", "SystemDisk.Category", "SystemDisk.Size", "SystemDisk.PerformanceLevel",
             "IoOptimized", "PasswordInherit", "SecurityEnhancementStrategy", "AutoReleaseTime", "UserData",
             "ResourceGroupId", "Tag.*", "ClientToken", "DryRun"),
        _row("DescribeInstances", instances.describe_instances, "InstanceIds", "InstanceName", "Status", "ImageId",
             "ZoneId", "VSwitchId", "InstanceType", "Tag.*", "PageNumber", "PageSize", "DryRun"),
        _row("DescribeInstanceStatus", instances.describe_instance_status, "InstanceId.*", "ZoneId", "PageNumber",
             "PageSize"),
        _row("GetInstanceConsoleOutput", instances.get_instance_console_output, "InstanceId", "RemoveSymbols",
             "DryRun"),
        _row("GetInstanceScreenshot", instances.get_instance_screenshot, "InstanceId", "WakeUp", "DryRun"),
        _row("DeleteInstance", instances.delete_instance, "InstanceId", "Force", "ForceStop", "DryRun"),
        _row("DescribeInstanceTypes", catalog.describe_instance_types, "InstanceTypes.*", "InstanceTypeFamily",
             "CpuArchitecture", "NvmeSupport", "MaximumCpuCoreCount", "MaxResults"),
        _row("DescribeImageSupportInstanceTypes", catalog.describe_image_support_instance_types, "ImageId",
             "ActionType"),
        _row("DescribeAvailableResource", catalog.describe_available_resource, "DestinationResource",
             "InstanceChargeType", "InstanceType", "ZoneId", "NetworkCategory", "IoOptimized", "SpotStrategy",
             "Cores", "Memory"),
        _row("DescribeVSwitches", catalog.describe_vswitches, "VSwitchId", "VpcId", "ZoneId", "PageNumber", "PageSize"),
        _row("DescribeSecurityGroups", catalog.describe_security_groups, "SecurityGroupId", "VpcId", "Tag.*",
             "PageNumber", "PageSize"),
        _row("DescribeZones", catalog.describe_zones, "AcceptLanguage"),
        _row("DescribeRegions", catalog.describe_regions, "AcceptLanguage"),
    ),
)  # fmt: skip
