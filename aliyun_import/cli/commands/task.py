"""This file is the command `task`: import tasks of the account, with or without a journal of ours."""

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.context import command_context
from aliyun_import.cli.params import Seconds, cloud_options, option, output_options

if TYPE_CHECKING:
    from aliyun_import.model.image import Image, Task


@click.group()
def task() -> None:
    """List, show, follow or cancel import tasks."""


def _common(function: Callable[..., None]) -> Callable[..., None]:
    return cloud_options(output_options(function))


@task.command("list")
@option("--status", "statuses", multiple=True, help="Only tasks of this status, such as Processing; repeatable.")
@_common
def list_(*, statuses: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 -- click's options
    """List the import tasks of the account in the region, newest first."""
    from aliyun_import.cli.render.result import Outcome, table
    from aliyun_import.image.tasks import list_tasks

    with command_context(given) as at:
        found = list_tasks(at.cloud.images, statuses=statuses, clock=at.clock)
        rows = [(one.task_id, one.status_text, one.image_id, one.created, one.finished) for one in found]
        text = table(("TASK", "STATUS", "IMAGE", "CREATED", "FINISHED"), rows) if rows else ""
        aside = "" if rows else f"no import tasks in {at.region}"
        document = {"command": "task list", "region": at.region, "tasks": [asdict(one) for one in found]}
        at.voice.outcome(Outcome(document=document, text=text, aside=aside))


@task.command()
@click.argument("task_id", metavar="TASK")
@_common
def show(task_id: str, **given: Any) -> None:  # noqa: ANN401 -- click's options
    """Tell how a task and its image stand."""
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.image.tasks import show_task

    with command_context(given) as at:
        sight = show_task(at.cloud.images, task_id, region=at.region, clock=at.clock)
        document = {
            "command": "task show",
            "region": at.region,
            "task": asdict(sight.task),
            "image": _image_document(sight.image),
        }
        at.voice.outcome(Outcome(document=document, text=_task_text(sight.task, sight.image)))


@task.command()
@click.argument("task_id", metavar="TASK")
@option("--timeout", type=Seconds(), help="Longest wait, such as 2h. Else none.")
@_common
def wait(task_id: str, *, timeout: float | None, **given: Any) -> None:  # noqa: ANN401 -- click's options
    """Follow a task until its image is usable, and print the image id."""
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.image.tasks import show_task
    from aliyun_import.image.wait.wait import wait as wait_for
    from aliyun_import.push.stage import stage

    with command_context(given) as at:
        known = show_task(at.cloud.images, task_id, region=at.region, clock=at.clock).task
        with stage("wait", emit=at.voice.emit, clock=at.clock, doing=f"task {task_id}") as words:
            image = wait_for(
                at.cloud.images,
                task_id=task_id,
                image_id=known.image_id,
                region=at.region,
                clock=at.clock,
                emit=at.voice.emit,
                timeout_s=timeout,
            )
            words.detail = f"image {image.image_id} is usable"
        document = {"command": "task wait", "region": at.region, "task_id": task_id, **_short(image)}
        at.voice.outcome(Outcome(document=document, text=image.image_id))


@task.command()
@click.argument("task_id", metavar="TASK")
@_common
def cancel(task_id: str, **given: Any) -> None:  # noqa: ANN401 -- click's options
    """Cancel a running task; the image that it was making goes with it."""
    from aliyun_import.cli.render.result import Outcome
    from aliyun_import.image.tasks import cancel_task

    with command_context(given) as at:
        now = cancel_task(at.cloud.images, task_id, region=at.region, clock=at.clock, emit=at.voice.emit)
        document = {"command": "task cancel", "region": at.region, "task": asdict(now)}
        at.voice.outcome(Outcome(document=document, text=f"{now.task_id} {now.status_text}"))


def _percent(one: "Task") -> str:
    return "" if one.percent is None else f"{one.percent} %"


def _short(image: "Image") -> dict[str, Any]:
    return {"image_id": image.image_id, "image_name": image.name, "image_status": image.status}


def _image_document(image: "Image | None") -> dict[str, Any] | None:
    return None if image is None else {**_short(image), "percent": image.percent, "created": image.created}


def _task_text(one: "Task", image: "Image | None") -> str:
    facts = {
        "task": one.task_id,
        "status": f"{one.status_text} {_percent(one)}".rstrip(),
        "image": f"{image.image_id} {image.name} {image.status}" if image else one.image_id,
        "created": one.created,
        "finished": one.finished,
        "reason": f"{one.error_code} {one.error_message}".strip(),
    }
    return "\n".join(f"{name:<9} {value}" for name, value in facts.items() if value)
