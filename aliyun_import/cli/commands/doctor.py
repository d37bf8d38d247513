"""Command `doctor`."""

import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.context import command_context
from aliyun_import.cli.params import (
    COMMON,
    CloudOptions,
    Command,
    OutputOptions,
    cloud_options,
    option,
    output_options,
    panel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aliyun_import.push.diagnosis import Diagnosis


@click.command(
    cls=Command,
    examples=(
        ("doctor --region cn-hangzhou", "test what a push needs"),
        ("doctor --region cn-hangzhou --bucket my-disks", "with a bucket of your own"),
    ),
)
@panel(COMMON, option("--bucket", help="Bucket to test.", show_default="aliyun-import-<account id>-<region>"))
@cloud_options(oss=True)
@output_options
def doctor(*, bucket: str | None, cloud: CloudOptions, output: OutputOptions) -> int:
    """Test what a push needs: credentials, clock, endpoints, region, bucket, permissions, quotas, role.

    Changes nothing: permissions are tested by a dry run of ImportImage, by an upload that is started and aborted, and
    by queries. Exits with 0 only if a push would succeed; else with the code with which it would fail. What can't be
    tested without a change, such as the creation of the bucket, is unknown: exit code 4, unless the keys are those of
    the account itself.
    """
    from aliyun_import import api
    from aliyun_import.cli.context import for_same_services
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.push.diagnosis import exit_code_of

    with command_context(cloud, output) as context:
        results = api.diagnose(context.client, bucket=bucket, cancel=context.cancel)
        code = exit_code_of(list(results))
        document = {
            "command": "doctor",
            "region": context.client.region,
            "would_go_through": code == 0,
            "results": [_document(one) for one in results],
        }
        is_terminal = output.output == "human" and sys.stdout.isatty()
        text = _text(results, shutil.get_terminal_size().columns if is_terminal else None)
        text = for_same_services(text, context.client.config.command_options)
        context.renderer.outcome(Outcome(document=document, text=text, is_marked=True, exit_code=code))
        return code


def _document(one: "Diagnosis") -> dict[str, Any]:
    return {**asdict(one), "health": one.health.value, "exit_code": int(one.exit_code)}


def _text(results: "Sequence[Diagnosis]", terminal_width: int | None) -> str:
    """Return a line for each result with its mark, what to do below it, and the statements that are missing."""
    from aliyun_import.cli.render.layout import wrapped
    from aliyun_import.cli.render.text import escaped

    marks = {"ok": "✓", "fails": "✗", "warns": "!", "unknown": "?"}
    width = max(len(one.subject) for one in results) if terminal_width is None or terminal_width > 120 else 0
    lines = []
    for result in escaped(tuple(results)):
        lines += wrapped(
            f"  {marks[result.health]} {result.subject:<{width}}  {result.detail}", terminal_width, indent=" " * 6
        )
        if result.remedy and result.health != "ok":
            lines += wrapped(f"      do: {result.remedy}", terminal_width, indent=" " * 10)
        lines += [f"      {result.statement}"] if result.statement else []
    failed = [one.subject for one in results if one.health == "fails"]
    unknown = [one.subject for one in results if one.health == "unknown" and one.exit_code]
    if failed:
        verdict = f"  ✗ a push would fail: {', '.join(failed)}"
    elif unknown:
        verdict = f"  ? a push may fail: {', '.join(unknown)}"
    else:
        verdict = "  ✓ a push would go through"
    return "\n".join([*lines, *wrapped(verdict, terminal_width, indent=" " * 4)])
