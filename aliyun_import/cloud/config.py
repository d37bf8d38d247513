"""Configuration of the cloud services."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from aliyun_import.cloud.credentials.source import Credentials, load_credentials, region_of_profile
from aliyun_import.errors import UsageError
from aliyun_import.model.arguments import check_fields, refuse_argument
from aliyun_import.user_directories import SERVICES, VARIABLE_PREFIX

# The vendor's names, in the order in which its CLI reads them.
REGION_VARIABLES = ("ALIBABA_CLOUD_REGION_ID", "ALIBABACLOUD_REGION_ID", "ALICLOUD_REGION_ID")
# Values of the variables of flags, as click reads them.
TRUE_WORDS = ("1", "true", "t", "yes", "y", "on")
FALSE_WORDS = ("", "0", "false", "f", "no", "n", "off")


class OssEndpointType(StrEnum):
    """Type of the OSS endpoint in a region."""

    AUTO = "auto"  # internal on an ECS instance of the region that reaches it, else public
    PUBLIC = "public"
    INTERNAL = "internal"
    ACCELERATE = "accelerate"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """Configuration of the cloud services and the credentials. Nothing is read from the environment.

    credentials: None means that `connect` finds them as the vendor's tools do: environment, OIDC, profile, credentials
        file, instance role, credentials URI.
    profile: a profile of ~/.aliyun/config.json to use instead.
    endpoint_url: replaces the endpoint of every service.
    endpoint_overrides: replace the endpoints of single services, by the names in SERVICES ("OSS", "ECS", ...).
    oss_endpoint: replaces the endpoint of OSS; with `oss_cname` it is a custom domain of the bucket.
    insecure: permits http to another machine, which sends credentials and disk unencrypted.
    command_options: options that printed follow-up commands need to reach the same services.

    Raises UsageError "argument-invalid" for a value that is not of its type, and for an unknown service.
    """

    region: str
    profile: str | None = None
    credentials: Credentials | None = None
    endpoint_url: str | None = None
    endpoint_overrides: Mapping[str, str] = field(default_factory=dict)
    oss_endpoint: str | None = None
    oss_cname: bool = False
    oss_endpoint_type: OssEndpointType = OssEndpointType.AUTO
    insecure: bool = False
    command_options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        unknown = sorted(set(self.endpoint_overrides) - set(SERVICES))
        if unknown:
            refuse_argument("endpoint_overrides", f"has {', '.join(unknown)}", f"Pass URLs of {', '.join(SERVICES)}.")


def from_environment(
    *,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
    oss_endpoint: str | None = None,
    oss_cname: bool | None = None,
    oss_endpoint_type: str | None = None,
    insecure: bool | None = None,
    command_options: tuple[str, ...] = (),
    environment: Mapping[str, str] = os.environ,
    home: Path | None = None,
) -> CloudConfig:
    """Return the configuration from arguments, ALIYUN_IMPORT_* variables and profile, in this order of precedence.

    The settings files of the command line are not read. Flags in variables are read as on the command line.

    Raises UsageError "region-missing", which names the sources that were read, "oss-endpoint-missing",
    "oss-endpoint-type-invalid" and "config-invalid", and AccessError "profile-missing".
    """

    def setting(value: str | None, name: str) -> str | None:
        return value or environment.get(f"{VARIABLE_PREFIX}{name}") or None

    def flag(value: bool | None, name: str) -> bool:
        variable = f"{VARIABLE_PREFIX}{name}"
        return _flag(variable, environment.get(variable, "")) if value is None else value

    profile, oss_endpoint = setting(profile, "PROFILE"), setting(oss_endpoint, "OSS_ENDPOINT")
    oss_cname, insecure = flag(oss_cname, "OSS_CNAME"), flag(insecure, "INSECURE")
    if oss_cname and not oss_endpoint:
        raise UsageError(
            "--oss-cname requires --oss-endpoint.",
            code="oss-endpoint-missing",
            cause="It declares that the endpoint is a custom domain, and no endpoint was given.",
            remedy="Pass --oss-endpoint https://DOMAIN with the domain that is bound to the bucket.",
        )
    return CloudConfig(
        region=_region(setting(region, "REGION"), profile, environment=environment, home=home),
        profile=profile,
        endpoint_url=setting(endpoint_url, "ENDPOINT_URL"),
        endpoint_overrides={
            name: environment[f"{VARIABLE_PREFIX}ENDPOINT_URL_{name}"]
            for name in SERVICES
            if environment.get(f"{VARIABLE_PREFIX}ENDPOINT_URL_{name}")
        },
        oss_endpoint=oss_endpoint,
        oss_cname=oss_cname,
        oss_endpoint_type=_endpoint_type(setting(oss_endpoint_type, "OSS_ENDPOINT_TYPE") or "auto"),
        insecure=insecure,
        command_options=command_options,
    )


def _flag(name: str, text: str) -> bool:
    """Return the value of the variable of a flag. Raises UsageError for one that the command line refuses, too."""
    word = text.strip().lower()
    if word not in (*TRUE_WORDS, *FALSE_WORDS):
        raise UsageError(
            f"{name} is {text!r}, which is neither true nor false.",
            code="config-invalid",
            remedy=f"Set {name} to 1 or 0, or unset it.",
        )
    return word in TRUE_WORDS


def _endpoint_type(text: str) -> OssEndpointType:
    try:
        return OssEndpointType(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not an endpoint type of OSS.",
            code="oss-endpoint-type-invalid",
            remedy=f"Pass --oss-endpoint-type with one of {', '.join(OssEndpointType)}.",
        ) from error


def _region(given: str | None, profile: str | None, *, environment: Mapping[str, str], home: Path | None) -> str:
    region = given or next((environment[name] for name in REGION_VARIABLES if environment.get(name)), None)
    region = region or region_of_profile(profile, environment=environment, home=home)
    if region:
        return region
    if profile:
        # Raise the error of a missing profile first.
        load_credentials(profile=profile, environment=environment, home=home)
    raise UsageError(
        "No region was given.",
        code="region-missing",
        cause=f"It is not in --region, in the environment ({VARIABLE_PREFIX}REGION, {', '.join(REGION_VARIABLES)}), or "
        f"in region_id of the profile {profile or '(current)'} in ~/.aliyun/config.json.",
        remedy="Pass --region with the region of the image, e.g. --region cn-hangzhou.",
    )
