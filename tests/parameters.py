"""Values of the parameters of ImportImage, from which the tests of requests, options and pushes are derived."""

from collections.abc import Mapping
from typing import Any

from aliyun_import.model.request import parameters

# Name of each parameter in the documentation -> a value with which a Debian can be imported. A new parameter has its
# row here; tests/cloud/test_ecs_values.py names each that has none.
DOCUMENTED: Mapping[str, str] = {
    "Description": "the golden image",
    "Architecture": "x86_64",
    "OSType": "linux",
    "Platform": "Debian",
    "BootMode": "BIOS",
    "LicenseType": "BYOL",
    "Features.NvmeSupport": "supported",
    "Features.ImdsSupport": "v2",
    "DetectionStrategy": "Standard",
    "ResourceGroupId": "rg-sandbox",
    "StorageLocationArn": "arn:acs:cloudbox:cn-hangzhou:1:cloudbox/cb-1",
}
# Parameters of the documentation for which the installed SDK has no setter.
NEWER_THAN_SDK: frozenset[str] = frozenset()
# "Legacy, do not send": they name an account in a way that RAM has replaced.
LEGACY = frozenset({"OwnerId", "ResourceOwnerAccount", "ResourceOwnerId"})


def documented_fields() -> dict[str, Any]:
    """Return the values by the fields of ImportParameters, in the types of the fields."""
    fields: dict[str, Any] = {}
    for one in parameters():
        value = DOCUMENTED.get(one.api)
        fields[one.name] = next((choice for choice in one.choices if choice == value), value)
    return fields
