"""Push that kills its process at a step, run by the fork server.

A step is a call of a service or a write to the journal. A job has the arguments of `push`, the number of the step, and
whether the process is killed before or after it. A process that is not killed prints the result or the error as JSON.
Waits advance the clock of the sandbox.
"""

import itertools
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import click

from aliyun_import import api
from aliyun_import.boot.instance_choice import Cloud
from aliyun_import.cli.commands.push import push as command
from aliyun_import.cloud.connect import Client
from aliyun_import.context import Context
from aliyun_import.errors import AliyunImportError
from aliyun_import.journal import Journal
from aliyun_import.model.request import ImportRequest
from aliyun_import.push.options import PushOptions, PushResult
from aliyun_import.push.push import push
from aliyun_import.services import Services
from tests.clocks import SandboxClock

ATTRIBUTES = ("bucket", "endpoint")


class KillPoint:
    """Count the steps of a push, and kill this process at one of them."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._number = number
        self._after = after
        self._numbers = itertools.count(1)
        self.steps: list[str] = []

    def wrap(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts the call of a step, and may kill the process before or after it."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            number = next(self._numbers)
            self.steps.append(name)
            if number == self._number and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return step(*args, **kwargs)
            finally:  # a call that raises is a step, too
                if number == self._number:
                    os.kill(os.getpid(), signal.SIGKILL)

        return wrapped


class KillableService:
    """Service whose calls are steps of the push."""

    def __init__(self, service: Any, kill_point: KillPoint) -> None:
        self._service = service
        self._kill_point = kill_point

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        return self._kill_point.wrap(name, found) if callable(found) and name not in ATTRIBUTES else found


def parse(arguments: list[str]) -> tuple[Client, ImportRequest, PushOptions]:
    """Return the arguments with which the command calls `api.push`."""
    calls: list[tuple[Client, ImportRequest, PushOptions]] = []

    def record(client: Client, request: ImportRequest, *, options: PushOptions, **_: Any) -> PushResult:
        calls.append((client, request, options))
        return PushResult(region=request.region, image_name=request.name)

    vars(api)["push"] = record
    command.main(["--quiet", *arguments], standalone_mode=False)
    return calls[0]


def push_once(job: dict[str, Any]) -> dict[str, Any]:
    """Push, with the kill point of the job; return the result or the error."""
    kill_point = KillPoint(job["kill_at"], after=job["after"])
    client, request, options = parse(list(job["arguments"]))
    services = client.services()
    killable = Services(
        identity=KillableService(services.identity, kill_point),
        store=lambda bucket: KillableService(services.store(bucket), kill_point),
        roles=KillableService(services.roles, kill_point),
        images=KillableService(services.images, kill_point),
        instances=KillableService(services.instances, kill_point),
        endpoint=services.endpoint,
    )
    Journal.write = kill_point.wrap("journal", Journal.write)  # type: ignore[method-assign]
    clock = SandboxClock.over_http(services.endpoint)
    clock.slept_s = job.get("ahead_s", 0.0)
    context = Context(clock=clock)
    cloud = Cloud(
        images=killable.images,
        instances=killable.instances,
        context=context,
        deleting=killable.instances,
        deleting_context=context,
        region=request.region,
    )
    try:
        result = push(request, options, killable, context, cloud=cloud)
    except AliyunImportError as error:
        return {"error": error.code, "summary": error.summary, "cause": error.cause, "steps": kill_point.steps}
    return {"image_id": result.image_id, "sent_bytes": result.sent_bytes, "steps": kill_point.steps}


def run(job: dict[str, Any]) -> None:
    """Print the result of a job as JSON."""
    try:
        answer = push_once(job)
    except (click.ClickException, Exception) as error:  # noqa: BLE001 -- an assertion of the caller reports it
        answer = {"bug": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))
