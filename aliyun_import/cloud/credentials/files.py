"""This file reads the files that hold credentials: the aliyun CLI's config.json and the vendor's credentials.ini.

Formats: aliyun-cli's config/profile.go and the README of alibabacloud_credentials.
"""

import configparser
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aliyun_import.cloud.credentials import vendor as vendor_chain
from aliyun_import.errors import AccessError
from aliyun_import.redact import learn, learn_file, learn_id

Keys = tuple[str, str, str | None]


@dataclass(frozen=True, slots=True)
class Found:
    """Credentials that were found: `where` in words, and how to read them afresh (key id, secret, token)."""

    where: str
    read: Callable[[], Keys] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A place without usable credentials; `why` names it and says what is the matter."""

    why: str


def found_keys(where: str, key_id: str, secret: str, token: str | None) -> Found:
    """Give credentials that are known and stay as they are."""
    return Found(where, lambda: (key_id, secret, token))


def learn_fields(fields: Mapping[str, Any]) -> None:
    """Tell what is secret among the fields of a profile or a section, by their names."""
    for name, value in fields.items():
        if not isinstance(value, str):
            continue
        if name.endswith("token_file"):
            learn_file(value)
        elif "secret" in name or "token" in name or "password" in name or "bearer" in name:
            learn(value)
        elif name == "access_key_id":
            learn_id(value)


# The modes that the vendor's library reads, besides AK and StsToken, which are read here.
_VENDOR_MODES = {
    mode.lower(): mode
    for mode in ("RamRoleArn", "EcsRamRole", "OIDC", "ChainableRamRoleArn", "CloudSSO", "OAuth", "External")
}


def config_path(home: Path) -> Path:
    """Name the aliyun CLI's file of profiles."""
    return home / ".aliyun" / "config.json"


def profile_region(profile: str | None, *, environment: Mapping[str, str], home: Path) -> str | None:
    """Give region_id of a profile; None where the file, the profile or the field is not there."""
    config = _config(config_path(home))
    entry = _entry(config, profile or environment.get("ALIBABA_CLOUD_PROFILE") or str(config.get("current") or ""))
    return str(entry.get("region_id") or "") or None if entry else None


def of_profile(name: str, *, home: Path) -> Found:
    """Find the credentials of a profile that somebody asked for by name; any trouble is an AccessError."""
    path = config_path(home)
    config = _config(path)
    entry = _entry(config, name)
    if entry is None:
        names = ", ".join(str(one.get("name")) for one in _profiles(config)) or "none"
        raise AccessError(
            f"There is no profile {name} in {path}.",
            code="profile-missing",
            cause=f"Profiles there: {names}.",
            remedy=f"Run `aliyun configure --profile {name}`, or pass --profile with one that is there.",
        )
    found = _of_entry(entry, name, path)
    if isinstance(found, Skipped):
        raise AccessError(
            f"The profile {name} holds no usable credentials.",
            code="profile-incomplete",
            cause=found.why + ".",
            remedy=f"Run `aliyun configure --profile {name}`.",
        )
    return found


def current_profile(*, environment: Mapping[str, str], home: Path) -> Found | Skipped:
    """Find the credentials of the CLI's current profile, or of ALIBABA_CLOUD_PROFILE."""
    path = config_path(home)
    if environment.get("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "").lower() == "true":
        return Skipped(f"{path} (passed over: ALIBABA_CLOUD_CLI_PROFILE_DISABLED is true)")
    config = _config(path)
    if not config:
        return Skipped(f"{path} (not there)")
    name = environment.get("ALIBABA_CLOUD_PROFILE") or str(config.get("current") or "")
    entry = _entry(config, name)
    if entry is None:
        return Skipped(f"{path} (no profile {name or 'is current'})")
    return _of_entry(entry, name, path)


def ini_section(*, environment: Mapping[str, str], home: Path) -> Found | Skipped:
    """Find the credentials of credentials.ini: the section ALIBABA_CLOUD_PROFILE, or default."""
    given = environment.get("ALIBABA_CLOUD_CREDENTIALS_FILE")
    path = Path(given) if given else home / ".alibabacloud" / "credentials.ini"
    name = environment.get("ALIBABA_CLOUD_PROFILE") or "default"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if not parser.read(path, encoding="utf-8"):
            return Skipped(f"{path} (not there)")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise _unreadable(path, error) from error
    for section_name in parser.sections():
        learn_fields(parser[section_name])
    if not parser.has_section(name):
        return Skipped(f"{path} (no section [{name}])")
    section = parser[name]
    if section.get("type") != "access_key":
        return Found(f"section [{name}] of {path}", vendor_chain.ini(str(path), name))
    return _keys_or_skip(
        f"section [{name}] of {path}", section.get("access_key_id"), section.get("access_key_secret"), None
    )


def _of_entry(entry: Mapping[str, Any], name: str, path: Path) -> Found | Skipped:
    mode = str(entry.get("mode") or "AK")
    where = f"profile {name} of {path}"
    if mode.lower() in ("ak", "ststoken"):
        token = entry.get("sts_token") if mode.lower() == "ststoken" else None
        if mode.lower() == "ststoken" and not token:
            return Skipped(f"{where} (mode {mode}, but no sts_token)")
        return _keys_or_skip(where, entry.get("access_key_id"), entry.get("access_key_secret"), token)
    if mode.lower() == "ecsramrole":
        return Found(f"{where} (mode {mode})", vendor_chain.ecs_role(entry.get("ram_role_name") or None))
    if mode.lower() in _VENDOR_MODES:
        return Found(f"{where} (mode {mode})", vendor_chain.cli_profile(str(path), name))
    raise AccessError(
        f"The profile {name} of {path} has the mode {mode}, which can't be used here.",
        code="profile-unsupported",
        cause="Usable modes: AK, StsToken, " + ", ".join(_VENDOR_MODES.values()) + ".",
        remedy="Pass --profile with a profile of another mode, or set ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true to pass "
        "the file over, or put the keys into ALIBABA_CLOUD_ACCESS_KEY_ID, ..._SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.",
    )


def _keys_or_skip(where: str, key_id: object, secret: object, token: object) -> Found | Skipped:
    if not key_id or not secret:
        return Skipped(f"{where} (no access_key_id and access_key_secret)")
    return found_keys(where, str(key_id).strip(), str(secret).strip(), str(token).strip() if token else None)


def _config(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _unreadable(path, error) from error
    config = config if isinstance(config, dict) else {}
    for entry in _profiles(config):  # of all of them: one may lean on another
        learn_fields(entry)
    return config


def _unreadable(path: Path, error: Exception) -> AccessError:
    # A parser's message may quote a line of the file; only an OSError's is safe to repeat.
    cause = error.strerror if isinstance(error, OSError) else "Its contents are not of the expected form."
    return AccessError(
        f"The file of credentials {path} can't be read.",
        code="credentials-unreadable",
        cause=cause,
        remedy=f"Repair {path}, or move it away and run `aliyun configure`.",
    )


def _profiles(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    profiles = config.get("profiles")
    return [one for one in profiles if isinstance(one, dict)] if isinstance(profiles, list) else []


def _entry(config: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return next((one for one in _profiles(config) if one.get("name") == name), None)
