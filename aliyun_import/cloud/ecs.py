"""Image service: ECS's operations on custom images and import tasks, in one region."""

import itertools
from collections.abc import Iterator, Mapping

from aliyunsdkecs.request.v20140526.CancelTaskRequest import CancelTaskRequest
from aliyunsdkecs.request.v20140526.DeleteImageRequest import DeleteImageRequest
from aliyunsdkecs.request.v20140526.DescribeImagesRequest import DescribeImagesRequest
from aliyunsdkecs.request.v20140526.DescribeRegionsRequest import DescribeRegionsRequest
from aliyunsdkecs.request.v20140526.DescribeTaskAttributeRequest import DescribeTaskAttributeRequest
from aliyunsdkecs.request.v20140526.DescribeTasksRequest import DescribeTasksRequest
from aliyunsdkecs.request.v20140526.ImportImageRequest import ImportImageRequest
from aliyunsdkecs.request.v20140526.ModifyImageAttributeRequest import ModifyImageAttributeRequest

from aliyun_import.cloud.transport.answer import Fields, boolean, integer, objects, single_word, text
from aliyun_import.cloud.transport.rpc import RpcClient, unreadable
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.image import Image, ImageStatus, StartedImport, Task, TaskStatus
from aliyun_import.model.objects import object_url
from aliyun_import.model.request import PLATFORMS, BootMode, DiskMapping, ImportCall, near_platforms, parameters

# Without this parameter, DescribeImages returns Available images only, and not those that are being imported.
_ALL_STATUSES = "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated"
# The largest page of DescribeTasks and DescribeImages.
_PAGE = 100
# 100,000 images or tasks; a list with more pages is treated as endless.
_MAX_PAGES = 1_000
# The two documented codes of a successful dry run, which is answered as an error.
DRY_RUN_PASSED = ("DRYRUN.SUCCESS", "DryRunOperation")
_STATUSES = {status.value.lower(): status for status in TaskStatus}


class EcsImages(RpcClient):
    """services.ImageService through ECS, in one region."""

    service = "ECS"

    def import_image(self, call: ImportCall) -> StartedImport | None:
        """Call ImportImage once. Returns None for a dry run that would have passed."""
        asked = call.request
        operands = {
            "region": asked.region,
            "name": asked.name,
            "role": asked.role_name or "",
            "bucket": ", ".join(dict.fromkeys(one.bucket for one in call.mappings)),
            "key": ", ".join(one.key for one in call.mappings),
            "platforms": ", ".join(near_platforms(asked.platform or "") or PLATFORMS),
        }
        try:
            answer = self._send(import_request(call), **operands)
        except AliyunImportError as error:
            if call.dry_run and error.details.get("service_code") in DRY_RUN_PASSED:
                return None
            raise
        return StartedImport(
            # ImportTaskId is its name in older documents.
            task_id=single_word(answer, "TaskId") or single_word(answer, "ImportTaskId"),
            image_id=single_word(answer, "ImageId"),
            request_id=single_word(answer, "RequestId"),
        )

    def task(self, task_id: str) -> Task | None:
        """Return a task; None if it does not exist, or not yet."""
        try:
            answer = self._call(DescribeTaskAttributeRequest, {"TaskId": task_id}, region=self._region, task=task_id)
        except AliyunImportError as error:
            if error.details.get("service_code") == "InvalidTaskId.NotFound":
                return None
            raise
        # The answer for a task that is seconds old may have no fields.
        return task_of(answer) if text(answer, "TaskStatus") else None

    def tasks(self) -> tuple[Task, ...]:
        """Return the ImportImage tasks of the account in this region, newest first, all pages."""
        found: list[Task] = []
        for page in self._pages(DescribeTasksRequest, "TaskSet", "Task", {"TaskAction": "ImportImage"}):
            found += [task_of(one) for one in page]
        return tuple(sorted(found, key=lambda one: one.created, reverse=True))

    def cancel_task(self, task_id: str) -> None:
        """Cancel a running task."""
        self._call(CancelTaskRequest, {"TaskId": task_id}, region=self._region, task=task_id)

    def image(self, image_id: str) -> Image | None:
        """Return an image in any status; None if it does not exist."""
        found = (one for one in self._images({"ImageId": image_id}) if text(one, "ImageId") == image_id)
        return next((image_of(one) for one in found), None)

    def images(self, *, name: str | None = None, tags: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Return the account's images with this exact name and/or these tags, in any status."""
        wanted = {"ImageOwnerAlias": "self"} | ({"ImageName": name} if name else {})
        found = tuple(image_of(one) for one in self._images(wanted, tags))
        # For the service, ImageName is a fuzzy filter.
        return tuple(one for one in found if name is None or one.name == name)

    def rename_image(self, image_id: str, *, name: str) -> None:
        """Rename an image."""
        wanted = {"ImageId": image_id, "ImageName": name}
        self._call(ModifyImageAttributeRequest, wanted, region=self._region, image=image_id, name=name)

    def set_boot_mode(self, image_id: str, *, mode: BootMode) -> None:
        """Change the boot mode of an image."""
        wanted = {"ImageId": image_id, "BootMode": mode}
        self._call(ModifyImageAttributeRequest, wanted, region=self._region, image=image_id)

    def delete_image(self, image_id: str) -> None:
        """Delete an image, but not its snapshot; succeeds if it does not exist."""
        try:
            self._call(DeleteImageRequest, {"ImageId": image_id}, region=self._region, image=image_id)
        except AliyunImportError as error:
            if error.details.get("service_code") != "InvalidImageId.NotFound":
                raise

    def regions(self) -> tuple[str, ...]:
        """Return the ids of the regions that this account can use."""
        answer = self._call(DescribeRegionsRequest, {}, region=self._region)
        found = tuple(single_word(one, "RegionId") for one in objects(answer, "Regions", "Region"))
        if not found:
            raise unreadable("ECS", "DescribeRegions", "The list of regions is empty.")
        return found

    def _images(self, wanted: Mapping[str, str], tags: Mapping[str, str] | None = None) -> list[Fields]:
        found: list[Fields] = []
        for page in self._pages(DescribeImagesRequest, "Images", "Image", {"Status": _ALL_STATUSES, **wanted}, tags):
            found += page
        return found

    def _pages(
        self,
        kind: type,
        outer: str,
        inner: str,
        wanted: Mapping[str, str],
        tags: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[Fields, ...]]:
        """Yield the pages until TotalCount is reached, or a page is empty."""
        seen = 0
        for number in itertools.count(1):
            page_wanted = {**wanted, "PageNumber": str(number), "PageSize": str(_PAGE)}
            answer = self._call(kind, page_wanted | ({"Tags": tag_list(tags)} if tags else {}), region=self._region)
            page = objects(answer, outer, inner)
            yield page
            seen += len(page)
            total = integer(answer, "TotalCount")
            if not page or (seen >= total if total is not None else len(page) < _PAGE):
                return
            if number == _MAX_PAGES:
                raise unreadable(
                    "ECS",
                    kind.__name__.removesuffix("Request"),
                    f"The list of {outer} has no end: {seen} entries, {number} pages.",
                )


def import_request(call: ImportCall) -> ImportImageRequest:
    """Return the SDK's request for a call.

    A parameter without a value is omitted, so that the service's default applies.
    """
    asked = call.request
    request = ImportImageRequest()
    request.add_query_param("RegionId", asked.region)
    request.set_ImageName(asked.name)
    if asked.role_name:
        request.set_RoleName(asked.role_name)
    request.set_ClientToken(call.client_token)
    request.set_DiskDeviceMappings([_mapping(one) for one in call.mappings])
    for parameter in parameters():
        value = getattr(asked, parameter.name)
        value = value.imported_as if isinstance(value, BootMode) else value
        if value not in (None, parameter.off):
            request.add_query_param(parameter.api, str(value))
    if call.dry_run:
        request.set_DryRun("true")  # for True the SDK would send "True"
    request.set_Tags(tag_list(call.tags))
    return request


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags in the form of requests; in answers the fields are TagKey and TagValue."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _mapping(disk: DiskMapping) -> dict[str, str]:
    fields = {"OSSBucket": disk.bucket, "OSSObject": disk.key}
    if disk.format is not None:
        fields["Format"] = str(disk.format)
    if disk.size_gib is not None:
        fields["DiskImageSize"] = str(disk.size_gib)
    return fields


def task_of(fields: Fields) -> Task:
    """Read a task of DescribeTasks (without percent and reason) or DescribeTaskAttribute (with both).

    Unknown forms are accepted, because the documents differ on names, types and forms.
    """
    status_text = text(fields, "TaskStatus")
    operations = objects(fields, "OperationProgressSet", "OperationProgress")
    failed = next((one for one in operations if text(one, "ErrorCode") or text(one, "ErrorMsg")), {})
    items = [item for one in operations for item in objects(one, "RelatedItemSet", "RelatedItem")]
    related = {text(item, "Name"): text(item, "Value") for item in items}
    percent = integer(fields, "TaskProcess")
    return Task(
        task_id=single_word(fields, "TaskId"),
        action=text(fields, "TaskAction"),
        status=_STATUSES.get(status_text.lower(), TaskStatus.UNKNOWN),
        status_text=status_text,
        # Progress is its name in the oldest document.
        percent=integer(fields, "Progress") if percent is None else percent,
        image_id=single_word(fields, "ResourceId") or related.get("ImageId", ""),
        can_cancel=boolean(fields, "SupportCancel"),
        created=text(fields, "CreationTime"),
        finished=text(fields, "FinishedTime"),
        error_code=text(failed, "ErrorCode"),
        error_message=text(failed, "ErrorMsg"),
    )


def image_of(fields: Fields) -> Image:
    """Read an image of DescribeImages."""
    options = fields.get("DetectionOptions")
    detection = objects(options, "Items", "Item") if isinstance(options, dict) else ()
    disks = objects(fields, "DiskDeviceMappings", "DiskDeviceMapping")
    sources = ((text(disk, "ImportOSSBucket"), text(disk, "ImportOSSObject")) for disk in disks)
    return Image(
        image_id=single_word(fields, "ImageId"),
        name=text(fields, "ImageName"),
        status=ImageStatus(text(fields, "Status")),
        percent=integer(fields, "Progress"),
        size_gib=integer(fields, "Size"),
        created=text(fields, "CreationTime"),
        usable=boolean(fields, "Usable"),
        boot_mode=text(fields, "BootMode"),
        tags={text(tag, "TagKey"): text(tag, "TagValue") for tag in objects(fields, "Tags", "Tag")},
        sources=tuple(object_url(bucket, key) for bucket, key in sources if bucket and key),
        detection=tuple({name: text(item, name) for name in item} for item in detection),
        detection_status=text(options, "Status") if isinstance(options, dict) else "",
    )
