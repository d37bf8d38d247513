"""Connection to the services of one region, and the reachability of its endpoints."""

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypedDict, TypeVar

from aliyun_import.cloud.config import CloudConfig, OssEndpointType
from aliyun_import.cloud.credentials.providers import found_keys
from aliyun_import.cloud.credentials.source import CredentialsSource, load_credentials
from aliyun_import.cloud.endpoints import Endpoints, internal_oss_url, resolve_endpoints
from aliyun_import.cloud.instance_metadata import internal_endpoint_answers
from aliyun_import.cloud.transport.answer import seconds_of
from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Emit, Noted, ignore
from aliyun_import.services import Services

# Connections to OSS that are kept open: one for each upload worker, of which --jobs permits 64.
MAX_CONNECTIONS = 64
# Timeouts of `reach_endpoints`.
CONNECT_S = 5.0
ANSWER_S = 10.0
# Shorter, because internal endpoints never answer outside their region.
INTERNAL_CONNECT_S = 2.0


class _Closable(Protocol):
    def close(self) -> None: ...


Service = TypeVar("Service", bound=_Closable)


class _Access(TypedDict):
    """Arguments that the client of every service takes."""

    endpoints: Endpoints
    credentials: CredentialsSource
    cancel: threading.Event | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Client for the services of one region, an argument of most functions of the package. Thread-safe.

    A context manager: leaving the block closes the connections.
    """

    config: CloudConfig
    endpoints: Endpoints
    credentials: CredentialsSource
    _opened: list[Callable[[], None]] = field(default_factory=list, repr=False)

    @property
    def region(self) -> str:
        """Region of the services."""
        return self.config.region

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._opened:
            self._opened.pop()()

    def services(self, cancel: threading.Event | None = None) -> Services:
        """Return the services, without retries. A wait for an answer ends with Interrupted once `cancel` is set.

        The stages of a push share the store of a bucket, and its connections: each new one takes a TLS handshake.
        """
        # Imported here because they load the SDKs, which an import of `connect` does not need.
        from aliyun_import.cloud.ecs import EcsImages
        from aliyun_import.cloud.ecs_instances import EcsInstances
        from aliyun_import.cloud.oss.store import OssStore
        from aliyun_import.cloud.ram import RamRoles, StsIdentity

        access = _Access(endpoints=self.endpoints, credentials=self.credentials, cancel=cancel)
        return Services(
            identity=self._open(StsIdentity(**access)),
            store=functools.cache(lambda name: self._open(OssStore(name, **access, workers=MAX_CONNECTIONS))),
            roles=self._open(RamRoles(**access)),
            images=self._open(EcsImages(**access)),
            instances=self._open(EcsInstances(**access)),
            endpoint=self.config.endpoint_url or "",
            credentials=self.credentials.describe(),
        )

    def _open(self, service: Service) -> Service:
        self._opened.append(service.close)
        return service


def connect(config: CloudConfig, *, on_event: Emit = ignore) -> Client:
    """Return a client for the services that a configuration describes.

    Sends no request, except with `oss_endpoint_type` auto: then it queries the metadata service of ECS, to detect an
    instance of the region. Raises UsageError for an invalid region or endpoint, and AccessError "credentials-missing",
    "profile-missing", "profile-unsupported" and "credentials-failed".
    """
    endpoints = _endpoints(config)
    credentials = _credentials(config, endpoints)
    on_event(Noted(message=f"credentials from {credentials.describe()}"))
    on_event(
        Noted(message=f"OSS at {endpoints.oss}, ECS at {endpoints.ecs}, RAM at {endpoints.ram}, STS at {endpoints.sts}")
    )
    return Client(config=config, endpoints=endpoints, credentials=credentials)


def _credentials(config: CloudConfig, endpoints: Endpoints) -> CredentialsSource:
    keys = config.credentials
    if keys is None:
        # Otherwise a run against a sandbox would send the token of a CI job to the real STS.
        is_given = config.endpoint_overrides.get("STS") or config.endpoint_url
        return load_credentials(profile=config.profile, sts_url=endpoints.sts if is_given else None)
    return CredentialsSource(lambda: found_keys("the given configuration", keys.key_id, keys.secret, keys.token))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Reachability of an endpoint. `problem` is why it can't be reached, "" if it answered.

    `is_used` is whether a push uses it; the others are alternatives. `clock_ahead_s` is how far this machine's clock is
    ahead of the endpoint's, None if the answer had no date.
    """

    service: str
    url: str
    is_used: bool
    problem: str = ""
    clock_ahead_s: float | None = None


def reach_endpoints(
    config: CloudConfig, endpoints: Endpoints, *, cancel: threading.Event | None = None
) -> tuple[Reach, ...]:
    """Send an unsigned request to each endpoint in use, and to the other endpoints of OSS; return the results."""
    used = {"OSS": endpoints.oss, "ECS": endpoints.ecs, "RAM": endpoints.ram, "STS": endpoints.sts}
    others: dict[str, str] = {}
    if not (config.endpoint_url or config.oss_endpoint or config.endpoint_overrides.get("OSS")):
        for kind in (OssEndpointType.PUBLIC, OssEndpointType.INTERNAL, OssEndpointType.ACCELERATE):
            url = resolve_endpoints(config.region, oss_endpoint_type=kind).oss
            if url != endpoints.oss:
                others[f"OSS {kind}"] = url
    found = [_reach(service, url, is_used=True, cancel=cancel) for service, url in used.items()]
    return (*found, *(_reach(service, url, is_used=False, cancel=cancel) for service, url in others.items()))


def _reach(service: str, url: str, *, is_used: bool, cancel: threading.Event | None) -> Reach:
    client = HttpClient(service, url, connections=1, cancel=cancel)
    connect_s = INTERNAL_CONNECT_S if "-internal." in url else CONNECT_S
    try:
        answer = client.send("Reach", "GET", f"{url}/", headers={}, connect_s=connect_s, wait_s=ANSWER_S)
    except AliyunImportError as error:
        return Reach(service=service, url=url, is_used=is_used, problem=f"{error.summary} {error.cause or ''}".strip())
    finally:
        client.close()
    there_s = seconds_of(answer.headers.get("date", ""))
    ahead_s = None if there_s is None else time.time() - there_s
    return Reach(service=service, url=url, is_used=is_used, clock_ahead_s=ahead_s)
