"""Tests of the boot test of a push: it comes before anything is created, once a push, and its verdict counts."""

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
from tests.push.machine import Machine

CREATING = ("PutBucket", "CreateRole", "AttachPolicyToRole", "InitiateMultipartUpload", "ImportImage")


class Boots:
    """Boots whose verdict is given; `subjects` are the disks that were started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.verdict = Verdict.BOOTS
        self.subjects: list[BootSubject] = []
        self.options: list[BootOptions] = []
        monkeypatch.setattr(boot_stage, "boot_test", self.boot)

    def boot(self, subject: BootSubject, options: BootOptions, context: Context) -> BootTest:
        """Return the verdict that is given."""
        del context
        self.options.append(options)
        self.subjects.append(subject)
        machine = BootMachine(
            architecture=subject.architecture,
            boot_mode=subject.boot_mode,
            bus=Bus.VIRTIO,
            accelerator="tcg",
            processors=1,
            memory_mib=512,
        )
        judgement = Judgement(verdict=self.verdict, reason="The kernel panicked.", remedy="Repair it.", evidence=("x",))
        return BootTest(runs=(BootRun(machine=machine, seconds=1.0, judgement=judgement),))


@pytest.fixture
def boots(monkeypatch: pytest.MonkeyPatch) -> Boots:
    """Replace QEMU."""
    return Boots(monkeypatch)


def test_a_disk_that_does_not_boot_is_not_pushed(machine: Machine, boots: Boots) -> None:
    """Exit code 3 before anything is created, with the reason."""
    boots.verdict = Verdict.FAILS
    error = machine.failure(DiskError, boot_test="local")
    assert (error.code, error.exit_code) == ("boot-test", 3)
    assert "The kernel panicked." in (error.cause or "")
    assert [machine.count(operation) for operation in CREATING] == [0] * len(CREATING)


def test_a_disk_that_boots_is_pushed_and_the_result_says_so(machine: Machine, boots: Boots) -> None:
    """The disk that is started is the one that is sent."""
    result = machine.push(boot_test="local")
    assert result.boot_test is not None
    assert result.boot_test.verdict is Verdict.BOOTS
    assert [one.report.path for one in boots.subjects] == [machine.request.disks[0].path]
    assert machine.push().boot_test is None
    assert len(boots.subjects) == 1


def test_console_and_screen_are_saved_where_wanted(machine: Machine, boots: Boots, tmp_path: Path) -> None:
    """The files and the time that are given are those of the boot test."""
    log, screen = tmp_path / "console.log", tmp_path / "screen.png"
    machine.push(boot_test="local", boot_log=log, boot_screen=screen, boot_timeout_s=60.0)
    assert boots.options == [BootOptions(timeout_s=60.0, log=log, screen=screen)]


def test_without_proof_the_push_goes_on_with_a_finding(machine: Machine, boots: Boots) -> None:
    """A disk without a serial console can't be proven; the finding is unknown, as with every check."""
    boots.verdict = Verdict.UNPROVEN
    machine.push(boot_test="local")
    raised = [one.finding for one in machine.heard.events if isinstance(one, FindingRaised)]
    assert [one.severity for one in raised if one.rule == "boot-test"] == [Severity.UNKNOWN]


def test_a_verdict_can_be_skipped(machine: Machine, boots: Boots) -> None:
    """--skip-check boot-test pushes a disk that does not boot here."""
    boots.verdict = Verdict.FAILS
    assert machine.push(boot_test="local", skip_checks=frozenset({"boot-test"})).image_id


def test_a_resumed_push_does_not_boot_again(machine: Machine, boots: Boots) -> None:
    """What was proven of these disks stays proven in this push."""
    machine.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
    machine.failure(AliyunImportError, boot_test="local")
    assert machine.push(boot_test="local").image_id
    assert len(boots.subjects) == 1


def test_what_was_not_proven_is_tested_again(machine: Machine, boots: Boots) -> None:
    """A failure that one run skips is not skipped by the next one, and another machine needs another proof."""
    for verdict, options in (
        (Verdict.FAILS, {"skip_checks": frozenset({"boot-test"})}),
        (Verdict.BOOTS, {}),
        (Verdict.BOOTS, {}),
    ):
        machine.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
        boots.verdict = verdict
        machine.failure(AliyunImportError, boot_test="local", **options)
    assert len(boots.subjects) == 2
    machine.request = replace(machine.request, nvme_support="supported")
    machine.push(boot_test="local")
    assert len(boots.subjects) == 3


def test_a_dry_run_starts_the_disk_as_the_push_does(machine: Machine, boots: Boots) -> None:
    """It ends with the same exit code."""
    boots.verdict = Verdict.FAILS
    assert machine.failure(DiskError, boot_test="local", dry_run=True).code == "boot-test"


def test_a_disk_in_oss_can_not_be_started(machine: Machine, boots: Boots) -> None:
    """An option that has no effect is refused."""
    (kept,) = machine.push(transfer=TransferOptions(keep_object=True)).objects
    in_oss = DiskRequest(bucket=kept.bucket, key=kept.key)
    machine.request = replace(machine.request, name="again", disks=(in_oss,))
    assert machine.failure(DiskError, boot_test="local").code == "boot-test-impossible"
    assert boots.subjects == []


@pytest.mark.qemu
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")
def test_the_command_stops_for_a_guest_that_panics(tmp_path: Path) -> None:
    """`push --boot-test local` starts the disk for real."""
    disk = write_guest(tmp_path / "disk.raw", "Kernel panic - not syncing: No working init found.\r\n")
    program = [sys.executable, "-m", "aliyun_import", "push", str(disk), "--sandbox", "--boot-test", "local"]
    program += ["--skip-check", "nothing-starts", "--region", "cn-hangzhou"]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 3, ended.stderr
    assert "No working init found" in ended.stderr
