"""Tests of the verdict on a boot, with consoles of many systems."""

from dataclasses import replace

from aliyun_import.boot.output import Transcript
from aliyun_import.boot.verdict import STALLED_S, BootObservation, decide
from aliyun_import.model.boot import Judgement, Stage, Verdict
from tests.boot import consoles
from tests.rows import each_row


def observation(console: str, **given: object) -> BootObservation:
    """Return an observation of a console that has not changed for 30 s."""
    transcript = Transcript()
    transcript.feed(console.encode())
    first = BootObservation(console=transcript.text, elapsed_s=60, console_still_s=30, still_s=30, read_bytes=1 << 26)
    return replace(first, **given)  # type: ignore[arg-type]


def judge(console: str, **given: object) -> Judgement:
    """Return the verdict on a console."""
    judgement = decide(observation(console, **given))
    assert judgement is not None
    return judgement


BOOTED = {
    name: getattr(consoles, name)
    for name in (
        *("DEBIAN", "UBUNTU", "ROCKY", "CENTOS_7", "ALPINE", "OPENSUSE", "FREEBSD", "FLATCAR", "QUIET_SYSTEMD"),
        "WINDOWS_EMS",
    )
}
FAILED = {
    "NO_INITRAMFS": (Stage.KERNEL, "VFS: Unable to mount root fs"),
    "NO_INIT": (Stage.INITRAMFS, "No working init found"),
    "DEBIAN_WITHOUT_INIT": (Stage.INITRAMFS, "has no init"),
    "DEBIAN_INITRAMFS": (Stage.INITRAMFS, "UUID=11111111-2222-4333-8444-aaaaaaaaaaaa is not there"),
    "DRACUT": (Stage.INITRAMFS, "by-uuid/0a0a0a0a-1111-4222-8333-444444444444 is not there"),
    "ARCH": (Stage.INITRAMFS, "could not mount the root device"),
    "ALPINE_INITRAMFS": (Stage.INITRAMFS, "could not mount the root device"),
    "FSTAB": (Stage.SYSTEM, "emergency mode"),
    "GRUB_RESCUE": (Stage.LOADER, "no such partition"),
    "GRUB_PROMPT": (Stage.LOADER, "no configuration"),
    "SEABIOS_NOTHING": (Stage.FIRMWARE, "nothing to boot"),
    "OVMF_NOTHING": (Stage.FIRMWARE, "nothing to boot"),
    "OVMF_SHELL": (Stage.FIRMWARE, "nothing to boot"),
    "MISSING_SYSTEM": (Stage.LOADER, "Missing operating system"),
    "BOOTMGR": (Stage.LOADER, "BOOTMGR is missing"),
    "OLD_GRUB": (Stage.LOADER, "Error 15"),
    "FREEBSD_MOUNTROOT": (Stage.INITRAMFS, "no root device"),
    "SYSTEMD_FROZEN": (Stage.SYSTEM, "systemd"),
    "SAMPLE_DISK": (Stage.LOADER, "has no kernel"),
    "DAMAGED_FS": (Stage.INITRAMFS, "could not mount the root device"),
}


@each_row("name", BOOTED)
def test_a_system_that_is_up_boots(name: str) -> None:
    """Evidence is a login prompt, a systemd target, the end of cloud-init, or the console of Windows."""
    judgement = judge(BOOTED[name])
    assert judgement.verdict is Verdict.BOOTS, judgement
    assert judgement.evidence


@each_row("name", FAILED)
def test_a_failed_boot_has_stage_and_cause(name: str) -> None:
    """The verdict follows one second after the last line."""
    stage, cause = FAILED[name]
    judgement = judge(getattr(consoles, name), elapsed_s=3, still_s=1, console_still_s=1)
    assert (judgement.verdict, judgement.stage) == (Verdict.FAILS, stage), judgement
    assert cause in judgement.reason
    assert judgement.remedy
    assert decide(observation(getattr(consoles, name), elapsed_s=3, console_still_s=0.5)) is None
    assert judgement.evidence


@each_row("name", [name for name in FAILED if name != "FREEBSD_MOUNTROOT"])
def test_a_failure_on_the_screen_is_a_failure(name: str) -> None:
    """A screen in text mode is read like the console."""
    judgement = judge("", screen=observation(getattr(consoles, name)).console)
    assert judgement.verdict is Verdict.FAILS
    assert judgement.evidence


@each_row(
    ("output", "fault"),
    [
        (consoles.FAILED_UNIT, "networking.service - Raise network interfaces"),
        (consoles.NO_LEASE, "No DHCPOFFERS received"),
        (consoles.CLOUD_INIT_ERROR, "no response from urls"),
        ("[DEPEND] Dependency failed for data.mount - /data.\n", "data.mount"),
        (" * ERROR: networking failed to start\n", "networking failed to start"),
    ],
)
def test_a_system_that_is_up_with_faults_is_degraded(output: str, fault: str) -> None:
    """The reason names failed units, a missing address and errors of cloud-init."""
    judgement = judge(output + consoles.DEBIAN)
    assert judgement.verdict is Verdict.DEGRADED
    assert fault in judgement.reason


@each_row(
    "console",
    [
        consoles.EARLY,
        "Last login: Sat Nov  1 09:00:00 from 203.0.113.7\n",
        "[    0.0] Command line: root=/dev/vda1 systemd.unit=multi-user.target\n",
        "Booting `Debian GNU/Linux'\nerror: no such device: 0a0a0a0a-1111-4222-8333-444444444444.\n",
        "[    5.0] systemd[1]: Reached target Initrd Default Target.\n",
        "dracut-initqueue[402]: Warning: dracut-initqueue timeout - starting timeout scripts\n",
    ],
)
def test_a_boot_that_goes_on_is_not_judge(console: str) -> None:
    """Lines that resemble evidence, and errors from which a boot may recover, decide nothing yet."""
    assert decide(observation(console, still_s=20)) is None


def test_the_verdict_waits_for_failures_after_the_login_prompt() -> None:
    """Units may fail after the login prompt, so the verdict waits until the console does not change."""
    assert decide(observation(consoles.DEBIAN, console_still_s=3, up_s=3)) is None
    assert decide(observation(consoles.DEBIAN, has_cloud_init=True, console_still_s=30, up_s=30)) is None
    assert judge(consoles.DEBIAN, has_cloud_init=True, cloud_init_done=True).verdict is Verdict.BOOTS
    assert judge(consoles.DEBIAN, has_cloud_init=True, up_s=120).verdict is Verdict.BOOTS


def test_the_end_of_cloud_init_is_evidence_without_a_console() -> None:
    """cloud-init reports it to the metadata service."""
    assert judge("", cloud_init_done=True).verdict is Verdict.BOOTS


@each_row("still_s", [0, STALLED_S, 3600])
@each_row("elapsed_s", [60, 600, 4000])
@each_row("console", ["", consoles.EARLY])
def test_silence_alone_is_never_a_failure(console: str, elapsed_s: float, still_s: float) -> None:
    """A guest without a console, or on a slow host, is unproven."""
    judgement = decide(observation(console, elapsed_s=elapsed_s, still_s=still_s))
    assert judgement is None or judgement.verdict is Verdict.UNPROVEN
    assert judgement is None or judgement.remedy


def test_a_boot_loader_that_reads_no_kernel_has_failed() -> None:
    """For minutes, the boot code has read less than the size of any kernel."""
    console = "SeaBIOS (version 1.16.2)\nBooting from Hard Disk...\n"
    judgement = judge("", screen=console, still_s=STALLED_S, read_bytes=4096)
    assert (judgement.verdict, judgement.stage) == (Verdict.FAILS, Stage.LOADER)
    assert judge("", screen=console, still_s=STALLED_S, read_bytes=1 << 24).verdict is Verdict.UNPROVEN
    assert judge("", screen=console, still_s=STALLED_S, read_bytes=4096, is_windows=True).verdict is Verdict.UNPROVEN


@each_row("console", [consoles.GRUB_NO_KERNEL, "[ TIME ] Timed out waiting for device dev-vdb.device.\n"])
def test_an_error_and_a_long_silence_are_a_failure(console: str) -> None:
    """GRUB without a kernel prints an error and waits for a key."""
    assert decide(observation(console, still_s=60)) is None
    assert judge(console, still_s=STALLED_S).verdict is Verdict.FAILS
    assert judge(console, elapsed_s=600, still_s=1).verdict is Verdict.UNPROVEN


def test_a_panic_reported_by_pvpanic_is_a_failure() -> None:
    """A kernel without a serial console reports a panic to that device."""
    assert judge("", panicked=True).verdict is Verdict.FAILS


def test_a_stop_error_of_windows_has_its_code() -> None:
    """Windows reports it to the virtual machine."""
    judgement = judge("", panicked=True, stop_code="0x0000007B", is_windows=True)
    assert (judgement.verdict, judgement.stage, judgement.stop_code) == (Verdict.FAILS, Stage.SYSTEM, "0x0000007B")
    assert "0x0000007B" in judgement.reason


def test_repeated_restarts_are_a_failure() -> None:
    """One or two restarts are normal during the setup of a guest."""
    assert decide(observation("", restarts=2)) is None
    judgement = judge("", restarts=6, before_restart=observation(consoles.NO_INITRAMFS).console)
    assert (judgement.verdict, judgement.stage) == (Verdict.FAILS, Stage.KERNEL)
    assert "unknown-block(0,0)" in judgement.reason
    assert judge("", restarts=6).verdict is Verdict.FAILS


def test_a_guest_that_powers_off_is_unproven() -> None:
    """Some images power off after their setup."""
    assert judge(consoles.EARLY, powered_off=True).verdict is Verdict.UNPROVEN
    assert judge(consoles.DEBIAN, powered_off=True).verdict is Verdict.BOOTS


def test_windows_without_a_console_is_unproven() -> None:
    """Changes of the screen are counted and are no evidence: a stop error changes the screen, too."""
    judgement = judge("", is_windows=True, still_s=STALLED_S, screen_changes=4)
    assert judgement.verdict is Verdict.UNPROVEN
    assert "changed 4 times" in judgement.reason
    assert "--boot-screen" in (judgement.remedy or "")


def test_the_reason_lists_all_faults() -> None:
    """In the order of the console, each once, five at most."""
    failed = [f"[FAILED] Failed to start unit-{number}.service - Unit {number}.\n" for number in range(7)]
    console = "[ TIME ] Timed out waiting for device dev-x.\n[DEPEND] Dependency failed for swap.target.\n"
    reason = judge(console + failed[0] + failed[0] + consoles.DEBIAN).reason
    assert "the device dev-x did not appear; swap.target could not start; a unit failed: unit-0" in reason
    assert reason.count("unit-0") == 1
    assert "unit-4" in judge("".join(failed) + consoles.DEBIAN).reason
    assert "; and 2 more." in judge("".join(failed) + consoles.DEBIAN).reason


def test_the_reason_of_a_panic_is_its_first_line() -> None:
    """The kernel repeats the line at the end of its dump."""
    text = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
    reason = judge(f"[ 4.0] {text}\n[ 4.1] ---[ end {text} ]---\n").reason
    assert reason.endswith("unknown-block(0,0).")


def test_a_scripted_console_is_named_in_the_reason() -> None:
    """Such a verdict is no evidence about the image."""
    line = "aliyun-import sandbox: scripted console, no guest ran and the image was not started (no QEMU)."
    assert judge(f"{line}\n{consoles.DEBIAN}").reason.endswith(line)
    assert "sandbox" not in judge(consoles.DEBIAN).reason
