"""Instance metadata of ECS: region, role and keys. Without an answer within a second, this machine is no instance.

Requests never use a proxy, because the answers contain keys.
"""

import http
import os
import re
import socket
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from aliyun_import.cloud.credentials.keys import refused
from aliyun_import.cloud.transport.answer import Answer
from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.cloud.transport.settings import METADATA_HOST
from aliyun_import.errors import AliyunImportError
from aliyun_import.redact import register_secret

HOST = METADATA_HOST
_ROLES = "/latest/meta-data/ram/security-credentials/"
# As in the vendor's credentials library; in the cloud the service answers within milliseconds.
WAIT_S = 1.0


def is_disabled(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the environment disables the metadata service."""
    return environment.get("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "").lower() == "true"


def role_here(environment: Mapping[str, str] = os.environ, *, host: str = HOST, port: int = 80) -> str | None:
    """Return the RAM role of this instance; None if it has none, or if this machine is no instance."""
    answer = _read(_ROLES, environment, host, port)
    # Exactly one name: a proxy may answer instead of the service.
    return answer if answer and re.fullmatch(r"[\w.-]{1,64}", answer) else None


def keys_of_role(role: str, environment: Mapping[str, str] = os.environ, *, host: str = HOST, port: int = 80) -> Answer:
    """Return the answer with the keys of a role of this instance. Raises the errors of the network."""
    path = _ROLES + quote(role, safe="")
    token = _token(environment, host, port)
    answer = _ask(host, port, "GET", path, token)
    if answer.status != http.HTTPStatus.OK and token and not _is_version_2_only(environment):
        return _ask(host, port, "GET", path, {})  # the service rejects the token that it issued
    return answer


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
    """Return the answer's text; None for a refusal, or without an answer."""
    if is_disabled(environment):
        return None
    try:
        answer = _ask(host, port, "GET", path, _token(environment, host, port))
    except AliyunImportError:
        return None
    return answer.body.decode("ascii", "replace").strip() if answer.status == http.HTTPStatus.OK else None


def _token(environment: Mapping[str, str], host: str, port: int) -> Mapping[str, str]:
    """Return the header that authorizes a request; empty for a service of version 1, which has no tokens."""
    answer = _ask(host, port, "PUT", "/latest/api/token", {"X-aliyun-ecs-metadata-token-ttl-seconds": "60"})
    token = answer.body.decode("ascii", "replace").strip()
    # A line end in the token would begin another header.
    if answer.status != http.HTTPStatus.OK or not token.isprintable() or " " in token:
        if _is_version_2_only(environment):
            raise refused(
                "the metadata service of this ECS instance", "It returned no token, and version 1 is disabled."
            )
        return {}
    register_secret(token)
    return {"X-aliyun-ecs-metadata-token": token}


def _is_version_2_only(environment: Mapping[str, str]) -> bool:
    return environment.get("ALIBABA_CLOUD_IMDSV1_DISABLED", "").lower() == "true"


def _ask(host: str, port: int, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    """Send a request and return the answer, with any status. Raises the errors of the network."""
    url = f"http://{host}:{port}"
    return HttpClient("metadata service", url, connections=1, proxy="").send(
        "metadata",
        method,
        url + path,
        headers=headers,
        connect_s=WAIT_S,
        wait_s=WAIT_S,
        max_body_bytes=64 << 10,
    )
