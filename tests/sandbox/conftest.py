"""Fixtures of OSS clients for the sandbox."""

from collections.abc import Iterator

import oss2
import pytest

from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import Oss


@pytest.fixture
def oss(sandbox: Sandbox) -> Iterator[Oss]:
    """Yield clients of the sandbox's OSS."""
    opened = Oss(sandbox)
    yield opened
    opened.close()


@pytest.fixture
def bucket(oss: Oss) -> oss2.Bucket:
    """Return a new bucket of the default account and region, opened by oss2 with V4 signatures."""
    opened = oss.bucket("disks")
    opened.create_bucket()
    return opened
