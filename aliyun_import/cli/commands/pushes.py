"""Command `pushes`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.params import Command, OutputOptions, option, output_options, panel

if TYPE_CHECKING:
    from aliyun_import.push.state import KnownPush


@click.command(
    cls=Command,
    examples=(
        ("pushes", "list the pushes of this machine"),
        ("pushes --forget-finished", "remove the journals of those that are finished"),
    ),
)
@panel(
    "Journals",
    option(
        "--forget-finished",
        is_flag=True,
        help="Remove the journals of finished pushes. If such a push is run again, it finds its image by the tags.",
    ),
    option(
        "--state-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory of the journals.",
        show_default="the user's directory for program state",
    ),
)
@output_options
def pushes(*, forget_finished: bool, state_dir: Path | None, output: OutputOptions) -> None:
    """List the pushes of this machine and the state of each. Works offline.

    A push that is not finished resumes when its command is run again.
    """
    from aliyun_import import api
    from aliyun_import.cli.render.renderer import open_renderer
    from aliyun_import.cli.render.result import Outcome, table
    from aliyun_import.cli.render.text import escaped
    from aliyun_import.user_directories import state_directory

    with open_renderer(output) as renderer:
        directory = state_dir or state_directory()
        known = api.list_pushes(state_dir=directory)
        removed = api.forget_finished(known, state_dir=directory) if forget_finished else ()
        left = [one for one in known if one not in removed]
        head = ("STATE", "NAME", "REGION", "IMAGE", "TASK", "UPLOADED", "UPDATED", "DISKS")
        document = {
            "command": "pushes",
            "state_dir": str(directory),
            "pushes": [_document(one) for one in left],
            "removed": [_document(one) for one in removed],
        }
        stderr_text = [f"removed {one.journal}" for one in removed]
        unread = set(directory.glob("*.jsonl")) - {one.journal for one in known}
        stderr_text += [f"{path} is not read: it is damaged, or not a journal of a push" for path in sorted(unread)]
        stderr_text += [] if left else [f"no pushes in {directory}"]
        text = table(head, [_row(escaped(one)) for one in left]) if left else ""
        renderer.outcome(Outcome(document=document, text=text, stderr_text="\n".join(stderr_text)))


def _document(one: "KnownPush") -> dict[str, Any]:
    return {
        "state": one.stage.value,
        "name": one.identity.get("name", ""),
        "region": one.identity.get("region", ""),
        "account": one.identity.get("account", ""),
        "bucket": one.identity.get("bucket", ""),
        "endpoint": one.identity.get("endpoint", ""),
        "disks": list(one.disks),
        "image_id": one.image_id,
        "task_id": one.task_id,
        "uploaded_bytes": one.uploaded_bytes,
        "updated_s": round(one.updated_s, 3),
        "journal": str(one.journal),
    }


def _row(one: "KnownPush") -> tuple[str, ...]:
    from aliyun_import.cli.render.text import local_time
    from aliyun_import.sizes import size

    updated = local_time(one.updated_s)
    name, region = one.identity.get("name", ""), one.identity.get("region", "")
    uploaded = size(one.uploaded_bytes) if one.uploaded_bytes else ""
    return one.stage.value, name, region, one.image_id, one.task_id, uploaded, updated, ", ".join(one.disks)
