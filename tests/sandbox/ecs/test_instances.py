"""Tests of operations on instances: start, refusals, and the status by the clock."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import CONSOLES, AccessKey, Clock, Settings
from aliyun_import.sandbox.ecs import consoles
from aliyun_import.sandbox.guests import machine
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.prepared import mapping, prepare, put
from tests.sandbox.vendor_sdk import call, refusal

NOON_S = 1795514430.0  # 2026-11-24T10:00:30Z
NETWORK = {"VSwitchId": "vsw-sandbox-cn-hangzhou-a", "SecurityGroupId": "sg-sandbox-cn-hangzhou"}


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Sandbox]:
    """Yield a sandbox with a stopped clock, in which imports take no time."""
    settings = Settings(import_s=0.0, image_ready_s=0.0, instance_pending_s=5.0, instance_start_s=10.0)
    with Sandbox.start(tmp_path / "s", settings=settings, clock=Clock(start_s=NOON_S, running=False)) as sandbox:
        yield prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> str:
    return str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)["ImageId"])


def _parameters(image_id: str, **fields: Any) -> dict[str, Any]:
    return {"ImageId": image_id, "InstanceType": "ecs.g7.large", **NETWORK, **fields}


def _run(sandbox: Sandbox, image_id: str, **fields: Any) -> str:
    (instance_id,) = call(sandbox, "RunInstances", **_parameters(image_id, **fields))["InstanceIdSets"]["InstanceIdSet"]
    return str(instance_id)


def _instances(sandbox: Sandbox, **fields: Any) -> list[dict[str, Any]]:
    found = call(sandbox, "DescribeInstances", **fields)["Instances"]["Instance"]
    assert isinstance(found, list)
    return found


def _at(sandbox: Sandbox, after_s: float) -> str:
    return datetime.fromtimestamp(sandbox.clock.now_s() + after_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_an_instance_changes_its_status_and_is_deleted(frozen: Sandbox) -> None:
    """A Pending instance cannot be deleted, a Running one only with Force."""
    instance_id = _run(frozen, _import(frozen), Tags=[{"Key": "k", "Value": "v"}])
    assert refusal(frozen, "DeleteInstance", InstanceId=instance_id, Force="true") == (
        403,
        "IncorrectInstanceStatus.Initializing",
    )
    statuses = []
    for _ in range(3):
        (status,) = call(frozen, "DescribeInstanceStatus", InstanceIds=[instance_id])["InstanceStatuses"][
            "InstanceStatus"
        ]
        statuses.append(status["Status"])
        frozen.clock.advance(7.5)
    assert statuses == ["Pending", "Starting", "Running"]
    (instance,) = _instances(frozen, InstanceIds=f'["{instance_id}"]')
    assert instance["Tags"] == {"Tag": [{"TagKey": "k", "TagValue": "v"}]}
    assert instance["PublicIpAddress"] == {"IpAddress": []}
    assert refusal(frozen, "DeleteInstance", InstanceId=instance_id) == (403, "IncorrectInstanceStatus")
    call(frozen, "DeleteInstance", InstanceId=instance_id, Force="true")
    assert _instances(frozen) == []
    assert refusal(frozen, "DeleteInstance", InstanceId=instance_id) == (404, "InvalidInstanceId.NotFound")


def test_an_instance_is_deleted_at_its_auto_release_time(frozen: Sandbox) -> None:
    """The time is rounded down to minutes, and no call is needed."""
    instance_id = _run(frozen, _import(frozen), AutoReleaseTime=_at(frozen, 45 * 60))
    (instance,) = _instances(frozen)
    assert instance["AutoReleaseTime"] == "2026-11-24T10:45Z"
    frozen.clock.advance(44 * 60)
    assert [each["InstanceId"] for each in _instances(frozen)] == [instance_id]
    frozen.clock.advance(30)
    assert _instances(frozen) == []


@each_row(
    ("image", "fields", "expected"),
    [
        ({}, {"ImageId": None}, (400, "MissingParameter")),
        ({}, {"InstanceType": None}, (400, "MissingParameter")),
        ({}, {"VSwitchId": None}, (400, "MissingParameter")),
        ({}, {"SecurityGroupId": None}, (400, "MissingParameter")),
        ({}, {"ImageId": "m-none"}, (404, "InvalidImageId.NotFound")),
        ({}, {"InstanceType": "ecs.none.large"}, (400, "InvalidInstanceType.ValueNotSupported")),
        ({}, {"InstanceType": "ecs.g9i.large"}, (403, "InvalidParameter.NotMatch")),
        ({"BootMode": "UEFI"}, {"InstanceType": "ecs.g6.large"}, (403, "ImageNotSupportInstanceType")),
        ({"Architecture": "arm64"}, {}, (403, "ImageNotSupportInstanceType")),
        ({}, {"VSwitchId": "vsw-none"}, (404, "InvalidVSwitchId.NotFound")),
        ({}, {"SecurityGroupId": "sg-none"}, (404, "InvalidSecurityGroupId.NotFound")),
        ({}, {"SecurityGroupId": "sg-sandbox2-cn-hangzhou"}, (400, "InvalidParameter.Mismatch")),
        ({}, {"ZoneId": "cn-hangzhou-b"}, (400, "InvalidParameter.Mismatch")),
        ({}, {"AutoReleaseTime": "2026-11-24T10:20:00Z"}, (400, "InvalidAutoReleaseTime.Malformed")),
        ({}, {"AutoReleaseTime": "soon"}, (400, "InvalidAutoReleaseTime.Malformed")),
        ({}, {"UserData": "%"}, (400, "InvalidParameter")),
        ({}, {"UserData": base64.b64encode(b"x" * 32769).decode()}, (400, "InvalidUserData.SizeExceeded")),
        ({}, {"SystemDiskSize": "10"}, (404, "InvalidSystemDiskSize.LessThanMinSize")),
        ({}, {"SystemDiskCategory": "cloud"}, (400, "InvalidSystemDiskCategory.ValueNotSupported")),
        ({}, {"SpotStrategy": "cheap"}, (400, "InvalidSpotStrategy")),
        ({}, {"Amount": 21}, (403, "QuotaExceed.ElasticQuota")),
        ({}, {"DryRun": "true"}, (400, "DryRunOperation")),
        ({}, {"InternetMaxBandwidthOut": 5}, (501, "NotImplementedBySandbox")),
        ({}, {"KeyPairName": "k"}, (501, "NotImplementedBySandbox")),
    ],
)
def test_an_invalid_instance_is_refused(
    frozen: Sandbox, image: dict[str, Any], fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """The answer is the code of the service, and no instance starts."""
    parameters = {
        name: value for name, value in _parameters(_import(frozen, **image), **fields).items() if value is not None
    }
    assert refusal(frozen, "RunInstances", **parameters) == expected
    assert _instances(frozen) == []


def test_a_system_disk_is_at_least_as_large_as_its_image(frozen: Sandbox) -> None:
    """The minimum is the size of the image; the default is at least 40 GiB."""
    mappings = [mapping(DiskImageSize=50)]
    image_id = str(call(frozen, "ImportImage", DiskDeviceMappings=mappings)["ImageId"])
    code = (404, "InvalidSystemDiskSize.LessThanImageSize")
    assert refusal(frozen, "RunInstances", **_parameters(image_id, SystemDiskSize="40")) == code
    _run(frozen, image_id, SystemDiskSize="50")


def test_sold_out_types_have_no_stock_and_do_not_start(frozen: Sandbox) -> None:
    """DescribeAvailableResource and RunInstances agree."""
    frozen.state.configure(instance_types_sold_out=["ecs.g7.large"])
    zones = call(frozen, "DescribeAvailableResource", DestinationResource="InstanceType")["AvailableZones"]
    stock = {
        each["Value"]: each["StatusCategory"]
        for each in zones["AvailableZone"][0]["AvailableResources"]["AvailableResource"][0]["SupportedResources"][
            "SupportedResource"
        ]
    }
    assert (stock["ecs.g7.large"], stock["ecs.g6.large"]) == ("WithoutStock", "WithStock")
    assert refusal(frozen, "RunInstances", **_parameters(_import(frozen))) == (403, "OperationDenied.NoStock")


def test_the_listed_types_of_an_image_are_those_that_start_it(frozen: Sandbox) -> None:
    """DescribeImageSupportInstanceTypes and RunInstances agree."""
    image_id = _import(frozen, BootMode="UEFI", Features={"NvmeSupport": "supported"})
    listed = call(frozen, "DescribeImageSupportInstanceTypes", ImageId=image_id)["InstanceTypes"]["InstanceType"]
    supported = {each["InstanceTypeId"] for each in listed}
    every = call(frozen, "DescribeInstanceTypes")["InstanceTypes"]["InstanceType"]
    for kind in (each["InstanceTypeId"] for each in every):
        code = refusal(frozen, "RunInstances", **_parameters(image_id, InstanceType=kind, DryRun="true"))
        assert (code == (400, "DryRunOperation")) == (kind in supported)
    assert "ecs.g9i.large" in supported


def test_a_scripted_console_is_marked_as_such(frozen: Sandbox) -> None:
    """It is empty until the instance runs; the setting selects the text of later instances."""
    frozen.state.configure(instance_console="panic")
    instance_id = _run(frozen, _import(frozen))
    frozen.state.configure(instance_console="boots")
    assert call(frozen, "GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"] == ""
    frozen.clock.advance(60)
    text = base64.b64decode(call(frozen, "GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"]).decode()
    assert "scripted console" in text
    assert "Kernel panic - not syncing" in text
    assert {"guest", *consoles.TEXTS} == set(CONSOLES)
    with pytest.raises(ValueError, match="instance_console takes one of guest, boots"):
        frozen.state.configure(instance_console="unknown")


@pytest.mark.parametrize(
    ("key", "missing", "expected"),
    [
        ("disk.raw", "QEMU", "(qemu-system-x86_64 is not installed)"),
        ("disk.vmdk", "", "(a VMDK may refer to other files, which the sandbox does not open)"),
    ],
)
def test_the_console_of_an_instance_without_a_guest_has_the_reason(
    frozen: Sandbox, monkeypatch: pytest.MonkeyPatch, key: str, missing: str, expected: str
) -> None:
    """If a requested guest cannot be started, the console is scripted and contains the reason."""
    monkeypatch.setattr(machine, "program", lambda _architecture: None if missing else "/qemu")
    frozen.state.configure(instance_console="guest", vmdk_allowed=True)
    put(frozen, "disk.vmdk", b"KDMV" + bytes(8) + (2048).to_bytes(8, "little") + bytes(1004))
    image_id = str(call(frozen, "ImportImage", DiskDeviceMappings=[mapping(key)])["ImageId"])
    instance_id = _run(frozen, image_id)
    frozen.clock.advance(60)
    text = base64.b64decode(call(frozen, "GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"]).decode()
    assert text.splitlines()[0].endswith(f"{expected}.")
    assert "login:" in text


def test_a_console_is_not_offered_for_windows_and_bare_metal(frozen: Sandbox) -> None:
    """The code is NotSupported, with HTTP 405."""
    windows = _run(frozen, _import(frozen, Platform="Windows Server 2022", ImageName="windows"))
    metal = _run(frozen, _import(frozen, ImageName="metal"), InstanceType="ecs.ebmg7.32xlarge")
    assert refusal(frozen, "GetInstanceConsoleOutput", InstanceId=windows) == (405, "NotSupported")
    assert refusal(frozen, "GetInstanceConsoleOutput", InstanceId=metal) == (405, "NotSupported")
    assert refusal(frozen, "GetInstanceScreenshot", InstanceId=metal) == (405, "NotSupported")
    assert refusal(frozen, "GetInstanceConsoleOutput", InstanceId="i-none") == (404, "InvalidParameter")


def test_a_running_instance_has_a_screenshot_every_ten_seconds(frozen: Sandbox) -> None:
    """It is a JPEG. Before Running the code is IncorrectInstanceStatus, and within ten seconds Throttling (429)."""
    instance_id = _run(frozen, _import(frozen))
    assert refusal(frozen, "GetInstanceScreenshot", InstanceId=instance_id) == (405, "IncorrectInstanceStatus")
    frozen.clock.advance(60)
    picture = base64.b64decode(call(frozen, "GetInstanceScreenshot", InstanceId=instance_id)["Screenshot"])
    assert picture.startswith(b"\xff\xd8")
    assert refusal(frozen, "GetInstanceScreenshot", InstanceId=instance_id) == (429, "Throttling")
    frozen.clock.advance(10)
    call(frozen, "GetInstanceScreenshot", InstanceId=instance_id)


def test_a_repeated_client_token_starts_no_second_instance(frozen: Sandbox) -> None:
    """The same call has the same response; another call with the token is refused."""
    image_id = _import(frozen)
    assert _run(frozen, image_id, ClientToken="t") == _run(frozen, image_id, ClientToken="t")
    assert len(_instances(frozen)) == 1
    assert refusal(frozen, "RunInstances", **_parameters(image_id, ClientToken="t", Amount=2)) == (
        400,
        "IdempotentParameterMismatch",
    )


def test_another_account_neither_lists_nor_deletes_an_instance(frozen: Sandbox) -> None:
    """Instances belong to an account and a region."""
    other = frozen.state.add_key(AccessKey(id="OTHER", secret="S", account_id="2000000000000000"))
    instance_id = _run(frozen, _import(frozen))
    frozen.clock.advance(60)
    assert call(frozen, "DescribeInstances", key=other)["TotalCount"] == 0
    assert call(frozen, "DescribeInstances", region="cn-beijing")["TotalCount"] == 0
    code = refusal(frozen, "DeleteInstance", key=other, InstanceId=instance_id, Force="true")
    assert code == (404, "InvalidInstanceId.NotFound")


def test_networks_are_found_by_zone_and_vpc(frozen: Sandbox) -> None:
    """RunInstances accepts the networks that the lists return."""
    switches = call(frozen, "DescribeVSwitches", ZoneId="cn-hangzhou-b")["VSwitches"]["VSwitch"]
    assert [each["VSwitchId"] for each in switches] == ["vsw-sandbox-cn-hangzhou-b"]
    groups = call(frozen, "DescribeSecurityGroups", VpcId=switches[0]["VpcId"])["SecurityGroups"]["SecurityGroup"]
    _run(
        frozen,
        _import(frozen),
        VSwitchId=switches[0]["VSwitchId"],
        SecurityGroupId=groups[0]["SecurityGroupId"],
        ZoneId="cn-hangzhou-b",
    )
    (instance,) = _instances(frozen, ZoneId="cn-hangzhou-b")
    assert instance["VpcAttributes"]["VpcId"] == groups[0]["VpcId"]
    zones = call(frozen, "DescribeZones")["Zones"]["Zone"]
    assert [zone["ZoneId"] for zone in zones] == ["cn-hangzhou-a", "cn-hangzhou-b"]
