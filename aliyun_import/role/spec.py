"""This file says what the import's role must be, and writes it down for those who may set it up.

Two roles: one for disks in OSS, one for disks in the OSS of a CloudBox. Their names, policies and actions are those
of the ImportImage page.
"""

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import quote

from aliyun_import.model.operations import PERMISSIONS, Resource
from aliyun_import.model.request import ImportRequest
from aliyun_import.role import policy_eval as policy


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleNeeds:
    """What ECS needs of a role: the name it looks for, the system policy that gives all of it, the single actions."""

    default_name: str
    system_policy: str
    actions: tuple[str, ...]
    template: str | None


OSS_ROLE = RoleNeeds(
    default_name="AliyunECSImageImportDefaultRole",
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
    """Tell which of the two roles a request needs."""
    return CLOUDBOX_ROLE if request.storage_location_arn else OSS_ROLE


def role_name_of(request: ImportRequest) -> str:
    """Tell the name of the role of a request: the user's, or the default one for where the disks lie."""
    if request.role_name == OSS_ROLE.default_name:
        return needs_of(request).default_name
    return request.role_name


def role_policy(bucket: str | None = None) -> dict[str, Any]:
    """Return a policy for the role with no more than ECS needs, for one bucket or for all."""
    if bucket is None:
        return _policy(("*", OSS_ROLE.actions))
    on_object = [action for action in OSS_ROLE.actions if action.endswith("Object")]
    on_bucket = [action for action in OSS_ROLE.actions if not action.endswith("Object")]
    return _policy((f"acs:oss:*:*:{bucket}", on_bucket), (f"acs:oss:*:*:{bucket}/*", on_object))


def user_policy(bucket: str | None = None) -> dict[str, Any]:
    """Return the least policy for the user of this tool, derived from the operations that the adapters send.

    Without a bucket it covers the default staging bucket of every region. The task operations and DescribeRegions are
    authorized on all resources only: restricted to image/* they fail with Forbidden.RAM. A user who can attach any
    policy to any role is an administrator, so attaching is limited to this role and this policy; CreateRole is
    authorized on role/* whatever the name.
    """
    role = f"acs:ram:*:*:role/{OSS_ROLE.default_name}"
    staging = bucket or "aliyun-import-*"
    resources: Mapping[Resource, str | list[str]] = {
        Resource.IMAGE: "acs:ecs:*:*:image/*",
        Resource.ALL: "*",
        Resource.ROLE: role,
        Resource.ANY_ROLE: "acs:ram:*:*:role/*",
        Resource.ROLE_AND_POLICY: [role, f"acs:ram:*:system:policy/{OSS_ROLE.system_policy}"],
        Resource.POLICY: ["acs:ram:*:*:policy/*", "acs:ram:*:system:policy/*"],
        Resource.BUCKET: f"acs:oss:*:*:{staging}",
        Resource.OBJECT: f"acs:oss:*:*:{staging}/*",
    }
    grouped = groupby(PERMISSIONS, key=lambda permission: permission.resource)
    return _policy(*((resources[kind], [permission.name for permission in group]) for kind, group in grouped))


def _policy(*grants: tuple[str | list[str], Iterable[str]]) -> dict[str, Any]:
    statements = [{"Effect": "Allow", "Action": list(actions), "Resource": resource} for resource, actions in grants]
    return {"Version": "1", "Statement": statements}


def console_url(needs: RoleNeeds) -> str | None:
    """Give the console page that sets the default role up with one click of an administrator; None where there is none.

    The address has the request as JSON, which must be percent-encoded to survive mail and chat.
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
    """Write down what an administrator can run or open to set the role up; one step a line.

    `trust` is the whole trust policy that the role shall have, where it must change.
    """
    lines: list[str] = []
    url = console_url(needs) if name == needs.default_name and create else None
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
