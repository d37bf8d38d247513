"""This file gathers the rules about the guest, and says what of it could not be read."""

from aliyun_import.checks.access import REACH_RULES
from aliyun_import.checks.context import JUDGEMENT, Rule, RuleContext
from aliyun_import.checks.kernel import KERNEL_RULES
from aliyun_import.checks.mounts import MOUNT_RULES
from aliyun_import.checks.network import NETWORK_RULES
from aliyun_import.checks.platform import PLATFORM_RULES
from aliyun_import.checks.windows import WINDOWS_RULES
from aliyun_import.model.finding import Finding, Severity


def guest_unread(subject: RuleContext) -> Finding | None:
    """Say what of the guest could not be read: it is neither taken for fine nor for a failure."""
    guest = subject.guest
    if guest is None or not guest.unknowns:
        return None
    windows_extra = any("aliyun-import[windows]" in unknown for unknown in guest.unknowns)
    return subject.finding(
        "guest-unread",
        Severity.UNKNOWN,
        f"Part of the disk was not looked at: {'; '.join(guest.unknowns[:6])}.",
        remedy="Run pip install 'aliyun-import[windows]' and check again." if windows_extra else None,
        where="the partitions",
        source=JUDGEMENT,
    )


def inspection_incomplete(subject: RuleContext) -> Finding | None:
    """Say what of the disk itself could not be read."""
    unknowns = subject.report.unknowns
    if not unknowns:
        return None
    return subject.finding(
        "inspection-incomplete",
        Severity.UNKNOWN,
        f"The inspection is not complete: {'; '.join(unknowns[:6])}.",
        remedy=None,
        where="the disk",
        source=JUDGEMENT,
    )


def device_in_use(subject: RuleContext) -> Finding | None:
    """Block a block device that somebody may write to while it is sent: what arrives would be a mix."""
    held = subject.report.held
    if held is None:
        return None
    return subject.finding(
        "device-in-use",
        Severity.WARNS if held.read_only else Severity.BLOCKS,
        f"The device is in use: {'; '.join(held.by)}."
        + ("" if held.read_only else " What is written to it while it is read makes a mix of two disks."),
        remedy=None
        if held.read_only
        else "Unmount it (swapoff, vgchange -an), or push a snapshot of it. With --force it is sent as it is, and "
        "compared once more at the end.",
        where=str(subject.report.path),
        source=JUDGEMENT,
    )


# Of any disk, and of the system disk only.
INSPECTION_RULES: dict[str, Rule] = {"inspection-incomplete": inspection_incomplete, "device-in-use": device_in_use}
GUEST_RULES: dict[str, Rule] = (
    KERNEL_RULES
    | PLATFORM_RULES
    | MOUNT_RULES
    | NETWORK_RULES
    | REACH_RULES
    | WINDOWS_RULES
    | {"guest-unread": guest_unread}
)
