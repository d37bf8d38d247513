"""Policy documents of RAM: validation, evaluation, and the resources of a call.

Supported are Effect, Action and NotAction, Resource, Principal, the wildcards * and ?, and the conditions of a trust
policy on the caller (`CONDITION_KEYS`). Every other Condition counts as met, for Allow and for Deny.

Each service has its own resource names: "acs:oss:*:*:BUCKET/KEY", "acs:ecs:*:*:image/*". A resource is a tuple of its
spellings, any of which a policy may use.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey

_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?/.-]+")
_ECS = "ecs.aliyuncs.com"
_PRINCIPALS = frozenset({"Service", "RAM", "Federated"})
# Condition keys that are evaluated: the external id of AssumeRole, and the claims of the token of AssumeRoleWithOIDC.
CONDITION_KEYS = frozenset({"sts:ExternalId", "oidc:iss", "oidc:aud", "oidc:sub"})
_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = MappingProxyType({
    "Equals": lambda value, wanted: value == wanted,
    "EqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "Like": lambda value, wanted: fnmatchcase(value, wanted.replace("[", "[[]")),
})  # fmt: skip
_STRING_OPERATOR = re.compile(r"String(Not)?(Equals|EqualsIgnoreCase|Like)")

Claims = Mapping[str, tuple[str, ...]]
"""Condition key -> values of the caller."""
Resource = tuple[str, ...]
# "Authorization rules" of ECS: a policy allows these only for all resources. A policy for image/* does not allow them.
_ON_ALL = frozenset({
    "DescribeTasks", "DescribeTaskAttribute", "CancelTask", "DescribeRegions", "DescribeZones",
    "DescribeImageFromFamily", "DescribeAvailableResource", "DescribeInstanceTypes",
})  # fmt: skip
_ECS_TYPES = ("image", "instance", "snapshot")
_RAM_TYPES = ("role", "user", "group")


def check_policy(text: str) -> None:
    """Refuse an invalid permission policy with MalformedPolicyDocument."""
    for statement in _statements(text):
        _check_actions(statement)
        if not _texts(statement.get("Resource")):
            raise Refusal("MalformedPolicyDocument", "Every statement needs a Resource: a text or a list of texts.")


def check_trust_policy(text: str) -> None:
    """Refuse an invalid trust policy with MalformedPolicyDocument."""
    for statement in _statements(text):
        _check_actions(statement)
        principal = statement.get("Principal")
        if not isinstance(principal, dict) or not principal or set(principal) - _PRINCIPALS:
            raise Refusal("MalformedPolicyDocument", "Every statement needs a Principal: Service, RAM or Federated.")
        if not all(_texts(names) for names in principal.values()):
            raise Refusal("MalformedPolicyDocument", "A Principal is a text or a list of texts.")


def trusts_ecs(text: str) -> bool:
    """Return whether a valid trust policy allows ECS to assume the role."""
    effects = [
        statement["Effect"]
        for statement in _statements(text)
        if _ECS in _texts(statement["Principal"].get("Service")) and _covers_action(statement, "sts:AssumeRole")
    ]
    return "Allow" in effects and "Deny" not in effects


def trusts_caller(text: str, *, account_id: str, principal: str, claims: Claims) -> bool:
    """Return whether a valid trust policy allows a user or a role to assume the role.

    `principal` is that of an AccessKey. A policy names a user, a role, or the account (`:root`), which includes all its
    users and roles. Refuses with NotImplementedBySandbox for a condition operator that is not supported.
    """
    kind, _, name = principal.partition("/")
    own = f"user/{name}" if kind == "user" else f"role/{name.partition('/')[0]}"
    names = {f"acs:ram::{account_id}:{each}".lower() for each in ("root", own)} | {"*"}
    effects = [
        statement["Effect"]
        for statement in _statements(text)
        if names & {each.lower() for each in _texts(statement["Principal"].get("RAM"))}
        and _covers_action(statement, "sts:AssumeRole")
        and _conditions_met(statement, claims)
    ]
    return "Allow" in effects and "Deny" not in effects


def trusts_provider(text: str, provider_arn: str, *, claims: Claims) -> bool:
    """Return whether a valid trust policy allows the role to be assumed with a token of an OIDC provider.

    Refuses with NotImplementedBySandbox for a condition operator that is not supported.
    """
    effects = [
        statement["Effect"]
        for statement in _statements(text)
        if provider_arn.lower() in {each.lower() for each in _texts(statement["Principal"].get("Federated"))}
        # In the documents of RAM, the trust policy for an OIDC provider has sts:AssumeRole, too.
        and (_covers_action(statement, "sts:AssumeRole") or _covers_action(statement, "sts:AssumeRoleWithOIDC"))
        and _conditions_met(statement, claims)
    ]
    return "Allow" in effects and "Deny" not in effects


def allows(policies: Iterable[str], action: str, *, resource: Resource) -> bool:
    """Return whether valid policies together allow an action on a resource. A Deny overrides every Allow."""
    effects = {
        statement["Effect"]
        for text in policies
        for statement in _statements(text)
        if _covers_action(statement, action)
        and any(fnmatchcase(name, pattern) for name in resource for pattern in _patterns(statement["Resource"]))
    }
    return effects == {"Allow"}


def _statements(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Refusal("MalformedPolicyDocument", f"The document is not JSON: {error}.") from error
    if not isinstance(document, dict) or document.get("Version") != "1":
        raise Refusal("MalformedPolicyDocument", 'The document must be an object whose Version is "1".')
    statements = document.get("Statement")
    if not isinstance(statements, list) or not statements or not all(isinstance(one, dict) for one in statements):
        raise Refusal("MalformedPolicyDocument", "Statement must be a list of objects.")
    return statements


def _check_actions(statement: dict[str, Any]) -> None:
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise Refusal("MalformedPolicyDocument", "Every statement needs an Effect: Allow or Deny.")
    actions = _texts(statement.get("Action", statement.get("NotAction")))
    if not actions or ("Action" in statement and "NotAction" in statement):
        raise Refusal("MalformedPolicyDocument", "Every statement needs an Action or a NotAction.")
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise Refusal("MalformedPolicyDocument", f"The action {action} is malformed.")
    condition = statement.get("Condition", {})
    if not isinstance(condition, dict) or not all(isinstance(each, dict) for each in condition.values()):
        raise Refusal("MalformedPolicyDocument", "A Condition is an object: operator, key, values.")


def _conditions_met(statement: dict[str, Any], claims: Claims) -> bool:
    """Return whether a caller meets all conditions of a statement, each with one of its values."""
    known = {key.lower(): key for key in CONDITION_KEYS}
    return all(
        _condition_met(operator, _texts(wanted), claims.get(known[key.lower()], ()), key=key)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
        if key.lower() in known
    )


def _condition_met(operator: str, wanted: tuple[str, ...], values: tuple[str, ...], *, key: str) -> bool:
    form = _STRING_OPERATOR.fullmatch(operator)
    if form is None:
        raise Refusal("NotImplementedBySandbox", f"the condition {operator} of {key}")
    compare = _COMPARISONS[form[2]]
    return bool(form[1]) != any(compare(value, each) for value in values for each in wanted)


def _texts(value: object) -> tuple[str, ...]:
    """Return a string or a list of strings as a tuple; an empty tuple for anything else."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return ()


def _patterns(value: object) -> tuple[str, ...]:
    # fnmatch supports [...], RAM does not.
    return tuple(text.replace("[", "[[]") for text in _texts(value))


def _covers_action(statement: dict[str, Any], action: str) -> bool:
    excluded = "NotAction" in statement
    patterns = _patterns(statement["NotAction" if excluded else "Action"])
    # Actions are case-insensitive.
    return excluded != any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)


def may(key: AccessKey, action: str, resources: tuple[Resource, ...]) -> bool:
    """Return whether a key has the permission for an action on all these resources."""
    restrictions = [key.policies, None if key.session_policy is None else (key.session_policy,)]
    return not key.denies(action) and all(
        allows(policies, action, resource=resource)
        for policies in restrictions
        if policies is not None
        for resource in resources
    )


def oss_resource(region: str, account_id: str, bucket: str, key: str = "") -> Resource:
    """Return the resource of an object or a bucket, or of all buckets. A region may have the prefix oss-."""
    name = f"{bucket}/{key}" if key else bucket or "*"
    return tuple(f"acs:oss:{prefix}{region}:{account_id}:{name}" for prefix in ("", "oss-"))


def rpc_resources(service: str, action: str, parameters: Mapping[str, str], account_id: str) -> tuple[Resource, ...]:
    """Return the resources of a call of ECS, VPC, RAM or STS, by its action and its parameters."""
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
