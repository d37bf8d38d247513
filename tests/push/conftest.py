"""Fixtures of the tests of pushes: a sandbox with a steered clock, and a host with a disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.state import Clock, Settings
from aliyun_import.sandbox.server import Sandbox
from tests.push.push_host import PushHost, write_small_disk


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox whose clock is advanced by waits only."""
    with Sandbox.start(
        tmp_path / "sandbox",
        settings=Settings(import_s=0.4, image_ready_s=0.0, instance_console="boots"),
        clock=Clock(running=False),
    ) as running:
        yield running


@pytest.fixture
def host(sandbox: Sandbox, tmp_path: Path) -> PushHost:
    """Return a host with a small bootable disk."""
    return PushHost(sandbox, tmp_path, write_small_disk(tmp_path / "disk.raw"))
