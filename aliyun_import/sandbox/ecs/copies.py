"""Operations on copies of images.

The order of the checks of CopyImage is not published. Here it is: regions, source, name in the destination, encryption,
quotas, dry run. A copy inherits neither family nor tags, nor the attributes in `NOT_COPIED`.
"""

from dataclasses import replace

from aliyun_import.sandbox.core.rpc import RpcCall, Value
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs import rules
from aliyun_import.sandbox.ecs.state import NOT_COPIED, REGIONS, Copy, Ecs, Image, ImageDisk, owned, system_images
from aliyun_import.sandbox.importer import engine


@rules.idempotent
def copy_image(call: RpcCall) -> dict[str, Value]:
    """CopyImage: start a copy, and return the id of the new image in the destination."""
    region, destination = call.required("RegionId"), call.required("DestinationRegionId")
    image_id = call.required("ImageId")
    if region not in REGIONS:
        raise Refusal("SourceRegion.NotFound")
    if destination not in REGIONS:
        raise Refusal("DestinationRegion.NotFound")
    name = rules.image_name(call.get("DestinationImageName"))
    description = rules.image_description(call.get("DestinationDescription"))
    tags = rules.tags_of(call, duplicate="Duplicate.TagKey")
    group = rules.resource_group(call)
    engine.refresh(call.state)
    source = _source(call, region, destination, image_id)
    ecs = call.state.part(Ecs)
    if name and any(image.name == name for image in owned(ecs.images, call.account_id, destination)):
        raise Refusal("InvalidImageName.Duplicated")
    encrypted, kms_key = _encryption(call, source, destination)
    rules.check_quotas(call, destination, disks=len(source.disks))
    call.end_dry_run()
    new_id, now_s = ecs.new_id("m"), call.state.clock.now_s()
    copy = Copy(
        source_id=source.id,
        source_region=region,
        duration_s=call.state.settings.copy_s,
        ending=call.state.settings.copy_outcome,
        queued_s=now_s,
    )
    made = replace(
        source,
        id=new_id,
        account_id=call.account_id,
        region=destination,
        name=name or new_id,
        description=description,
        resource_group=group,
        owner_alias="self",
        family="",
        tags=tags,
        disks=tuple(_disk(ecs, disk, encrypted=encrypted, kms_key=kms_key) for disk in source.disks),
        created_s=now_s,
        status="Waiting",
        percent=0,
        ready_s=None,
        copy=copy,
        shared_with={},
        launch_permission="",
        **NOT_COPIED,
    )
    ecs.images[new_id] = made
    ecs.add_snapshots(made)
    engine.refresh(call.state)
    return {"ImageId": new_id}


def _source(call: RpcCall, region: str, destination: str, image_id: str) -> Image:
    """Return the image to copy: an own image, or a shared image for a copy within its region."""
    if any(each.id == image_id for each in system_images(region)):
        raise Refusal("OperationDenied.NotPublished")
    source = call.state.part(Ecs).usable_image(call.account_id, region, image_id)
    if source.account_id != call.account_id and destination != region:
        raise Refusal("OperationDenied.SameRegionOnly")
    usable = source.usable(now_s=call.state.clock.now_s(), after_s=call.state.settings.image_usable_s)
    if source.status != "Available" or not usable:
        raise Refusal("IncorrectImageStatus")
    return source


def _encryption(call: RpcCall, source: Image, destination: str) -> tuple[bool, str]:
    """Return whether the copy is encrypted, and its key. A copy of an encrypted image is always encrypted."""
    key, settings = call.get("KMSKeyId"), call.state.settings
    wanted = call.flag("Encrypted")
    if key and not wanted:
        raise Refusal("InvalidParameter.EncryptedIllegal")
    if key and key not in settings.kms_keys:
        raise Refusal("InvalidParameter.KMSKeyId.NotFound")
    already = source.disks[0].encrypted
    if already and call.get("Encrypted").lower() == "false":
        raise Refusal("InvalidParameter.EncryptedIllegal")
    by_default = destination in settings.regions_encrypted_by_default
    return wanted or already or by_default, key or (source.disks[0].kms_key if already else "")


def _disk(ecs: Ecs, disk: ImageDisk, *, encrypted: bool, kms_key: str) -> ImageDisk:
    snapshot_id = ecs.new_id("s")
    return replace(disk, bucket="", key="", snapshot_id=snapshot_id, encrypted=encrypted, kms_key=kms_key)


def cancel_copy_image(call: RpcCall) -> dict[str, Value]:
    """CancelCopyImage: remove a waiting or running copy, with its snapshots."""
    region = call.required("RegionId")
    if region not in REGIONS:
        raise Refusal("InvalidRegionId.NotFound", status=404)
    engine.refresh(call.state)
    ecs = call.state.part(Ecs)
    image = ecs.image(call.account_id, region, call.required("ImageId"))
    if image.copy is None:
        raise Refusal("ImageCreatedNotFromCopy")
    if image.status not in ("Waiting", "Creating"):
        raise Refusal("IncorrectImageStatus")
    del ecs.images[image.id]
    for disk in image.disks:
        ecs.snapshots.pop(disk.snapshot_id, None)
    return {}


def is_copied(ecs: Ecs, image: Image) -> bool:
    """Return whether an image is the source or the result of an unfinished copy."""
    return any(
        each.copy is not None and each.status in ("Waiting", "Creating") and image.id in (each.id, each.copy.source_id)
        for each in ecs.images.values()
    )
