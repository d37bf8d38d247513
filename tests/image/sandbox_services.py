"""Real clients connected to a sandbox, with a clock that advances the sandbox's time."""

from aliyun_import.context import Context
from aliyun_import.events import Emit
from aliyun_import.retry import add_retries
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.clocks import SteeredClock
from tests.cloud import adapters
from tests.image.scripted_services import context_of


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
        self.clock = SteeredClock(sandbox.clock.advance)
        services = adapters.services(adapters.endpoints(sandbox, region), adapters.credentials(sandbox, key))
        self.services = add_retries(services, self.context())
        self.roles, self.images, self.store = self.services.roles, self.services.images, self.services.store

    def context(self, emit: Emit | None = None) -> Context:
        """Return a context on the steered clock."""
        return context_of(self.clock, emit)
