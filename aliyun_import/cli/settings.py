"""This file finds out where a setting comes from when the command line is silent."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aliyun_import.cli.params import PREFIX
from aliyun_import.errors import UsageError

# The vendor's own names, in the order in which its CLI reads them.
REGION_VARIABLES = ("ALIBABA_CLOUD_REGION_ID", "ALIBABACLOUD_REGION_ID", "ALICLOUD_REGION_ID")
SERVICES = ("OSS", "ECS", "RAM", "STS")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """Which cloud, as the options and the environment say it; `region` is settled."""

    region: str
    profile: str | None
    endpoint_url: str | None
    overrides: Mapping[str, str]
    oss_endpoint: str | None
    oss_cname: bool
    oss_endpoint_type: str


def settle(
    *,
    region: str | None,
    profile: str | None,
    endpoint_url: str | None,
    oss_endpoint: str | None,
    oss_cname: bool,
    oss_endpoint_type: str,
    region_of_profile: Callable[[str | None], str | None],
    environment: Mapping[str, str] = os.environ,
) -> CloudSettings:
    """Settle which cloud is meant. Raises UsageError "region-missing" naming the three places that were looked at."""
    if oss_cname and not oss_endpoint:
        raise UsageError(
            "--oss-cname says that --oss-endpoint is a custom domain, but no --oss-endpoint was given.",
            code="oss-endpoint-missing",
            remedy="Pass --oss-endpoint https://DOMAIN with the domain that is bound to the bucket.",
        )
    found = region or next((environment[name] for name in REGION_VARIABLES if environment.get(name)), None)
    found = found or region_of_profile(profile)
    if not found:
        raise UsageError(
            "No region was given, and none is assumed.",
            code="region-missing",
            cause=f"Looked at --region, at the environment ({PREFIX}REGION, {', '.join(REGION_VARIABLES)}), and at "
            f"region_id of the profile {profile or '(current)'} in ~/.aliyun/config.json.",
            remedy="Pass --region with the region of the image, such as --region cn-hangzhou.",
        )
    overrides = {
        name: environment[f"{PREFIX}ENDPOINT_URL_{name}"]
        for name in SERVICES
        if environment.get(f"{PREFIX}ENDPOINT_URL_{name}")
    }
    return CloudSettings(
        region=found,
        profile=profile,
        endpoint_url=endpoint_url,
        overrides=overrides,
        oss_endpoint=oss_endpoint,
        oss_cname=oss_cname,
        oss_endpoint_type=oss_endpoint_type,
    )


def state_directory(given: Path | None) -> Path:
    """Name the directory of the journals: --state-dir, else where this system keeps the state of programs."""
    if given:
        return given
    import platformdirs

    return Path(platformdirs.user_state_dir("aliyun-import"))


def command_line() -> str:
    """Give the command line as it can be typed again (it never holds a secret: none is an option)."""
    return shlex.join(["aliyun-import", *sys.argv[1:]])
