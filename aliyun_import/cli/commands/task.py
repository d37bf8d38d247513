"""Commands `task list`, `show`, `wait` and `cancel`."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.context import command_context
from aliyun_import.cli.groups import Group
from aliyun_import.cli.params import (
    CloudOptions,
    Command,
    Number,
    OneOf,
    OutputOptions,
    Seconds,
    cloud_options,
    option,
    output_options,
    panel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aliyun_import.model.image import Image, Task


@click.group(cls=Group)
def task() -> None:
    """List, show, follow or cancel import tasks."""


@task.command("list", cls=Command)
@panel(
    "Tasks",
    option(
        "--status",
        "statuses",
        multiple=True,
        type=OneOf(("Waiting", "Processing", "Finished", "Failed", "Deleted", "Paused")),
        help="Status of the tasks to list; repeatable.",
        show_default="all",
    ),
    option("--limit", type=Number(1), help="Maximum number of tasks to list.", show_default="all"),
)
@cloud_options(oss=False)
@output_options
def list_(*, statuses: tuple[str, ...], limit: int | None, cloud: CloudOptions, output: OutputOptions) -> None:
    """List the import tasks of the account in the region, newest first."""
    from aliyun_import import api
    from aliyun_import.cli.render.result import Outcome, table
    from aliyun_import.cli.render.text import escaped

    with command_context(cloud, output) as context:
        tasks = _with_names(api.list_tasks(context.client, statuses=statuses, cancel=context.cancel)[:limit])
        rows = [_row(one) for one in escaped(tasks)]
        text = table(("TASK", "STATUS", "IMAGE", "NAME", "CREATED", "FINISHED"), rows) if rows else ""
        stderr_text = "" if rows else f"no import tasks in {context.client.region}"
        document = {"command": "task list", "region": context.client.region, "tasks": [asdict(one) for one in tasks]}
        context.renderer.outcome(Outcome(document=document, text=text, stderr_text=stderr_text))


@task.command(cls=Command)
@click.argument("task_id", metavar="TASK")
@cloud_options(oss=False)
@output_options
def show(task_id: str, *, cloud: CloudOptions, output: OutputOptions) -> None:
    """Show the state of a task and of its image."""
    from aliyun_import import api
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.cli.render.text import escaped

    with command_context(cloud, output) as context:
        found = api.show_task(context.client, task_id, cancel=context.cancel)
        document = {
            "command": "task show",
            "region": context.client.region,
            "task": asdict(found.task),
            "image": _image_document(found.image),
        }
        context.renderer.outcome(Outcome(document=document, text=_task_text(escaped(found.task), escaped(found.image))))


@task.command(cls=Command)
@click.argument("task_id", metavar="TASK")
@panel(
    "Tasks",
    option(
        "--timeout",
        type=Seconds(),
        help="Maximum time to wait, e.g. 2h; the import continues.",
        show_default="no limit",
    ),
)
@cloud_options(oss=False)
@output_options
def wait(task_id: str, *, timeout: float | None, cloud: CloudOptions, output: OutputOptions) -> None:
    """Wait until the image of a task is usable, and print the image id."""
    from aliyun_import import api
    from aliyun_import.cli.render.result import Outcome

    with command_context(cloud, output) as context:
        image = api.wait(context.client, task_id, timeout_s=timeout, on_event=context.emit, cancel=context.cancel)
        document = {"command": "task wait", "region": context.client.region, "task_id": task_id, **_short(image)}
        context.renderer.outcome(Outcome(document=document, text=image.image_id))


@task.command(cls=Command)
@click.argument("task_id", metavar="TASK")
@cloud_options(oss=False)
@output_options
def cancel(task_id: str, *, cloud: CloudOptions, output: OutputOptions) -> None:
    """Cancel a running task; ECS removes its unfinished image."""
    from aliyun_import import api
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.cli.render.text import escaped

    with command_context(cloud, output) as context:
        now = api.cancel_task(context.client, task_id, on_event=context.emit, cancel=context.cancel)
        document = {"command": "task cancel", "region": context.client.region, "task": asdict(now)}
        text = f"{now.task_id} {now.status_text}"
        context.renderer.outcome(Outcome(document=document, text=escaped(text)))


def _with_names(tasks: "Sequence[Task]") -> "tuple[Task, ...]":
    """Return the tasks; one whose image does not exist gets its name from the journals of this machine."""
    from aliyun_import import api

    names = {one.task_id: one.identity.get("name", "") for one in api.list_pushes()}
    return tuple(one if one.image_name else replace(one, image_name=names.get(one.task_id, "")) for one in tasks)


def _row(one: "Task") -> tuple[str, ...]:
    from aliyun_import.cli.render.text import local_time

    created, finished = (local_time(at) if at else "" for at in (one.created, one.finished))
    return one.task_id, one.status_text, one.image_id, one.image_name, created, finished


def _short(image: "Image") -> dict[str, Any]:
    return {"image_id": image.image_id, "image_name": image.name, "image_status": image.status}


def _image_document(image: "Image | None") -> dict[str, Any] | None:
    return None if image is None else {**_short(image), "percent": image.percent, "created": image.created}


def _task_text(one: "Task", image: "Image | None") -> str:
    from aliyun_import.cli.render.text import local_time

    percent = "" if one.percent is None else f"{one.percent} %"
    facts = {
        "task": one.task_id,
        "status": f"{one.status_text} {percent}".rstrip(),
        "image": f"{image.image_id} {image.name} {image.status}" if image else one.image_id,
        "created": one.created and local_time(one.created),
        "finished": one.finished and local_time(one.finished),
        "reason": f"{one.error_code} {one.error_message}".strip(),
    }
    return "\n".join(f"{name:<9} {value}" for name, value in facts.items() if value)
