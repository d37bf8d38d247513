"""Credentials from the first provider of the vendor's default chain that has them.

    environment -> OIDC -> profile of the aliyun CLI -> credentials.ini -> role of this ECS instance -> credentials URI

`--profile` names a profile of the aliyun CLI and precedes the chain.
"""

import os
import pwd
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aliyun_import.cloud import instance_metadata as metadata
from aliyun_import.cloud.credentials import fetched, providers
from aliyun_import.cloud.credentials.keys import KeyCache, Keys
from aliyun_import.cloud.credentials.providers import FoundKeys, Skipped
from aliyun_import.errors import AccessError
from aliyun_import.redact import register_file, register_key_id, register_secret, register_url
from aliyun_import.user_directories import VARIABLE_PREFIX

Step = Callable[[], FoundKeys | Skipped]

# The vendor's prefixes. The first is documented; its CLI reads the others too.
_PREFIXES = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_")
# Prefixes of variables that may contain secrets, even if they are not read here.
_SECRET_PREFIXES = (*_PREFIXES, "ALIYUN_", "OSS_")
_OIDC = ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "ALIBABA_CLOUD_ROLE_ARN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One set of keys. Its repr never shows the secret or the token."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class CredentialsSource:
    """Source of the credentials. Thread-safe: one thread renews keys while the others wait."""

    def __init__(self, find: Callable[[], FoundKeys], now_s: Callable[[], float] = time.time) -> None:
        self._find = find
        self._now_s = now_s
        self._lock = threading.Lock()
        self._found = find()
        self._cache = KeyCache(self._found.read, now_s)
        self._given: tuple[Keys, Credentials] | None = None

    def get(self) -> Credentials:
        """Return valid credentials; call it for each request. Raises AccessError and TransientError."""
        with self._lock:
            keys = self._cache.get()
            # Cached, because checking the same keys for each request takes a third of its processor time.
            if self._given is None or self._given[0] is not keys:
                self._given = keys, _credentials(keys, self._found.where)
            return self._given[1]

    def expires_s(self) -> float | None:
        """Return the expiry of the present keys in seconds since the epoch, None if it is unknown or never."""
        with self._lock:
            return self._cache.get().expires_s

    def renew(self, stale: Credentials) -> Credentials:
        """Return new credentials after a service reported `stale` as expired; the same ones if there are no others.

        A file may have been replaced meanwhile, and a role can be assumed again. When several threads report the same
        expiry, the first one searches and the others get its result. Raises the errors of `get`.
        """
        with self._lock:
            keys = _credentials(self._cache.get(), self._found.where)
            if keys == stale:
                found = self._find()
                cache = KeyCache(found.read, self._now_s)
                keys = _credentials(cache.get(), found.where)
                self._found, self._cache = found, cache
            return keys

    def describe(self) -> str:
        """Return the source of the credentials, for people, without any secret."""
        return self._found.where


def _credentials(keys: Keys, where: str) -> Credentials:
    register_key_id(keys.key_id)
    register_secret(keys.secret, keys.token)
    for name, value in (("access key id", keys.key_id), ("secret", keys.secret), ("security token", keys.token or "-")):
        if not re.fullmatch(r"[!-~]+", value):
            raise AccessError(
                f"The {name} of {where} can't be used.",
                code="credentials-malformed",
                cause="It contains a space, a line end or a character that is not ASCII; no key does.",
                remedy=f"Set the {name} again, exactly as it was issued.",
            )
    return Credentials(key_id=keys.key_id, secret=keys.secret, token=keys.token)


def load_credentials(
    *,
    profile: str | None = None,
    environment: Mapping[str, str] = os.environ,
    home: Path | None = None,
    sts_url: str | None = None,
) -> CredentialsSource:
    """Return the credentials of a profile of the aliyun CLI, or the first of the chain.

    `sts_url` replaces the endpoint of STS for assuming a role. Raises AccessError "credentials-missing" with the list
    of providers that were tried, "profile-missing", "profile-unsupported" and "credentials-failed".
    """
    place = home or home_directory(environment)
    return CredentialsSource(lambda: _find(profile, environment, place, sts_url))


def region_of_profile(
    profile: str | None = None, *, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> str | None:
    """Return the region of a profile of the aliyun CLI (None: the current one); None if it has none."""
    return providers.profile_region(profile, environment=environment, home=home or home_directory(environment))


def home_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the user's home directory; a missing path for a user without HOME and without an entry in passwd.

    Such a user, e.g. of a container with `--user 54321`, gets keys from the environment or from a role.
    """
    try:
        return Path(environment.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/nonexistent")


def _find(profile: str | None, environment: Mapping[str, str], home: Path, sts_url: str | None) -> FoundKeys:
    _register_secrets_of_environment(environment)
    if profile is not None:
        return providers.of_profile(profile, home=home, sts_url=sts_url)
    tried: list[str] = []
    for step in _steps(environment=environment, home=home, sts_url=sts_url):
        answer = step()
        if isinstance(answer, Skipped):
            tried.append(answer.why)
        else:
            return answer
    raise AccessError(
        "No credentials were found.",
        code="credentials-missing",
        cause="Tried: " + "; ".join(tried) + ".",
        remedy="Set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, run `aliyun configure`, "
        "or pass --profile. With --sandbox a push needs no account.",
    )


def _steps(*, environment: Mapping[str, str], home: Path, sts_url: str | None) -> tuple[Step, ...]:
    """Return the providers of the chain, in order; each is tried when it is called."""
    return (
        lambda: _keys_in_environment(environment),
        lambda: _oidc(environment, sts_url),
        lambda: providers.current_profile(environment=environment, home=home, sts_url=sts_url),
        lambda: providers.ini_section(environment=environment, home=home, sts_url=sts_url),
        lambda: _ecs_role(environment),
        lambda: _uri(environment),
    )


def _register_secrets_of_environment(environment: Mapping[str, str]) -> None:
    """Register the secrets of the environment before any error can be reported."""
    for name, value in environment.items():
        if name.lower().endswith("_proxy"):
            register_url(value)
        if not name.startswith(_SECRET_PREFIXES) or name.startswith(VARIABLE_PREFIX):
            continue
        if name.endswith("TOKEN_FILE"):
            register_file(value)
        elif name.endswith("_URI"):
            register_url(value)
        elif name.endswith(("SECRET", "TOKEN", "PASSWORD")):
            register_secret(value)
        elif name.endswith(("KEY_ID", "ACCESS_KEY")):
            register_key_id(value)


def _keys_in_environment(environment: Mapping[str, str]) -> FoundKeys | Skipped:
    for prefix in _PREFIXES:
        key_id, secret = (environment.get(f"{prefix}ACCESS_KEY_{part}", "").strip() for part in ("ID", "SECRET"))
        token = environment.get(f"{prefix}SECURITY_TOKEN", "").strip() or None
        if key_id and secret:
            return providers.found_keys(f"the environment ({prefix}ACCESS_KEY_ID)", key_id, secret, token)
        if key_id or secret:
            there, missing = ("ID", "SECRET") if key_id else ("SECRET", "ID")
            return Skipped(
                f"the environment ({prefix}ACCESS_KEY_{there} is set, but {prefix}ACCESS_KEY_{missing} is not)"
            )
    return Skipped("the environment (no ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET)")


def _oidc(environment: Mapping[str, str], sts_url: str | None) -> FoundKeys | Skipped:
    if all(environment.get(name) for name in _OIDC):
        where, provider_arn, file, role_arn = ("the OIDC token file", *(environment[name] for name in _OIDC))
        role = fetched.assumed_role(where, {"ram_role_arn": role_arn}, environment=environment, sts_url=sts_url)
        return FoundKeys(where, fetched.with_token(file, provider_arn, role))
    return Skipped(f"an OIDC token (not all of {', '.join(_OIDC)})")


def _ecs_role(environment: Mapping[str, str]) -> FoundKeys | Skipped:
    if metadata.is_disabled(environment):
        return Skipped("the role of this ECS instance (skipped: ALIBABA_CLOUD_ECS_METADATA_DISABLED is true)")
    # Query the role first: on other machines that takes one second.
    role = environment.get("ALIBABA_CLOUD_ECS_METADATA") or metadata.role_here(environment)
    if role:
        return FoundKeys(f"the role {role} of this ECS instance", fetched.ecs_role(role, environment=environment))
    return Skipped(f"the role of this ECS instance (none at {metadata.HOST})")


def _uri(environment: Mapping[str, str]) -> FoundKeys | Skipped:
    address = environment.get("ALIBABA_CLOUD_CREDENTIALS_URI")
    if address:
        return FoundKeys("ALIBABA_CLOUD_CREDENTIALS_URI", fetched.uri(address))
    return Skipped("ALIBABA_CLOUD_CREDENTIALS_URI (not set)")
