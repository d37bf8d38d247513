"""Fixtures of the upload's tests."""

from functools import partial
from pathlib import Path

import pytest

from aliyun_import.disk import disk
from aliyun_import.limits import KIB
from aliyun_import.upload import plan, zero_object
from tests.upload.scene import PART, Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Return a scene without a disk."""
    return Scene(tmp_path)


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have 192 KiB of a disk sampled in place of 3 MiB, so that small disks have places where nothing looks."""
    for name, value in (("SAMPLE_HEAD_BYTES", 64 * KIB), ("SAMPLE_SPOTS", 16)):
        monkeypatch.setattr(disk, name, value)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have parts of PART bytes sent, where a real upload has none that small."""
    monkeypatch.setattr(plan, "MIN_SEND_BYTES", PART)


@pytest.fixture
def small_zeros(monkeypatch: pytest.MonkeyPatch) -> int:
    """Have objects of zeros of an eighth of their sizes, and of what is sent unasked; gives the size of the seed."""
    sources = tuple((size // 8, requests) for size, requests in plan.ZERO_SOURCES)
    shape = partial(plan.PlanShape, zero_sources=sources, seed_bytes=sources[0][0])
    for module in (plan, zero_object):
        monkeypatch.setattr(module, "ZERO_SOURCES", sources)
    monkeypatch.setattr(plan, "PlanShape", shape)
    monkeypatch.setattr(plan, "FREE_ZERO_BYTES", plan.FREE_ZERO_BYTES // 8)
    return sources[0][0]
