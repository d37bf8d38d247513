"""This file imports images through ECS."""

import itertools
from collections.abc import Iterator, Mapping

from aliyunsdkecs.request.v20140526.CancelTaskRequest import CancelTaskRequest
from aliyunsdkecs.request.v20140526.DeleteImageRequest import DeleteImageRequest
from aliyunsdkecs.request.v20140526.DescribeImagesRequest import DescribeImagesRequest
from aliyunsdkecs.request.v20140526.DescribeRegionsRequest import DescribeRegionsRequest
from aliyunsdkecs.request.v20140526.DescribeTaskAttributeRequest import DescribeTaskAttributeRequest
from aliyunsdkecs.request.v20140526.DescribeTasksRequest import DescribeTasksRequest
from aliyunsdkecs.request.v20140526.ModifyImageAttributeRequest import ModifyImageAttributeRequest

from aliyun_import.cloud.credentials.source import CredentialsSource
from aliyun_import.cloud.ecs.parse import image_of, task_of
from aliyun_import.cloud.ecs.request import import_request, tag_list
from aliyun_import.cloud.endpoints import Endpoints
from aliyun_import.cloud.transport.config import Timeouts
from aliyun_import.cloud.transport.rpc import RpcClient
from aliyun_import.cloud.transport.rpc_response import Fields, objects, text, whole
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.image import Image, StartedImport, Task
from aliyun_import.model.request import ImportCall

# Without it, DescribeImages shows Available images only, and one that is being imported "does not exist".
_ALL_STATUSES = "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated"
# The largest page of DescribeTasks and DescribeImages.
_PAGE = 100
# The two documented spellings of "this dry run would have passed", which arrive as errors.
_DRY_RUN_PASSED = ("DRYRUN.SUCCESS", "DryRunOperation")


class EcsImages:
    """ports.ImageService through ECS, in the region of the endpoints."""

    def __init__(
        self, *, endpoints: Endpoints, credentials: CredentialsSource, timeouts: Timeouts | None = None
    ) -> None:
        self._region = endpoints.region
        self._client = RpcClient(
            "ECS", endpoints.ecs, region=endpoints.region, credentials=credentials, timeouts=timeouts or Timeouts()
        )

    def import_image(self, call: ImportCall) -> StartedImport | None:
        """Call ImportImage once. None is the answer to a dry run that would have passed (in both spellings)."""
        asked = call.request
        operands = {
            "region": asked.region,
            "name": asked.name,
            "role": asked.role_name or "",
            "bucket": ", ".join(dict.fromkeys(one.bucket for one in call.mappings)),
            "key": ", ".join(one.key for one in call.mappings),
        }
        try:
            answer = self._client.call(import_request(call), **operands)
        except AliyunImportError as error:
            if call.dry_run and error.details.get("service_code") in _DRY_RUN_PASSED:
                return None
            raise
        return StartedImport(
            # The older documents call it ImportTaskId.
            task_id=text(answer, "TaskId") or text(answer, "ImportTaskId"),
            image_id=text(answer, "ImageId"),
            request_id=text(answer, "RequestId"),
        )

    def task(self, task_id: str) -> Task | None:
        """Tell how a task stands; None when the service does not know it (yet)."""
        request = DescribeTaskAttributeRequest()
        request.set_TaskId(task_id)
        try:
            answer = self._client.call(request, region=self._region, task=task_id)
        except AliyunImportError as error:
            if error.details.get("service_code") == "InvalidTaskId.NotFound":
                return None
            raise
        # An empty answer is how a task that is seconds old may look.
        return task_of(answer) if text(answer, "TaskStatus") else None

    def tasks(self) -> tuple[Task, ...]:
        """List the ImportImage tasks of the account in this region, newest first, all pages."""
        found: list[Task] = []
        for page in self._pages(DescribeTasksRequest, "TaskSet", "Task", {"TaskAction": "ImportImage"}):
            found += [task_of(one) for one in page]
        return tuple(sorted(found, key=lambda one: one.created, reverse=True))

    def cancel_task(self, task_id: str) -> None:
        """Cancel a task that is running."""
        request = CancelTaskRequest()
        request.set_TaskId(task_id)
        self._client.call(request, region=self._region, task=task_id)

    def image(self, image_id: str) -> Image | None:
        """Tell how an image stands, whatever its status; None when there is none."""
        found = (one for one in self._images({"ImageId": image_id}) if text(one, "ImageId") == image_id)
        return next((image_of(one) for one in found), None)

    def images(self, *, name: str | None = None, tags: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Find our own images by exact name and/or tags, whatever their status."""
        wanted = {"ImageOwnerAlias": "self"} | ({"ImageName": name} if name else {})
        found = tuple(image_of(one) for one in self._images(wanted, tags))
        # ImageName is a fuzzy filter there.
        return tuple(one for one in found if name is None or one.name == name)

    def rename_image(self, image_id: str, *, name: str) -> None:
        """Give an image another name."""
        request = ModifyImageAttributeRequest()
        request.set_ImageId(image_id)
        request.set_ImageName(name)
        self._client.call(request, region=self._region, image=image_id, name=name)

    def delete_image(self, image_id: str) -> None:
        """Delete an image; fine when there is none. Its snapshot stays."""
        request = DeleteImageRequest()
        request.set_ImageId(image_id)
        try:
            self._client.call(request, region=self._region, image=image_id)
        except AliyunImportError as error:
            if error.details.get("service_code") != "InvalidImageId.NotFound":
                raise

    def regions(self) -> tuple[str, ...]:
        """List the region ids open to this account."""
        answer = self._client.call(DescribeRegionsRequest(), region=self._region)
        return tuple(text(one, "RegionId") for one in objects(answer, "Regions", "Region"))

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
        """Ask for page after page until TotalCount is reached, or a page has nothing."""
        seen = 0
        for number in itertools.count(1):
            request = kind()
            for name, value in {**wanted, "PageNumber": str(number), "PageSize": str(_PAGE)}.items():
                getattr(request, f"set_{name}")(value)
            if tags:
                request.set_Tags(tag_list(tags))
            answer = self._client.call(request, region=self._region)
            page = objects(answer, outer, inner)
            yield page
            seen += len(page)
            total = whole(answer, "TotalCount")
            if not page or (seen >= total if total is not None else len(page) < _PAGE):
                return
