"""This file shows an image the way DescribeImages does."""

from aliyun_import.sandbox.core.serializers import Value, utc_seconds
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.ecs.state import Image

_READY = ("Available", "Deprecated")


def shown_image(image: Image, *, settings: Settings, now_s: float) -> dict[str, Value]:
    """Give the fields of an image; what the sandbox has no idea of is empty or false."""
    owner: Value = int(image.account_id) if image.account_id.isdecimal() else image.account_id
    tags: list[Value] = [{"TagKey": key, "TagValue": value} for key, value in image.tags.items()]
    fields: dict[str, Value] = {
        "ImageId": image.id,
        "ImageName": image.name,
        "Description": image.description,
        "Status": image.status,
        "Progress": _progress(image),
        "Size": image.disks[0].size_gib,
        "CreationTime": utc_seconds(image.created_s),
        "Architecture": image.architecture,
        "BootMode": image.boot_mode,
        "OSType": image.os_type,
        "Platform": image.platform,
        "OSName": f"{image.platform} (sandbox)",
        "OSNameEn": f"{image.platform} (sandbox)",
        "ImageOwnerAlias": image.owner_alias,
        "ImageOwnerId": owner,
        "Usage": "none",
        "IsSelfShared": "False",
        "IsCopied": False,
        "IsSubscribed": False,
        "IsSupportCloudinit": False,
        "IsSupportIoOptimized": True,
        "IsPublic": image.owner_alias == "system",
        "ImageVersion": "",
        "ProductCode": "",
        "ResourceGroupId": image.resource_group,
        "ImageFamily": image.family,
        "LicenseType": image.license_type,
        "LoginAsNonRootSupported": False,
        "SupplierName": "",
        "Tags": {"Tag": tags},
        "Features": {"NvmeSupport": image.nvme_support, "ImdsSupport": image.imds_support},
        "DiskDeviceMappings": {"DiskDeviceMapping": _disks(image)},
    }
    return fields | _detection(image, settings=settings, now_s=now_s)


def _progress(image: Image) -> str:
    return f"{100 if image.status in _READY else min(image.percent, 99)}%"


def _disks(image: Image) -> list[Value]:
    return [
        {
            "Device": f"/dev/xvd{chr(ord('a') + index)}",
            "Type": "system" if index == 0 else "data",
            "Size": str(disk.size_gib),
            "SnapshotId": disk.snapshot_id,
            "Format": disk.format,
            "ImportOSSBucket": disk.bucket,
            "ImportOSSObject": disk.key,
            "Progress": _progress(image),
            "RemainTime": image.remain_s,
            "Encrypted": False,
        }
        for index, disk in enumerate(image.disks)
    ]


def _detection(image: Image, *, settings: Settings, now_s: float) -> dict[str, Value]:
    """Tell how DetectionStrategy=Standard goes. The sandbox looks into no guest: settings say what is found."""
    if not image.detection or image.ready_s is None or image.status not in _READY:
        return {}
    done = now_s >= image.ready_s + settings.image_check_s
    items: list[Value] = [dict(item) for item in settings.image_check_items] if done else []
    return {"DetectionOptions": {"Status": "Finished" if done else "Processing", "Items": {"Item": items}}}
