"""Comparison of the options of `push` with the parameters of ImportImage in the installed SDK."""

import re

from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest

from aliyun_import.cli.commands.push import push

# Setter of the SDK -> the option that fills it in, or the reason why there is none.
COVERED = {
    "Architecture": "--architecture",
    "BootMode": "--boot-mode",
    "ClientToken": "--client-token",
    "Description": "--description",
    "DetectionStrategy": "--detection-strategy",
    "DiskDeviceMappings": "--data-disk",
    "DryRun": "--dry-run",
    "Features": "--nvme-support",
    "ImageName": "--name",
    "LicenseType": "--license-type",
    "OSType": "--os-type",
    "Platform": "--platform",
    "ResourceGroupId": "--resource-group",
    "RoleName": "--role-name",
    "StorageLocationArn": "--storage-location-arn",
    "Tags": "--tag",
}
# "Legacy, do not send": they name an account in a way that RAM has replaced.
LEGACY = {"OwnerId", "ResourceOwnerAccount", "ResourceOwnerId"}


def test_every_parameter_of_import_image_has_an_option() -> None:
    """A setter added by a newer SDK fails this test until it has an option."""
    setters = {match[1] for name in vars(ImportImageRequest) if (match := re.fullmatch(r"set_(\w+)", name))}
    assert setters - LEGACY == set(COVERED)
    options = {word for param in push.params for word in param.opts}
    assert set(COVERED.values()) <= options
    assert {"--format", "--disk-size", "--imds-support"} <= options
