"""Environment of a command that is to reach a sandbox, and nothing else of the cloud."""

from collections.abc import Collection, Mapping
from pathlib import Path

from aliyun_import.sandbox.server import Sandbox

# What the vendor's tools and SDKs, Packer and Terraform read keys, profiles, regions and endpoints from.
_PREFIXES = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_", "ALIYUN_ACCESS_KEY", "OSS_", "PKR_VAR_ALICLOUD_")
_NAMES = frozenset({"ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN", "STS_TOKEN", "REGION_ID"})
_NO_PROXY = ("127.0.0.1", "::1", "localhost")


def isolated_environment(
    sandbox: Sandbox, outer: Mapping[str, str], *, journals: Path, elsewhere: Collection[str]
) -> dict[str, str]:
    """Return an environment that leads to the sandbox: without the keys, profiles and endpoints of the outer one.

    `elsewhere` are further variables that lead elsewhere, as the beginnings of their names. Files are not hidden: the
    variables turn off the profiles and credentials files of the home directory, and the metadata service.
    """
    kept = {
        name: value
        for name, value in outer.items()
        if name not in _NAMES and not name.upper().startswith((*_PREFIXES, *elsewhere))
    }
    region = outer.get("ALIYUN_IMPORT_REGION", sandbox.state.settings.region)
    passed = [value for name in ("NO_PROXY", "no_proxy") if (value := outer.get(name))]
    no_proxy = ",".join([*passed[:1], *_NO_PROXY])
    return {
        **kept,
        **sandbox.environment(),
        "ALIYUN_IMPORT_REGION": region,
        "ALIBABA_CLOUD_REGION_ID": region,
        "ALIYUN_IMPORT_STATE_DIR": str(journals),
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "true",
        "ALIBABA_CLOUD_IGNORE_PROFILE": "TRUE",
        "ALIBABA_CLOUD_CREDENTIALS_FILE": str(journals / "no-credentials.ini"),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }
