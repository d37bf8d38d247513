"""Push that is killed at the n-th call of a service or line of the journal, in a process of the fork server.

An order has the arguments of `push`, the number of the step to die at, and whether before or after it. The process dies
by SIGKILL; one that lives prints its result, or its error, as JSON. Time is the sandbox's: a wait moves the sandbox's
clock on instead of waiting.
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
from tests.steered import SandboxClock

NO_CALLS = ("bucket", "endpoint")


class Fate:
    """Counts the steps of a push, and ends it at one of them."""

    def __init__(self, die_at: int, *, after: bool) -> None:
        self._die_at = die_at
        self._after = after
        self._numbers = itertools.count(1)
        self.steps: list[str] = []

    def around(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """Make a step one that may be the last."""

        def stepping(*args: Any, **kwargs: Any) -> Any:
            number = next(self._numbers)
            self.steps.append(name)
            if number == self._die_at and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return step(*args, **kwargs)
            finally:  # a refusal is an answer too
                if number == self._die_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        return stepping


class Mortal:
    """A port whose every call may be the last."""

    def __init__(self, port: Any, fate: Fate) -> None:
        self._port = port
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._fate.around(name, found) if callable(found) and name not in NO_CALLS else found


def read(arguments: list[str]) -> tuple[Client, ImportRequest, PushOptions]:
    """Return what the command would push: it runs up to its call of the public function."""
    taken: list[tuple[Client, ImportRequest, PushOptions]] = []

    def take(client: Client, request: ImportRequest, *, options: PushOptions, **_: Any) -> PushResult:
        taken.append((client, request, options))
        return PushResult(region=request.region, image_name=request.name)

    vars(api)["push"] = take
    command.main(["--quiet", *arguments], standalone_mode=False)
    return taken[0]


def live(order: dict[str, Any]) -> dict[str, Any]:
    """Push once, with the fate that was ordered; give the result or the error."""
    fate = Fate(order["die_at"], after=order["after"])
    client, request, options = read(list(order["arguments"]))
    services = client.services()
    mortal = Services(
        identity=Mortal(services.identity, fate),
        store=lambda bucket: Mortal(services.store(bucket), fate),
        roles=Mortal(services.roles, fate),
        images=Mortal(services.images, fate),
        instances=Mortal(services.instances, fate),
        endpoint=services.endpoint,
    )
    Journal.write = fate.around("journal", Journal.write)  # type: ignore[method-assign]
    clock = SandboxClock.over_http(services.endpoint)
    clock.slept_s = order.get("ahead_s", 0.0)
    context = Context(clock=clock)
    cloud = Cloud(
        images=mortal.images,
        instances=mortal.instances,
        context=context,
        ending=mortal.instances,
        ending_context=context,
        region=request.region,
    )
    try:
        result = push(request, options, mortal, context, cloud=cloud)
    except AliyunImportError as error:
        return {"error": error.code, "summary": error.summary, "cause": error.cause, "steps": fate.steps}
    return {"image_id": result.image_id, "sent_bytes": result.sent_bytes, "steps": fate.steps}


def push_or_die(order: dict[str, Any]) -> None:
    """Print what comes of an order, as JSON."""
    try:
        answer = live(order)
    except (click.ClickException, Exception) as error:  # noqa: BLE001 -- the caller's assertion shows it
        answer = {"bug": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))
