"""Rules for the parameters of ImportImage, and for names, tags, regions and pages of other calls.

Source: the ImportImage page (English, May 2025) and its error table. The older Japanese page also allows an empty
description and capitals in OSType, so these are accepted. The combinations of platform and architecture that the
service refuses are not published. Refused are those for which the platform never had an edition.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

from aliyun_import.sandbox.core.rpc import TRANSMISSION_PARAMETERS, RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs.state import ATTRIBUTES, REGIONS, Ecs, UsedToken, owned
from aliyun_import.sandbox.importer import formats
from aliyun_import.sandbox.oss.state import BUCKET_NAME, MAX_KEY_BYTES

DEFAULT_ROLE = "AliyunECSImageImportDefaultRole"
MAX_DISKS = 17
MAX_TAGS = 20
MAX_TAG_CHARS = 128
MAX_LISTED = 100
SIZES_GIB = range(1, 2048 + 1)

WINDOWS = frozenset({
    "Windows Server 2022", "Windows Server 2019", "Windows Server 2016", "Windows Server 2012", "Windows Server 2008",
    "Windows Server 2003", "Other Windows",
})  # fmt: skip
PLATFORMS = WINDOWS | {
    "Aliyun", "Anolis", "CentOS", "Ubuntu", "CoreOS", "SUSE", "Debian", "OpenSUSE", "FreeBSD", "RedHat", "Kylin",
    "UOS", "Fedora", "Fedora CoreOS", "CentOS Stream", "AlmaLinux", "Rocky Linux", "Gentoo", "Customized Linux",
    "Others Linux",
}  # fmt: skip
_NEVER_I386 = frozenset({
    "Windows Server 2022", "Windows Server 2019", "Windows Server 2016", "Windows Server 2012", "Fedora CoreOS",
    "CentOS Stream", "AlmaLinux", "Rocky Linux", "Anolis",
})  # fmt: skip
# The page has a code for platforms that allow only BYOL, but no list. Aliyun sells no licenses for client Windows.
_BYOL_ONLY = frozenset({"Other Windows"})
_SUFFIXES = (".raw", ".vhd", ".qcow2", ".vmdk")

_NAME = re.compile(r"[^\W\d_][\w.:-]{1,127}")

_DEVICE = re.compile(r"/dev/(?:xv|v|s)d[a-z]")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DiskMapping:
    """DiskDeviceMapping.N. The format is in upper case or empty; the size is None if not given."""

    number: int
    bucket: str
    key: str
    format: str
    size_gib: int | None


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Parameters of a valid ImportImage call, with defaults."""

    name: str
    attributes: Mapping[str, str]
    """Name of the attribute in ATTRIBUTES -> value."""
    role_name: str
    storage_location: str
    tags: Mapping[str, str]
    disks: tuple[DiskMapping, ...]


def import_request(call: RpcCall) -> ImportRequest:
    """Return the parameters of ImportImage. Refuses with the code of the first violated rule."""
    disks = _disks(call)
    platform = _platform(call)
    os_type = _os_type(call, platform=platform)
    architecture = call.choice("Architecture", ("i386", "x86_64", "arm64"), "InvalidArchitecture.Malformed")
    architecture = architecture or "x86_64"
    _check_platform_architecture(architecture, platform=platform, os_type=os_type)
    return ImportRequest(
        name=image_name(call.get("ImageName")),
        attributes={
            "description": image_description(call.get("Description")),
            "architecture": architecture,
            "os_type": os_type,
            "platform": platform,
            "boot_mode": _boot_mode(call, architecture=architecture),
            "license_type": _license(call, platform=platform),
            "resource_group": resource_group(call),
            "detection": _detection(call, platform=platform, os_type=os_type),
            **_chosen(call, {name: one.values for name, one in ATTRIBUTES.items()}),
        },
        role_name=call.get("RoleName", DEFAULT_ROLE),
        storage_location=call.get("StorageLocationArn"),
        tags=tags_of(call, duplicate="TagKey.Duplication"),
        disks=disks,
    )


def check_quotas(call: RpcCall, region: str, *, disks: int) -> None:
    """Refuse another image with this number of disks if a quota of the account does not allow it."""
    ecs, settings = call.state.part(Ecs), call.state.settings
    if len(owned(ecs.images, call.account_id, region)) >= settings.images_per_region:
        raise Refusal("QuotaExceed.Image")
    if len(owned(ecs.snapshots, call.account_id, region)) + disks > settings.snapshots_per_region:
        raise Refusal("QuotaExceed.Snapshot")


def image_name(text: str) -> str:
    """Return a valid or empty image name. Refuses with InvalidImageName.Malformed."""
    forbidden = text.startswith(("aliyun", "acs:")) or "http://" in text or "https://" in text
    if text and (forbidden or not _NAME.fullmatch(text)):
        raise Refusal("InvalidImageName.Malformed")
    return text


def image_description(text: str) -> str:
    """Return a valid or empty description. Refuses with InvalidDescription.Malformed."""
    if text and (not 2 <= len(text) <= 256 or text.startswith(("http://", "https://"))):
        raise Refusal("InvalidDescription.Malformed")
    return text


def idempotent(do: Callable[[RpcCall], dict[str, Value]]) -> Callable[[RpcCall], dict[str, Value]]:
    """Return an operation that answers a repeated ClientToken with the first answer.

    Refuses with IdempotentParameterMismatch for other parameters, and with InvalidClientToken.Malformed.
    """

    @wraps(do)
    def carry_out(call: RpcCall) -> dict[str, Value]:
        token = call.get("ClientToken")
        if not token:
            return do(call)
        if not token.isascii() or len(token) > 64:
            raise Refusal("InvalidClientToken.Malformed")
        tokens = call.state.part(Ecs).tokens
        sent = {name: value for name, value in call.parameters.items() if name not in TRANSMISSION_PARAMETERS}
        before = tokens.get((call.account_id, token))
        if before is None:
            before = tokens[call.account_id, token] = UsedToken(parameters=sent, answer=do(call))
        elif before.parameters != sent:
            raise Refusal("IdempotentParameterMismatch")
        return dict(before.answer)

    return carry_out


def changed_attributes(call: RpcCall) -> dict[str, str]:
    """Return the attributes that ModifyImageAttribute changes, by their names in ATTRIBUTES."""
    return _chosen(call, {name: one.changes for name, one in ATTRIBUTES.items()})


def _chosen(call: RpcCall, values: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the given attributes by name. `values` are the allowed values; other values are refused."""
    known = ((name, ATTRIBUTES[name], allowed) for name, allowed in values.items() if allowed)
    chosen = {name: call.choice(one.parameter, allowed, one.code) for name, one, allowed in known}
    return {name: value for name, value in chosen.items() if value}


def _platform(call: RpcCall) -> str:
    platform = call.get("Platform", "Others Linux")
    if platform not in PLATFORMS:
        raise Refusal("InvalidPlatform.Malformed")
    return platform


def _os_type(call: RpcCall, *, platform: str) -> str:
    """Return OSType in lower case. It is case-insensitive: the old page has capitals, the new page has none."""
    given = call.get("OSType").lower()
    if given not in ("", "windows", "linux"):
        raise Refusal("InvalidOSType.Malformed")
    return given or ("windows" if platform in WINDOWS else "linux")


def _check_platform_architecture(architecture: str, *, platform: str, os_type: str) -> None:
    windows_on_arm = architecture == "arm64" and (platform in WINDOWS or os_type == "windows")
    if windows_on_arm or (architecture == "i386" and platform in _NEVER_I386):
        raise Refusal("InvalidArchitecture.PlatformUnsupported")


def _boot_mode(call: RpcCall, *, architecture: str) -> str:
    default = "UEFI" if architecture == "arm64" else "BIOS"
    mode = call.choice("BootMode", ("BIOS", "UEFI"), "InvalidBootMode.Malformed") or default
    if architecture == "arm64" and mode != "UEFI":
        raise Refusal("InvalidBootMode.NotSupport")
    return mode


def _license(call: RpcCall, *, platform: str) -> str:
    # "Auto" is on the page of 2025 (as the default), but not on the page of 2026. It is accepted.
    given = call.choice("LicenseType", ("Auto", "Aliyun", "BYOL"), "InvalidLicenseType.NotSupported")
    if given == "Aliyun" and platform in _BYOL_ONLY:
        raise Refusal("InvalidLicenseType.BYOLOnly")
    return given or "Auto"


def resource_group(call: RpcCall) -> str:
    """Return the ResourceGroupId, or an empty string. Refuses with InvalidResourceGroup.NotFound."""
    group = call.get("ResourceGroupId")
    if group and group not in call.state.settings.resource_groups:
        raise Refusal("InvalidResourceGroup.NotFound")
    return group


def _detection(call: RpcCall, *, platform: str, os_type: str) -> str:
    strategy = call.choice("DetectionStrategy", ("Standard",), "InvalidParameter.DetectionStrategy")
    if strategy and (os_type == "windows" or platform in WINDOWS):
        raise Refusal("ImageCheckUnsupported.WindowsImage")
    return strategy


def _disks(call: RpcCall) -> tuple[DiskMapping, ...]:
    groups = call.groups("DiskDeviceMapping")
    numbers = [number for number in groups if number <= MAX_DISKS]  # the service ignores higher numbers silently
    if not numbers:
        raise Refusal("MissingParameter.DiskDeviceMapping")
    return tuple(_disk(number, groups.get(number, {})) for number in range(1, max(numbers) + 1))


def _disk(number: int, fields: Mapping[str, str]) -> DiskMapping:
    for name in ("OSSBucket", "OSSObject"):
        if not fields.get(name):
            raise Refusal("MissingParameter", f"DiskDeviceMapping.{number}.{name}")
    bucket, key = fields["OSSBucket"], fields["OSSObject"]
    if not BUCKET_NAME.fullmatch(bucket):
        raise Refusal("InvalidOSSBucket.Malformed")
    if len(key.encode()) > MAX_KEY_BYTES or key.startswith(("/", "\\")):
        raise Refusal("InvalidOSSObject.Malformed")
    # Keys without a suffix are accepted: clients in production use them, and they are the default of Packer.
    if "." in key.rpartition("/")[2] and not key.lower().endswith(_SUFFIXES):
        raise Refusal("UnsupportedSuffix.OSSObject")
    disk_format = fields.get("Format", "").upper()  # tools that work with the service send it in lower case
    if disk_format and disk_format not in formats.FORMATS:
        raise Refusal("InvalidImageFormat.Malformed")
    if fields.get("Device") and not _DEVICE.fullmatch(fields["Device"]):
        raise Refusal("InvalidParameter.Malformed", "DiskDeviceMapping.n.Device ")
    return DiskMapping(number=number, bucket=bucket, key=key, format=disk_format, size_gib=_size(number, fields))


def _size(number: int, fields: Mapping[str, str]) -> int | None:
    text = fields.get("DiskImageSize") or fields.get("DiskImSize", "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) not in SIZES_GIB:
        raise out_of_range(number)
    return int(text)


def out_of_range(number: int) -> Refusal:
    """Return the refusal of an invalid size of the disk with this number."""
    if number > 1:
        return Refusal("InvalidDataDiskSize")
    low, high = SIZES_GIB[0], SIZES_GIB[-1]
    return Refusal("InvalidImageSize", f'The specified "DiskDeviceMapping.1.DiskImageSize" should be {low} to {high}.')


def tags_of(call: RpcCall, *, duplicate: str) -> dict[str, str]:
    """Return the tags of a call. Refuses keys that differ only in case with `duplicate`."""
    groups = call.groups("Tag")
    if any(number > MAX_TAGS for number in groups):
        raise Refusal("NumberExceed.Tags")
    tags: dict[str, str] = {}
    for group in groups.values():
        key, value = group.get("Key", ""), group.get("Value", "")
        _check_key(key)
        if len(value) > MAX_TAG_CHARS or value.startswith("acs:") or _has_url(value):
            raise Refusal("InvalidTagValue.Malformed")
        if key.lower() in (taken.lower() for taken in tags):
            raise Refusal(duplicate)
        tags[key] = value
    return tags


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= MAX_TAG_CHARS or key.startswith(("aliyun", "acs:")) or _has_url(key):
        raise Refusal("InvalidTagKey.Malformed")


def _has_url(text: str) -> bool:
    return "http://" in text or "https://" in text


def region_of(call: RpcCall) -> str:
    """Return the region of a call. Refuses with MissingParameter or InvalidRegionId.NotFound."""
    region = call.required("RegionId")
    if region not in REGIONS or region in call.state.settings.closed_regions:
        raise Refusal("InvalidRegionId.NotFound")
    return region


def paged(
    call: RpcCall, outer: str, inner: str, found: Sequence[T], show: Callable[[T], Value], *, high: int = 100
) -> dict[str, Value]:
    """Return the requested page of a list: {outer: {inner: [...]}}, with its numbers."""
    number, size = call.number("PageNumber", default=1), call.number("PageSize", default=10, high=high)
    page: list[Value] = [show(each) for each in found[(number - 1) * size : number * size]]
    return {"PageNumber": number, "PageSize": size, "TotalCount": len(found), outer: {inner: page}}


def json_ids(call: RpcCall, name: str, code: str) -> tuple[str, ...]:
    """Return the ids in a JSON list of at most 100 strings. Refuses with `code`."""
    text = call.get(name)
    if not text:
        return ()
    try:
        ids = json.loads(text)
    except ValueError as error:
        raise Refusal(code, name) from error
    if not isinstance(ids, list) or len(ids) > MAX_LISTED or not all(isinstance(each, str) for each in ids):
        raise Refusal(code, name)
    return tuple(ids)


def has_tags(tags: Mapping[str, str], wanted: Iterable[tuple[str, str | None]]) -> bool:
    """Return whether `tags` contains all wanted tags. A wanted value of None matches every value."""
    return all(key in tags and value in (None, tags[key]) for key, value in wanted)


def tag_filter(call: RpcCall) -> tuple[tuple[str, str | None], ...]:
    """Return the tags by which a call filters. Refuses malformed ones."""
    groups = call.groups("Tag")
    if any(number > MAX_TAGS for number in groups):
        raise Refusal("InvalidTagCount")
    if any(not group.get("Key") for group in groups.values()):
        raise Refusal("InvalidTag.Mismatch")
    return tuple((group["Key"], group.get("Value") or None) for group in groups.values())


def shown_tags(tags: Mapping[str, str]) -> Value:
    """Return tags in the form of answers."""
    return {"Tag": [{"TagKey": key, "TagValue": value} for key, value in tags.items()]}
