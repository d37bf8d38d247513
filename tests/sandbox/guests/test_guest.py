"""Tests of instances whose image runs in QEMU under emulation, skipped if QEMU is not installed."""

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import Clock, Settings
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.guests import machine
from aliyun_import.sandbox.guests.guest import Guest
from aliyun_import.sandbox.guests.host import Host
from aliyun_import.sandbox.server import Sandbox
from tests.boot.tiny import write_guest
from tests.sandbox.prepared import mapping, prepare, put
from tests.sandbox.vendor_sdk import call, refusal

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]
LINE = "the imported disk runs\r\n"
NETWORK = {"VSwitchId": "vsw-sandbox-cn-hangzhou-a", "SecurityGroupId": "sg-sandbox-cn-hangzhou"}
QUICK = Settings(
    import_s=0.0, image_ready_s=0.0, instance_pending_s=1.0, instance_start_s=1.0, console_lag_s=5.0, guests_at_once=1
)


@pytest.fixture(autouse=True)
def _emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable KVM, so that the tests are the same on every machine."""
    monkeypatch.setattr(machine, "may_have_kvm", lambda _architecture: False)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Return a disk that prints a line."""
    return write_guest(tmp_path / "disk.raw", LINE)


@pytest.fixture
def sandbox(tmp_path: Path, disk: Path) -> Iterator[Sandbox]:
    """Yield a sandbox with the disk and a stopped clock."""
    with Sandbox.start(tmp_path / "s", settings=QUICK, clock=Clock(running=False)) as running:
        prepare(running)
        running.state.configure(instance_console="guest")
        put(running, "disk.raw", disk.read_bytes())
        yield running


def imported(sandbox: Sandbox, *keys: str, **fields: Any) -> str:
    """Import objects as the disks of an image, and return its id."""
    disks = [mapping(key) for key in keys or ("disk.raw",)]
    return str(call(sandbox, "ImportImage", DiskDeviceMappings=disks, **fields)["ImageId"])


def started(sandbox: Sandbox, image_id: str, **fields: Any) -> str:
    """Start an instance, advance the clock until it is Running, and return its id."""
    parameters = {"ImageId": image_id, "InstanceType": "ecs.g7.large", **NETWORK, **fields}
    (instance_id,) = call(sandbox, "RunInstances", **parameters)["InstanceIdSets"]["InstanceIdSet"]
    sandbox.clock.advance(10)
    return str(instance_id)


def guest_of(sandbox: Sandbox, instance_id: str) -> Guest:
    """Return the guest of an instance."""
    guest = sandbox.state.part(Host).guest_of(sandbox.state.part(Ecs).instances[instance_id])
    assert guest is not None
    return guest


def status(sandbox: Sandbox, instance_id: str) -> str:
    """Return the status of an instance."""
    answer = call(sandbox, "DescribeInstanceStatus", InstanceIds=[instance_id])
    return str(answer["InstanceStatuses"]["InstanceStatus"][0]["Status"])


def until(holds: Callable[[], bool]) -> None:
    """Wait in real time until a condition holds."""
    until_s = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until_s, "the condition did not hold within two minutes"
        time.sleep(0.1)


def console(sandbox: Sandbox, instance_id: str, **fields: Any) -> str:
    """Return the console of an instance after an update of the cache."""
    sandbox.clock.advance(5)
    answer = call(sandbox, "GetInstanceConsoleOutput", InstanceId=instance_id, **fields)
    return base64.b64decode(answer["ConsoleOutput"]).decode()


def qemu_of(process: int) -> list[int]:
    """Return the QEMU children of a process."""
    lists = [each.read_text() for each in Path(f"/proc/{process}/task").glob("*/children")]
    children = [int(each) for each in " ".join(lists).split()]
    return [each for each in children if Path(f"/proc/{each}/comm").read_text().startswith("qemu-system")]


def test_an_instance_runs_its_image(sandbox: Sandbox, disk: Path) -> None:
    """Its console has the output of the imported disk, its screen is a JPEG, and its writes do not change the image."""
    image_id = imported(sandbox)
    instance_id = started(sandbox, image_id)
    until(lambda: console(sandbox, instance_id) == LINE)
    assert console(sandbox, instance_id, RemoveSymbols="true") == LINE.replace("\r", "")
    picture = base64.b64decode(call(sandbox, "GetInstanceScreenshot", InstanceId=instance_id)["Screenshot"])
    assert picture.startswith(b"\xff\xd8")
    assert len(picture) > 2000
    content = sandbox.state.part(Ecs).images[image_id].disks[0].content
    assert content.pread(0, content.size) == disk.read_bytes()


def test_the_console_is_cached(sandbox: Sandbox) -> None:
    """It is updated after `console_lag_s`, so that the guest may have written more."""
    instance_id = started(sandbox, imported(sandbox))
    first = call(sandbox, "GetInstanceConsoleOutput", InstanceId=instance_id)
    until(lambda: LINE.encode() in guest_of(sandbox, instance_id).output)
    again = call(sandbox, "GetInstanceConsoleOutput", InstanceId=instance_id)
    assert (again["ConsoleOutput"], again["LastUpdateTime"]) == (first["ConsoleOutput"], first["LastUpdateTime"])
    assert console(sandbox, instance_id) == LINE


@pytest.mark.parametrize("end", ["delete", "release", "stop"])
def test_a_guest_ends_with_its_instance(sandbox: Sandbox, end: str) -> None:
    """It ends when its instance is deleted or released, and when the sandbox stops. No file is left."""
    image_id = imported(sandbox)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(sandbox.clock.now_s() + 3600))
    instance_id = started(sandbox, image_id, AutoReleaseTime=at)
    host = sandbox.state.part(Host)
    assert host.running == 1
    parameters: dict[str, Any] = {"ImageId": image_id, "InstanceType": "ecs.g7.large", **NETWORK}
    assert refusal(sandbox, "RunInstances", **parameters) == (403, "OperationDenied.NoStock")
    until(lambda: len(qemu_of(os.getpid())) == 1)
    if end == "delete":
        call(sandbox, "DeleteInstance", InstanceId=instance_id, Force="true")
    elif end == "release":
        sandbox.clock.advance(3600)
    else:
        sandbox.stop()
    until(lambda: host.running == 0)
    assert not qemu_of(os.getpid())
    assert not list(sandbox.state.directory.glob("guest-*"))


def test_an_instance_is_stopped_when_its_guest_has_ended(sandbox: Sandbox) -> None:
    """It keeps its console, and needs no Force to be deleted."""
    instance_id = started(sandbox, imported(sandbox))
    until(lambda: console(sandbox, instance_id) == LINE)
    (process,) = qemu_of(os.getpid())
    os.kill(process, signal.SIGKILL)
    until(lambda: status(sandbox, instance_id) == "Stopped")
    assert console(sandbox, instance_id) == LINE
    call(sandbox, "DeleteInstance", InstanceId=instance_id)


def test_the_console_of_a_guest_that_qemu_refuses_has_the_reason(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance is Stopped."""
    command_line = machine.command_line
    monkeypatch.setattr(
        machine, "command_line", lambda *arguments: [*command_line(*arguments), "-device", "no-such-device"]
    )
    instance_id = started(sandbox, imported(sandbox))
    until(lambda: status(sandbox, instance_id) == "Stopped")
    assert "QEMU ended the guest" in console(sandbox, instance_id)
    assert "no-such-device" in console(sandbox, instance_id)


def test_an_instance_boots_with_uefi(sandbox: Sandbox) -> None:
    """The firmware reports on the console that a BIOS disk has no loader."""
    if machine.firmware("x86_64") is None:
        pytest.skip("OVMF is not installed")
    instance_id = started(sandbox, imported(sandbox, BootMode="UEFI"))
    until(lambda: "BdsDxe" in console(sandbox, instance_id))


@pytest.mark.parametrize("form", [("QCOW2", "qcow2"), ("VHD", "vpc"), ("VHD", "vpc", "-o", "subformat=fixed")], ids=str)
def test_a_guest_runs_disks_of_every_format(sandbox: Sandbox, disk: Path, form: tuple[str, ...]) -> None:
    """The guest has the disk in the object, with or without a second disk."""
    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    suffix, kind, *options = form
    converted = disk.with_suffix(".made")
    subprocess.run(["qemu-img", "convert", "-O", kind, *options, disk, converted], check=True)
    put(sandbox, f"disk.{suffix}", converted.read_bytes())
    instance_id = started(sandbox, imported(sandbox, f"disk.{suffix}", "disk.raw"))
    until(lambda: console(sandbox, instance_id) == LINE)


def test_a_killed_sandbox_leaves_no_guest(tmp_path: Path, sandbox: Sandbox) -> None:
    """QEMU ends with the process that started it, and no file is left of the guest."""
    directory = tmp_path / "other"
    code = (
        "import sys, time; from pathlib import Path; from tests.sandbox.guests.test_guest import *\n"
        "machine.may_have_kvm = lambda _: False\n"
        "s = Sandbox.start(Path(sys.argv[1]), settings=QUICK)\n"
        "prepare(s); s.state.configure(instance_console='guest')\n"
        "put(s, 'disk.raw', Path(sys.argv[2]).read_bytes()); started(s, imported(s)); time.sleep(600)"
    )
    program = [sys.executable, "-c", code, str(directory), str(tmp_path / "disk.raw")]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL) as process:
        until(lambda: bool(qemu_of(process.pid)))
        (guest,) = qemu_of(process.pid)
        process.kill()
    until(lambda: not Path(f"/proc/{guest}").exists() or "Z" in Path(f"/proc/{guest}/stat").read_text().split()[2])
    assert not list(directory.glob("guest-*"))


def test_a_persistent_instance_is_restarted(tmp_path: Path, disk: Path) -> None:
    """It runs after a restart of the sandbox, also if its image was deleted."""
    with Sandbox.start(tmp_path / "kept", settings=QUICK, keep=True) as first:
        prepare(first)
        put(first, "disk.raw", disk.read_bytes())
        first.state.configure(instance_console="guest")
        image_id = imported(first)
        instance_id = started(first, image_id)
        call(first, "DeleteImage", ImageId=image_id, Force="true")
    with Sandbox.start(tmp_path / "kept", keep=True) as second:
        until(lambda: console(second, instance_id) == LINE)
