"""This file gives every test a cloud of its own: a sandbox with fresh state, over real HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.sandbox.server import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox with fresh state that ends with the test."""
    with Sandbox.start(tmp_path / "sandbox") as running:
        yield running
