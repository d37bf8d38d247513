"""This file is the filters of DescribeImages: which images a call wants to see."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from aliyun_import.sandbox.core.rpc_call import RpcCall
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.serializers import utc_seconds
from aliyun_import.sandbox.ecs.rules import MAX_TAGS
from aliyun_import.sandbox.ecs.state import Image

STATUSES = frozenset({"Creating", "Waiting", "Available", "UnAvailable", "CreateFailed", "Deprecated"})
_ALIASES = ("system", "self", "others", "marketplace")


@dataclass(frozen=True, kw_only=True)
class ImageFilter:
    """The filters of one call, all of which an image has to pass."""

    statuses: frozenset[str]
    ids: frozenset[str]
    name_part: str
    alias: str
    public: bool
    equal: Mapping[str, str]
    """Attribute of Image -> the value it must have."""
    snapshot_id: str
    tags: tuple[tuple[str, str | None], ...]
    created: tuple[str, str]
    """The moments between which it was created; empty texts bound nothing."""
    used: bool
    """True: only images that instances use, of which the sandbox has none."""

    @classmethod
    def of(cls, call: RpcCall) -> "ImageFilter":
        """Read the filters of a call; refuses values that the service refuses."""
        equal = {
            "family": call.get("ImageFamily"),
            "resource_group": call.get("ResourceGroupId"),
            "architecture": _known(call, "Architecture", ("i386", "x86_64", "arm64"), "InvalidArchitecture"),
            "os_type": _known(call, "OSType", ("windows", "linux"), "InvalidOSType"),
        }
        alias = _known(call, "ImageOwnerAlias", _ALIASES, "InvalidImageOwnerAlias.ValueNotSupported")
        return cls(
            statuses=_statuses(call),
            ids=frozenset(call.listed("ImageId")),
            name_part=call.get("ImageName").strip("*").lower(),
            alias=alias,
            public=call.flag("IsPublic"),
            equal={name: value for name, value in equal.items() if value},
            snapshot_id=call.get("SnapshotId"),
            tags=_tags(call),
            created=_created(call),
            used=_known(call, "Usage", ("instance", "none"), "InvalidUsage") == "instance",
        )

    def wants(self, image: Image) -> bool:
        """Tell whether an image passes."""
        low, high = self.created
        created = f"{utc_seconds(image.created_s)[:16]}Z"  # the filters have no seconds
        return (
            image.status in self.statuses
            and self.alias in ("", image.owner_alias)
            and (not self.public or image.owner_alias == "system")
            and not self.used
            and (not self.ids or image.id in self.ids)
            and self.name_part in image.name.lower()
            and all(getattr(image, name) == value for name, value in self.equal.items())
            and (not self.snapshot_id or any(disk.snapshot_id == self.snapshot_id for disk in image.disks))
            and all(key in image.tags and value in (None, image.tags[key]) for key, value in self.tags)
            and (not low or low <= created)
            and (not high or created <= high)
        )


def _known(call: RpcCall, name: str, values: tuple[str, ...], code: str) -> str:
    value = call.get(name)
    if value and value not in values:
        raise Refusal(code)
    return value


def _statuses(call: RpcCall) -> frozenset[str]:
    """Available alone unless said otherwise: who looks for an image that is being imported has to say so."""
    if call.get("Usable"):
        call.flag("Usable")
        call.required("Status")
    asked = frozenset(call.listed("Status")) or frozenset({"Available"})
    if asked == {"ALL"}:
        return STATUSES
    if not asked <= STATUSES:
        raise Refusal("InvalidParamter", "Status")
    return asked & {"Available"} if call.flag("Usable") else asked


def _tags(call: RpcCall) -> tuple[tuple[str, str | None], ...]:
    groups = call.groups("Tag")
    if any(number > MAX_TAGS for number in groups):
        raise Refusal("InvalidTagCount")
    if any(not group.get("Key") for group in groups.values()):
        raise Refusal("InvalidTag.Mismatch")
    return tuple((group["Key"], group.get("Value") or None) for group in groups.values())


def _created(call: RpcCall) -> tuple[str, str]:
    bounds = {"CreationStartTime": "", "CreationEndTime": ""}
    for group in call.groups("Filter").values():
        if group.get("Key") not in bounds:
            raise Refusal("InvalidFilterKey.NotFound")
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", group.get("Value", "")):
            raise Refusal("InvalidParamter", "Filter")
        bounds[group["Key"]] = group["Value"]
    return bounds["CreationStartTime"], bounds["CreationEndTime"]
