"""Fixtures of the upload's tests."""

from pathlib import Path

import pytest

from tests.upload.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return a scene without a disk."""
    return Scene(tmp_path)
