"""Providers of credentials: files of profiles, and keys that the vendor's library fetches.

File formats: aliyun-cli's config/profile.go and the README of alibabacloud_credentials. The vendor's library is used
for SSO and external programs. The first `read` imports it, because that takes about a second. The library caches and
renews keys, so that a reader is cheap to call.
"""

import configparser
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aliyun_import.cloud.credentials import fetched
from aliyun_import.cloud.credentials.keys import Keys, Read, is_temporary, refused, unreachable
from aliyun_import.cloud.transport.settings import log_fetch, silence_vendor_logs
from aliyun_import.errors import AccessError, AliyunImportError
from aliyun_import.redact import redact, register_file, register_key_id, register_secret

# Texts before the body of an answer in the library's errors: "..., http_code: 400, result: {...", "failed ...: {...".
_BODY = re.compile(r"(?s),?\s*(?:result|response)?:?\s*(?=\{)|,?\s*(?:result|response):\s*")
# Errors of requests and urllib3 contain the path.
_PATHS = re.compile(r"(with url: |https?://[^/\s]+)/?[^\s)]*")


@dataclass(frozen=True, slots=True)
class FoundKeys:
    """Credentials that were found: their source, for people, and a function that reads them."""

    where: str
    read: Read = field(repr=False)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A provider without usable credentials; `why` names it and the reason."""

    why: str


def found_keys(where: str, key_id: str, secret: str, token: str | None) -> FoundKeys:
    """Return credentials that never change."""
    return FoundKeys(where, lambda: Keys(key_id, secret, token))


def learn_fields(fields: Mapping[str, Any]) -> None:
    """Register the secrets among the fields of a profile or a section, by their names."""
    for name, value in fields.items():
        if not isinstance(value, str):
            continue
        if "file" in name:  # oidc_token_file in JSON, oidc_token_file_path in INI; the path is no secret
            register_file(value)
        elif "secret" in name or "token" in name or "password" in name or "bearer" in name:
            register_secret(value)
        elif name == "access_key_id":
            register_key_id(value)


# The modes that the vendor's library handles, and all supported modes.
_VENDOR_MODES = {mode.lower(): mode for mode in ("CloudSSO", "OAuth", "External")}
_MODES = ("AK", "StsToken", "RamRoleArn", "EcsRamRole", "OIDC", "ChainableRamRoleArn", *_VENDOR_MODES.values())


def config_path(home: Path) -> Path:
    """Return the path of the aliyun CLI's file of profiles."""
    return home / ".aliyun" / "config.json"


def profile_region(profile: str | None, *, environment: Mapping[str, str], home: Path) -> str | None:
    """Return region_id of a profile; None if the file, the profile or the field is missing."""
    config = _config(config_path(home))
    entry = _entry(config, profile or environment.get("ALIBABA_CLOUD_PROFILE") or str(config.get("current") or ""))
    return str(entry.get("region_id") or "") or None if entry else None


def of_profile(name: str, *, home: Path, sts_url: str | None = None) -> FoundKeys:
    """Return the credentials of the profile with this name. Raises AccessError if there are none."""
    path = config_path(home)
    config = _config(path)
    entry = _entry(config, name)
    if entry is None:
        names = ", ".join(str(one.get("name")) for one in _profiles(config))
        raise AccessError(
            f"There is no profile {name} in {path}.",
            code="profile-missing",
            cause=f"Profiles there: {names}." if names else "There are no profiles.",
            remedy=f"Run `aliyun configure --profile {name}`"
            + (", or pass --profile with one of these." if names else ", or use keys in the environment."),
        )
    found = _of_entry(entry, path, config, sts_url=sts_url)
    if isinstance(found, Skipped):
        raise AccessError(
            f"The profile {name} has no usable credentials.",
            code="profile-incomplete",
            cause=found.why + ".",
            remedy=f"Run `aliyun configure --profile {name}`.",
        )
    return found


def current_profile(*, environment: Mapping[str, str], home: Path, sts_url: str | None = None) -> FoundKeys | Skipped:
    """Return the credentials of the CLI's current profile, or of ALIBABA_CLOUD_PROFILE."""
    path = config_path(home)
    if environment.get("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "").lower() == "true":
        return Skipped(f"{path} (skipped: ALIBABA_CLOUD_CLI_PROFILE_DISABLED is true)")
    config = _config(path)
    if not config:
        return Skipped(f"{path} (does not exist)")
    name = environment.get("ALIBABA_CLOUD_PROFILE") or str(config.get("current") or "")
    entry = _entry(config, name)
    if entry is None:
        return Skipped(f"{path} (no profile {name or 'is current'})")
    return _of_entry(entry, path, config, sts_url=sts_url)


def ini_section(*, environment: Mapping[str, str], home: Path, sts_url: str | None = None) -> FoundKeys | Skipped:
    """Return the credentials of credentials.ini: the section ALIBABA_CLOUD_PROFILE, or default."""
    given = environment.get("ALIBABA_CLOUD_CREDENTIALS_FILE")
    path = Path(given) if given else home / ".alibabacloud" / "credentials.ini"
    name = environment.get("ALIBABA_CLOUD_PROFILE") or "default"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if not parser.read(path, encoding="utf-8"):
            return Skipped(f"{path} (does not exist)")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise _unreadable(path, error) from error
    for section_name in parser.sections():
        learn_fields(parser[section_name])
    if not parser.has_section(name):
        return Skipped(f"{path} (no section [{name}])")
    section, where = parser[name], f"section [{name}] of {path}"
    plain = _keys_or_skip(where, section.get("access_key_id"), section.get("access_key_secret"), None)
    role = {**section, "ram_role_arn": section.get("role_arn"), "ram_session_name": section.get("role_session_name")}
    match section.get("type"):
        case "access_key":
            return plain
        case "ecs_ram_role":
            return FoundKeys(where, fetched.ecs_role(section.get("role_name") or None))
        case "ram_role_arn":
            if isinstance(plain, Skipped):
                return plain
            return FoundKeys(where, fetched.with_keys(plain.read, fetched.assumed_role(where, role, sts_url=sts_url)))
        case "oidc_role_arn":
            file, provider = (section.get(key) or "" for key in ("oidc_token_file_path", "oidc_provider_arn"))
            return FoundKeys(
                where, fetched.with_token(file, provider, fetched.assumed_role(where, role, sts_url=sts_url))
            )
        case _:
            return FoundKeys(where, ini(str(path), name))


def _of_entry(
    entry: Mapping[str, Any],
    path: Path,
    config: Mapping[str, Any],
    above: tuple[str, ...] = (),
    *,
    sts_url: str | None,
) -> FoundKeys | Skipped:
    """Return the credentials of a profile; `above` are the profiles that refer to it as source_profile."""
    name, mode = str(entry.get("name")), str(entry.get("mode") or "AK")
    where = f"profile {name} of {path}"
    token = entry.get("sts_token") if mode.lower() == "ststoken" else None
    if mode.lower() == "ststoken" and not token:
        return Skipped(f"{where} (mode {mode}, but no sts_token)")
    plain = _keys_or_skip(where, entry.get("access_key_id"), entry.get("access_key_secret"), token)
    match mode.lower():
        case "ak" | "ststoken":
            return plain
        case "ecsramrole":
            return FoundKeys(f"{where} (mode {mode})", fetched.ecs_role(entry.get("ram_role_name") or None))
        case "ramrolearn" | "chainableramrolearn":
            is_plain = mode.lower() == "ramrolearn"
            source = plain if is_plain else _source_of(entry, path, config, (*above, name), sts_url=sts_url)
            if isinstance(source, Skipped):
                return source
            role = fetched.assumed_role(where, entry, sts_url=sts_url)
            return FoundKeys(f"{where} (mode {mode})", fetched.with_keys(source.read, role))
        case "oidc":
            role = fetched.assumed_role(where, entry, sts_url=sts_url)
            file, provider = (str(entry.get(key) or "") for key in ("oidc_token_file", "oidc_provider_arn"))
            return FoundKeys(f"{where} (mode {mode})", fetched.with_token(file, provider, role))
        case _:
            return _by_vendor(name, mode, path)


def _source_of(
    entry: Mapping[str, Any], path: Path, config: Mapping[str, Any], above: tuple[str, ...], *, sts_url: str | None
) -> FoundKeys | Skipped:
    name = str(entry.get("source_profile") or "")
    source = _entry(config, name)
    if source is None or name in above:
        return Skipped(
            f"profile {above[-1]} of {path} (its source_profile {name!r} does not exist, or refers back to it)"
        )
    return _of_entry(source, path, config, above, sts_url=sts_url)


def _by_vendor(name: str, mode: str, path: Path) -> FoundKeys:
    where = f"profile {name} of {path}"
    if mode.lower() in _VENDOR_MODES:
        return FoundKeys(f"{where} (mode {mode})", cli_profile(str(path), name))
    raise AccessError(
        f"The profile {name} of {path} has the mode {mode}, which is not supported.",
        code="profile-unsupported",
        cause=f"Supported modes: {', '.join(_MODES)}.",
        remedy="Pass --profile with a profile of another mode, or set ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true to skip "
        "the file, or put the keys into ALIBABA_CLOUD_ACCESS_KEY_ID, ..._SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.",
    )


def _keys_or_skip(where: str, key_id: object, secret: object, token: object) -> FoundKeys | Skipped:
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
    except (ValueError, RecursionError) as error:  # the latter for thousands of levels
        raise _unreadable(path, error) from error
    config = config if isinstance(config, dict) else {}
    for entry in _profiles(config):  # of all profiles, because one may refer to another
        learn_fields(entry)
    return config


def _unreadable(path: Path, error: Exception) -> AccessError:
    # The message of a parser may quote a line of the file; that of an OSError does not.
    cause = error.strerror if isinstance(error, OSError) else "Its content does not have the expected form."
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


def cli_profile(path: str, name: str) -> Read:
    """Return a reader, by the vendor's library, of a profile of the aliyun CLI."""
    return _reader(
        lambda provider: provider.CLIProfileCredentialsProvider(profile_file=path, profile_name=name),
        f"profile {name} of {path}",
    )


def ini(path: str, section: str) -> Read:
    """Return a reader, by the vendor's library, of a section of credentials.ini."""
    return _reader(
        lambda provider: provider.ProfileCredentialsProvider(profile_file=path, profile_name=section),
        f"section [{section}] of {path}",
    )


def _reader(make: Callable[[Any], Any], where: str) -> Read:
    providers: list[Any] = []

    def read() -> Keys:
        begun_s = time.monotonic()
        try:
            if not providers:
                providers.append(make(_library()))
            answer = providers[0].get_credentials()
        except Exception as error:  # noqa: BLE001 -- the library raises the errors of its HTTP client and parsers
            log_fetch(where, type(error).__name__, time.monotonic() - begun_s)
            raise _failed(error, where) from None  # its chain contains request URLs
        expires_s = answer.get_expiration()
        keys = Keys(
            str(answer.get_access_key_id()),
            str(answer.get_access_key_secret()),
            answer.get_security_token() or None,
            expires_s if isinstance(expires_s, (int, float)) and expires_s > 0 else None,
        )
        register_key_id(keys.key_id)
        register_secret(keys.secret, keys.token)
        log_fetch(where, "fetched", time.monotonic() - begun_s)
        return keys

    return read


def _library() -> Any:  # noqa: ANN401 -- the library has no types
    from alibabacloud_credentials import provider

    silence_vendor_logs()
    return provider


def _failed(error: Exception, where: str) -> AliyunImportError:
    text = str(error)
    cause = f"{type(error).__name__}: {_without_secrets(text)[:400]}"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return refused(where, f"{cause} The vendor's library trusts its own certificates only.")
    is_page = isinstance(error, json.JSONDecodeError)
    status = re.search(r"(?i)http_?code\W{1,3}(\d{3})", text)
    is_busy = bool(re.search(r"Throttling|InternalError|ServiceUnavailable", text)) or (
        status is not None and is_temporary(int(status[1]), "")
    )
    if is_page or is_busy or re.search(r"(?i)timed? ?out|connection|resolve|unreachable", text):
        return unreachable(where, cause)
    return refused(where, cause)


def _without_secrets(text: str) -> str:
    """Return the library's message without paths of URLs and bodies of answers.

    A body may contain keys, or the whole refused request. Its code, message and request id are kept.
    """
    message, _, body = _BODY.sub("\0", text, count=1).partition("\0")
    if not body:
        return redact(_PATHS.sub(r"\1/***", text))
    message = redact(message)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return f"{message}, and the answer is not from the service"
    fields = document if isinstance(document, dict) else {}
    # As the services spell them, and as OAuth does.
    names = ("Code", "Message", "RequestId", "code", "message", "requestId", "error", "error_description")
    kept = "; ".join(str(fields[name]) for name in names if isinstance(fields.get(name), str))
    return f"{message}: {redact(kept)}" if kept else f"{message}, and the answer has no keys"
