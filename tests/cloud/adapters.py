"""The adapters of a sandbox, and values for their calls."""

import functools
from collections.abc import Iterator
from pathlib import Path

from aliyun_import.cloud.credentials.source import CredentialsSource, load_credentials
from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.ecs_instances import EcsInstances
from aliyun_import.cloud.endpoints import Endpoints, resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import RamRoles, StsIdentity
from aliyun_import.cloud.transport.settings import Timeouts
from aliyun_import.model.boot import InstanceCall
from aliyun_import.model.request import DiskFormat, DiskMapping, ImportCall, ImportRequest
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services import Services

BUCKET = "disks"
ROLE = "AliyunECSImageImportDefaultRole"
NO_HOME = Path("/nonexistent")
TIMEOUTS = Timeouts(connect_s=2, read_s=2, part_s=2)


def endpoints(sandbox: Sandbox, region: str = "cn-hangzhou") -> Endpoints:
    """Return endpoints that all lead to the sandbox."""
    return resolve_endpoints(region, endpoint_url=sandbox.url)


def credentials(sandbox: Sandbox, key: AccessKey | None = None) -> CredentialsSource:
    """Return the sandbox's credentials, read as from the environment."""
    return load_credentials(environment=sandbox.environment(key), home=NO_HOME)


def any_credentials() -> CredentialsSource:
    """Return credentials for servers that do not check them."""
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "key", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
    return load_credentials(environment=keys, home=NO_HOME)


def store(
    sandbox: Sandbox, bucket: str = BUCKET, *, region: str = "cn-hangzhou", key: AccessKey | None = None
) -> OssStore:
    """Return the store of a bucket, which is not created."""
    return OssStore(bucket, endpoints=endpoints(sandbox, region), credentials=credentials(sandbox, key))


def create_store(sandbox: Sandbox) -> OssStore:
    """Create a bucket and return its store."""
    opened = store(sandbox)
    opened.create_bucket()
    return opened


def roles(sandbox: Sandbox) -> RamRoles:
    """Return the client of RAM."""
    return RamRoles(endpoints=endpoints(sandbox), credentials=credentials(sandbox))


def images(sandbox: Sandbox, *, key: AccessKey | None = None) -> EcsImages:
    """Return the client of ECS images."""
    return EcsImages(endpoints=endpoints(sandbox), credentials=credentials(sandbox, key))


def instances(sandbox: Sandbox, *, key: AccessKey | None = None) -> EcsInstances:
    """Return the client of ECS instances."""
    return EcsInstances(endpoints=endpoints(sandbox), credentials=credentials(sandbox, key))


def identity(sandbox: Sandbox, key: AccessKey | None = None) -> StsIdentity:
    """Return the client of STS."""
    return StsIdentity(endpoints=endpoints(sandbox), credentials=credentials(sandbox, key))


def services(endpoints: Endpoints, credentials: CredentialsSource, timeouts: Timeouts | None = None) -> Services:
    """Return the services without retries; the store of a bucket is opened once."""
    return Services(
        identity=StsIdentity(endpoints=endpoints, credentials=credentials, timeouts=timeouts),
        store=functools.cache(
            lambda bucket: OssStore(bucket, endpoints=endpoints, credentials=credentials, timeouts=timeouts)
        ),
        roles=RamRoles(endpoints=endpoints, credentials=credentials, timeouts=timeouts),
        images=EcsImages(endpoints=endpoints, credentials=credentials, timeouts=timeouts),
        instances=EcsInstances(endpoints=endpoints, credentials=credentials, timeouts=timeouts),
    )


def instance_call() -> InstanceCall:
    """Return a RunInstances call."""
    return InstanceCall(
        image_id="m-1",
        instance_type="ecs.g7.large",
        vswitch_id="vsw-1",
        security_group_id="sg-1",
        disk_category="cloud_essd",
        disk_gib=20,
        released="2026-11-24T10:45:00Z",
        client_token="x",
    )


def import_call(*, dry_run: bool = False) -> ImportCall:
    """Return a small ImportImage call."""
    request = ImportRequest(
        region="cn-hangzhou", disks=(), role_name="AliyunECSImageImportDefaultRole", name="web-42", platform="Debian"
    )
    mapping = DiskMapping(bucket=BUCKET, key="disk.raw", format=DiskFormat.RAW, size_gib=5)
    return ImportCall(
        request=request, mappings=(mapping,), client_token="token-web-42", tags={"team": "web"}, dry_run=dry_run
    )


class Body:
    """A part's body that counts how often it was iterated; `fail` is raised in the middle."""

    def __init__(self, chunks: list[bytes], *, fail: Exception | None = None) -> None:
        self._chunks = chunks
        self._fail = fail
        self.iterations = 0

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def __iter__(self) -> Iterator[memoryview]:
        self.iterations += 1
        for number, chunk in enumerate(self._chunks):
            if self._fail and number:
                raise self._fail
            yield memoryview(chunk)
