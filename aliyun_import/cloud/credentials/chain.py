"""This file holds the steps of the vendor's default chain, in its documented order."""

from collections.abc import Callable, Mapping
from pathlib import Path

from aliyun_import.cloud import instance_metadata as metadata
from aliyun_import.cloud.credentials import files as credential_files
from aliyun_import.cloud.credentials import vendor as vendor_chain
from aliyun_import.cloud.credentials.files import Found, Skipped
from aliyun_import.redact import learn, learn_file, learn_id, learn_url

Step = Callable[[], Found | Skipped]

# The vendor's spellings, the first being the documented one; the others are read by its CLI.
_PREFIXES = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_")
# Whose variables may hold secrets, used here or not.
_SECRET_PREFIXES = (*_PREFIXES, "ALIYUN_", "OSS_")
_OIDC = ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "ALIBABA_CLOUD_OIDC_TOKEN_FILE", "ALIBABA_CLOUD_ROLE_ARN")


def steps(*, environment: Mapping[str, str], home: Path) -> tuple[Step, ...]:
    """Give the places to look at, one after the other; each is looked at only when it is called."""
    return (
        lambda: _keys_in_environment(environment),
        lambda: _oidc(environment),
        lambda: credential_files.current_profile(environment=environment, home=home),
        lambda: credential_files.ini_section(environment=environment, home=home),
        lambda: _ecs_role(environment),
        lambda: _uri(environment),
    )


def learn_environment(environment: Mapping[str, str]) -> None:
    """Tell what is secret in the environment, before anything can fail and be told."""
    for name, value in environment.items():
        if name.lower().endswith("_proxy"):
            learn_url(value)
        if not name.startswith(_SECRET_PREFIXES) or name.startswith("ALIYUN_IMPORT_"):
            continue
        if name.endswith("TOKEN_FILE"):
            learn_file(value)
        elif name.endswith("_URI"):
            learn_url(value)
        elif name.endswith(("SECRET", "TOKEN", "PASSWORD")):
            learn(value)
        elif name.endswith(("KEY_ID", "ACCESS_KEY")):
            learn_id(value)


def _keys_in_environment(environment: Mapping[str, str]) -> Found | Skipped:
    for prefix in _PREFIXES:
        key_id, secret = (environment.get(f"{prefix}ACCESS_KEY_{part}", "").strip() for part in ("ID", "SECRET"))
        token = environment.get(f"{prefix}SECURITY_TOKEN", "").strip() or None
        if key_id and secret:
            return credential_files.found_keys(f"the environment ({prefix}ACCESS_KEY_ID)", key_id, secret, token)
        if key_id or secret:
            there, missing = ("ID", "SECRET") if key_id else ("SECRET", "ID")
            return Skipped(
                f"the environment ({prefix}ACCESS_KEY_{there} is set, but {prefix}ACCESS_KEY_{missing} is not)"
            )
    return Skipped("the environment (no ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET)")


def _oidc(environment: Mapping[str, str]) -> Found | Skipped:
    if all(environment.get(name) for name in _OIDC):
        return Found("the OIDC token file", vendor_chain.oidc(environment["ALIBABA_CLOUD_OIDC_TOKEN_FILE"]))
    return Skipped(f"an OIDC token (not all of {', '.join(_OIDC)})")


def _ecs_role(environment: Mapping[str, str]) -> Found | Skipped:
    if metadata.is_disabled(environment):
        return Skipped("the role of this ECS instance (passed over: ALIBABA_CLOUD_ECS_METADATA_DISABLED is true)")
    # Asked first, so that a machine elsewhere pays one second and not an import and several.
    role = environment.get("ALIBABA_CLOUD_ECS_METADATA") or metadata.role_here(environment)
    if role:
        return Found(f"the role {role} of this ECS instance", vendor_chain.ecs_role(role))
    return Skipped(f"the role of this ECS instance (none at {metadata.HOST})")


def _uri(environment: Mapping[str, str]) -> Found | Skipped:
    address = environment.get("ALIBABA_CLOUD_CREDENTIALS_URI")
    if address:
        return Found("ALIBABA_CLOUD_CREDENTIALS_URI", vendor_chain.uri(address))
    return Skipped("ALIBABA_CLOUD_CREDENTIALS_URI (not set)")
