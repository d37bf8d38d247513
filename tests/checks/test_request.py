"""Tests of the checks of the request, one parameter at a time and all together."""

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.checks.names import MAX_USER_TAGS
from aliyun_import.checks.run import find_check, run_request_checks
from aliyun_import.errors import UsageError
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.image import DISK_DIGEST_TAG
from aliyun_import.model.request import (
    PLATFORMS,
    Architecture,
    BootMode,
    DiskFormat,
    DiskRequest,
    ImportRequest,
    OsType,
    parameters,
)
from tests.rows import each_row

DISK = DiskRequest(path=Path("disk.raw"))
VALID = ImportRequest(region="cn-hangzhou", disks=(DISK,), name="disk")
ARN = "arn:acs:cloudbox:cn-hangzhou:1000000000000000:cloudbox/cb-1"


def found(**fields: Any) -> dict[str, Finding]:
    """Run all checks of a request that differs from a valid one in these fields."""
    return {finding.rule: finding for finding in run_request_checks(replace(VALID, **fields))}


def disk(**fields: Any) -> dict[str, Finding]:
    """Run all checks of a request with such a system disk."""
    return found(disks=(replace(DISK, **fields),))


def test_a_plain_request_has_no_findings() -> None:
    """A usual request has no finding."""
    assert found() == {}


@each_row(
    ("fields", "rule"),
    [
        ({"region": "hangzhou"}, "region-form"),
        ({"region": "cn-hangzhou.evil.example"}, "region-form"),
        ({"name": "1disk"}, "image-name"),
        ({"name": "aliyun-disk"}, "image-name"),
        ({"description": "x" * 257}, "description"),
        ({"description": "https://example.com"}, "description"),
        ({"tags": {f"k{number}": "" for number in range(MAX_USER_TAGS + 1)}}, "tag-count"),
        ({"tags": {"": "x"}}, "tag-key"),
        ({"tags": {"aliyun-x": ""}}, "tag-key"),
        ({"tags": {"acs:x": ""}}, "tag-key"),
        ({"tags": {"see-http://x": ""}}, "tag-key"),
        ({"tags": {"k" * 129: ""}}, "tag-key"),
        ({"tags": {DISK_DIGEST_TAG: "x"}}, "tag-key"),
        ({"tags": {"k": "acs:x"}}, "tag-value"),
        ({"tags": {"k": "x" * 129}}, "tag-value"),
        ({"tags": {"k": "https://x"}}, "tag-value"),
        ({"tags": {"Team": "a", "team": "b"}}, "tag-twice"),
        ({"tags": {"Import-Push-Id": "a"}}, "tag-twice"),
        ({"architecture": Architecture.ARM64, "boot_mode": BootMode.BIOS}, "boot-mode-arm64"),
        ({"os_type": OsType.WINDOWS, "platform": "Debian"}, "os-type-platform"),
        ({"os_type": OsType.LINUX, "platform": "Windows Server 2019"}, "os-type-platform"),
        ({"platform": "Windows Server 2019"}, "os-type-platform"),
        ({"license_type": "byol"}, "license-type"),
        ({"nvme_support": "yes"}, "nvme-support"),
        ({"imds_support": "v3"}, "imds-support"),
        ({"detection_strategy": "standard"}, "detection-strategy"),
        ({"client_token": ""}, "client-token"),
        ({"client_token": "x" * 65}, "client-token"),
        ({"client_token": "tökén"}, "client-token"),
        ({"role_name": "my role"}, "role-name"),
        ({"role_name": "r" * 65}, "role-name"),
        ({"resource_group": "production"}, "resource-group"),
        ({"storage_location_arn": "arn:acs:oss:x"}, "storage-location"),
        ({"storage_location_arn": ARN.replace("hangzhou", "shanghai")}, "storage-location"),
        ({"disks": ()}, "disk-count"),
        ({"disks": tuple(replace(DISK, path=Path(f"{number}.raw")) for number in range(18))}, "disk-count"),
    ],
)
def test_values_that_the_service_refuses_block(fields: dict[str, Any], rule: str) -> None:
    """Each is found before the upload, blocks, and has a remedy."""
    findings = found(**fields)
    assert set(findings) == {rule}
    assert findings[rule].severity is Severity.BLOCKS
    assert findings[rule].remedy
    assert findings[rule].source


@each_row(
    ("fields", "rule"),
    [
        ({"detection_strategy": "Standard", "os_type": OsType.WINDOWS}, "detection-windows"),
        ({"description": "x"}, "description"),
        ({"region": "cn-hangzou"}, "region-unlisted"),
        ({"name": "Aliyun-disk"}, "image-name-doubtful"),
        ({"platform": "debian"}, "platform-unlisted"),
        ({"platform": "Windows 11", "os_type": OsType.WINDOWS}, "platform-unlisted"),
        ({"architecture": Architecture.ARM64, "os_type": OsType.WINDOWS}, "architecture-platform"),
        (
            {"architecture": Architecture.I386, "os_type": OsType.WINDOWS, "platform": "Windows Server 2019"},
            "architecture-platform",
        ),
        ({"detection_strategy": "Standard", "platform": "FreeBSD"}, "detection-platform"),
    ],
)
def test_values_that_the_service_may_accept_warn(fields: dict[str, Any], rule: str) -> None:
    """Values that are not on a list that grows, and undocumented combinations, are not refused."""
    findings = found(**fields)
    assert set(findings) == {rule}
    assert findings[rule].severity is Severity.WARNS


@each_row(
    "fields",
    [
        {"name": "ひらがな"},
        {"name": "a.b:c_d-e"},
        {"description": ""},
        {"description": "x" * 256},
        {"description": "see https://example.com"},
        {"tags": {f"k{number}": "v" * 128 for number in range(MAX_USER_TAGS)}},
        {"tags": {"k" * 128: ""}},
        {"architecture": Architecture.ARM64, "boot_mode": BootMode.UEFI},
        {"architecture": Architecture.ARM64},
        {"architecture": Architecture.I386, "os_type": OsType.WINDOWS, "platform": "Windows Server 2003"},
        {"os_type": OsType.WINDOWS, "platform": "Windows Server 2022", "license_type": "BYOL"},
        {"os_type": OsType.WINDOWS, "platform": "Other Windows", "license_type": "Auto"},
        {"nvme_support": "supported", "imds_support": "v2"},
        {"detection_strategy": "Standard", "platform": "Debian"},
        {"client_token": "x" * 64},
        {"role_name": "my.role-1@x"},
        {"resource_group": "rg-acfm3example"},
        {"storage_location_arn": ARN},
        {"disks": tuple(replace(DISK, path=Path(f"{number}.raw")) for number in range(17))},
    ],
)
def test_values_that_the_service_accepts_have_no_finding(fields: dict[str, Any]) -> None:
    """The widest documented limit applies."""
    assert found(**fields) == {}


@each_row("platform", PLATFORMS)
def test_every_listed_platform_is_valid(platform: str) -> None:
    """Every platform of the list is valid with its OS type."""
    os_type = OsType.WINDOWS if "Windows" in platform else OsType.LINUX
    assert found(platform=platform, os_type=os_type) == {}


@each_row(
    ("platform", "nearest"),
    [
        ("rockylinux", "Rocky Linux"),
        ("Other Linux", "Others Linux"),
        ("Debain", "Debian"),
        ("ubunut", "Ubuntu"),
        ("CentOS8", "CentOS"),
        ("Windows Server 2K22", "Windows Server 2022"),
    ],
)
def test_the_remedy_has_the_most_similar_platform(platform: str, nearest: str) -> None:
    """The remedy has the most similar name of the service's list, quoted for the shell."""
    finding = found(platform=platform, os_type=OsType.LINUX)["platform-unlisted"]
    assert f'--platform "{nearest}"' in (finding.remedy or "")


def test_the_remedy_for_an_unknown_platform_is_the_generic_platform() -> None:
    """If no name is similar, the remedy has "Others Linux" or "Other Windows"."""
    assert '"Others Linux"' in (found(platform="xyzzy")["platform-unlisted"].remedy or "")
    windows = found(platform="Windows 2022", os_type=OsType.WINDOWS)["platform-unlisted"].remedy or ""
    assert '"Other Windows"' in windows
    assert "Linux" not in windows


def test_the_remedy_has_similar_values() -> None:
    """The remedy for a misspelt region or license type has the similar one."""
    assert "cn-hangzhou" in (found(region="cn-hangzou")["region-unlisted"].remedy or "")
    assert "--license-type BYOL" in (found(license_type="byol")["license-type"].remedy or "")


def test_a_license_without_windows_is_a_note() -> None:
    """A license type has no effect without Windows."""
    assert found(license_type="BYOL")["license-type-unused"].severity is Severity.NOTE


@each_row("size", [1, 5, 500, 1000, 2048])
def test_sizes_within_the_newer_range_are_valid(size: int) -> None:
    """1 to 2048 GiB are valid, a wider range than on the older pages."""
    assert disk(size_gib=size) == {}


@each_row("size", [0, -1, 2049])
def test_sizes_outside_the_range_block(size: int) -> None:
    """The finding has the disk, and the remedy its option."""
    assert "--disk-size" in (disk(size_gib=size)["disk-size"].remedy or "")
    data = found(disks=(DISK, DiskRequest(path=Path("data.raw"), size_gib=size)))["disk-size"]
    assert "data disk 1" in data.message
    assert "--data-disk" in (data.remedy or "")


def test_vmdk_warns_that_it_requires_an_invitation() -> None:
    """VMDK is a preview for invited accounts."""
    assert disk(format=DiskFormat.VMDK)["disk-format-vmdk"].severity is Severity.WARNS


def test_a_repeated_disk_warns() -> None:
    """The same disk twice is nearly always a mistake."""
    assert found(disks=(DISK, DISK))["disk-twice"].severity is Severity.WARNS


@each_row(
    ("bucket", "key", "rule"),
    [
        ("No_Bucket", "disk.raw", "bucket-name"),
        ("a-bucket", "/disk.raw", "object-key"),
        ("a-bucket", "disk.img", "key-suffix"),
        ("a-bucket", "disk", "key-suffix"),
    ],
)
def test_buckets_and_keys_are_checked_in_addresses_and_in_options(bucket: str, key: str, rule: str) -> None:
    """The same checks apply to oss://BUCKET/KEY and to --bucket and --key."""
    given_as_disk = found(disks=(DiskRequest(bucket=bucket, key=key),))
    given_as_options = {finding.rule for finding in run_request_checks(VALID, bucket=bucket, key=key)}
    assert set(given_as_disk) == given_as_options == {rule}


def test_a_suffix_that_contradicts_the_format_warns() -> None:
    """It is not documented which one ECS uses."""
    assert set(found(disks=(DiskRequest(bucket="a-bucket", key="d.raw", format=DiskFormat.VHD),))) == {"key-suffix"}
    assert found(disks=(DiskRequest(bucket="a-bucket", key="d.VHD", format=DiskFormat.VHD),)) == {}


def test_all_findings_come_at_once() -> None:
    """A request can be corrected in one step."""
    findings = found(name="1", description="x", role_name="", client_token="", resource_group="x")
    assert set(findings) == {"image-name", "description", "role-name", "client-token", "resource-group"}


def test_every_finding_is_as_its_check_declares() -> None:
    """--skip-check accepts the id of every finding."""
    fields: dict[str, Any] = {
        "region": "cn-nowhere", "name": "1", "description": "x", "tags": {"aliyun": "acs:", "A": "", "a": ""},
        "architecture": Architecture.ARM64, "boot_mode": BootMode.BIOS, "platform": "Nix", "license_type": "x",
        "nvme_support": "x", "imds_support": "x", "detection_strategy": "x", "client_token": "", "role_name": "",
        "resource_group": "x", "storage_location_arn": "x", "os_type": OsType.WINDOWS,
        "disks": (replace(DISK, size_gib=0, format=DiskFormat.VMDK),) * 18,
    }  # fmt: skip
    findings = found(**fields)
    assert len(findings) > 15
    assert {finding.severity in find_check(name).severities for name, finding in findings.items()} == {True}


def test_every_parameter_with_choices_has_its_check() -> None:
    """The check is derived from the declaration: a value that is not listed blocks, with the option and the list.

    The request itself refuses a value that is not in an Enum.
    """
    for parameter in parameters():
        if parameter.choices and isinstance(parameter.choices[0], Enum):
            with pytest.raises(UsageError, match="no-such-value"):
                found(**{parameter.name: "no-such-value"})
        elif parameter.choices:
            finding = found(**{parameter.name: "no-such-value"})[parameter.option.removeprefix("--")]
            assert finding.severity is Severity.BLOCKS
            assert ", ".join(parameter.choices) in finding.message
            assert parameter.option in (finding.remedy or "")
