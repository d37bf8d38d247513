"""Fixtures of the tests of pushes: a sandbox whose clock is steered, and a machine with a disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.state import Clock, Settings
from aliyun_import.sandbox.server import Sandbox
from tests.push.machine import Machine, write_small_disk


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox whose time passes in waits only."""
    with Sandbox.start(
        tmp_path / "sandbox",
        settings=Settings(import_s=0.4, image_ready_s=0.0, instance_console="boots"),
        clock=Clock(running=False),
    ) as running:
        yield running


@pytest.fixture
def machine(sandbox: Sandbox, tmp_path: Path) -> Machine:
    """Return a machine with a small bootable disk."""
    return Machine(sandbox, tmp_path, write_small_disk(tmp_path / "disk.raw"))
