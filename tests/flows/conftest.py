"""Fixtures of the flows: a sandbox with short imports, commands, and a disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands
from tests.flows.disks import write_disk
from tests.flows.fork_server import ForkServer


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox whose imports take 0.1 s."""
    with Sandbox.start(tmp_path / "sandbox", settings=Settings(import_s=0.1)) as running:
        yield running


@pytest.fixture
def commands(tmp_path: Path, sandbox: Sandbox, forks: ForkServer) -> Commands:
    """Return commands that run against the sandbox, with a home directory of their own."""
    return Commands(home=tmp_path / "home", sandbox=sandbox, forks=forks)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Write a disk that can be imported: 8 MiB, sparse, two extents of data."""
    return write_disk(tmp_path / "web server.raw")
