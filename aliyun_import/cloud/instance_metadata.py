"""This file asks the metadata service of ECS where this machine stands, quickly, and takes silence for "elsewhere"."""

import http.client
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from aliyun_import.cloud.transport.logs import logged

# "Instance metadata": the same address in every region, reachable from within an instance only.
HOST = "100.100.100.200"
# The vendor's credentials library waits as long; inside the cloud it answers within milliseconds.
WAIT_S = 1.0


def is_disabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment forbids to ask."""
    return environment.get("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "").lower() == "true"


def role_here(environment: Mapping[str, str] = os.environ, *, host: str = HOST, port: int = 80) -> str | None:
    """Name the RAM role of the instance that this runs on; None where it has none, or where this is no instance."""
    return _read("/latest/meta-data/ram/security-credentials/", environment, host, port)


def region_here(environment: Mapping[str, str] = os.environ, *, host: str = HOST, port: int = 80) -> str | None:
    """Give the region of the instance that this runs on; None where it runs elsewhere. Takes three seconds at most."""
    return _read("/latest/meta-data/region-id", environment, host, port)


def internal_endpoint_answers(
    region: str, url: str, *, environment: Mapping[str, str] = os.environ, host: str = HOST, port: int = 80
) -> bool:
    """Tell whether this machine is in the region and reaches its internal OSS endpoint (`url`)."""
    if region_here(environment, host=host, port=port) != region:
        return False
    parts = urlsplit(url)
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), timeout=WAIT_S
        ):
            return True
    except OSError:
        return False


def _read(path: str, environment: Mapping[str, str], host: str, port: int) -> str | None:
    if is_disabled(environment):
        return None
    token = _ask(host, port, "PUT", "/latest/api/token", {"X-aliyun-ecs-metadata-token-ttl-seconds": "60"})
    if token is None:  # nobody there: do not wait a second time
        return None
    # An instance that knows version 1 only has no tokens; it answers without one.
    headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
    return _ask(host, port, "GET", path, headers) or None


def _ask(host: str, port: int, method: str, path: str, headers: Mapping[str, str]) -> str | None:
    """Give the answer's text, "" where it is a refusal, None where nobody answers."""
    connection = http.client.HTTPConnection(host, port, timeout=WAIT_S)
    try:
        with logged("ECS", "metadata", method=method, url=f"http://{host}:{port}{path}") as exchange:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            exchange.status = answer.status
        text = answer.read(4096).decode("ascii", "replace").strip()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return text if answer.status == http.HTTPStatus.OK else ""
