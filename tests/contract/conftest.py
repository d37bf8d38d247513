"""Services of the contract tests: a sandbox, in memory, or a real account if the environment names one."""

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.cloud.credentials.source import load_credentials
from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.model.roles import CallerIdentity
from aliyun_import.role.spec import OSS_ROLE
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services import Identity, ImageService, ObjectStore, RoleService, Services
from tests.cloud import adapters
from tests.image.scripted_services import ScriptedImages, ScriptedRoles
from tests.upload.scripted_store import ScriptedStore

REGION = os.environ.get("ALIYUN_IMPORT_CONTRACT_REGION", "")
BUCKET = os.environ.get("ALIYUN_IMPORT_CONTRACT_BUCKET", "")


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """The services under test. Objects are created below `prefix`; `sandbox` is None for other services."""

    region: str
    bucket: str
    prefix: str
    services: Services
    sandbox: Sandbox | None = None
    is_real: bool = False

    @property
    def store(self) -> ObjectStore:
        """The bucket."""
        return self.services.store(self.bucket)

    @property
    def roles(self) -> RoleService:
        """RAM."""
        return self.services.roles

    @property
    def images(self) -> ImageService:
        """ECS."""
        return self.services.images

    @property
    def identity(self) -> Identity:
        """STS."""
        return self.services.identity

    def key(self, name: str) -> str:
        """Return the key of an object of this test."""
        return self.prefix + name

    def finish_imports(self) -> None:
        """Finish the running imports."""
        if self.sandbox is not None:
            self.sandbox.clock.advance(60)
        elif isinstance(self.images, ScriptedImages):
            self.images.finish()


class MemoryIdentity:
    """In-memory Identity."""

    def whoami(self) -> CallerIdentity:
        """Return the owner of the in-memory bucket."""
        return CallerIdentity(account_id="1000000000000000", arn="acs:ram::1000000000000000:root")


def _in_sandbox(sandbox: Sandbox) -> Cloud:
    return Cloud(
        region="cn-hangzhou",
        bucket="contract",
        prefix="contract/",
        services=adapters.services(adapters.endpoints(sandbox), adapters.credentials(sandbox)),
        sandbox=sandbox,
    )


def _in_memory() -> Cloud:
    """Return the in-memory services of other tests, which must keep the same contract."""
    store = ScriptedStore()
    allow = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": list(OSS_ROLE.actions), "Resource": "*"}]}
    none: Any = None  # no instance is started in memory
    services = Services(
        identity=MemoryIdentity(),
        store=lambda _: store,
        roles=ScriptedRoles(documents={OSS_ROLE.system_policy: json.dumps(allow)}),
        images=ScriptedImages(),
        instances=none,
    )
    return Cloud(region="cn-hangzhou", bucket=store.bucket, prefix="contract/", services=services)


def _in_account() -> Cloud:
    if not REGION or not BUCKET:
        pytest.skip("needs ALIYUN_IMPORT_CONTRACT_REGION and ALIYUN_IMPORT_CONTRACT_BUCKET")
    return Cloud(
        region=REGION,
        bucket=BUCKET,
        prefix=f"aliyun-import-contract/{uuid.uuid4()}/",
        services=adapters.services(resolve_endpoints(REGION), load_credentials()),
        is_real=True,
    )


@pytest.fixture(params=["sandbox", "memory", pytest.param("account", marks=pytest.mark.slow)])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    """Yield services with a bucket, and remove the objects of the test in a real account."""
    if request.param == "memory":
        yield _in_memory()
    elif request.param == "account":
        account = _in_account()
        yield account
        for upload in account.store.list_uploads(account.prefix):
            account.store.abort(upload.key, upload.upload_id)
        for one in account.store.list_objects(account.prefix):
            account.store.delete(one.key)
    else:
        with Sandbox.start(tmp_path / "sandbox") as sandbox:
            account = _in_sandbox(sandbox)
            account.store.create_bucket()
            yield account
