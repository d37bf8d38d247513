"""Command `cleanup`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.context import command_context, given_options
from aliyun_import.cli.params import CloudOptions, Command, OutputOptions, cloud_options, option, output_options, panel
from aliyun_import.model.objects import object_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aliyun_import.cleanup import CleanupResult, Leftover

_options = panel(
    "Leftovers",
    option("--bucket", help="Bucket to search.", show_default="aliyun-import-<account id>-<region>"),
    option(
        "--prefix",
        "prefixes",
        multiple=True,
        metavar="PREFIX",
        help="Additional prefix to search, e.g. that of a --key used on another machine; repeatable.",
    ),
    option(
        "--remove",
        "patterns",
        multiple=True,
        metavar="KEY",
        help="Remove what has this key or id, or matches it as a pattern such as 'aliyun-import/web-*' or 'i-*'; "
        "repeatable. A removed upload can't be resumed. What a running import or boot test uses is not removed.",
    ),
    option(
        "--force",
        is_flag=True,
        help="Also remove what a running import or boot test uses; that import or test then fails.",
    ),
    option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory of the journals of pushes.",
        show_default="the user's directory for program state",
    ),
)


_EXAMPLES = (
    ("cleanup --region cn-hangzhou", "list what is left"),
    ("cleanup --region cn-hangzhou --remove 'aliyun-import/web/*'", "remove what a pattern matches"),
    ("cleanup --region cn-hangzhou --bucket my-disks --prefix disks/", "search another place"),
)


@click.command(cls=Command, examples=_EXAMPLES)
@_options
@cloud_options(oss=True)
@output_options
@click.pass_context
def cleanup(
    ctx: click.Context,
    *,
    bucket: str | None,
    prefixes: tuple[str, ...],
    patterns: tuple[str, ...],
    force: bool,
    state_dir: Path | None,
    cloud: CloudOptions,
    output: OutputOptions,
) -> None:
    """List, and remove, what earlier pushes left: uploads, objects, manifests, boot tests, replaced images.

    Searches aliyun-import/, the keys in the journals of this machine, and each --prefix. Below a --prefix it lists
    objects that this tool uploaded, and all unfinished uploads.

    Lists the instances of boot tests in the region too, the images that did not get their names, and the images that
    --replace rename replaced; the last are removed by their ids only, not by a pattern.

    Leftovers cost money. A push that is running is listed as an unfinished upload too; only what --remove names is
    removed.
    """
    from aliyun_import import api
    from aliyun_import.cli.render.result import Outcome

    if not patterns and "force" in {one.name for one in given_options()}:
        raise click.UsageError("--force has no effect without --remove: nothing is removed. Pass --remove as well.")
    with command_context(cloud, output) as context:
        result = api.cleanup(
            context.client,
            bucket=bucket,
            prefixes=prefixes,
            remove=patterns,
            force=force,
            state_dir=state_dir,
            on_event=context.emit,
            cancel=context.cancel,
        )
        document = {
            "command": ctx.info_name or "cleanup",
            "bucket": result.bucket,
            "region": context.client.region,
            "leftovers": [_document(one) for one in result.leftovers],
            "removed": [_document(one) for one in result.removed],
            "other_buckets": list(result.other_buckets),
        }
        stderr_text = [] if result.leftovers else [_nothing(result)]
        stderr_text += [
            f"pushes from this machine used the bucket {other} too: list it with --bucket {other}"
            for other in result.other_buckets
        ]
        context.renderer.outcome(
            Outcome(document=document, text=_text(result.leftovers), stderr_text="\n".join(stderr_text))
        )


# Hidden: the name until November 2026. `command` in JSON is the name by which the command was called.
leftovers = Command(
    "leftovers", params=cleanup.params, callback=cleanup.callback, help=cleanup.help, examples=_EXAMPLES, hidden=True
)


def _nothing(result: "CleanupResult") -> str:
    places = result.places
    keys = [key for key in places.keys if not key.startswith(places.prefix)]
    searched = ", ".join(object_url(result.bucket, at) for at in (places.prefix, *places.below, *keys))
    return f"nothing is left at {searched}"


def _document(one: "Leftover") -> dict[str, Any]:
    return {
        "kind": one.kind.value,
        "key": one.key,
        "name": one.name,
        "size_bytes": one.size_bytes,
        "since_s": one.since_s,
        "upload_id": one.upload_id,
        "has_manifest": one.has_manifest,
        "used_by": one.used_by,
    }


def _text(leftovers: "Sequence[Leftover]") -> str:
    from aliyun_import.cli.render.result import table
    from aliyun_import.cli.render.text import escaped
    from aliyun_import.sizes import size

    rows = [
        (
            one.kind.value,
            "" if one.kind.is_in_ecs else size(one.size_bytes),
            _since(one.since_s),
            one.used_by,
            one.key,
            one.name,
        )
        for one in escaped(tuple(leftovers))
    ]
    # A column is left out if its head is empty, too.
    used = "USED BY" if any(one.used_by for one in leftovers) else ""
    head = ("WHAT", "SIZE", "SINCE", used, "KEY", "NAME" if any(one.name for one in leftovers) else "")
    return table(head, rows) if rows else ""


def _since(at_s: float | None) -> str:
    from aliyun_import.cli.render.text import local_time

    return "" if at_s is None else local_time(at_s)
