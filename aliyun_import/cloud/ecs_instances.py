"""Instance service: ECS's operations on instances and instance types, and VPC's on vSwitches, in one region."""

import base64
import binascii
import json
import threading
from collections.abc import Mapping

from aliyunsdkcore.request import RpcRequest
from aliyunsdkecs.request.v20140526.DeleteInstanceRequest import DeleteInstanceRequest
from aliyunsdkecs.request.v20140526.DescribeAvailableResourceRequest import DescribeAvailableResourceRequest
from aliyunsdkecs.request.v20140526.DescribeImageSupportInstanceTypesRequest import (
    DescribeImageSupportInstanceTypesRequest,
)
from aliyunsdkecs.request.v20140526.DescribeInstancesRequest import DescribeInstancesRequest
from aliyunsdkecs.request.v20140526.DescribeInstanceTypesRequest import DescribeInstanceTypesRequest
from aliyunsdkecs.request.v20140526.DescribeSecurityGroupsRequest import DescribeSecurityGroupsRequest
from aliyunsdkecs.request.v20140526.GetInstanceConsoleOutputRequest import GetInstanceConsoleOutputRequest
from aliyunsdkecs.request.v20140526.GetInstanceScreenshotRequest import GetInstanceScreenshotRequest
from aliyunsdkecs.request.v20140526.RunInstancesRequest import RunInstancesRequest

from aliyun_import.cloud.credentials.source import CredentialsSource
from aliyun_import.cloud.ecs import DRY_RUN_PASSED, tag_list
from aliyun_import.cloud.endpoints import Endpoints
from aliyun_import.cloud.transport.answer import Fields, integer, objects, seconds_of, single_word, text
from aliyun_import.cloud.transport.rpc import RpcClient, unreadable
from aliyun_import.cloud.transport.settings import Timeouts
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.boot import (
    BOOT_TEST_TAG,
    Instance,
    InstanceCall,
    InstanceType,
    SecurityGroup,
    SystemDisk,
    VSwitch,
)

# The largest page of these lists; that of DescribeVSwitches is 50.
_PAGE = 100
_MAX_PAGES = 100  # ECS has some thousand instance types
# Boot tests use the smallest type. A page has some 100 types, and there are thousands.
_FEW_PROCESSORS = 4
# For disk categories whose maximum the answer does not state.
_ANY_SIZE = 2**31
# Windows instances and retired types have no console. Before an instance is Running, the code is the second one.
_NO_CONSOLE, _NOT_YET = "NotSupported", "IncorrectInstanceStatus"


class _VSwitches(RpcClient):
    """VPC's operations on vSwitches. ECS's operation of the same name is deprecated and does not filter by tags."""

    service = "VPC"

    def find(self, vswitch_id: str | None) -> tuple[VSwitch, ...]:
        """Return the vSwitch with an id, if it exists; without one, the vSwitches with the tag of boot tests."""
        request = RpcRequest("Vpc", "2016-04-28", "DescribeVSwitches")
        request.set_method("POST")
        request.add_query_param("PageSize", "50")
        if vswitch_id is not None:
            request.add_query_param("VSwitchId", vswitch_id)
        else:
            request.add_query_param("Tag.1.Key", BOOT_TEST_TAG)
        answer = self._send(request, region=self._region, vswitch=vswitch_id or "")
        return tuple(
            VSwitch(id=single_word(one, "VSwitchId"), vpc_id=single_word(one, "VpcId"), zone=single_word(one, "ZoneId"))
            for one in objects(answer, "VSwitches", "VSwitch")
        )


class EcsInstances(RpcClient):
    """services.InstanceService through ECS and VPC, in one region."""

    service = "ECS"

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: CredentialsSource,
        timeouts: Timeouts | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        super().__init__(endpoints=endpoints, credentials=credentials, timeouts=timeouts, cancel=cancel)
        self._vswitches = _VSwitches(endpoints=endpoints, credentials=credentials, timeouts=timeouts, cancel=cancel)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        super().close()
        self._vswitches.close()

    def vswitches(self, vswitch_id: str | None = None) -> tuple[VSwitch, ...]:
        """Return the vSwitch with an id, if it exists; without one, the vSwitches with the tag of boot tests."""
        return self._vswitches.find(vswitch_id)

    def security_groups(self, group_id: str | None = None) -> tuple[SecurityGroup, ...]:
        """Return the security group with an id, if it exists; without one, those with the tag of boot tests."""
        which = {"Tags": [{"Key": BOOT_TEST_TAG}]} if group_id is None else {"SecurityGroupId": group_id}
        wanted = {"PageSize": _PAGE, **which}
        answer = self._call(DescribeSecurityGroupsRequest, wanted, region=self._region, group=group_id or "")
        return tuple(
            SecurityGroup(id=single_word(one, "SecurityGroupId"), vpc_id=single_word(one, "VpcId"))
            for one in objects(answer, "SecurityGroups", "SecurityGroup")
        )

    def small_types(self, architecture: str) -> tuple[InstanceType, ...]:
        """Return the instance types of an architecture that have few processors."""
        wanted: dict[str, object] = {
            "CpuArchitecture": "ARM" if architecture == "arm64" else "X86",
            "MaximumCpuCoreCount": _FEW_PROCESSORS,
            "MaxResults": _PAGE,
        }
        found: list[InstanceType] = []
        used: set[str] = set()
        while True:
            answer = self._call(DescribeInstanceTypesRequest, wanted, region=self._region)
            found += _types(answer)
            token = text(answer, "NextToken")
            if not token:
                return tuple(found)
            if token in used or len(used) == _MAX_PAGES:
                why = f"The list of instance types is endless: page {len(used) + 2} continues at {token}."
                raise unreadable("ECS", "DescribeInstanceTypes", why)
            used.add(token)
            wanted["NextToken"] = token

    def instance_types(self, image_id: str) -> tuple[InstanceType, ...]:
        """Return the instance types that can start an image."""
        wanted = {"ImageId": image_id, "ActionType": "CreateEcs"}
        return _types(self._call(DescribeImageSupportInstanceTypesRequest, wanted, region=self._region, image=image_id))

    def types_in_stock(self, zone: str) -> frozenset[str]:
        """Return the names of the instance types that a zone sells now."""
        return frozenset(single_word(one, "Value") for one in self._available_resources("InstanceType", zone))

    def system_disks(self, instance_type: str, *, zone: str) -> tuple[SystemDisk, ...]:
        """Return the system disks that a zone sells now with an instance type."""
        return tuple(
            SystemDisk(
                category=single_word(one, "Value"),
                min_gib=integer(one, "Min") or 0,
                max_gib=integer(one, "Max") or _ANY_SIZE,
            )
            for one in self._available_resources("SystemDisk", zone, instance_type)
        )

    def run_instance(self, call: InstanceCall) -> str:
        """Call RunInstances once and return the instance id; empty for a dry run that would have passed."""
        operands = {"image": call.image_id, "vswitch": call.vswitch_id, "group": call.security_group_id}
        try:
            answer = self._send(run_request(call), region=self._region, **operands)
        except AliyunImportError as error:
            if call.dry_run and error.details.get("service_code") in DRY_RUN_PASSED:
                return ""
            raise
        listed = answer.get("InstanceIdSets")
        ids = listed.get("InstanceIdSet") if isinstance(listed, Mapping) else None
        if not isinstance(ids, list) or len(ids) != 1:
            raise unreadable("ECS", "RunInstances", "It does not name one instance.")
        return str(ids[0])

    def instance(self, instance_id: str) -> Instance | None:
        """Return an instance, None if it does not exist."""
        found = self._instances({"InstanceIds": json.dumps([instance_id])})
        return next((one for one in found if one.instance_id == instance_id), None)

    def instances(self, *, tags: Mapping[str, str]) -> tuple[Instance, ...]:
        """Return the instances with these tags, at most 100; an empty value stands for any."""
        wanted = [{"Key": key, **({"Value": value} if value else {})} for key, value in tags.items()]
        return self._instances({"Tags": wanted, "PageSize": _PAGE})

    def console(self, instance_id: str) -> bytes | None:
        """Return the console output of an instance, None if the instance has no console."""
        try:
            answer = self._call(GetInstanceConsoleOutputRequest, {"InstanceId": instance_id}, region=self._region)
        except AliyunImportError as error:
            match error.details.get("service_code"):
                case code if code == _NO_CONSOLE:
                    return None
                case code if code == _NOT_YET:
                    return b""
            raise
        return _decoded(answer, "ConsoleOutput", "GetInstanceConsoleOutput")

    def screenshot(self, instance_id: str) -> bytes:
        """Return a picture of the screen of a running instance, as JPEG."""
        request = GetInstanceScreenshotRequest()
        request.set_InstanceId(instance_id)
        request.add_query_param("WakeUp", "true")
        return _decoded(self._send(request, region=self._region), "Screenshot", "GetInstanceScreenshot")

    def delete_instance(self, instance_id: str) -> None:
        """Delete an instance and its disks, running or not; succeeds if it does not exist."""
        wanted = {"InstanceId": instance_id, "Force": "true"}
        try:
            self._call(DeleteInstanceRequest, wanted, region=self._region)
        except AliyunImportError as error:
            if error.details.get("service_code") != "InvalidInstanceId.NotFound":
                raise

    def _instances(self, wanted: Mapping[str, object]) -> tuple[Instance, ...]:
        answer = self._call(DescribeInstancesRequest, wanted, region=self._region)
        return tuple(
            Instance(
                instance_id=single_word(one, "InstanceId"),
                status=text(one, "Status"),
                zone=single_word(one, "ZoneId"),
                is_windows=text(one, "OSType").lower() == "windows",
                created_s=seconds_of(text(one, "CreationTime")),
                tags={single_word(tag, "TagKey"): text(tag, "TagValue") for tag in objects(one, "Tags", "Tag")},
            )
            for one in objects(answer, "Instances", "Instance")
        )

    def _available_resources(self, kind: str, zone: str, instance_type: str = "") -> tuple[Fields, ...]:
        """Return the resources of a kind that a zone sells now."""
        wanted = {
            "DestinationResource": kind,
            "ZoneId": zone,
            "InstanceChargeType": "PostPaid",
            "NetworkCategory": "vpc",
            "IoOptimized": "optimized",
        } | ({"InstanceType": instance_type} if instance_type else {})
        answer = self._call(DescribeAvailableResourceRequest, wanted, region=self._region, zone=zone)
        return tuple(
            one
            for place in objects(answer, "AvailableZones", "AvailableZone")
            if text(place, "ZoneId") == zone
            for resource in objects(place, "AvailableResources", "AvailableResource")
            for one in objects(resource, "SupportedResources", "SupportedResource")
            if text(one, "Status") == "Available" and text(one, "StatusCategory") != "WithoutStock"
        )


def run_request(call: InstanceCall) -> RunInstancesRequest:
    """Return the SDK's request for a call: one instance, pay-as-you-go, without a public address."""
    request = RunInstancesRequest()
    request.set_ImageId(call.image_id)
    request.set_InstanceType(call.instance_type)
    request.set_VSwitchId(call.vswitch_id)
    request.set_SecurityGroupId(call.security_group_id)
    request.set_Amount("1")
    request.set_InstanceChargeType("PostPaid")
    request.set_InternetMaxBandwidthOut("0")
    request.set_SystemDiskCategory(call.disk_category)
    request.set_SystemDiskSize(str(call.disk_gib))
    request.set_InstanceName("aliyun-import-boot-test")
    # By default ECS installs its security agent, which would change the tested system.
    request.set_SecurityEnhancementStrategy("Deactive")
    request.set_AutoReleaseTime(call.released)
    request.set_Tags(tag_list(call.tags))
    if call.dry_run:
        request.set_DryRun("true")
    else:
        request.set_ClientToken(call.client_token)
    return request


def _types(answer: Fields) -> tuple[InstanceType, ...]:
    return tuple(
        InstanceType(
            name=single_word(one, "InstanceTypeId"),
            processors=integer(one, "CpuCoreCount") or 0,
            memory_gib=_number(one, "MemorySize"),
            needs_nvme=text(one, "NvmeSupport") == "required",
        )
        for one in objects(answer, "InstanceTypes", "InstanceType")
    )


def _number(fields: Fields, name: str) -> float:
    try:
        return float(text(fields, name))
    except ValueError:
        return 0.0


def _decoded(answer: Fields, name: str, operation: str) -> bytes:
    try:
        return base64.b64decode(text(answer, name))
    except binascii.Error as error:
        raise unreadable("ECS", operation, f"{name} is not base64.") from error
