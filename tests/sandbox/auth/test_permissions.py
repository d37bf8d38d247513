"""Tests of the resources for which calls of ECS need permission."""

import json
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.prepared import mapping, prepare
from tests.sandbox.vendor_sdk import call, refusal

NETWORK = {"VSwitchId": "vsw-sandbox-cn-hangzhou-a", "SecurityGroupId": "sg-sandbox-cn-hangzhou"}
RUN = ("acs:ecs:*:*:instance/*", "acs:ecs:*:*:image/*", "acs:ecs:*:*:securitygroup/*", "acs:vpc:*:*:vswitch/*")


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox in which imports take no time."""
    sandbox.state.configure(import_s=0.0, image_ready_s=0.0)
    return prepare(sandbox)


def _limited(sandbox: Sandbox, action: str, *resources: str) -> AccessKey:
    statement = {"Effect": "Allow", "Action": action, "Resource": list(resources)}
    document = json.dumps({"Version": "1", "Statement": [statement]})
    return sandbox.state.add_key(AccessKey(id=f"K{len(resources)}", secret="s", policies=(document,)))


@each_row("missing", [None, *RUN])
def test_running_an_instance_needs_each_of_its_resources(ready: Sandbox, missing: str | None) -> None:
    """A policy without the instance, image, security group or vSwitch refuses the call."""
    image_id = call(ready, "ImportImage", DiskDeviceMappings=[mapping()])["ImageId"]
    key = _limited(ready, "ecs:RunInstances", *(each for each in RUN if each != missing))
    parameters: dict[str, Any] = {"ImageId": image_id, "InstanceType": "ecs.g7.large", "DryRun": "true", **NETWORK}
    expected = (400, "DryRunOperation") if missing is None else (403, "Forbidden.RAM")
    assert refusal(ready, "RunInstances", key=key, **parameters) == expected


@pytest.mark.parametrize(("destination", "allowed"), [("cn-beijing", True), ("cn-shanghai", False)])
def test_copying_needs_permission_in_both_regions(ready: Sandbox, destination: str, allowed: bool) -> None:
    """The permission is for the source image and for images in the destination."""
    image_id = call(ready, "ImportImage", DiskDeviceMappings=[mapping()])["ImageId"]
    resources = (f"acs:ecs:cn-hangzhou:*:image/{image_id}", "acs:ecs:cn-beijing:*:image/*")
    key = _limited(ready, "ecs:CopyImage", *resources)
    parameters: dict[str, Any] = {"ImageId": image_id, "DestinationRegionId": destination, "DryRun": "true"}
    expected = (400, "DryRunOperation") if allowed else (403, "Forbidden.RAM")
    assert refusal(ready, "CopyImage", key=key, **parameters) == expected


@pytest.mark.parametrize("action", ["DescribeImageFromFamily", "DescribeInstanceTypes", "DescribeAvailableResource"])
def test_a_call_without_a_resource_needs_permission_for_all_resources(ready: Sandbox, action: str) -> None:
    """A policy for image/* or instance/* refuses it."""
    fields: dict[str, dict[str, Any]] = {
        "DescribeImageFromFamily": {"ImageFamily": "f"},
        "DescribeAvailableResource": {"DestinationResource": "InstanceType"},
    }
    narrow = _limited(ready, f"ecs:{action}", "acs:ecs:*:*:image/*", "acs:ecs:*:*:instance/*")
    assert refusal(ready, action, key=narrow, **fields.get(action, {})) == (403, "Forbidden.RAM")
    call(ready, action, key=_limited(ready, f"ecs:{action}", "*"), **fields.get(action, {}))
