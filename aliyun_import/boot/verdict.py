"""Verdict on a boot by console, screen and time. Pure.

A verdict of failure needs a text that ends a boot, or a cause that is followed by a long silence. Silence alone is not
enough: a guest without a console is silent, too, and a busy machine is slow.
"""

import re
from dataclasses import dataclass, replace

from aliyun_import.boot.output import lines_of, tail
from aliyun_import.boot.signs import BOOTED, CAUSES, DEGRADED, FAILED, Sign, find_sign, format_reason
from aliyun_import.model.boot import Judgement, Stage, Verdict

# After a sign that the system is up, failures of its last units may follow: the console has to be still that long.
SETTLED_S = 10.0
# The lines of a failure are written within a second.
WHOLE_S = 1.0
# cloud-init's last stage is the end of the boot.
SETTLED_AFTER_CLOUD_INIT_S = 2.0
# cloud-init ends up to a minute after the login prompt under emulation.
CLOUD_INIT_S = 120.0
# Duration without a change of console and screen and without a read from the disk. Under emulation on a busy machine a
# boot loader unpacks itself in 10 seconds, and systemd writes at least every second while it waits for a device.
STALLED_S = 180.0
# Less than any kernel: until then, the boot loader is running.
_LOADER_BYTES = 1024 * 1024
# What a system that is up lacks; a network that fails takes many units with it.
_MAX_LISTED = 5
# Windows and images that set themselves up restart once or twice.
MAX_RESTARTS = 5
_SERIAL = (
    "Add `console=tty0 console=ttyS0,115200` to the kernel's command line (GRUB_CMDLINE_LINUX of /etc/default/grub, "
    "then `update-grub`), which the instance's console on ECS needs too; `--boot-screen FILE` saves the screen."
)

# First line of a scripted console of the sandbox; the verdict must state that no guest wrote it.
_SCRIPTED = re.compile(r"\s*(aliyun-import sandbox: scripted console[^\n]*)")
_STOP_ERROR = (
    "Look the code up in Microsoft's list of bug check codes. 0x0000007B means that the driver of the disk is missing: "
    "install viostor of the virtio drivers."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootObservation:
    """Observed state of a boot. The texts are those since the last restart, except `before_restart`.

    `screen` is text of the firmware and of a screen in text mode. `still_s` is the time since the last change
    of console, screen text and bytes read from the disk, `console_still_s` that of console and screen text.
    `read_bytes` is None if it is not known. `up_s` is the time since a sign showed that the system is up, None before
    that. `screen_changes` counts different pictures. `has_cloud_init`: the end of cloud-init is expected;
    `cloud_init_done`: it was reported.
    """

    console: str = ""
    screen: str = ""
    elapsed_s: float = 0.0
    still_s: float = 0.0
    console_still_s: float = 0.0
    up_s: float | None = None
    timeout_s: float = 600.0
    read_bytes: int | None = 0
    screen_changes: int = 0
    restarts: int = 0
    before_restart: str = ""
    powered_off: bool = False
    panicked: bool = False
    stop_code: str = ""
    has_cloud_init: bool = False
    cloud_init_done: bool = False
    is_windows: bool = False

    @property
    def text(self) -> str:
        """Console and screen."""
        return f"{self.screen}\n{self.console}"

    @property
    def is_stalled(self) -> bool:
        """Whether nothing has changed for long."""
        return self.still_s >= STALLED_S

    @property
    def is_over(self) -> bool:
        """Whether nothing more is waited for."""
        return self.is_stalled or self.powered_off or self.elapsed_s >= self.timeout_s


def is_up(seen: BootObservation) -> bool:
    """Return whether a sign shows that the system is up."""
    return seen.cloud_init_done or find_sign(BOOTED, seen.text) is not None


def decide(seen: BootObservation) -> Judgement | None:
    """Return the verdict, or None while more has to be waited for."""
    failed = _failed(seen)
    if failed is not None and (seen.console_still_s >= WHOLE_S or seen.is_over):
        return failed
    if is_up(seen):
        return _up(seen) if _is_settled(seen) or seen.is_over else None
    return _timed_out(seen) if seen.is_over else None


def _failed(seen: BootObservation) -> Judgement | None:
    found = find_sign(FAILED, seen.text)
    if found is not None:
        sign, match = found
        cause = find_sign(tuple(one for one in CAUSES if one.stage is sign.stage), seen.text)
        because = f" Cause: {format_reason(cause[0].reason, cause[1])}." if cause else ""
        failed = _judgement(Verdict.FAILS, format_reason(sign.reason, match) + because, sign.remedy, seen, match[0])
        return replace(failed, stage=sign.stage)
    if seen.stop_code:
        failed = _judgement(Verdict.FAILS, f"Windows stopped with the error {seen.stop_code}.", _STOP_ERROR, seen)
        return replace(failed, stage=Stage.SYSTEM, stop_code=seen.stop_code)
    if seen.panicked:
        reason = "The kernel panicked, which it reported to the machine; the console does not show why."
        return _judgement(Verdict.FAILS, reason, _SERIAL, seen)
    if seen.restarts > MAX_RESTARTS:
        before = find_sign(FAILED, seen.before_restart)
        because = f" Before the last restart: {format_reason(before[0].reason, before[1])}" if before else ""
        reason = f"The guest restarted {seen.restarts} times, and never came up.{because}"
        remedy = before[0].remedy if before else "Repair the disk in a virtual machine."
        failed = _judgement(Verdict.FAILS, reason, remedy, replace(seen, console=seen.before_restart, screen=""))
        return replace(failed, stage=before[0].stage if before else None)
    return None


def _is_settled(seen: BootObservation) -> bool:
    """Return whether a system that is up is not expected to report anything more."""
    if seen.cloud_init_done or find_sign(BOOTED[:1], seen.text) is not None:
        return seen.console_still_s >= SETTLED_AFTER_CLOUD_INIT_S
    if seen.has_cloud_init:
        return (seen.up_s or 0.0) >= CLOUD_INIT_S
    return seen.console_still_s >= SETTLED_S


def _up(seen: BootObservation) -> Judgement:
    found = find_sign(BOOTED, seen.text)
    reason = found[0].reason if found else "cloud-init finished."
    lacks = _all(DEGRADED, seen.text)
    if not lacks:
        return _judgement(Verdict.BOOTS, reason, None, seen, found[1][0].strip() if found else "")
    reasons = list(dict.fromkeys(format_reason(sign.reason, match) for sign, match in lacks))
    more = f"; and {len(reasons) - _MAX_LISTED} more" if len(reasons) > _MAX_LISTED else ""
    listed = "; ".join(reasons[:_MAX_LISTED]) + more
    return _judgement(
        Verdict.DEGRADED,
        f"{reason} But {listed}.",
        "Repair it on the disk if instances need it; --boot-log FILE keeps the whole console.",
        seen,
        lacks[0][1][0].strip(),
    )


def _all(signs: tuple[Sign, ...], text: str) -> list[tuple[Sign, re.Match[str]]]:
    """Return all matches of these signs, in the order of the text."""
    found = [(sign, match) for sign in signs for match in sign.pattern.finditer(text)]
    return sorted(found, key=lambda one: one[1].start())


def _timed_out(seen: BootObservation) -> Judgement:
    """Judge a boot that shows neither success nor failure."""
    if seen.powered_off:
        return _judgement(Verdict.UNPROVEN, "The guest powered off before it was up.", _SERIAL, seen)
    cause = find_sign(CAUSES, seen.text)
    if seen.is_stalled and cause is not None:
        reason = f"The boot does not continue: {format_reason(cause[0].reason, cause[1])}."
        failed = _judgement(Verdict.FAILS, reason, "Repair it on the disk.", seen, cause[1][0])
        return replace(failed, stage=cause[0].stage)
    is_loader = seen.read_bytes is not None and seen.read_bytes < _LOADER_BYTES
    if seen.is_stalled and not lines_of(seen.console) and is_loader and not seen.is_windows:
        reason = f"The boot loader started, and nothing followed for {seen.still_s:.0f} seconds."
        failed = _judgement(Verdict.FAILS, reason, "Reinstall the boot loader (`grub-install`).", seen)
        return replace(failed, stage=Stage.LOADER)
    if not seen.is_stalled:
        reason = f"After {seen.elapsed_s:.0f} seconds the guest was still booting."
        return _judgement(Verdict.UNPROVEN, reason, "Pass a longer --boot-timeout.", seen)
    if seen.is_windows:
        reason = f"Windows has no serial console; its screen changed {seen.screen_changes} times, and is still now."
        remedy = "Look at the screen: `--boot-screen FILE` saves it."
        return _judgement(Verdict.UNPROVEN, reason, remedy, seen)
    return _judgement(Verdict.UNPROVEN, "Neither success nor failure is on the serial console.", _SERIAL, seen)


def _judgement(verdict: Verdict, reason: str, remedy: str | None, seen: BootObservation, sign: str = "") -> Judgement:
    text = seen.console if sign in seen.console and lines_of(seen.console) else seen.text
    scripted = _SCRIPTED.match(seen.console)
    if scripted:
        reason = f"{reason} {scripted[1]}"
    return Judgement(verdict=verdict, reason=reason, remedy=remedy, evidence=tail(text, containing=sign))
