"""This file is what ECS does with images that are there: DescribeImages, ModifyImageAttribute, DeleteImage, tags."""

from aliyun_import.sandbox.core.rpc_call import RpcCall
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.serializers import Value
from aliyun_import.sandbox.ecs import rules as ecs_rules
from aliyun_import.sandbox.ecs.filters import ImageFilter
from aliyun_import.sandbox.ecs.regions import region_of
from aliyun_import.sandbox.ecs.rules import MAX_TAGS, tags_of
from aliyun_import.sandbox.ecs.serializers import shown_image
from aliyun_import.sandbox.ecs.state import Ecs, Image
from aliyun_import.sandbox.ecs.system_images import system_images
from aliyun_import.sandbox.importer import engine as images

MAX_PAGE_SIZE = 100
MAX_TAGGED = 50


def describe_images(call: RpcCall) -> dict[str, Value]:
    """List the account's images, newest first, then the system's: only Available ones unless Status says otherwise."""
    region = region_of(call)
    images.settle(call.state)
    asked = ImageFilter.of(call)
    number = call.number("PageNumber", default=1)
    size = call.number("PageSize", default=10, high=MAX_PAGE_SIZE)
    if call.flag("DryRun"):
        raise Refusal("DryRunOperation")
    known = (*call.state.part(Ecs).images_of(call.account_id, region), *system_images(region))
    found = [image for image in known if asked.wants(image)]
    settings, now_s = call.state.settings, call.state.clock.now_s()
    page: list[Value] = [
        shown_image(image, settings=settings, now_s=now_s) for image in found[(number - 1) * size : number * size]
    ]
    return {
        "PageNumber": number,
        "PageSize": size,
        "TotalCount": len(found),
        "RegionId": region,
        "Images": {"Image": page},
    }


def modify_image_attribute(call: RpcCall) -> dict[str, Value]:
    """Change what is given of an image."""
    image = _image(call)
    name = ecs_rules.image_name(call.get("ImageName"))
    description = ecs_rules.image_description(call.get("Description"))
    status = _allowed(call, "Status", ("Available", "Deprecated"))
    boot_mode = _allowed(call, "BootMode", ("BIOS", "UEFI", "UEFI-Preferred"))
    license_type = _allowed(call, "LicenseType", ("BYOL",))
    nvme, imds = ecs_rules.nvme_support(call), ecs_rules.imds_support(call)
    if image.imds_support == "v2" and imds == "v1":
        raise Refusal("InvalidParameter.FeaturesImdsSupport")
    if status and image.status not in ("Available", "Deprecated"):
        raise Refusal("IncorrectImageStatus")
    others = call.state.part(Ecs).images_of(image.account_id, image.region)
    if name and any(other.name == name and other is not image for other in others):
        raise Refusal("InvalidImageName.Duplicated")
    if call.flag("DryRun"):
        raise Refusal("DryRunOperation")
    image.name = name or image.name
    image.description = description if "Description" in call.parameters else image.description
    image.status = status or image.status
    image.boot_mode = boot_mode or image.boot_mode
    image.license_type = license_type or image.license_type
    image.nvme_support = nvme or image.nvme_support
    image.imds_support = imds or image.imds_support
    image.family = call.get("ImageFamily", image.family)
    return {}


def delete_image(call: RpcCall) -> dict[str, Value]:
    """Delete an image that is not being imported; its snapshots stay.

    The text of the page has it that an image which is not there is ignored, its table has a code for it: the code is
    answered, because a client has to take both.
    """
    image = _image(call)
    if image.status == "Creating":
        raise Refusal("ImageIsImporting")
    if call.flag("DryRun"):
        raise Refusal("DryRunOperation")
    del call.state.part(Ecs).images[image.id]
    return {}


def tag_resources(call: RpcCall) -> dict[str, Value]:
    """Put tags on images; one that is there gets the new value."""
    region = region_of(call)
    images.settle(call.state)
    if call.required("ResourceType").lower() != "image":
        raise Refusal("InvalidResourceType.NotFound")
    ids = call.numbered("ResourceId")
    if not ids:
        raise Refusal("MissingParameter", "ResourceId.1")
    if max(ids) > MAX_TAGGED:
        raise Refusal("NumberExceed.ResourceIds")
    tags = tags_of(call, duplicate="Duplicate.TagKey")
    if not tags:
        raise Refusal("MissingParameter", "Tag.1.Key")
    found = [_tagged(call, region, image_id) for image_id in ids.values()]
    if any(len(image.tags | tags) > MAX_TAGS for image in found):
        raise Refusal("NumberExceed.Tags")
    for image in found:
        image.tags |= tags
    return {}


def _tagged(call: RpcCall, region: str, image_id: str) -> Image:
    found = call.state.part(Ecs).images.get(image_id)
    if found is None or (found.account_id, found.region) != (call.account_id, region):
        raise Refusal("InvalidResourceId.NotFound")
    return found


def _image(call: RpcCall) -> Image:
    region = region_of(call)
    images.settle(call.state)
    return call.state.part(Ecs).image(call.account_id, region, call.required("ImageId"))


def _allowed(call: RpcCall, name: str, values: tuple[str, ...]) -> str:
    value = call.get(name)
    if value and value not in values:
        raise Refusal("InvalidParameter", name)
    return value
