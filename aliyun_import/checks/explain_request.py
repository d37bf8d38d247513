"""This file holds the texts about the rules of the request: class, reason, document."""

from aliyun_import.checks.context import API, CHECK_ITEMS, JUDGEMENT, Text

_OSS = "OSS, naming of buckets and objects"
_RAM = "RAM API reference, CreateRole"

REQUEST_TEXTS: dict[str, Text] = {
    "region-form": ("blocks", "A region id has the form cn-hangzhou; it becomes part of host names.", API),
    "region-unlisted": ("warns", "The published list does not have the region. It is passed on: the list grows.", API),
    "image-name": (
        "blocks",
        "ImageName has 2 to 128 letters, digits and . : _ -, begins with a letter, not with aliyun or acs:, and holds "
        "no web address.",
        API,
    ),
    "image-name-doubtful": ("warns", "The name has letters, or a beginning, that the pages do not agree on.", API),
    "description": ("blocks", "Description has 2 to 256 characters and does not begin with a web address.", API),
    "tag-count": ("blocks", "An image takes 20 tags, two of which this tool needs to know its images again.", API),
    "tag-key": ("blocks", "A tag's key has 1 to 128 characters, no reserved beginning and no web address.", API),
    "tag-value": ("blocks", "A tag's value has at most 128 characters, no acs: in front and no web address.", API),
    "tag-twice": ("blocks", "Tag keys must differ in more than case: TagKey.Duplication.", API),
    "client-token": ("blocks", "ClientToken has 1 to 64 ASCII characters.", API),
    "role-name": ("blocks", "A role's name has 1 to 64 characters of a small set.", _RAM),
    "resource-group": ("blocks", "A resource group is given by its id (rg-...), not by its name.", API),
    "storage-location": ("blocks", "StorageLocationArn names a CloudBox of the same region.", API),
    "boot-mode-arm64": ("blocks", "arm64 starts by UEFI only: InvalidBootMode.NotSupport.", API),
    "architecture-platform": ("warns", "No page has this pair of platform and architecture.", API),
    "platform-unlisted": (
        "warns",
        "The list of Platform does not have the name. It is passed on: the list grows.",
        API,
    ),
    "os-type-platform": ("blocks", "OSType and Platform speak of different systems.", API),
    "license-type": ("blocks", "LicenseType is Auto, Aliyun or BYOL.", API),
    "license-type-unused": ("note", "LicenseType has an effect for Windows only.", API),
    "nvme-support": ("blocks", "Features.NvmeSupport is supported or unsupported.", API),
    "imds-support": ("blocks", "Features.ImdsSupport is v1 or v2.", API),
    "detection-strategy": ("blocks", "DetectionStrategy is Standard, or left out.", API),
    "detection-windows": ("blocks", "The service does not check Windows images: ImageCheckUnsupported.", CHECK_ITEMS),
    "detection-platform": ("warns", "The service does not check images of this platform.", CHECK_ITEMS),
    "disk-count": ("blocks", "An image has one system disk and up to 16 data disks; the service drops the rest.", API),
    "disk-size": ("blocks", "DiskImageSize is 1 to 2048 GiB.", API),
    "disk-twice": ("warns", "The same disk was given twice.", JUDGEMENT),
    "disk-format-vmdk": ("warns", "VMDK is taken by invitation only.", API),
    "bucket-name": ("blocks", "A bucket's name has 3 to 63 lower-case letters, digits and hyphens.", _OSS),
    "object-key": ("blocks", "A key has 1 to 1023 bytes and does not begin with / or \\.", _OSS),
    "key-suffix": ("warns", "ECS goes by the key's suffix as well: UnsupportedSuffix.OSSObject.", API),
}
