"""Runner of many commands in one process, for test_secrecy; tests/flows/fork_server.py forks it.

The plan has `runs`: arguments, environment, and the URL that the credentials library is redirected to. The guard of
the streams is disabled, so that the output shows what the code itself writes.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from aliyun_import import context
from aliyun_import.cli import main
from aliyun_import.cloud import instance_metadata
from aliyun_import.cloud.credentials import fetched
from aliyun_import.cloud.transport.answer import Answer


class _ShortClock(context.SystemClock):
    """Clock whose waits take 1 ms at most."""

    def sleep(self, seconds: float) -> None:
        """Wait for 1 ms at most."""
        super().sleep(min(seconds, 0.001))


def _redirect_credentials_to(target: list[str]) -> None:
    """Redirect requests of the credentials library, and for instance metadata, to a local server over http."""
    from Tea.core import TeaCore

    compose: Callable[[Any], str] = TeaCore.compose_url

    def local(request: Any) -> str:
        parts = urlsplit(compose(request))
        return f"{target[0]}{parts.path or '/'}{'?' + parts.query if parts.query else ''}"

    TeaCore.compose_url = staticmethod(local)
    real_ask = instance_metadata._ask

    def ask_locally(host: str, port: int, *arguments: Any) -> Answer:
        parts = urlsplit(target[0])
        return real_ask(parts.hostname or host, parts.port or port, *arguments)

    vars(instance_metadata)["_ask"] = ask_locally
    vars(fetched)["endpoint"] = lambda _host: target[0]


def _run(arguments: list[str]) -> None:
    sys.argv = ["aliyun-import", *arguments]
    print(f"### {' '.join(arguments)}", flush=True)
    with suppress(SystemExit):
        main.run()
    sys.stderr.flush()


def run_plan(plan: dict[str, Any]) -> None:
    """Run the commands of a plan one after the other."""
    vars(main)["guard_streams"] = lambda: None
    vars(context)["SystemClock"] = _ShortClock
    target = [""]
    if plan["is_redirected"]:
        _redirect_credentials_to(target)
    base = dict(os.environ)
    for run in plan["runs"]:
        os.environ.clear()
        os.environ.update({**base, **run["environment"]})
        target[0] = run["credentials_url"]
        _run(run["arguments"])
