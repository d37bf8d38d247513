"""Fixtures: OSS of the sandbox through the real SDK."""

from collections.abc import Iterator

import oss2
import pytest

from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import Oss


@pytest.fixture
def oss(sandbox: Sandbox) -> Iterator[Oss]:
    """Open the sandbox's OSS for oss2."""
    opened = Oss(sandbox)
    yield opened
    opened.close()


@pytest.fixture
def bucket(oss: Oss) -> oss2.Bucket:
    """Make a bucket of the default account in the default region, seen through oss2 with V4 signatures."""
    opened = oss.bucket("disks")
    opened.create_bucket()
    return opened
