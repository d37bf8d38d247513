"""Fixtures of the upload's tests."""

from pathlib import Path

import pytest

from aliyun_import.upload import plan
from tests.upload.scene import PART, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return a scene without a disk."""
    return Scene(tmp_path)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have parts of PART bytes sent, where a real upload has none that small."""
    monkeypatch.setattr(plan, "MIN_SEND_BYTES", PART)
