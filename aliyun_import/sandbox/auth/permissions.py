"""Resources that a call needs permission for, and the decision by the policies of its key.

A policy names resources, and each service has its own: "acs:oss:*:*:BUCKET/KEY", "acs:ecs:*:*:image/*". A resource is
given as its spellings, any of which a policy may use.
"""

from collections.abc import Mapping

from aliyun_import.sandbox.auth.policies import allows
from aliyun_import.sandbox.core.state import AccessKey

Resource = tuple[str, ...]

# "Authorization rules" of ECS: these are authorized for all resources only, so that a policy for image/* refuses them.
_ON_ALL = frozenset({
    "DescribeTasks", "DescribeTaskAttribute", "CancelTask", "DescribeRegions", "DescribeZones",
    "DescribeImageFromFamily", "DescribeAvailableResource", "DescribeInstanceTypes",
})  # fmt: skip
_ECS_TYPES = ("image", "instance", "snapshot")
_RAM_TYPES = ("role", "user", "group")


def may(key: AccessKey, action: str, resources: tuple[Resource, ...]) -> bool:
    """Return whether a key has the permission for an action on all these resources."""
    granted = [key.policies, None if key.session_policy is None else (key.session_policy,)]
    return key.may(action) and all(
        allows(policies, action, resources=spellings)
        for policies in granted
        if policies is not None
        for spellings in resources
    )


def oss_resource(region: str, account_id: str, bucket: str, key: str = "") -> Resource:
    """Return a bucket or an object; OSS writes regions with and without its prefix. Without a bucket it is all."""
    name = f"{bucket}/{key}" if key else bucket or "*"
    return tuple(f"acs:oss:{prefix}{region}:{account_id}:{name}" for prefix in ("", "oss-"))


def rpc_resources(service: str, action: str, parameters: Mapping[str, str], account_id: str) -> tuple[Resource, ...]:
    """Return what a call of ECS, RAM or STS is about, by its parameters and the name of its action."""
    if service == "vpc":
        region = parameters.get("RegionId", "*")
        tagged = [value for name, value in parameters.items() if name.startswith("ResourceId.")] or ["*"]
        return tuple((f"acs:vpc:{region}:{account_id}:vswitch/{each}",) for each in tagged)
    if service == "ecs":
        return _ecs_resources(action, parameters, account_id)
    if parameters.get("RoleArn"):
        return ((parameters["RoleArn"],),)
    owner = "system" if parameters.get("PolicyType") == "System" else account_id
    found = [
        (f"acs:ram::{account_id}:{kind}/{parameters[name]}",)
        for kind in _RAM_TYPES
        if parameters.get(name := f"{kind.title()}Name")
    ]
    if parameters.get("PolicyName"):
        found.append((f"acs:ram::{owner}:policy/{parameters['PolicyName']}",))
    return tuple(found) or ((f"acs:ram::{account_id}:*",),)


def _ecs_resources(action: str, parameters: Mapping[str, str], account_id: str) -> tuple[Resource, ...]:
    base = f"acs:ecs:{parameters.get('RegionId', '*')}:{account_id}"
    if action in _ON_ALL:
        return ((f"{base}:*",),)
    if action == "RunInstances":
        network = f"acs:vpc:{parameters.get('RegionId', '*')}:{account_id}:vswitch/{parameters.get('VSwitchId') or '*'}"
        named = (("image", "ImageId"), ("securitygroup", "SecurityGroupId"))
        used = tuple((f"{base}:{kind}/{parameters.get(name) or '*'}",) for kind, name in named)
        return ((f"{base}:instance/*",), (network,), *used)
    if action == "CopyImage":
        there = f"acs:ecs:{parameters.get('DestinationRegionId', '*')}:{account_id}:image/*"
        return ((f"{base}:image/{parameters.get('ImageId') or '*'}",), (there,))
    if action == "DescribeSecurityGroups":
        return ((f"{base}:securitygroup/{parameters.get('SecurityGroupId') or '*'}",),)
    for kind in _ECS_TYPES:
        if kind.title() in action:
            ids = parameters.get(f"{kind.title()}Id") or "*"
            return tuple((f"{base}:{kind}/{each.strip()}",) for each in ids.split(","))
    tagged = [value for name, value in parameters.items() if name.startswith("ResourceId.")]
    kind = parameters.get("ResourceType", "").lower()
    return tuple((f"{base}:{kind}/{each}",) for each in tagged) or ((f"{base}:*",),)
