"""Requirements on the role of an import, and least-privilege policies, for those who may apply them.

There are two roles: one for disks in OSS, one for disks in the OSS of a CloudBox. Their names, policies and actions are
those of the ImportImage page.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aliyun_import.model.request import ImportRequest
from aliyun_import.role import policy_eval as policy


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleNeeds:
    """What ECS needs of a role: its name, the system policy that grants everything, the single actions."""

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
    """Return the needs of the role of a request."""
    return CLOUDBOX_ROLE if request.storage_location_arn else OSS_ROLE


def role_name_of(request: ImportRequest) -> str:
    """Return the name of the role of a request: the given one, or the default for where the disks are."""
    return request.role_name or needs_of(request).default_name


def role_policy(bucket: str | None = None) -> dict[str, Any]:
    """Return a policy for the role with no more than ECS needs, for one bucket or for all."""
    if bucket is None:
        return {
            "Version": "1",
            "Statement": [{"Effect": "Allow", "Action": list(OSS_ROLE.actions), "Resource": "*"}],
        }
    on_object = [action for action in OSS_ROLE.actions if action.endswith("Object")]
    on_bucket = [action for action in OSS_ROLE.actions if not action.endswith("Object")]
    return {
        "Version": "1",
        "Statement": [
            {"Effect": "Allow", "Action": on_bucket, "Resource": f"acs:oss:*:*:{bucket}"},
            {"Effect": "Allow", "Action": on_object, "Resource": f"acs:oss:*:*:{bucket}/*"},
        ],
    }


def user_policy(bucket: str | None = None) -> dict[str, Any]:
    """Give the least policy for the person who runs this tool; without a bucket, for the derived one of every region.

    The task calls and DescribeRegions authorise on all resources only: pinned to image/* they answer Forbidden.RAM.
    UploadPart and its kin have no actions of their own (oss:PutObject), HeadObject is oss:GetObject. Whoever may
    attach any policy to any role is an administrator, so that attaching is for this role and this policy only;
    CreateRole authorises on role/* whatever the name.
    """
    role = f"acs:ram:*:*:role/{OSS_ROLE.default_name}"
    place = bucket or "aliyun-import-*"
    return {
        "Version": "1",
        "Statement": [
            _allow(
                "acs:ecs:*:*:image/*",
                "ecs:ImportImage", "ecs:DescribeImages", "ecs:DeleteImage", "ecs:CopyImage", "ecs:CancelCopyImage",
                "ecs:ModifyImageAttribute", "ecs:ModifyImageSharePermission", "ecs:DescribeImageSharePermission",
                "ecs:TagResources",
            ),
            _allow("*", "ecs:DescribeTasks", "ecs:DescribeTaskAttribute", "ecs:CancelTask", "ecs:DescribeRegions"),
            _allow(role, "ram:GetRole", "ram:UpdateRole", "ram:ListPoliciesForRole"),
            _allow("acs:ram:*:*:role/*", "ram:CreateRole"),
            _allow([role, f"acs:ram:*:system:policy/{OSS_ROLE.system_policy}"], "ram:AttachPolicyToRole"),
            _allow(["acs:ram:*:*:policy/*", "acs:ram:*:system:policy/*"], "ram:GetPolicy"),
            _allow(
                f"acs:oss:*:*:{place}",
                "oss:PutBucket", "oss:GetBucketInfo", "oss:GetBucketLocation", "oss:GetBucketLifecycle",
                "oss:PutBucketLifecycle", "oss:ListObjects", "oss:ListMultipartUploads",
            ),
            _allow(
                f"acs:oss:*:*:{place}/*",
                "oss:PutObject", "oss:GetObject", "oss:DeleteObject", "oss:DeleteObjectVersion",
                "oss:AbortMultipartUpload", "oss:ListParts",
            ),
        ],
    }  # fmt: skip


def console_url(needs: RoleNeeds) -> str | None:
    """Return the URL of the console page on which an administrator creates the default role, None if there is none.

    The URL holds the request as JSON, percent-encoded so that mail and chat leave it intact.
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
    """Return what an administrator can run or open to set up the role, one step per line.

    `trust` is the whole new trust policy, if it must change.
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


def _allow(resource: str | list[str], *actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}
