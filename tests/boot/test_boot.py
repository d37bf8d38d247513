"""Tests of boots of tiny guests in QEMU with emulation; skipped if QEMU is not installed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import aliyun_import
from aliyun_import.boot import accelerator, run
from aliyun_import.boot.run import BootOptions
from aliyun_import.errors import Interrupted
from aliyun_import.events import BootProgress, Event
from aliyun_import.model.boot import BootTest, Stage, Verdict
from aliyun_import.model.request import Architecture
from tests.boot.tiny import write_guest

pytestmark = pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed")

PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
DONE = "Cloud-init v. 24.1.3 finished at Sat, 01 Nov 2025 09:00:12 +0000.\r\n"


@pytest.fixture(autouse=True)
def _emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable KVM, so that the tests are the same on every machine."""
    monkeypatch.setattr(accelerator, "_HOST", {})
    accelerator.choose_accelerator.cache_clear()


def booted(disk: Path, options: BootOptions | None = None, events: list[Event] | None = None) -> BootTest:
    """Boot a disk."""
    seen: list[Event] = [] if events is None else events
    return aliyun_import.boot_test(aliyun_import.check(disk), options=options, on_event=seen.append)


def test_a_disk_is_booted_and_never_written(tmp_path: Path) -> None:
    """The guest writes to its disk; content and time of modification of the file are unchanged."""
    disk = write_guest(tmp_path / "disk.raw", PANIC)
    before = hashlib.sha256(disk.read_bytes()).hexdigest(), disk.stat().st_mtime_ns
    options = BootOptions(log=tmp_path / "console.log", screen=tmp_path / "screen.png")
    test = booted(disk, options)
    assert (hashlib.sha256(disk.read_bytes()).hexdigest(), disk.stat().st_mtime_ns) == before
    (only,) = test.runs
    assert (only.judgement.verdict, only.judgement.stage) == (Verdict.FAILS, Stage.KERNEL)
    assert only.judgement.evidence[-1] == PANIC.strip()
    assert PANIC.encode() in (tmp_path / "console.log").read_bytes()
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
    assert only.machine.processors <= 2


@pytest.mark.qemu
def test_a_failure_under_kvm_is_repeated_with_emulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the result of the emulation counts."""
    monkeypatch.setattr(run, "choose_accelerator", lambda _architecture: ("kvm", ""))
    test = booted(write_guest(tmp_path / "disk.raw", PANIC))
    assert [(one.machine.accelerator, one.judgement.stage) for one in test.runs] == [("tcg", Stage.KERNEL)]


@pytest.mark.qemu
def test_a_guest_that_finishes_its_boot_boots(tmp_path: Path) -> None:
    """Events report the last line of the console."""
    events: list[Event] = []
    test = booted(write_guest(tmp_path / "disk.raw", DONE), events=events)
    assert test.verdict is Verdict.BOOTS
    assert any(isinstance(event, BootProgress) and "finished at" in event.line for event in events)


@pytest.mark.qemu
def test_check_exits_with_3_for_a_disk_that_does_not_boot(tmp_path: Path) -> None:
    """`check --boot` has the verdict as a finding, with the evidence in JSON."""
    disk = write_guest(tmp_path / "disk.raw", PANIC)
    program = [sys.executable, "-m", "aliyun_import", "check", "--boot", str(disk), "--skip-check", "nothing-starts"]
    ended = subprocess.run([*program, "--output", "json"], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 3
    (result,) = json.loads(ended.stdout)["disks"]
    assert result["boot_test"]["verdict"] == "does-not-boot"
    assert result["boot_test"]["runs"][0]["evidence"] == [PANIC.strip()]
    assert "boot-test" in [finding["rule"] for finding in result["findings"] if finding["severity"] == "blocks"]


@pytest.mark.qemu
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    """QEMU, sockets and temporary files are removed, also those of an earlier run that was killed."""
    leftover = Path(f"/tmp/aliyun-import-boot-{2**22 + 1}-of-a-killed-run")
    leftover.mkdir()
    before = set(Path("/tmp").glob("aliyun-import-boot-*"))
    cancel = threading.Event()
    disk = write_guest(tmp_path / "disk.raw", "starting\r\n")
    with pytest.raises(Interrupted):
        aliyun_import.boot_test(
            aliyun_import.check(disk),
            on_event=lambda event: cancel.set() if isinstance(event, BootProgress) else None,
            cancel=cancel,
        )
    assert set(Path("/tmp").glob("aliyun-import-boot-*")) <= before - {leftover}


@pytest.mark.qemu
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """QEMU ends with the command. The next boot test removes the files after SIGKILL."""
    disk = write_guest(tmp_path / "disk.raw", "starting\r\n")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    program = [sys.executable, "-m", "aliyun_import", "check", "--boot", str(disk), "--skip-check", "nothing-starts"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        wait_until(lambda: any(map(is_boot_test, qemu_of(process.pid))))
        (guest,) = qemu_of(process.pid)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (-number if number is signal.SIGKILL else 130)
    wait_until(lambda: not Path(f"/proc/{guest}").exists())
    if number is signal.SIGKILL:
        booted(write_guest(tmp_path / "other.raw", PANIC))
    assert not list(Path("/tmp").glob(f"aliyun-import-boot-{process.pid}-*"))
    assert not list(temporary.iterdir())


def qemu_of(process: int) -> list[int]:
    """Return the pids of QEMU among the children of a process."""
    lists = [each.read_text() for each in Path(f"/proc/{process}/task").glob("*/children")]
    children = [int(each) for each in " ".join(lists).split()]
    return [each for each in children if Path(f"/proc/{each}/comm").read_text().startswith("qemu-system")]


def is_boot_test(process: int) -> bool:
    """Return whether QEMU runs a boot test, and not the probe of the accelerator, which has 512 MiB."""
    return b"\x00512\x00" not in Path(f"/proc/{process}/cmdline").read_bytes()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true, for a minute at most."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not become true"
        time.sleep(0.1)


@pytest.mark.qemu
def test_a_boot_ends_at_the_timeout(tmp_path: Path) -> None:
    """A guest whose console stops is unproven at the timeout."""
    test = booted(write_guest(tmp_path / "disk.raw", "starting\r\n"), BootOptions(timeout_s=4.0))
    (run,) = test.runs
    assert run.judgement.verdict is Verdict.UNPROVEN
    assert 4.0 <= run.seconds < 30.0


@pytest.mark.qemu
def test_the_probe_of_the_accelerator_runs() -> None:
    """The probe detects a KVM that hangs. It succeeds with emulation."""
    assert accelerator.runs_probe("tcg", Architecture.X86_64)
