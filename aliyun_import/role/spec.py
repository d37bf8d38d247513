"""Requirements on the role of an import, least-privilege policies, and steps for administrators.

There are two roles: one for disks in OSS, one for disks in the OSS of a CloudBox. Source of their names, policies and
actions: the ImportImage page.
"""

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import quote

from aliyun_import.model.request import ImportRequest
from aliyun_import.model.roles import DEFAULT_ROLE_NAME
from aliyun_import.role import policy_eval as policy
from aliyun_import.services import BOOT_TEST_PERMISSIONS, PERMISSIONS, Permission, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleNeeds:
    """Requirements on a role: its name, the system policy that permits everything, and the single actions."""

    default_name: str
    system_policy: str
    actions: tuple[str, ...]
    template: str | None


OSS_ROLE = RoleNeeds(
    default_name=DEFAULT_ROLE_NAME,
    system_policy="AliyunECSImageImportRolePolicy",
    actions=("oss:GetObject", "oss:GetBucketLocation", "oss:GetBucketInfo"),
    template="ECSImportRole",
)
CLOUDBOX_ROLE = RoleNeeds(
    default_name="AliyunECSCloudBoxImageImportDefaultRole",
    system_policy="AliyunECSCloudBoxImageImportRolePolicy",
    actions=("oss-cloudbox:GetObject", "oss-cloudbox:GetBucketLocation", "oss-cloudbox:GetBucketInfo"),
    template=None,
)
DESCRIPTION = "Lets ECS read disk images in OSS to import them"


def needs_of(request: ImportRequest) -> RoleNeeds:
    """Return the requirements on the role of a request."""
    return CLOUDBOX_ROLE if request.storage_location_arn else OSS_ROLE


def role_name_of(request: ImportRequest) -> str:
    """Return the name of the role of a request: the given one, or the default."""
    return request.role_name or needs_of(request).default_name


def role_policy(bucket: str | None = None) -> dict[str, Any]:
    """Return the least-privilege policy for the role, for one bucket or for all."""
    if bucket is None:
        return _policy(("*", OSS_ROLE.actions))
    on_object = [action for action in OSS_ROLE.actions if action.endswith("Object")]
    on_bucket = [action for action in OSS_ROLE.actions if not action.endswith("Object")]
    return _policy((f"acs:oss:*:*:{bucket}", on_bucket), (f"acs:oss:*:*:{bucket}/*", on_object))


def user_policy(bucket: str | None = None) -> dict[str, Any]:
    """Return the least-privilege policy for the user of this tool, derived from the operations that it sends.

    Without a bucket it covers the default staging bucket of every region. The operations on tasks and DescribeRegions
    are authorized on all resources only; limited to image/* they fail with Forbidden.RAM. Attaching is limited to this
    role and this policy, because a user who can attach any policy to any role is an administrator. CreateRole is
    authorized on role/* only.
    """
    resources = _resources(bucket)
    grouped = groupby(PERMISSIONS, key=lambda permission: permission.resource)
    return _policy(*((resources[kind], [permission.name for permission in group]) for kind, group in grouped))


def boot_test_policy() -> dict[str, Any]:
    """Return the least-privilege policy for boot tests of images, in addition to `user_policy`."""
    resources = _resources(None)
    grouped = groupby(BOOT_TEST_PERMISSIONS, key=lambda permission: permission.resource)
    return _policy(*((resources[kind], [permission.name for permission in group]) for kind, group in grouped))


def statement_of(permission: Permission, bucket: str | None = None) -> str:
    """Return the statement that grants one permission, as JSON on one line."""
    resource = _resources(bucket)[permission.resource]
    return json.dumps({"Effect": "Allow", "Action": [permission.name], "Resource": resource})


def _resources(bucket: str | None) -> Mapping[Resource, str | list[str]]:
    role = f"acs:ram:*:*:role/{OSS_ROLE.default_name}"
    staging = bucket or "aliyun-import-*"
    return {
        Resource.IMAGE: "acs:ecs:*:*:image/*",
        Resource.ALL: "*",
        Resource.ROLE: role,
        Resource.ANY_ROLE: "acs:ram:*:*:role/*",
        Resource.ROLE_AND_POLICY: [role, f"acs:ram:*:system:policy/{OSS_ROLE.system_policy}"],
        Resource.POLICY: ["acs:ram:*:*:policy/*", "acs:ram:*:system:policy/*"],
        Resource.BUCKET: f"acs:oss:*:*:{staging}",
        Resource.OBJECT: f"acs:oss:*:*:{staging}/*",
        Resource.INSTANCE: "acs:ecs:*:*:instance/*",
        Resource.SECURITY_GROUP: "acs:ecs:*:*:securitygroup/*",
        Resource.INSTANCE_PARTS: [
            *(f"acs:ecs:*:*:{part}/*" for part in ("instance", "image", "disk", "securitygroup")),
            "acs:vpc:*:*:vswitch/*",
        ],
    }


def _policy(*grants: tuple[str | list[str], Iterable[str]]) -> dict[str, Any]:
    statements = [{"Effect": "Allow", "Action": list(actions), "Resource": resource} for resource, actions in grants]
    return {"Version": "1", "Statement": statements}


def role_console_url(needs: RoleNeeds) -> str | None:
    """Return the URL of the console page on which an administrator creates the default role, None if there is none.

    The URL contains the request as JSON, percent-encoded so that mail and chat programs do not change it.
    """
    if needs.template is None:
        return None
    request = {
        "Requests": {"request1": {"RoleName": needs.default_name, "TemplateId": needs.template}},
        "ReturnUrl": "https://ecs.console.aliyun.com/",
        "Service": "ECS",
    }
    encoded = quote(json.dumps(request, separators=(",", ":")), safe="")
    return f"https://ram.console.aliyun.com/#/role/authorize?request={encoded}"


def administrator_steps(name: str, needs: RoleNeeds, *, create: bool, attach: bool, trust: str | None = None) -> str:
    """Return the steps with which an administrator sets up the role, one per line.

    `trust` is the complete new trust policy, if it must be changed.
    """
    lines: list[str] = []
    url = role_console_url(needs) if name == needs.default_name and create else None
    if url:
        lines.append(f"open {url}")
    if create:
        lines.append(
            f"aliyun ram CreateRole --RoleName {name} --AssumeRolePolicyDocument {shlex.quote(policy.trust_policy())}"
        )
    if trust is not None:
        lines.append(f"aliyun ram UpdateRole --RoleName {name} --NewAssumeRolePolicyDocument {shlex.quote(trust)}")
    if attach:
        lines.append(
            f"aliyun ram AttachPolicyToRole --PolicyType System --PolicyName {needs.system_policy} --RoleName {name}"
        )
    commands = len(lines) - bool(url)
    if not url:
        return "\n".join(lines)
    return "\n".join([lines[0], f"or run {'this' if commands == 1 else 'these'}:", *lines[1:]])
