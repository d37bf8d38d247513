"""Driver of test_secrecy that runs many commands in one process, forked by tests/flows/fork_server.py.

The plan has `runs` (arguments, environment, where the vendor's library is led to). The last guard before the streams
is taken away, so that what comes out is what the code itself lets out.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from aliyun_import import context as run_clock
from aliyun_import.cli import main
from aliyun_import.cloud import instance_metadata
from aliyun_import.cloud.credentials import fetched
from aliyun_import.cloud.transport.answer import Answer


class _Hurried(run_clock.SystemClock):
    """A clock that hardly waits."""

    def sleep(self, seconds: float) -> None:
        """Wait for a moment at most."""
        super().sleep(min(seconds, 0.001))


def _lead_vendor_to(target: list[str]) -> None:
    """Send what the credentials library and the metadata service are asked for to a local server, over http."""
    from Tea.core import TeaCore

    compose: Callable[[Any], str] = TeaCore.compose_url

    def local(request: Any) -> str:
        parts = urlsplit(compose(request))
        return f"{target[0]}{parts.path or '/'}{'?' + parts.query if parts.query else ''}"

    TeaCore.compose_url = staticmethod(local)
    ask = instance_metadata._ask

    def ask_locally(host: str, port: int, *arguments: Any) -> Answer:
        parts = urlsplit(target[0])
        return ask(parts.hostname or host, parts.port or port, *arguments)

    vars(instance_metadata)["_ask"] = ask_locally
    vars(fetched)["endpoint"] = lambda _host: target[0]


def _run(arguments: list[str]) -> None:
    sys.argv = ["aliyun-import", *arguments]
    print(f"### {' '.join(arguments)}", flush=True)
    with suppress(SystemExit):
        main.run()
    sys.stderr.flush()


def drive(plan: dict[str, Any]) -> None:
    """Run all of the plan, one command after the other, without any wait."""
    vars(main)["guard_streams"] = lambda: None
    vars(run_clock)["SystemClock"] = _Hurried
    target = [""]
    if plan["vendor"]:
        _lead_vendor_to(target)
    usual = dict(os.environ)
    for run in plan["runs"]:
        os.environ.clear()
        os.environ.update({**usual, **run["environment"]})
        target[0] = run["vendor_at"]
        _run(run["arguments"])
