"""This file asks the vendor's credentials library for the keys that must be fetched: roles, SSO, external programs.

The library is imported by the first `read`, since that takes about a second. It caches and refreshes by itself, so a
reader is cheap to call for each request.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

from aliyun_import.cloud.redact import redact
from aliyun_import.errors import AccessError, TransientError

Read = Callable[[], tuple[str, str, str | None]]


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


def oidc() -> Read:
    """Exchange the OIDC token that the environment names for the keys of a role."""
    return _reader(lambda provider: provider.OIDCRoleArnCredentialsProvider(), "the OIDC token file")


def uri(address: str) -> Read:
    """Fetch the keys from a URI."""
    return _reader(lambda provider: provider.URLCredentialsProvider(uri=address), "ALIBABA_CLOUD_CREDENTIALS_URI")


def _reader(make: Callable[[Any], Any], where: str) -> Read:
    providers: list[Any] = []

    def read() -> tuple[str, str, str | None]:
        try:
            if not providers:
                providers.append(make(_library()))
            keys = providers[0].get_credentials()
        except Exception as error:  # noqa: BLE001 -- the library raises whatever its HTTP client and parsers raise
            raise _failed(error, where) from None  # its chain holds request URLs
        return str(keys.get_access_key_id()), str(keys.get_access_key_secret()), keys.get_security_token() or None

    return read


def _library() -> Any:  # noqa: ANN401 -- the library has no types
    from alibabacloud_credentials import provider

    # It writes to stderr through a handler of its own.
    logging.getLogger("credentials").setLevel(logging.CRITICAL)
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    return provider


def _failed(error: Exception, where: str) -> AccessError | TransientError:
    text = redact(str(error))
    cause = f"{type(error).__name__}: {text[:400]}"
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
