"""This file has two system images, so that a client which forgets to ask for its own images alone meets others'."""

from aliyun_import.sandbox.ecs.state import Image, ImageDisk

_DAY_ONE_S = 1_704_067_200.0  # 2024-01-01T00:00:00Z
_IMAGES = (
    ("aliyun_3_x64_20G_sandbox.vhd", "Aliyun", "x86_64", "BIOS"),
    ("debian_12_arm64_20G_sandbox.vhd", "Debian", "arm64", "UEFI"),
)


def system_images(region: str) -> tuple[Image, ...]:
    """Give the system images of a region."""
    return tuple(
        Image(
            id=name,
            account_id="9000000000000000",
            region=region,
            name=name,
            description="",
            architecture=architecture,
            os_type="linux",
            platform=platform,
            boot_mode=boot_mode,
            license_type="",
            resource_group="",
            nvme_support="supported",
            imds_support="v1",
            detection="",
            disks=(ImageDisk(bucket="", key="", format="", size_gib=20, snapshot_id=""),),
            created_s=_DAY_ONE_S,
            owner_alias="system",
            status="Available",
            percent=100,
        )
        for name, platform, architecture, boot_mode in _IMAGES
    )
