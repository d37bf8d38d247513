"""Commands `role show`, `ensure` and `policy`."""

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.context import command_context, for_same_services, given_options
from aliyun_import.cli.groups import Group
from aliyun_import.cli.params import (
    CloudOptions,
    Command,
    OutputOptions,
    cloud_options,
    option,
    output_options,
    panel,
)
from aliyun_import.model.roles import DEFAULT_ROLE_NAME

if TYPE_CHECKING:
    from aliyun_import.role.ensure import RoleState

_ROLE = (
    option("--role-name", help="Name of the role.", show_default=DEFAULT_ROLE_NAME),
    option("--bucket", help="Bucket that the role must be able to read.", show_default="any bucket"),
)


@click.group(cls=Group)
def role() -> None:
    """Inspect or create the RAM role that ECS uses to read your bucket; print policies."""


@role.command(cls=Command)
@panel("Role", *_ROLE)
@cloud_options(oss=False)
@output_options
def show(*, role_name: str | None, bucket: str | None, cloud: CloudOptions, output: OutputOptions) -> int:
    """Compare the role with what ImportImage documents; change nothing. Exit code 4 if ECS can't use it."""
    from aliyun_import import api
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.errors import Exit
    from aliyun_import.role.ensure import differences
    from aliyun_import.role.spec import OSS_ROLE

    with command_context(cloud, output) as context:
        state = api.show_role(context.client, role_name, bucket=bucket, cancel=context.cancel)
        found = differences(state, OSS_ROLE)
        command = shlex.join(
            ["aliyun-import", "role", "ensure", "--role-name", state.name, "--region", context.client.region]
        )
        follow_up = for_same_services(f"`{command}`", context.client.config.command_options)
        code = Exit.DONE if state.ready else Exit.ACCESS
        text = _text(state, found, follow_up)
        context.renderer.outcome(Outcome(document=_document(state, found), text=text, exit_code=code))
        return code


@role.command(cls=Command)
@panel(
    "Role",
    *_ROLE,
    option("--fix", is_flag=True, help="Extend a trust policy that does not let ECS assume the role."),
)
@cloud_options(oss=False)
@output_options
def ensure(*, role_name: str | None, bucket: str | None, fix: bool, cloud: CloudOptions, output: OutputOptions) -> None:
    """Create the role, or attach the policy that it lacks; overwrite nothing."""
    from aliyun_import import api
    from aliyun_import.cli.render.result import Outcome

    with command_context(cloud, output) as context:
        change = api.prepare_role(
            context.client, role_name, bucket=bucket, fix=fix, on_event=context.emit, cancel=context.cancel
        )
        document = {"command": "role ensure", **asdict(change)}
        context.renderer.outcome(Outcome(document=document, text=f"{change.name} {change.state}"))


@role.command(cls=Command)
@panel(
    "Policy",
    option("--bucket", help="Bucket that the policy is limited to.", show_default="any bucket"),
    option(
        "--for",
        "subject",
        type=click.Choice(["user", "role", "boot-test"]),
        default="user",
        show_default=True,
        help="Subject of the policy: the user who runs this tool, the role (instead of the system policy), or the user "
        "for `image boot-test`, in addition.",
    ),
)
@output_options
def policy(*, bucket: str | None, subject: str, output: OutputOptions) -> None:
    """Print a least-privilege policy as JSON, for an administrator to apply. Works offline.

    Every output format prints the policy only, so that it can be passed to the vendor's tools.
    """
    from aliyun_import.role.spec import boot_test_policy, role_policy, user_policy

    if subject == "boot-test":
        if "bucket" in {one.name for one in given_options()}:
            raise click.UsageError("--bucket has no effect on the policy for boot tests: leave it out.")
        document = boot_test_policy()
    else:
        document = user_policy(bucket) if subject == "user" else role_policy(bucket)
    click.echo(json.dumps(document, indent=None if output.output == "jsonl" else 2))


def _document(state: "RoleState", found: tuple[str, ...]) -> dict[str, Any]:
    return {
        "command": "role show",
        "name": state.name,
        "exists": state.role is not None,
        "arn": state.role.arn if state.role else "",
        "trusts_ecs": state.trusts_ecs.value,
        "policies": None if state.policies is None else [one.name for one in state.policies],
        "rights": {action: answer.value for action, answer in state.rights},
        "ready": state.ready,
        "differences": list(found),
    }


def _text(state: "RoleState", found: tuple[str, ...], follow_up: str) -> str:
    if state.role is None:
        return f"{state.name} is missing; {follow_up} creates it"
    policies = "could not be listed" if state.policies is None else ", ".join(one.name for one in state.policies)
    lines = [
        f"role      {state.name} {'is ready' if state.ready else 'is not ready'}",
        f"arn       {state.role.arn}",
        f"trust     ECS may assume it: {state.trusts_ecs.value}",
        f"policies  {policies or 'none'}",
        *(f"right     {action}: {answer.value}" for action, answer in state.rights),
        *(f"differs   {line}" for line in found),
    ]
    return "\n".join(lines)
