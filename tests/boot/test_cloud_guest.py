"""Tests of boot tests in a sandbox whose instances run guests; skipped if QEMU is not installed."""

import shutil
import time
from pathlib import Path

import pytest

from aliyun_import.boot.cloud import boot_test_image
from aliyun_import.boot.instance_choice import Cloud, CloudBootOptions
from aliyun_import.context import Context
from aliyun_import.journal import open_journal
from aliyun_import.model.boot import Verdict
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.guests import machine
from aliyun_import.sandbox.guests.host import Host
from aliyun_import.sandbox.server import Sandbox
from tests.boot.tiny import write_guest
from tests.clocks import SandboxClock
from tests.cloud import adapters
from tests.sandbox.prepared import mapping, prepare, put
from tests.sandbox.vendor_sdk import call

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
]


class GuestClock(SandboxClock):
    """Clock whose waits take a second, because the guest runs in real time."""

    def sleep(self, seconds: float) -> None:
        """Advance the sandbox, and wait a second."""
        super().sleep(seconds)
        time.sleep(1.0)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Debian GNU/Linux 12 tiny ttyS0\r\n\r\ntiny login: ", Verdict.BOOTS),
        ("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n", Verdict.FAILS),
    ],
)
def test_the_verdict_is_that_of_the_imported_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, verdict: Verdict
) -> None:
    """The output of the guest decides. Console and screen are saved, and no guest is left."""
    monkeypatch.setattr(machine, "may_have_kvm", lambda _architecture: False)
    log, screen = tmp_path / "console.log", tmp_path / "screen.jpg"
    options = CloudBootOptions(
        vswitch_id="vsw-sandbox-cn-hangzhou-a",
        security_group_id="sg-sandbox-cn-hangzhou",
        log=log,
        screen=screen,
    )
    with Sandbox.start(tmp_path / "s", settings=Settings(import_s=0.0, image_ready_s=0.0)) as sandbox:
        prepare(sandbox)
        sandbox.state.configure(instance_console="guest")
        put(sandbox, "disk.raw", write_guest(tmp_path / "disk.raw", text).read_bytes())
        image_id = str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()])["ImageId"])
        context = Context(clock=GuestClock(sandbox.clock.advance))
        cloud = Cloud(
            images=adapters.images(sandbox),
            instances=adapters.instances(sandbox),
            context=context,
            deleting=adapters.instances(sandbox),
            deleting_context=context,
            region="cn-hangzhou",
        )
        with open_journal(tmp_path / "journals", {"name": image_id}) as journal:
            test = boot_test_image(image_id, options, cloud, journal, confirm=lambda _: None)
        assert test.judgement.verdict is verdict, test
        assert "scripted" not in test.judgement.reason
        assert text.strip() in log.read_bytes().decode()
        assert screen.read_bytes().startswith(b"\xff\xd8")
        deadline_s = time.monotonic() + 30
        while sandbox.state.part(Host).running:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
