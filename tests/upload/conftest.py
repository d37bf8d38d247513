"""Fixtures of the upload's tests."""

from functools import partial
from pathlib import Path

import pytest

from aliyun_import.disk import disk
from aliyun_import.limits import KIB
from aliyun_import.upload import plan, zero_object
from tests.upload.upload_setup import PART, UploadSetup


@pytest.fixture
def setup(tmp_path: Path) -> UploadSetup:
    """Return an upload whose disk is not written yet."""
    return UploadSetup(tmp_path)


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample 192 KiB of a disk in place of 3 MiB, so that small disks have ranges outside the sample."""
    for name, value in (("SAMPLE_HEAD_BYTES", 64 * KIB), ("SAMPLE_SPOTS", 16)):
        monkeypatch.setattr(disk, name, value)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permit sent parts of PART bytes, which are smaller than those of a real upload."""
    monkeypatch.setattr(plan, "MIN_SEND_BYTES", PART)


@pytest.fixture
def small_zeros(monkeypatch: pytest.MonkeyPatch) -> int:
    """Divide the sizes of zero objects and the limit of zeros that are sent unasked by 8; return the seed's size."""
    sources = tuple((size // 8, requests) for size, requests in plan.ZERO_SOURCES)
    shape = partial(plan.PlanShape, zero_sources=sources, seed_bytes=sources[0][0])
    for module in (plan, zero_object):
        monkeypatch.setattr(module, "ZERO_SOURCES", sources)
    monkeypatch.setattr(plan, "PlanShape", shape)
    monkeypatch.setattr(plan, "FREE_ZERO_BYTES", plan.FREE_ZERO_BYTES // 8)
    return sources[0][0]
