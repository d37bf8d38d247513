"""The resources that a call of ECS or STS needs permission for, as a policy names them."""

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
    """Instance, image, security group and vSwitch: a policy that lacks one refuses."""
    image_id = call(ready, "ImportImage", DiskDeviceMappings=[mapping()])["ImageId"]
    key = _limited(ready, "ecs:RunInstances", *(each for each in RUN if each != missing))
    order: dict[str, Any] = {"ImageId": image_id, "InstanceType": "ecs.g7.large", "DryRun": "true", **NETWORK}
    expected = (400, "DryRunOperation") if missing is None else (403, "Forbidden.RAM")
    assert refusal(ready, "RunInstances", key=key, **order) == expected


@pytest.mark.parametrize(("there", "allowed"), [("cn-beijing", True), ("cn-shanghai", False)])
def test_copying_needs_permission_at_both_ends(ready: Sandbox, there: str, allowed: bool) -> None:
    """For the image here and for images there."""
    image_id = call(ready, "ImportImage", DiskDeviceMappings=[mapping()])["ImageId"]
    resources = (f"acs:ecs:cn-hangzhou:*:image/{image_id}", "acs:ecs:cn-beijing:*:image/*")
    key = _limited(ready, "ecs:CopyImage", *resources)
    order: dict[str, Any] = {"ImageId": image_id, "DestinationRegionId": there, "DryRun": "true"}
    expected = (400, "DryRunOperation") if allowed else (403, "Forbidden.RAM")
    assert refusal(ready, "CopyImage", key=key, **order) == expected


@pytest.mark.parametrize("action", ["DescribeImageFromFamily", "DescribeInstanceTypes", "DescribeAvailableResource"])
def test_what_is_about_no_resource_needs_permission_for_all(ready: Sandbox, action: str) -> None:
    """A policy for image/* or instance/* refuses it."""
    fields: dict[str, dict[str, Any]] = {
        "DescribeImageFromFamily": {"ImageFamily": "f"},
        "DescribeAvailableResource": {"DestinationResource": "InstanceType"},
    }
    narrow = _limited(ready, f"ecs:{action}", "acs:ecs:*:*:image/*", "acs:ecs:*:*:instance/*")
    assert refusal(ready, action, key=narrow, **fields.get(action, {})) == (403, "Forbidden.RAM")
    call(ready, action, key=_limited(ready, f"ecs:{action}", "*"), **fields.get(action, {}))
