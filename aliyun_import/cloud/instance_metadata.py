"""Instance metadata of ECS: role and region of this machine. No answer within a second means that it is no instance."""

import http
import os
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.errors import AliyunImportError

# "Instance metadata": the same address in every region, reachable from an instance only.
HOST = "100.100.100.200"
# The vendor's credentials library waits as long; in the cloud the service answers within milliseconds.
WAIT_S = 1.0


def is_disabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment disables the metadata service."""
    return environment.get("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "").lower() == "true"


def role_here(environment: Mapping[str, str] = os.environ, *, host: str = HOST, port: int = 80) -> str | None:
    """Return the RAM role of this instance; None if it has none, or if this machine is no instance."""
    return _read("/latest/meta-data/ram/security-credentials/", environment, host, port)


def region_here(environment: Mapping[str, str] = os.environ, *, host: str = HOST, port: int = 80) -> str | None:
    """Return the region of this instance; None if this machine is no instance. Takes three seconds at most."""
    return _read("/latest/meta-data/region-id", environment, host, port)


def internal_endpoint_answers(
    region: str, url: str, *, environment: Mapping[str, str] = os.environ, host: str = HOST, port: int = 80
) -> bool:
    """Return whether this machine is in the region and reaches its internal OSS endpoint (`url`)."""
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
    if token is None:  # no service: do not wait a second time
        return None
    # An instance with version 1 only has no tokens, and answers without one.
    headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
    return _ask(host, port, "GET", path, headers) or None


def _ask(host: str, port: int, method: str, path: str, headers: Mapping[str, str]) -> str | None:
    """Return the answer's text, "" for a refusal, None without an answer."""
    url = f"http://{host}:{port}"
    try:
        answer = HttpClient("ECS", url, connections=1, proxy="").send(
            "metadata",
            method,
            url + path,
            headers=headers,
            connect_s=WAIT_S,
            wait_s=WAIT_S,
            max_body_bytes=4096,
        )
    except AliyunImportError:
        return None
    return answer.body.decode("ascii", "replace").strip() if answer.status == http.HTTPStatus.OK else ""
