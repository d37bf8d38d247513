"""This file finds the credentials, in the order of the vendor's default chain, and keeps them fresh.

    environment -> OIDC -> profile of the aliyun CLI -> credentials.ini -> role of this ECS instance -> credentials URI

The plain ones (keys in the environment, in ~/.aliyun/config.json, in credentials.ini) are read here; for the others
the vendor's library is imported, which costs about a second. `--profile` names a profile of the aliyun CLI and comes
before everything else.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aliyun_import.cloud.credentials import chain as credential_chain
from aliyun_import.cloud.credentials import files as credential_files
from aliyun_import.cloud.credentials.files import Found, Skipped
from aliyun_import.errors import AccessError
from aliyun_import.redact import learn, learn_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One set of keys. Its text never shows the secret or the token."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class CredentialsSource:
    """Where the credentials come from. Safe on any thread."""

    def __init__(self, find: Callable[[], Found]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._found = find()

    def get(self) -> Credentials:
        """Give credentials that are good now; call it for each request. Raises AccessError and TransientError."""
        with self._lock:
            return self._read(self._found)

    def renew(self, stale: Credentials) -> Credentials:
        """Look for other credentials than the stale ones, which a service called expired.

        A file may have been renewed meanwhile, a role can be assumed again; where neither is so, the same ones come
        back. Many threads may meet the same expiry: the first of them looks, the others find what it found.
        Raises as get does.
        """
        with self._lock:
            keys = self._read(self._found)
            if keys == stale:
                self._found = self._find()
                keys = self._read(self._found)
            return keys

    def describe(self) -> str:
        """Say in a few words where the credentials come from, without any secret."""
        return self._found.where

    @staticmethod
    def _read(found: Found) -> Credentials:
        key_id, secret, token = found.read()
        learn_id(key_id)
        learn(secret, token)
        return Credentials(key_id=key_id, secret=secret, token=token)


def load_credentials(
    *,
    profile: str | None = None,
    environment: Mapping[str, str] = os.environ,
    home: Path | None = None,
) -> CredentialsSource:
    """Find the credentials of a profile of the aliyun CLI, or else the first of the chain.

    Raises AccessError "credentials-missing" that lists where it looked, "profile-missing", "profile-unsupported" and
    "credentials-failed".
    """
    home = home or Path.home()
    return CredentialsSource(lambda: _find(profile, environment, home))


def region_of_profile(
    profile: str | None = None, *, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> str | None:
    """Give the region of a profile of the aliyun CLI (None: the current one); None where there is none."""
    return credential_files.profile_region(profile, environment=environment, home=home or Path.home())


def _find(profile: str | None, environment: Mapping[str, str], home: Path) -> Found:
    credential_chain.learn_environment(environment)
    if profile is not None:
        return credential_files.of_profile(profile, home=home)
    looked: list[str] = []
    for step in credential_chain.steps(environment=environment, home=home):
        answer = step()
        if isinstance(answer, Skipped):
            looked.append(answer.why)
        else:
            return answer
    raise AccessError(
        "No credentials were found.",
        code="credentials-missing",
        cause="Looked at: " + "; ".join(looked) + ".",
        remedy="Set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or run `aliyun configure`, "
        "or pass --profile. To try the tool without an account pass --sandbox, which needs none.",
    )
