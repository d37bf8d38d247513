"""This file gives every test of the room an empty scene."""

from pathlib import Path

import pytest

from tests.upload.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Give a scene without a disk."""
    return Scene(tmp_path)
