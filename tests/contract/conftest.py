"""This file gives the contract tests their cloud: a sandbox, or the real one when the environment asks for it."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aliyun_import.cloud.credentials.source import CredentialsSource, load_credentials
from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.endpoints import Endpoints, resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import RamRoles, StsIdentity
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services.interface import Identity, ImageService, ObjectStore, RoleService

REGION = os.environ.get("ALIYUN_IMPORT_CONTRACT_REGION", "")
BUCKET = os.environ.get("ALIYUN_IMPORT_CONTRACT_BUCKET", "")


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The ports of one cloud. `prefix` is where objects may be made; `sandbox` is None for the real cloud."""

    region: str
    bucket: str
    prefix: str
    endpoints: Endpoints
    credentials: CredentialsSource
    sandbox: Sandbox | None

    @property
    def store(self) -> ObjectStore:
        """Open the bucket."""
        return OssStore(self.bucket, endpoints=self.endpoints, credentials=self.credentials)

    @property
    def roles(self) -> RoleService:
        """Open RAM."""
        return RamRoles(endpoints=self.endpoints, credentials=self.credentials)

    @property
    def images(self) -> ImageService:
        """Open ECS."""
        return EcsImages(endpoints=self.endpoints, credentials=self.credentials)

    @property
    def identity(self) -> Identity:
        """Open STS."""
        return StsIdentity(endpoints=self.endpoints, credentials=self.credentials)

    def key(self, name: str) -> str:
        """Give a key that is this test's own."""
        return self.prefix + name


def _in_sandbox(sandbox: Sandbox) -> Cloud:
    found = resolve_endpoints("cn-hangzhou", endpoint_url=sandbox.url)
    keys = load_credentials(environment=sandbox.environment(), home=Path("/nonexistent"))
    return Cloud(
        region="cn-hangzhou",
        bucket="contract",
        prefix="contract/",
        endpoints=found,
        credentials=keys,
        sandbox=sandbox,
    )


def _in_account() -> Cloud:
    if not REGION or not BUCKET:
        pytest.skip("needs ALIYUN_IMPORT_CONTRACT_REGION and ALIYUN_IMPORT_CONTRACT_BUCKET")
    return Cloud(
        region=REGION,
        bucket=BUCKET,
        prefix=f"aliyun-import-contract/{uuid.uuid4()}/",
        endpoints=resolve_endpoints(REGION),
        credentials=load_credentials(),
        sandbox=None,
    )


@pytest.fixture(params=["sandbox", pytest.param("account", marks=pytest.mark.slow)])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    """Give a cloud whose bucket is there, and remove what the test made in it."""
    if request.param == "account":
        ours = _in_account()
        yield ours
        for upload in ours.store.list_uploads(ours.prefix):
            ours.store.abort(upload.key, upload.upload_id)
        for one in ours.store.list_objects(ours.prefix):
            ours.store.delete(one.key)
        return
    with Sandbox.start(tmp_path / "sandbox") as sandbox:
        ours = _in_sandbox(sandbox)
        ours.store.create_bucket()
        yield ours
