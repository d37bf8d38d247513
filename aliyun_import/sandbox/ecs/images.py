"""Operations on images: list, change, delete, families, sharing."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.ecs import rules
from aliyun_import.sandbox.ecs.catalog import InstanceType, instance_type, starts
from aliyun_import.sandbox.ecs.copies import is_copied
from aliyun_import.sandbox.ecs.import_export import is_exported
from aliyun_import.sandbox.ecs.instances import refresh
from aliyun_import.sandbox.ecs.rules import region_of
from aliyun_import.sandbox.ecs.state import ATTRIBUTES, REGIONS, Ecs, Image, owned, system_images

MAX_ACCOUNTS_PER_CALL = 10  # the service ignores further ones without an error
MAX_ACCOUNTS = 50  # of one image
LAUNCH_PERMISSIONS = ("HIDDEN", "EXPLICIT", "VISIBLE")
_ACCOUNT = re.compile(r"[0-9]{15,17}")
MAX_IN_FAMILY = 100
MAX_FAMILIES = 100
_READY = ("Available", "Deprecated")
_ALIASES = ("system", "self", "others", "marketplace")
STATUSES = frozenset({"Creating", "Waiting", "Available", "UnAvailable", "CreateFailed", "Deprecated"})


def describe_images(call: RpcCall) -> dict[str, Value]:
    """DescribeImages: own images, newest first, then shared and system images; by default only Available ones."""
    region = region_of(call)
    refresh(call.state)
    requested = ImageFilter.of(call)
    call.end_dry_run()
    ecs = call.state.part(Ecs)
    known = (
        *owned(ecs.images, call.account_id, region),
        *ecs.shared_images(call.account_id, region),
        *system_images(region),
    )
    in_use = {each.image_id for each in owned(ecs.instances, call.account_id, region)}
    found = [
        image
        for image in known
        if requested.accepts(image, in_use=image.id in in_use)
        and call.get("Usable").lower() in ("", str(is_usable(call, image)).lower())
    ]
    return rules.paged(call, "Images", "Image", found, partial(shown_image, call)) | {"RegionId": region}


def modify_image_attribute(call: RpcCall) -> dict[str, Value]:
    """ModifyImageAttribute: change the given attributes."""
    image = _image(call)
    name = rules.image_name(call.get("ImageName"))
    description = rules.image_description(call.get("Description"))
    status = call.choice("Status", ("Available", "Deprecated"), "InvalidParameter")
    attributes: dict[str, Any] = rules.changed_attributes(call)
    if image.imds_support == "v2" and attributes.get("imds_support") == "v1":
        raise Refusal("InvalidParameter.FeaturesImdsSupport")
    family = rules.image_name(call.get("ImageFamily"))
    if status and image.status not in ("Available", "Deprecated"):
        raise Refusal("IncorrectImageStatus")
    if status == "Deprecated" and image.shared_with:
        raise Refusal("ImageUseShared")
    others = [
        each for each in owned(call.state.part(Ecs).images, image.account_id, image.region) if each.id != image.id
    ]
    if name and any(other.name == name for other in others):
        raise Refusal("InvalidImageName.Duplicated")
    _check_family(family, others)
    call.end_dry_run()
    call.state.part(Ecs).images[image.id] = replace(
        image,
        name=name or image.name,
        description=description if "Description" in call.parameters else image.description,
        status=status or image.status,
        family=family or image.family,
        **attributes,
    )
    return {}


def _check_family(family: str, others: Iterable[Image]) -> None:
    families = Counter(each.family for each in others if each.family)
    if family and families[family] >= MAX_IN_FAMILY:
        raise Refusal("QuotaExceed.ImageFamily", f"the family {family} has {MAX_IN_FAMILY} images")
    if family and family not in families and len(families) >= MAX_FAMILIES:
        raise Refusal("QuotaExceed.ImageFamily", f"there are {MAX_FAMILIES} families")


def describe_image_from_family(call: RpcCall) -> dict[str, Value]:
    """DescribeImageFromFamily: the newest Available image of a family, if there is one."""
    region = call.required("RegionId")
    if region not in REGIONS:
        raise Refusal("InvalidRegionId.NotFound", status=404)
    refresh(call.state)
    newest = call.state.part(Ecs).newest_of_family(call.account_id, region, call.required("ImageFamily"))
    return {} if newest is None else {"Image": shown_image(call, newest)}


def delete_image(call: RpcCall) -> dict[str, Value]:
    """DeleteImage: delete an image that is not in use and not shared. Its snapshots stay.

    According to the text of the page, a missing image is ignored; according to its table, it is refused. It is refused,
    because a client must handle both.
    """
    image, ecs, force = _image(call), call.state.part(Ecs), call.flag("Force")
    if is_copied(ecs, image):
        raise Refusal("OperationDenied.ImageCopying")
    if image.status == "Creating":
        raise Refusal("ImageIsImporting")
    if is_exported(ecs, image):
        raise Refusal("ImageIsExporting")
    if image.shared_with:
        raise Refusal("ImageUseShared")
    if not force and any(each.image_id == image.id for each in ecs.instances.values()):
        raise Refusal("ImageUsingByInstance")
    call.end_dry_run()
    held_until_s = call.state.clock.now_s() + call.state.settings.snapshot_held_s
    for disk in image.disks:
        snapshot = ecs.snapshots.get(disk.snapshot_id)
        if snapshot is not None:
            ecs.snapshots[snapshot.id] = replace(snapshot, held_until_s=held_until_s)
    del ecs.images[image.id]
    return {}


def _image(call: RpcCall) -> Image:
    region = region_of(call)
    refresh(call.state)
    return call.state.part(Ecs).image(call.account_id, region, call.required("ImageId"))


@dataclass(frozen=True, kw_only=True)
class ImageFilter:
    """Filters of a DescribeImages call. An image must match all of them."""

    statuses: frozenset[str]
    ids: frozenset[str]
    name_part: str
    alias: str
    public: bool
    equal: Mapping[str, str]
    """Attribute of Image -> required value."""
    snapshot_id: str
    tags: tuple[tuple[str, str | None], ...]
    created: tuple[str, str]
    """Earliest and latest time of creation; an empty string is no limit."""
    usage: str
    """`instance`: only images that instances use; `none`: only others; empty: all."""
    owner_id: str
    type: InstanceType | None
    """Instance type on which the image must start."""

    @classmethod
    def of(cls, call: RpcCall) -> "ImageFilter":
        """Return the filters of a call. Refuses invalid values."""
        equal = {
            "family": call.get("ImageFamily"),
            "resource_group": call.get("ResourceGroupId"),
            "architecture": call.choice("Architecture", ("i386", "x86_64", "arm64"), "InvalidArchitecture"),
            "os_type": call.choice("OSType", ("windows", "linux"), "InvalidOSType"),
        }
        alias = call.choice("ImageOwnerAlias", _ALIASES, "InvalidImageOwnerAlias.ValueNotSupported")
        return cls(
            statuses=_statuses(call),
            ids=frozenset(call.listed("ImageId")),
            name_part=call.get("ImageName").strip("*").lower(),
            alias=alias,
            public=call.flag("IsPublic"),
            equal={name: value for name, value in equal.items() if value},
            snapshot_id=call.get("SnapshotId"),
            tags=rules.tag_filter(call),
            created=_created(call),
            usage=call.choice("Usage", ("instance", "none"), "InvalidUsage"),
            owner_id=call.get("ImageOwnerId"),
            type=instance_type(call.get("InstanceType")) if call.get("InstanceType") else None,
        )

    def accepts(self, image: Image, *, in_use: bool) -> bool:
        """Return whether an image matches all filters."""
        low, high = self.created
        created = f"{utc_seconds(image.created_s)[:16]}Z"  # the filters have a resolution of minutes
        return (
            image.status in self.statuses
            and self.alias in ("", image.owner_alias)
            and (not self.public or image.owner_alias == "system")
            and self.usage in ("", "instance" if in_use else "none")
            and self.owner_id in ("", image.account_id)
            and (self.type is None or starts(image, self.type))
            and (not self.ids or image.id in self.ids)
            and self.name_part in image.name.lower()
            and all(getattr(image, name) == value for name, value in self.equal.items())
            and (not self.snapshot_id or any(disk.snapshot_id == self.snapshot_id for disk in image.disks))
            and rules.has_tags(image.tags, self.tags)
            and (not low or low <= created)
            and (not high or created <= high)
        )


def _statuses(call: RpcCall) -> frozenset[str]:
    """Return the requested statuses, by default only Available."""
    if call.get("Usable"):
        call.flag("Usable")
        call.required("Status")
    requested = frozenset(call.listed("Status")) or frozenset({"Available"})
    if requested == {"ALL"}:
        return STATUSES
    if not requested <= STATUSES:
        raise Refusal("InvalidParamter", "Status")
    return requested


def _created(call: RpcCall) -> tuple[str, str]:
    bounds = {"CreationStartTime": "", "CreationEndTime": ""}
    for group in call.groups("Filter").values():
        if group.get("Key") not in bounds:
            raise Refusal("InvalidFilterKey.NotFound")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", group.get("Value", "")):
            raise Refusal("InvalidParamter", "Filter")
        bounds[group["Key"]] = group["Value"]
    return bounds["CreationStartTime"], bounds["CreationEndTime"]


def shown_image(call: RpcCall, image: Image) -> dict[str, Value]:
    """Return the fields of an image. Fields without a value in the sandbox are empty or false."""
    owner: Value = int(image.account_id) if image.account_id.isdecimal() else image.account_id
    fields: dict[str, Value] = {
        "ImageId": image.id,
        "ImageName": image.name,
        **_attributes(image),
        "Status": image.status,
        "Progress": _progress(image),
        "Size": image.disks[0].size_gib,
        "CreationTime": utc_seconds(image.created_s),
        "OSName": f"{image.platform} (sandbox)",
        "OSNameEn": f"{image.platform} (sandbox)",
        "ImageOwnerAlias": image.owner_alias,
        "ImageOwnerId": owner,
        "Usage": "instance" if _in_use(call, image) else "none",
        "IsSelfShared": str(bool(image.shared_with) and image.account_id == call.account_id),
        "IsCopied": image.copy is not None,
        "IsSubscribed": False,
        "IsSupportCloudinit": False,
        "IsSupportIoOptimized": True,
        "IsPublic": image.owner_alias == "system",
        "Usable": is_usable(call, image),
        "ImageVersion": "",
        "ProductCode": "",
        "ImageFamily": image.family,
        "LoginAsNonRootSupported": False,
        "SupplierName": "",
        "Tags": rules.shown_tags(image.tags),
        "DiskDeviceMappings": {"DiskDeviceMapping": _disks(image)},
    }
    return fields | _detection(image, settings=call.state.settings, now_s=call.state.clock.now_s())


def _attributes(image: Image) -> dict[str, Value]:
    """Return the attributes in the form of answers: Features.NvmeSupport is a member of Features."""
    plain: dict[str, Value] = {}
    features: dict[str, Value] = {}
    for name, one in ATTRIBUTES.items():
        if one.shown:
            group = features if one.parameter.startswith("Features.") else plain
            group[one.parameter.removeprefix("Features.")] = getattr(image, name)
    return {**plain, "Features": features}


def is_usable(call: RpcCall, image: Image) -> bool:
    """Return whether an image can be started and copied."""
    return image.usable(now_s=call.state.clock.now_s(), after_s=call.state.settings.image_usable_s)


def _in_use(call: RpcCall, image: Image) -> bool:
    instances = owned(call.state.part(Ecs).instances, call.account_id, image.region)
    return any(each.image_id == image.id for each in instances)


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
            "Encrypted": disk.encrypted,
        }
        for index, disk in enumerate(image.disks)
    ]


def _detection(image: Image, *, settings: Settings, now_s: float) -> dict[str, Value]:
    """Return the state of DetectionStrategy=Standard. Its findings are in the settings; the guest is not inspected."""
    if not image.detection or image.ready_s is None or image.status not in _READY:
        return {}
    done = now_s >= image.ready_s + settings.image_check_s
    items: list[Value] = [dict(item) for item in settings.image_check_items] if done else []
    return {"DetectionOptions": {"Status": "Finished" if done else "Processing", "Items": {"Item": items}}}


def modify_image_share_permission(call: RpcCall) -> dict[str, Value]:
    """ModifyImageSharePermission: share an Available image with accounts, and stop sharing it."""
    image = _image(call)
    added, removed = (_accounts(call, name) for name in ("AddAccount", "RemoveAccount"))
    permission = call.choice("LaunchPermission", LAUNCH_PERMISSIONS, "InvalidParameter")
    if permission and not call.state.settings.launch_permission_allowed:
        raise Refusal("UserNotInTheWhiteList")
    if added and image.status != "Available":
        raise Refusal("IncorrectImageStatus")
    if added and any(disk.encrypted and not disk.kms_key for disk in image.disks):
        raise Refusal("OperationDeined.EncryptedSnapshot")
    now_s = call.state.clock.now_s()
    shared = dict.fromkeys(added, now_s) | dict(image.shared_with)
    kept = {account: at_s for account, at_s in shared.items() if account not in removed}
    if len(kept) > MAX_ACCOUNTS:
        raise Refusal("QuotaExceed.ShareImageUser")
    call.end_dry_run()
    permission = permission or image.launch_permission
    call.state.part(Ecs).images[image.id] = replace(image, shared_with=kept, launch_permission=permission)
    return {}


def _accounts(call: RpcCall, name: str) -> list[str]:
    accounts = [account for number, account in call.numbered(name).items() if number <= MAX_ACCOUNTS_PER_CALL]
    if not all(_ACCOUNT.fullmatch(account) for account in accounts):
        raise Refusal("InvalidAccount.NotFound")
    if call.account_id in accounts:
        raise Refusal("InvalidAccount.Forbbiden")
    return accounts


def describe_image_share_permission(call: RpcCall) -> dict[str, Value]:
    """DescribeImageSharePermission: the accounts that an image is shared with."""
    image = _image(call)
    found = list(image.shared_with.items())
    page = rules.paged(call, "Accounts", "Account", found, _shown_account)
    return page | {"RegionId": image.region, "ImageId": image.id, "ShareGroups": {"ShareGroup": []}}


def _shown_account(shared: tuple[str, float]) -> Value:
    return {"AliyunId": shared[0], "Aliyun": "", "SharedTime": utc_seconds(shared[1])}
