"""Keys from the metadata service of an ECS instance, from a URI, and from STS, fetched without the vendor's library.

The library sends the requests for metadata and URI through the proxy of the environment, which exposes the keys to it.
For STS it ignores REQUESTS_CA_BUNDLE and sends the OIDC token in the URL. It accepts answers of any size. Sources:
"Instance RAM roles" and the README of alibabacloud_credentials for metadata and URI; AssumeRole and AssumeRoleWithOIDC
for STS.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, urlencode, urlsplit

from aliyun_import.cloud import instance_metadata
from aliyun_import.cloud.credentials.keys import Keys, Read, keys_of, refused, unreachable
from aliyun_import.cloud.transport.answer import Answer
from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.errors import AccessError, TransientError, UsageError
from aliyun_import.redact import register_secret

# As in the vendor's library.
_CONNECT_S, _WAIT_S = 5.0, 10.0
_MAX_BODY_BYTES = 1 << 20
_VERSION = {"Format": "JSON", "Version": "2015-04-01"}


def uri(address: str) -> Read:
    """Return a reader of the keys at a URI. Raises UsageError "credentials-uri-invalid"."""
    where = "ALIBABA_CLOUD_CREDENTIALS_URI"
    given = address.strip()
    parts = _parts(given if "://" in given else f"http://{given}")
    if parts is None or not given.isprintable() or " " in given:
        # The value is not repeated, because it may contain a secret.
        raise UsageError(
            f"The address in {where} can't be used: it is not an http:// or https:// URL.",
            code="credentials-uri-invalid",
            remedy=f"Set {where} as http://HOST:PORT/PATH, or unset it.",
        )
    # Without user name and password; the vendor's library does not send them either.
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    target = f"{origin}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"

    def ask() -> Answer:
        client = HttpClient("credentials", origin, connections=1, shows_path=False)
        return _sent(client, "URI", "GET", target)

    return _reader(where, ask)


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else None
    except ValueError:  # a port that is no number
        return None


def ecs_role(role_name: str | None, *, environment: Mapping[str, str] = os.environ) -> Read:
    """Return a reader of the keys of this ECS instance's role; with None it queries the name of the role first."""
    where = "the RAM role of this ECS instance"

    def read() -> Keys:
        if instance_metadata.is_disabled(environment):
            raise refused(where, "ALIBABA_CLOUD_ECS_METADATA_DISABLED is true.")
        role = role_name or instance_metadata.role_here(environment)
        if not role:
            raise refused(where, "The metadata service does not answer, or the instance has no role.")
        try:
            return keys_of(instance_metadata.keys_of_role(role, environment), where)
        except TransientError as error:
            raise unreachable(where, error.cause or error.summary) from error

    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedRole:
    """Parameters of a role that is assumed at the STS of `url`. `where` names their source, for people."""

    where: str
    arn: str
    session_name: str
    url: str
    duration_s: int = 3600
    policy: str = ""
    external_id: str = ""

    def sts(self) -> HttpClient:
        """Return a client of the STS."""
        return HttpClient("STS", self.url, connections=1)

    def parameters(self) -> dict[str, str]:
        """Return the parameters that both operations have, without empty ones."""
        found = {
            "RoleArn": self.arn,
            "RoleSessionName": self.session_name,
            "DurationSeconds": str(self.duration_s),
            "Policy": self.policy,
        }
        return {name: value for name, value in found.items() if value}


def assumed_role(
    where: str,
    fields: Mapping[str, object],
    *,
    environment: Mapping[str, str] = os.environ,
    sts_url: str | None = None,
) -> AssumedRole:
    """Return the role that the fields of a profile describe. Raises AccessError "profile-incomplete" without one.

    `sts_url` replaces the endpoint of STS, also that of the profile.
    """

    def field(name: str) -> str:
        return str(fields.get(name) or "").strip()

    if not field("ram_role_arn"):
        raise AccessError(
            f"The {where} names no role.",
            code="profile-incomplete",
            cause="Its ram_role_arn is empty.",
            remedy="Run `aliyun configure` for this profile.",
        )
    is_inside = fields.get("enable_vpc")
    if is_inside is None:
        is_inside = environment.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "").lower() == "true"
    region = field("sts_region") or environment.get("ALIBABA_CLOUD_STS_REGION", "").strip()
    duration = field("expired_seconds")
    return AssumedRole(
        where=where,
        arn=field("ram_role_arn"),
        session_name=field("ram_session_name")
        or field("role_session_name")
        or environment.get("ALIBABA_CLOUD_ROLE_SESSION_NAME", "").strip()
        or f"aliyun-import-{int(time.time())}",
        url=sts_url
        or endpoint(f"{'sts-vpc' if is_inside else 'sts'}.{region}.aliyuncs.com" if region else "sts.aliyuncs.com"),
        # The service refuses less than 900 s.
        duration_s=int(duration) if duration.isascii() and duration.isdigit() and len(duration) < 7 else 3600,
        policy=field("policy"),
        external_id=field("external_id"),
    )


def with_keys(source: Read, role: AssumedRole) -> Read:
    """Return a reader that assumes a role with other keys."""

    def ask() -> Answer:
        from aliyunsdksts.request.v20150401.AssumeRoleRequest import AssumeRoleRequest

        from aliyun_import.cloud.transport.signing import signed

        keys = source()
        register_secret(keys.secret, keys.token)
        request = AssumeRoleRequest()
        for name, value in {**role.parameters(), "ExternalId": role.external_id}.items():
            if value:
                request.add_query_param(name, value)
        headers, target = signed(
            request, region="cn-hangzhou", key_id=keys.key_id, secret=keys.secret, token=keys.token
        )
        return _sent(role.sts(), "AssumeRole", request.get_method(), f"{role.url}{target}", headers=headers)

    return _reader(role.where, ask)


def with_token(token_file: str, provider_arn: str, role: AssumedRole) -> Read:
    """Return a reader that assumes a role with the OIDC token in a file.

    The file is read each time, because it is replaced before the token expires.
    """

    def ask() -> Answer:
        try:
            token = Path(token_file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or "It is not text."
            raise refused(role.where, f"The file {token_file} can't be read: {cause}.") from error
        register_secret(token)
        body = urlencode({**role.parameters(), "OIDCProviderArn": provider_arn, "OIDCToken": token}).encode()
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        query = urlencode({"Action": "AssumeRoleWithOIDC", **_VERSION, "Timestamp": moment})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return _sent(role.sts(), "AssumeRoleWithOIDC", "POST", f"{role.url}/?{query}", headers=headers, body=body)

    return _reader(role.where, ask)


def _reader(where: str, ask: Callable[[], Answer]) -> Read:
    def read() -> Keys:
        try:
            answer = ask()
        except TransientError as error:
            raise unreachable(where, f"{error.summary} {error.cause or ''}".strip()) from error
        return keys_of(answer, where)

    return read


def _sent(
    client: HttpClient,
    operation: str,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] = MappingProxyType({}),
    body: bytes = b"",
) -> Answer:
    return client.send(
        operation,
        method,
        url,
        headers={**headers, "Accept-Encoding": "identity"},
        body=body,
        connect_s=_CONNECT_S,
        wait_s=_WAIT_S,
        max_body_bytes=_MAX_BODY_BYTES,
    )


def endpoint(host: str) -> str:
    """Return the URL of STS; tests replace this function."""
    return f"https://{host}"
