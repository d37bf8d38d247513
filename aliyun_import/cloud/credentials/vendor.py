"""This file asks the vendor's credentials library for the keys that must be fetched: roles, SSO, external programs.

The library is imported by the first `read`, since that takes about a second. It caches and refreshes by itself, so a
reader is cheap to call for each request.
"""

import json
import re
import time
from collections.abc import Callable
from typing import Any

from aliyun_import.cloud.transport.logs import log_fetch, shut_vendor_logs
from aliyun_import.errors import AccessError, TransientError
from aliyun_import.redact import learn, learn_file, learn_id, redact

Keys = tuple[str, str, str | None]
Read = Callable[[], Keys]

# How the library brings in the body of an answer: "..., http_code: 400, result: {...", "failed ...: {...".
_BODY = re.compile(r"(?s),?\s*(?:result|response)?:?\s*(?=\{)|,?\s*(?:result|response):\s*")
# requests and urllib3 name what they asked for.
_PATHS = re.compile(r"(with url: |https?://[^/\s]+)/?[^\s)]*")


def cli_profile(path: str, name: str) -> Read:
    """Read a profile of the aliyun CLI's file by the vendor's rules."""
    return _reader(
        lambda provider: provider.CLIProfileCredentialsProvider(profile_file=path, profile_name=name),
        f"profile {name} of {path}",
    )


def ini(path: str, section: str) -> Read:
    """Read a section of credentials.ini by the vendor's rules."""
    return _reader(
        lambda provider: provider.ProfileCredentialsProvider(profile_file=path, profile_name=section),
        f"section [{section}] of {path}",
    )


def ecs_role(role_name: str | None) -> Read:
    """Take the keys of the role of the ECS instance that this runs on."""
    return _reader(
        # Without async_update_enabled=False the library starts a thread of its own for each provider.
        lambda provider: provider.EcsRamRoleCredentialsProvider(role_name=role_name, async_update_enabled=False),
        "the RAM role of this ECS instance",
    )


def oidc(token_file: str) -> Read:
    """Exchange the OIDC token that the environment names (in `token_file`) for the keys of a role."""
    return _reader(lambda provider: provider.OIDCRoleArnCredentialsProvider(), "the OIDC token file", token_file)


def uri(address: str) -> Read:
    """Fetch the keys from a URI."""
    return _reader(lambda provider: provider.URLCredentialsProvider(uri=address), "ALIBABA_CLOUD_CREDENTIALS_URI")


def _reader(make: Callable[[Any], Any], where: str, token_file: str = "") -> Read:
    providers: list[Any] = []
    last: list[Keys] = []

    def read() -> Keys:
        begun_s = time.monotonic()
        try:
            if not providers:
                providers.append(make(_library()))
            answer = providers[0].get_credentials()
        except Exception as error:  # noqa: BLE001 -- the library raises whatever its HTTP client and parsers raise
            learn_file(token_file)  # it may have been renewed since the start
            log_fetch(where, type(error).__name__, time.monotonic() - begun_s)
            raise _failed(error, where) from None  # its chain holds request URLs
        keys: Keys = (
            str(answer.get_access_key_id()),
            str(answer.get_access_key_secret()),
            answer.get_security_token() or None,
        )
        learn_id(keys[0])
        learn(*keys[1:])
        if last != [keys]:
            last[:] = [keys]
            log_fetch(where, "fetched", time.monotonic() - begun_s)
        return keys

    return read


def _library() -> Any:  # noqa: ANN401 -- the library has no types
    from alibabacloud_credentials import provider

    shut_vendor_logs()
    return provider


def _failed(error: Exception, where: str) -> AccessError | TransientError:
    text = str(error)
    cause = f"{type(error).__name__}: {_words(text)[:400]}"
    if re.search(r"(?i)timed? ?out|connection|resolve|unreachable", text):
        return TransientError(
            f"The credentials could not be fetched from {where}: the network is in the way.",
            code="credentials-unreachable",
            cause=cause,
            remedy="Check the network and run the same command again.",
        )
    return AccessError(
        f"The credentials could not be taken from {where}.",
        code="credentials-failed",
        cause=cause,
        remedy=f"Repair {where}, or set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.",
    )


def _words(text: str) -> str:
    """Give what the library says without what nobody may see: the paths of URLs, and the bodies of answers.

    A body may hold keys, or the whole request that was refused. Its code, message and request id are kept.
    """
    said, _, body = _BODY.sub("\0", text, count=1).partition("\0")
    if not body:
        return redact(_PATHS.sub(r"\1/***", text))
    said = redact(said)
    try:
        document = json.loads(body)
    except ValueError:
        return f"{said}, and the answer is not one of the service"
    fields = document if isinstance(document, dict) else {}
    # As the services spell them, and as OAuth does.
    names = ("Code", "Message", "RequestId", "code", "message", "requestId", "error", "error_description")
    words = "; ".join(str(fields[name]) for name in names if isinstance(fields.get(name), str))
    return f"{said}: {redact(words)}" if words else f"{said}, and the answer holds no keys"
