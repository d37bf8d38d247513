"""Connection to the services of one region."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aliyun_import.cloud.config import CloudConfig, OssEndpointType
from aliyun_import.cloud.credentials.providers import found_keys
from aliyun_import.cloud.credentials.source import CredentialsSource, load_credentials
from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.endpoints import Endpoints, internal_oss_url, resolve_endpoints
from aliyun_import.cloud.instance_metadata import internal_endpoint_answers
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import RamRoles, StsIdentity
from aliyun_import.events import Emit, Noted, ignore
from aliyun_import.services.interface import Services

# Connections to OSS that are kept open: one for each upload worker, of which --jobs permits 64.
MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Services of one region, as the functions of the package take them. Thread-safe. Use it as a context manager."""

    config: CloudConfig
    services: Services
    oss_endpoint: str

    @property
    def region(self) -> str:
        """Region of the services."""
        return self.config.region

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Connections are closed by their pools; the context manager is there so that one can be added to this class.
        return None


def connect(config: CloudConfig, *, on_event: Emit = ignore) -> Client:
    """Return a client for the services that a configuration describes.

    No request is sent to a service, except with `oss_endpoint_type` auto: then the metadata service of ECS is asked
    whether this machine is an instance of the region. Raises UsageError for a region or an endpoint that can't be
    used, and AccessError "credentials-missing", "profile-missing", "profile-unsupported" and "credentials-failed".
    """
    endpoints = _endpoints(config)
    credentials = _credentials(config)
    on_event(Noted(message=f"credentials from {credentials.describe()}"))
    on_event(
        Noted(message=f"OSS at {endpoints.oss}, ECS at {endpoints.ecs}, RAM at {endpoints.ram}, STS at {endpoints.sts}")
    )
    return Client(
        config=config,
        services=Services(
            identity=StsIdentity(endpoints=endpoints, credentials=credentials),
            store=lambda name: OssStore(name, endpoints=endpoints, credentials=credentials, workers=MAX_CONNECTIONS),
            roles=RamRoles(endpoints=endpoints, credentials=credentials),
            images=EcsImages(endpoints=endpoints, credentials=credentials),
            endpoint=config.endpoint_url or "",
            command_options=config.command_options,
        ),
        oss_endpoint=endpoints.oss,
    )


def _credentials(config: CloudConfig) -> CredentialsSource:
    keys = config.credentials
    if keys is None:
        return load_credentials(profile=config.profile)
    return CredentialsSource(lambda: found_keys("the configuration", keys.key_id, keys.secret, keys.token))


def _endpoints(config: CloudConfig) -> Endpoints:
    kind = config.oss_endpoint_type
    if kind is OssEndpointType.AUTO:
        replaced = config.endpoint_url or config.oss_endpoint or config.endpoint_overrides.get("OSS")
        is_near = not replaced and internal_endpoint_answers(config.region, internal_oss_url(config.region))
        kind = OssEndpointType.INTERNAL if is_near else OssEndpointType.PUBLIC
    return resolve_endpoints(
        config.region,
        endpoint_url=config.endpoint_url,
        overrides=config.endpoint_overrides,
        oss_endpoint=config.oss_endpoint,
        oss_cname=config.oss_cname,
        oss_endpoint_type=kind,
        allow_insecure=config.insecure,
    )
