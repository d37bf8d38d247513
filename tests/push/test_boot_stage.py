"""Tests of the local boot test of a push: it runs once, before anything is created, and its verdict decides."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aliyun_import.boot.run import BootOptions, BootSubject
from aliyun_import.context import Context
from aliyun_import.errors import AliyunImportError, DiskError
from aliyun_import.events import FindingRaised
from aliyun_import.model.boot import BootMachine, BootRun, BootTest, Bus, Judgement, Verdict
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskRequest
from aliyun_import.push import boot_stage
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.upload.context import TransferOptions
from tests.boot.tiny import write_guest
from tests.push.push_host import PushHost

CREATING = ("PutBucket", "CreateRole", "AttachPolicyToRole", "InitiateMultipartUpload", "ImportImage")


class ScriptedBootTests:
    """Boot tests with a set verdict; `subjects` are the disks that were started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.verdict = Verdict.BOOTS
        self.subjects: list[BootSubject] = []
        self.options: list[BootOptions] = []
        monkeypatch.setattr(boot_stage, "boot_test", self.boot)

    def boot(self, subject: BootSubject, options: BootOptions, context: Context) -> BootTest:
        """Return a boot test with the set verdict."""
        del context
        self.options.append(options)
        self.subjects.append(subject)
        boot_machine = BootMachine(
            architecture=subject.architecture,
            boot_mode=subject.boot_mode,
            bus=Bus.VIRTIO,
            accelerator="tcg",
            processors=1,
            memory_mib=512,
        )
        judgement = Judgement(verdict=self.verdict, reason="The kernel panicked.", remedy="Repair it.", evidence=("x",))
        return BootTest(runs=(BootRun(machine=boot_machine, seconds=1.0, judgement=judgement),))


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> ScriptedBootTests:
    """Replace QEMU."""
    return ScriptedBootTests(monkeypatch)


def test_a_disk_that_does_not_boot_is_not_pushed(host: PushHost, boots: ScriptedBootTests) -> None:
    """Exit code 3 with the reason, before anything is created."""
    boots.verdict = Verdict.FAILS
    error = host.failure(DiskError, boot_test="local")
    assert (error.code, error.exit_code) == ("boot-test", 3)
    assert "The kernel panicked." in (error.cause or "")
    assert [host.count(operation) for operation in CREATING] == [0] * len(CREATING)


def test_a_disk_that_boots_is_pushed_with_the_verdict_in_the_result(host: PushHost, boots: ScriptedBootTests) -> None:
    """The disk that is started is the disk that is sent."""
    result = host.push(boot_test="local")
    assert result.boot_test is not None
    assert result.boot_test.verdict is Verdict.BOOTS
    assert [one.report.path for one in boots.subjects] == [host.request.disks[0].path]
    assert host.push().boot_test is None
    assert len(boots.subjects) == 1


def test_the_options_of_the_boot_test_are_passed(host: PushHost, boots: ScriptedBootTests, tmp_path: Path) -> None:
    """Timeout, and the files for console and screen."""
    log, screen = tmp_path / "console.log", tmp_path / "screen.png"
    host.push(boot_test="local", boot_log=log, boot_screen=screen, boot_timeout_s=60.0)
    assert boots.options == [BootOptions(timeout_s=60.0, log=log, screen=screen)]


def test_an_unproven_boot_is_an_unknown_finding(host: PushHost, boots: ScriptedBootTests) -> None:
    """A disk without a serial console cannot be proven; the push continues."""
    boots.verdict = Verdict.UNPROVEN
    host.push(boot_test="local")
    raised = [one.finding for one in host.heard.events if isinstance(one, FindingRaised)]
    assert [one.severity for one in raised if one.rule == "boot-test"] == [Severity.UNKNOWN]


def test_the_boot_test_can_be_skipped_as_a_check(host: PushHost, boots: ScriptedBootTests) -> None:
    """--skip-check boot-test pushes a disk that does not boot."""
    boots.verdict = Verdict.FAILS
    assert host.push(boot_test="local", skip_checks=frozenset({"boot-test"})).image_id


def test_a_resumed_push_does_not_repeat_the_boot_test(host: PushHost, boots: ScriptedBootTests) -> None:
    """The journal has the verdict."""
    host.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
    host.failure(AliyunImportError, boot_test="local")
    assert host.push(boot_test="local").image_id
    assert len(boots.subjects) == 1


def test_a_boot_test_that_was_not_passed_is_repeated(host: PushHost, boots: ScriptedBootTests) -> None:
    """A failure skipped in one run is tested again in the next one, and so is a disk with changed parameters."""
    for verdict, options in (
        (Verdict.FAILS, {"skip_checks": frozenset({"boot-test"})}),
        (Verdict.BOOTS, {}),
        (Verdict.BOOTS, {}),
    ):
        host.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
        boots.verdict = verdict
        host.failure(AliyunImportError, boot_test="local", **options)
    assert len(boots.subjects) == 2
    host.request = replace(host.request, nvme_support="supported")
    host.push(boot_test="local")
    assert len(boots.subjects) == 3


def test_a_dry_run_runs_the_boot_test(host: PushHost, boots: ScriptedBootTests) -> None:
    """It ends with the same exit code."""
    boots.verdict = Verdict.FAILS
    assert host.failure(DiskError, boot_test="local", dry_run=True).code == "boot-test"


def test_a_disk_in_oss_cannot_be_boot_tested(host: PushHost, boots: ScriptedBootTests) -> None:
    """The option would have no effect, so it is refused."""
    (kept,) = host.push(transfer=TransferOptions(keep_object=True)).objects
    in_oss = DiskRequest(bucket=kept.bucket, key=kept.key)
    host.request = replace(host.request, name="again", disks=(in_oss,))
    assert host.failure(DiskError, boot_test="local").code == "boot-test-impossible"
    assert boots.subjects == []


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_the_command_refuses_a_guest_that_panics(tmp_path: Path) -> None:
    """`push --boot-test local` starts the disk with QEMU."""
    disk = write_guest(tmp_path / "disk.raw", "Kernel panic - not syncing: No working init found.\r\n")
    program = [sys.executable, "-m", "aliyun_import", "push", str(disk), "--sandbox", "--boot-test", "local"]
    program += ["--skip-check", "nothing-starts", "--region", "cn-hangzhou"]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 3, ended.stderr
    assert "No working init found" in ended.stderr
