"""Real clients connected to a sandbox, with a clock that advances the sandbox's time."""

import functools
from pathlib import Path

from aliyun_import.cloud.credentials.source import load_credentials
from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.ecs_instances import EcsInstances
from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import RamRoles, StsIdentity
from aliyun_import.context import Context
from aliyun_import.events import Emit
from aliyun_import.retry import add_retries
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services import Services
from tests.image.scripted_services import context_of
from tests.steered import SteeredClock


class SandboxServices:
    """The services of a sandbox in one region, through the real adapters, without the permissions in `denied`."""

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        region: str = "cn-hangzhou",
        denied: tuple[str, ...] = (),
        key: AccessKey | None = None,
    ) -> None:
        key = key or sandbox.access_key
        if denied:
            key = AccessKey(id="LIMITED", secret="LIMITED-SECRET", principal="user/x", denied=frozenset(denied))
            sandbox.state.add_key(key)
        self.region = region
        self._endpoints = resolve_endpoints(region, endpoint_url=sandbox.url)
        self._credentials = load_credentials(environment=sandbox.environment(key), home=Path("/nonexistent"))
        self.clock = SteeredClock(sandbox.clock.advance)
        services = Services(
            identity=StsIdentity(endpoints=self._endpoints, credentials=self._credentials),
            store=functools.cache(
                lambda bucket: OssStore(bucket, endpoints=self._endpoints, credentials=self._credentials)
            ),
            roles=RamRoles(endpoints=self._endpoints, credentials=self._credentials),
            images=EcsImages(endpoints=self._endpoints, credentials=self._credentials),
            instances=EcsInstances(endpoints=self._endpoints, credentials=self._credentials),
        )
        self.services = add_retries(services, self.context())
        self.roles, self.images, self.store = self.services.roles, self.services.images, self.services.store

    def context(self, emit: Emit | None = None) -> Context:
        """Return a context on the steered clock."""
        return context_of(self.clock, emit)
