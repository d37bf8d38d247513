"""Reachability of the endpoints, and the difference between the clocks. No credentials are sent."""

import threading
import time
from dataclasses import dataclass

from aliyun_import.cloud.config import CloudConfig, OssEndpointType
from aliyun_import.cloud.endpoints import Endpoints, resolve_endpoints
from aliyun_import.cloud.transport.answer import seconds_of
from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.errors import AliyunImportError

CONNECT_S = 5.0
ANSWER_S = 10.0
# From outside the region no packet of an internal endpoint comes back.
INTERNAL_CONNECT_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """An endpoint: its service and URL, and why it can't be reached, "" if it answered.

    `is_used` is whether a push uses it; the others are alternatives. `clock_ahead_s` is how far this machine's clock is
    ahead of the endpoint's, None if it named no time.
    """

    service: str
    url: str
    is_used: bool
    problem: str = ""
    clock_ahead_s: float | None = None


def reach_endpoints(
    config: CloudConfig, endpoints: Endpoints, *, cancel: threading.Event | None = None
) -> tuple[Reach, ...]:
    """Return how each endpoint answers a request without a signature: those in use, and the other ones of OSS."""
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
