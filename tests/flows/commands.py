"""Commands run as processes, each with an environment of its own."""

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

# Time for the slowest command on a busy machine. It keeps a command that hangs from blocking the tests.
LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Ran:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON document on stdout, validated."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        if "type" in document:  # role policy prints a policy
            validate(document)
        return document

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects on stdout, one per line, validated."""
        documents = [json.loads(line) for line in self.out.splitlines()]
        for one in documents:
            validate(one)
        return documents


def command_environment(home: Path, sandbox: Sandbox, **changes: str | None) -> dict[str, str]:
    """Return the environment of the sandbox with changes; None removes a variable. Creates the home directory."""
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
    """Run commands against one sandbox. No setting of the environment of the tests has an effect."""

    home: Path
    sandbox: Sandbox
    forks: ForkServer

    @property
    def state(self) -> Path:
        """The directory of the journals."""
        return self.home / ".local" / "state" / "aliyun-import"

    def environment(self, **changes: str | None) -> dict[str, str]:
        """Return the environment of a command; see `command_environment`."""
        return command_environment(self.home, self.sandbox, **changes)

    def run(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str | None] | None = None,
        clock_url: str | None = None,
    ) -> Ran:
        """Run a command in a process forked from one that has imported the tool, and wait for its end.

        Its waits advance the clock of the sandbox at `clock_url`, or of that in its environment. The sandbox of
        --sandbox runs in real time: without real waits the command would poll it without a pause.
        """
        clock_url = clock_url or self.environment(**(environment or {})).get("ALIYUN_IMPORT_ENDPOINT_URL")
        forked = self.start(*arguments, environment=environment, clock_url=clock_url)
        return Ran(*forked.communicate(limit_s=LIMIT_S))

    def run_process(self, *arguments: str | Path, environment: Mapping[str, str | None] | None = None) -> Ran:
        """Run a command as a user does: in a fresh interpreter and in real time."""
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
        """Start a command; see `ForkServer.start`. The caller waits for its end."""
        return self.forks.start(
            list(map(str, arguments)),
            environment=self.environment(**(environment or {})),
            cwd=self.home,
            clock_url=clock_url,
            streams=streams,
            limits=limits,
            has_warm_children=has_warm_children,
        )
