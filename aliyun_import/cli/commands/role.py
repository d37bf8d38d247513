"""This file is the command `role`: the role by which ECS reads the bucket, looked at, seen to, or written down."""

import json
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.context import command_context
from aliyun_import.cli.params import cloud_options, groups, option, output_options

if TYPE_CHECKING:
    from aliyun_import.role.inspect import RoleState

role_options = groups(
    option("--role-name", help="Name of the role.  [default: the documented role]"),
    option("--bucket", help="Judge the rights on this bucket. Else on any."),
)


@click.group()
def role() -> None:
    """Look at the role by which ECS reads the bucket, see to it, or print the policies."""


@role.command()
@role_options
@cloud_options
@output_options
def show(*, role_name: str, bucket: str | None, **given: Any) -> None:  # noqa: ANN401
    """Tell how the role stands against what is documented; change nothing."""
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.role.inspect import differences, inspect_role
    from aliyun_import.role.spec import OSS_ROLE

    with command_context(given) as at:
        sight = inspect_role(at.cloud.roles, role_name, bucket=bucket, clock=at.clock)
        found = differences(sight, OSS_ROLE)
        at.voice.outcome(Outcome(document=_document(sight, found), text=_text(sight, found)))


@role.command()
@role_options
@option("--fix", is_flag=True, help="Extend a trust policy that does not let ECS assume the role.")
@cloud_options
@output_options
def ensure(
    *,
    role_name: str,
    bucket: str | None,
    fix: bool,
    **given: Any,  # noqa: ANN401 -- click's options
) -> None:
    """Create the role, or attach what it lacks; overwrite nothing."""
    from dataclasses import asdict

    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.role.ensure import ensure_role

    with command_context(given) as at:
        receipt = ensure_role(at.cloud.roles, role_name, bucket=bucket, fix=fix, clock=at.clock, emit=at.voice.emit)
        text = f"{receipt.name} {receipt.state}"
        at.voice.outcome(Outcome(document={"command": "role ensure", **asdict(receipt)}, text=text))


@role.command()
@option("--bucket", help="Narrow the policies to this bucket.")
@option(
    "--for",
    "whom",
    type=click.Choice(["user", "role"]),
    default="user",
    show_default=True,
    help="The policy of whoever runs this tool, or one for the role in place of the wide system policy.",
)
def policy(*, bucket: str | None, whom: str) -> None:
    """Print a least-privilege policy as JSON, for an administrator to apply. Asks nobody."""
    from aliyun_import.role.spec import role_policy, user_policy

    click.echo(json.dumps(user_policy(bucket) if whom == "user" else role_policy(bucket), indent=2))


def _document(sight: "RoleState", found: tuple[str, ...]) -> dict[str, Any]:
    return {
        "command": "role show",
        "name": sight.name,
        "exists": sight.role is not None,
        "arn": sight.role.arn if sight.role else "",
        "trusts_ecs": sight.trusts_ecs.value,
        "policies": None if sight.policies is None else [one.name for one in sight.policies],
        "rights": {action: answer.value for action, answer in sight.rights},
        "ready": sight.ready,
        "differences": list(found),
    }


def _text(sight: "RoleState", found: tuple[str, ...]) -> str:
    if sight.role is None:
        return f"{sight.name} is missing; `aliyun-import role ensure` creates it"
    policies = "could not be listed" if sight.policies is None else ", ".join(one.name for one in sight.policies)
    lines = [
        f"role      {sight.name} {'is ready' if sight.ready else 'is not ready'}",
        f"arn       {sight.role.arn}",
        f"trust     ECS may assume it: {sight.trusts_ecs.value}",
        f"policies  {policies or 'none'}",
        *(f"right     {action}: {answer.value}" for action, answer in sight.rights),
        *(f"differs   {line}" for line in found),
    ]
    return "\n".join(lines)
