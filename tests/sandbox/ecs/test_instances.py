"""Operations on instances: what starts, what is refused, the course of an instance by the clock."""

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
def still(tmp_path: Path) -> Iterator[Sandbox]:
    """Return a sandbox with a standing clock, in which imports take no time."""
    settings = Settings(import_s=0.0, image_ready_s=0.0, instance_pending_s=5.0, instance_start_s=10.0)
    with Sandbox.start(tmp_path / "s", settings=settings, clock=Clock(start_s=NOON_S, running=False)) as sandbox:
        yield prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> str:
    return str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)["ImageId"])


def _order(image_id: str, **fields: Any) -> dict[str, Any]:
    return {"ImageId": image_id, "InstanceType": "ecs.g7.large", **NETWORK, **fields}


def _run(sandbox: Sandbox, image_id: str, **fields: Any) -> str:
    (instance_id,) = call(sandbox, "RunInstances", **_order(image_id, **fields))["InstanceIdSets"]["InstanceIdSet"]
    return str(instance_id)


def _instances(sandbox: Sandbox, **fields: Any) -> list[dict[str, Any]]:
    found = call(sandbox, "DescribeInstances", **fields)["Instances"]["Instance"]
    assert isinstance(found, list)
    return found


def _at(sandbox: Sandbox, after_s: float) -> str:
    return datetime.fromtimestamp(sandbox.clock.now_s() + after_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_an_instance_changes_its_status_and_is_deleted(still: Sandbox) -> None:
    """A Pending instance cannot be deleted, a Running one only with Force."""
    instance_id = _run(still, _import(still), Tags=[{"Key": "k", "Value": "v"}])
    assert refusal(still, "DeleteInstance", InstanceId=instance_id, Force="true") == (
        403,
        "IncorrectInstanceStatus.Initializing",
    )
    seen = []
    for _ in range(3):
        (status,) = call(still, "DescribeInstanceStatus", InstanceIds=[instance_id])["InstanceStatuses"][
            "InstanceStatus"
        ]
        seen.append(status["Status"])
        still.clock.advance(7.5)
    assert seen == ["Pending", "Starting", "Running"]
    (instance,) = _instances(still, InstanceIds=f'["{instance_id}"]')
    assert instance["Tags"] == {"Tag": [{"TagKey": "k", "TagValue": "v"}]}
    assert instance["PublicIpAddress"] == {"IpAddress": []}
    assert refusal(still, "DeleteInstance", InstanceId=instance_id) == (403, "IncorrectInstanceStatus")
    call(still, "DeleteInstance", InstanceId=instance_id, Force="true")
    assert _instances(still) == []
    assert refusal(still, "DeleteInstance", InstanceId=instance_id) == (404, "InvalidInstanceId.NotFound")


def test_an_instance_ends_at_its_auto_release_time(still: Sandbox) -> None:
    """The time is rounded down to minutes, and no call is needed."""
    instance_id = _run(still, _import(still), AutoReleaseTime=_at(still, 45 * 60))
    (instance,) = _instances(still)
    assert instance["AutoReleaseTime"] == "2026-11-24T10:45Z"
    still.clock.advance(44 * 60)
    assert [each["InstanceId"] for each in _instances(still)] == [instance_id]
    still.clock.advance(30)
    assert _instances(still) == []


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
def test_what_can_not_start_is_refused(
    still: Sandbox, image: dict[str, Any], fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """The answer is the code of the service, and no instance starts."""
    order = {name: value for name, value in _order(_import(still, **image), **fields).items() if value is not None}
    assert refusal(still, "RunInstances", **order) == expected
    assert _instances(still) == []


def test_a_disk_holds_its_image(still: Sandbox) -> None:
    """The minimum is the size of the image; the default is at least 40 GiB."""
    mappings = [mapping(DiskImageSize=50)]
    image_id = str(call(still, "ImportImage", DiskDeviceMappings=mappings)["ImageId"])
    code = (404, "InvalidSystemDiskSize.LessThanImageSize")
    assert refusal(still, "RunInstances", **_order(image_id, SystemDiskSize="40")) == code
    _run(still, image_id, SystemDiskSize="50")


def test_sold_out_types_have_no_stock_and_do_not_start(still: Sandbox) -> None:
    """DescribeAvailableResource and RunInstances agree."""
    still.state.configure(instance_types_sold_out=["ecs.g7.large"])
    zones = call(still, "DescribeAvailableResource", DestinationResource="InstanceType")["AvailableZones"]
    stock = {
        each["Value"]: each["StatusCategory"]
        for each in zones["AvailableZone"][0]["AvailableResources"]["AvailableResource"][0]["SupportedResources"][
            "SupportedResource"
        ]
    }
    assert (stock["ecs.g7.large"], stock["ecs.g6.large"]) == ("WithoutStock", "WithStock")
    assert refusal(still, "RunInstances", **_order(_import(still))) == (403, "OperationDenied.NoStock")


def test_the_types_that_start_an_image_are_those_that_run_it(still: Sandbox) -> None:
    """DescribeImageSupportInstanceTypes and RunInstances agree."""
    image_id = _import(still, BootMode="UEFI", Features={"NvmeSupport": "supported"})
    listed = call(still, "DescribeImageSupportInstanceTypes", ImageId=image_id)["InstanceTypes"]["InstanceType"]
    fit = {each["InstanceTypeId"] for each in listed}
    every = call(still, "DescribeInstanceTypes")["InstanceTypes"]["InstanceType"]
    for kind in (each["InstanceTypeId"] for each in every):
        code = refusal(still, "RunInstances", **_order(image_id, InstanceType=kind, DryRun="true"))
        assert (code == (400, "DryRunOperation")) == (kind in fit)
    assert "ecs.g9i.large" in fit


def test_the_console_is_scripted_and_says_so(still: Sandbox) -> None:
    """It is empty until the instance runs; the setting selects the text of later instances."""
    still.state.configure(instance_console="panic")
    instance_id = _run(still, _import(still))
    still.state.configure(instance_console="boots")
    assert call(still, "GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"] == ""
    still.clock.advance(60)
    text = base64.b64decode(call(still, "GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"]).decode()
    assert "scripted console" in text
    assert "Kernel panic - not syncing" in text
    assert {"guest", *consoles.TEXTS} == set(CONSOLES)
    with pytest.raises(ValueError, match="instance_console takes one of guest, boots"):
        still.state.configure(instance_console="dances")


@pytest.mark.parametrize(
    ("key", "missing", "expected"),
    [
        ("disk.raw", "QEMU", "(qemu-system-x86_64 is not installed)"),
        ("disk.vmdk", "", "(a VMDK may refer to other files, which the sandbox does not open)"),
    ],
)
def test_an_instance_without_a_guest_says_why(
    still: Sandbox, monkeypatch: pytest.MonkeyPatch, key: str, missing: str, expected: str
) -> None:
    """If a requested guest cannot be started, the console is scripted and contains the reason."""
    monkeypatch.setattr(machine, "program", lambda _architecture: None if missing else "/qemu")
    still.state.configure(instance_console="guest", vmdk_allowed=True)
    put(still, "disk.vmdk", b"KDMV" + bytes(8) + (2048).to_bytes(8, "little") + bytes(1004))
    image_id = str(call(still, "ImportImage", DiskDeviceMappings=[mapping(key)])["ImageId"])
    instance_id = _run(still, image_id)
    still.clock.advance(60)
    text = base64.b64decode(call(still, "GetInstanceConsoleOutput", InstanceId=instance_id)["ConsoleOutput"]).decode()
    assert text.splitlines()[0].endswith(f"{expected}.")
    assert "login:" in text


def test_a_console_is_not_offered_for_windows_and_bare_metal(still: Sandbox) -> None:
    """NotSupported, HTTP 405."""
    windows = _run(still, _import(still, Platform="Windows Server 2022", ImageName="windows"))
    metal = _run(still, _import(still, ImageName="metal"), InstanceType="ecs.ebmg7.32xlarge")
    assert refusal(still, "GetInstanceConsoleOutput", InstanceId=windows) == (405, "NotSupported")
    assert refusal(still, "GetInstanceConsoleOutput", InstanceId=metal) == (405, "NotSupported")
    assert refusal(still, "GetInstanceScreenshot", InstanceId=metal) == (405, "NotSupported")
    assert refusal(still, "GetInstanceConsoleOutput", InstanceId="i-none") == (404, "InvalidParameter")


def test_a_screenshot_of_a_running_instance_once_in_ten_seconds(still: Sandbox) -> None:
    """It is a JPEG. Before Running: IncorrectInstanceStatus; too soon after another: Throttling with HTTP 429."""
    instance_id = _run(still, _import(still))
    assert refusal(still, "GetInstanceScreenshot", InstanceId=instance_id) == (405, "IncorrectInstanceStatus")
    still.clock.advance(60)
    picture = base64.b64decode(call(still, "GetInstanceScreenshot", InstanceId=instance_id)["Screenshot"])
    assert picture.startswith(b"\xff\xd8")
    assert refusal(still, "GetInstanceScreenshot", InstanceId=instance_id) == (429, "Throttling")
    still.clock.advance(10)
    call(still, "GetInstanceScreenshot", InstanceId=instance_id)


def test_a_repeated_client_token_starts_nothing_more(still: Sandbox) -> None:
    """The same call gets the same answer; another call with the token is refused."""
    image_id = _import(still)
    assert _run(still, image_id, ClientToken="t") == _run(still, image_id, ClientToken="t")
    assert len(_instances(still)) == 1
    assert refusal(still, "RunInstances", **_order(image_id, ClientToken="t", Amount=2)) == (
        400,
        "IdempotentParameterMismatch",
    )


def test_another_account_neither_lists_nor_deletes_an_instance(still: Sandbox) -> None:
    """Instances belong to an account and a region."""
    other = still.state.add_key(AccessKey(id="OTHER", secret="S", account_id="2000000000000000"))
    instance_id = _run(still, _import(still))
    still.clock.advance(60)
    assert call(still, "DescribeInstances", key=other)["TotalCount"] == 0
    assert call(still, "DescribeInstances", region="cn-beijing")["TotalCount"] == 0
    code = refusal(still, "DeleteInstance", key=other, InstanceId=instance_id, Force="true")
    assert code == (404, "InvalidInstanceId.NotFound")


def test_networks_are_found_by_zone_and_vpc(still: Sandbox) -> None:
    """RunInstances accepts the networks that the lists return."""
    switches = call(still, "DescribeVSwitches", ZoneId="cn-hangzhou-b")["VSwitches"]["VSwitch"]
    assert [each["VSwitchId"] for each in switches] == ["vsw-sandbox-cn-hangzhou-b"]
    groups = call(still, "DescribeSecurityGroups", VpcId=switches[0]["VpcId"])["SecurityGroups"]["SecurityGroup"]
    _run(
        still,
        _import(still),
        VSwitchId=switches[0]["VSwitchId"],
        SecurityGroupId=groups[0]["SecurityGroupId"],
        ZoneId="cn-hangzhou-b",
    )
    (instance,) = _instances(still, ZoneId="cn-hangzhou-b")
    assert instance["VpcAttributes"]["VpcId"] == groups[0]["VpcId"]
    zones = call(still, "DescribeZones")["Zones"]["Zone"]
    assert [zone["ZoneId"] for zone in zones] == ["cn-hangzhou-a", "cn-hangzhou-b"]
