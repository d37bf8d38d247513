"""Runs of `aliyun-import` in a process with an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aliyun_import.sandbox.server import Sandbox
from tests.flows.fork_server import Forked, ForkServer
from tests.schemas import validate

# Long enough for the slowest command on a busy machine; a command that hangs must not hang the tests.
LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Read stdout as the one JSON document that it must be."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        if "type" in document:  # role policy prints a policy
            validate(document)
        return document

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Read stdout as one JSON object a line."""
        documents = [json.loads(line) for line in self.out.splitlines()]
        for one in documents:
            validate(one)
        return documents


def command_environment(home: Path, sandbox: Sandbox, **changes: str | None) -> dict[str, str]:
    """Return the environment of a command: the sandbox's, with changes (None removes)."""
    home.mkdir(parents=True, exist_ok=True)
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    variables: dict[str, str | None] = {
        **keep,
        "HOME": str(home),
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        **sandbox.environment(),
        **changes,
    }
    return {name: value for name, value in variables.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands against one sandbox; nothing of the real environment's settings comes in."""

    home: Path
    sandbox: Sandbox
    forks: ForkServer

    @property
    def state(self) -> Path:
        """Name the directory where the journals are."""
        return self.home / ".local" / "state" / "aliyun-import"

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Return the environment of a command: the sandbox's, with changes (None removes)."""
        return command_environment(self.home, self.sandbox, **changes)

    def run(self, *arguments: str | Path, environment: Mapping[str, str | None] | None = None) -> Ran:
        """Run a command to its end, forked from a process that has imported the tool.

        Its waits advance the clock of the sandbox that its environment names. One of its own (--sandbox) runs in real
        time: a command that waited for nothing would poll it without a pause.
        """
        clock_url = self.environment(**(environment or {})).get("ALIYUN_IMPORT_ENDPOINT_URL")
        forked = self.start(*arguments, environment=environment, clock_url=clock_url)
        return Ran(*forked.communicate(limit_s=LIMIT_S))

    def run_process(self, *arguments: str | Path, environment: Mapping[str, str | None] | None = None) -> Ran:
        """Run a command as a user does: a fresh interpreter, and real time."""
        done = subprocess.run(
            [sys.executable, "-m", "aliyun_import", *map(str, arguments)],
            env=self.environment(**(environment or {})),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str | None] | None = None,
        clock_url: str | None = None,
        streams: Mapping[int, str] | None = None,
        limits: Mapping[int, int] | None = None,
        has_warm_children: bool = True,
    ) -> Forked:
        """Start a command as `ForkServer.start` does, and leave it running; the caller sees to its end."""
        return self.forks.start(
            list(map(str, arguments)),
            environment=self.environment(**(environment or {})),
            cwd=self.home,
            clock_url=clock_url,
            streams=streams,
            limits=limits,
            has_warm_children=has_warm_children,
        )
