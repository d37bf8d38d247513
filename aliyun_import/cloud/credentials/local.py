"""Keys that are fetched with plain requests: from the metadata service of an ECS instance, and from a credentials URI.

The vendor's library is not used for these: it asks both through the proxy of the environment, which shows the keys to
it, and takes an answer of any size. Both answer with one JSON object, which "Instance RAM roles" and the README of
alibabacloud_credentials describe.
"""

import os
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from aliyun_import.cloud import instance_metadata
from aliyun_import.cloud.credentials.keys import Keys, Read, keys_of, refused, unreachable
from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.errors import TransientError, UsageError

# The vendor's library waits as long.
_CONNECT_S, _WAIT_S = 5.0, 10.0
_MAX_BODY_BYTES = 1 << 20


def uri(address: str) -> Read:
    """Fetch the keys from a URI. Raises UsageError "credentials-uri-invalid" if it is not one that can be asked."""
    where = "ALIBABA_CLOUD_CREDENTIALS_URI"
    given = address.strip()
    parts = _parts(given if "://" in given else f"http://{given}")
    if parts is None or not given.isprintable() or " " in given:
        # The value is not repeated: it may hold a secret.
        raise UsageError(
            f"The address in {where} can't be used: it is not an http:// or https:// URL.",
            code="credentials-uri-invalid",
            remedy=f"Set {where} as http://HOST:PORT/PATH, or unset it.",
        )
    # Without the user's name and password, which the vendor's library does not send either.
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    target = f"{origin}{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"

    def read() -> Keys:
        try:
            answer = HttpClient("credentials", origin, connections=1, shows_path=False).send(
                "URI",
                "GET",
                target,
                headers={"Accept-Encoding": "identity"},
                connect_s=_CONNECT_S,
                wait_s=_WAIT_S,
                max_body_bytes=_MAX_BODY_BYTES,
            )
        except TransientError as error:
            raise unreachable(where, f"{error.summary} {error.cause or ''}".strip()) from error
        return keys_of(answer, where)

    return read


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else None
    except ValueError:  # a port that is no number
        return None


def ecs_role(role_name: str | None, *, environment: Mapping[str, str] = os.environ) -> Read:
    """Fetch the keys of the role of this ECS instance; None asks for the name of the role first."""
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
