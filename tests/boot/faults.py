"""Real disks with one fault each, the verdict of the boot test, and the check that finds the fault.

`python -m tests.boot.faults FOLDER WORK [NAME ...]` boots them one after the other, prints the results, and saves
consoles and screens in WORK.
"""

import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import aliyun_import
from aliyun_import.boot.run import BootOptions
from aliyun_import.checks.infer import Value
from aliyun_import.checks.run import CheckResult
from aliyun_import.model.boot import BootTest, Stage, Verdict
from aliyun_import.model.request import BootMode
from tests.boot.edits import (
    ABSENT,
    BIOS,
    ESP_AT,
    FSTAB,
    GRUB,
    LIGHT,
    LIGHT_UEFI,
    ROOT_AT,
    SYSTEMD,
    UEFI,
    WHOLE,
    Change,
    Disk,
    added,
    arm_kernel,
    boot_file,
    boot_file_removed,
    combined,
    debugfs,
    initramfs_without,
    is_not_hyper_v,
    is_seldom_needed,
    is_virtio_disk,
    loader_for_arm,
    moved_loader,
    removed,
    substituted,
    without_lines,
    zeros,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Change to a disk, the verdict on its boot, and the check that finds it.

    `check` is empty if nothing is wrong, or if the checks cannot know it.
    """

    change: Change
    verdict: Verdict
    stage: Stage | None = None
    check: str = ""
    disk: str = LIGHT


FAULTS: dict[str, Fault] = {
    "none": Fault(change=lambda _disk: None, verdict=Verdict.DEGRADED, disk=BIOS, check="network-for-eth0"),
    "none-uefi": Fault(change=lambda _disk: None, verdict=Verdict.DEGRADED, disk=UEFI, check="network-for-eth0"),
    "none-light": Fault(change=lambda _disk: None, verdict=Verdict.BOOTS),
    "no-virtio": Fault(
        change=initramfs_without(is_virtio_disk),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="virtio-drivers",
    ),
    "hyper-v-only": Fault(
        change=initramfs_without(is_not_hyper_v),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="virtio-drivers",
    ),
    "no-initramfs": Fault(
        change=without_lines(GRUB, "initrd "), verdict=Verdict.FAILS, stage=Stage.KERNEL, check="virtio-drivers"
    ),
    "initramfs-truncated": Fault(
        change=boot_file("initrd.img", lambda data: data[: len(data) // 2]),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="initramfs-damaged",
    ),
    "initramfs-file-missing": Fault(
        change=boot_file_removed("initrd.img"), verdict=Verdict.FAILS, stage=Stage.KERNEL, check="initramfs-missing"
    ),
    "root-on-nvme": Fault(
        change=lambda disk: disk.edit(
            GRUB, lambda text: text.replace("root=UUID=11111111-2222-4333-8444-aaaaaaaaaaaa", "root=/dev/nvme0n1p1")
        ),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="root-device-name",
    ),
    "root-uuid-wrong": Fault(
        change=substituted(GRUB, "root=UUID=11111111", "root=UUID=99999999"),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="root-missing",
    ),
    "root-uuid-wrong-uefi": Fault(
        change=substituted(GRUB, "root=UUID=11111111", "root=UUID=99999999"),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="root-missing",
        disk=LIGHT_UEFI,
    ),
    "search-uuid-wrong": Fault(
        change=substituted(GRUB, "--set=root 11111111", "--set=root 99999999"), verdict=Verdict.BOOTS
    ),
    "search-uuid-wrong-uefi": Fault(
        change=substituted(GRUB, "--set=root 11111111", "--set=root 99999999"),
        verdict=Verdict.BOOTS,
        disk=LIGHT_UEFI,
    ),
    "fstab-absent": Fault(
        change=added(FSTAB, f"{ABSENT} /data ext4 defaults 0 2"),
        verdict=Verdict.FAILS,
        stage=Stage.SYSTEM,
        check="fstab-missing",
    ),
    "fstab-absent-uefi": Fault(
        change=added(FSTAB, f"{ABSENT} /data ext4 defaults 0 2"),
        verdict=Verdict.FAILS,
        stage=Stage.SYSTEM,
        check="fstab-missing",
        disk=LIGHT_UEFI,
    ),
    "fstab-absent-nofail": Fault(
        change=added(FSTAB, f"{ABSENT} /data ext4 defaults,nofail,x-systemd.device-timeout=15s 0 2"),
        verdict=Verdict.DEGRADED,
        check="fstab-missing",
    ),
    "fstab-swap-absent": Fault(
        change=added(FSTAB, f"{ABSENT} none swap sw,x-systemd.device-timeout=15s 0 0"),
        verdict=Verdict.DEGRADED,
        check="fstab-missing",
    ),
    "fstab-swap-nofail": Fault(
        change=added(FSTAB, f"{ABSENT} none swap sw,nofail,x-systemd.device-timeout=15s 0 0"),
        verdict=Verdict.DEGRADED,
        check="fstab-missing",
    ),
    "fstab-root-wrong": Fault(
        change=substituted(FSTAB, "UUID=11111111", "UUID=99999999"), verdict=Verdict.DEGRADED, check="fstab-missing"
    ),
    "fstab-type-wrong": Fault(change=substituted(FSTAB, " / ext4 ", " / xfs "), verdict=Verdict.BOOTS),
    "fstab-esp-wrong": Fault(
        change=substituted(FSTAB, "UUID=AB12-CD34", "UUID=AB12-0000"),
        verdict=Verdict.FAILS,
        stage=Stage.SYSTEM,
        check="fstab-missing",
        disk=LIGHT_UEFI,
    ),
    "crypttab-absent": Fault(
        change=added("/etc/crypttab", f"secret {ABSENT} none luks"), verdict=Verdict.DEGRADED, check="crypttab"
    ),
    "no-loader": Fault(change=zeros(0, 440), verdict=Verdict.FAILS, stage=Stage.LOADER, check="nothing-starts"),
    "no-loader-core": Fault(
        change=zeros(512, 100 * 1024), verdict=Verdict.FAILS, stage=Stage.LOADER, check="nothing-starts"
    ),
    "grub-files-missing": Fault(change=removed("/boot/grub/i386-pc/normal.mod"), verdict=Verdict.BOOTS, stage=None),
    "grub-config-missing": Fault(
        change=removed(GRUB), verdict=Verdict.FAILS, stage=Stage.LOADER, check="boot-loader-config"
    ),
    "kernel-missing": Fault(
        change=boot_file_removed("vmlinuz"), verdict=Verdict.FAILS, stage=Stage.LOADER, check="kernel-missing"
    ),
    "kernel-truncated": Fault(
        change=boot_file("vmlinuz", lambda data: data[: len(data) // 2]),
        verdict=Verdict.FAILS,
        stage=None,
        check="kernel-damaged",
    ),
    "kernel-for-arm": Fault(
        change=boot_file("vmlinuz", arm_kernel), verdict=Verdict.FAILS, stage=Stage.LOADER, check="kernel-damaged"
    ),
    "partition-removed": Fault(change=zeros(446, 16), verdict=Verdict.FAILS, stage=Stage.LOADER, check="no-partitions"),
    "superblock-wiped": Fault(
        change=zeros(ROOT_AT[LIGHT] + 1024, 1024), verdict=Verdict.FAILS, stage=Stage.LOADER, check="no-system"
    ),
    "libraries-lost": Fault(
        change=debugfs("clri /usr/lib/x86_64-linux-gnu"),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="guest-unread",
    ),
    "file-system-damaged": Fault(
        change=debugfs("clri /usr/lib/x86_64-linux-gnu", "set_super_value state 2"),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="file-system-unclean",
    ),
    "init-missing": Fault(
        change=removed("/usr/sbin/init", f"{SYSTEMD}/systemd"),
        verdict=Verdict.FAILS,
        stage=Stage.INITRAMFS,
        check="init-missing",
    ),
    "libc-missing": Fault(
        change=removed("/usr/lib/x86_64-linux-gnu/libc.so.6"), verdict=Verdict.FAILS, stage=Stage.INITRAMFS
    ),
    "default-target-missing": Fault(
        change=removed(f"{SYSTEMD}/system/default.target"), verdict=Verdict.FAILS, stage=Stage.SYSTEM
    ),
    "rescue-target": Fault(
        change=substituted(GRUB, " ro net", " ro systemd.unit=rescue.target net"),
        verdict=Verdict.FAILS,
        stage=Stage.SYSTEM,
        check="rescue-start",
    ),
    "no-console": Fault(
        change=combined(
            substituted(GRUB, " console=tty0 console=ttyS0,115200n8", ""),
            substituted(GRUB, "serial --unit=0 --speed=115200\nterminal_output console serial\n", ""),
        ),
        verdict=Verdict.BOOTS,
    ),
    "no-console-uefi": Fault(
        change=combined(
            substituted(GRUB, " console=tty0 console=ttyS0,115200n8", ""),
            substituted(GRUB, "serial --unit=0 --speed=115200\nterminal_output console serial\n", ""),
        ),
        verdict=Verdict.UNPROVEN,
        disk=LIGHT_UEFI,
    ),
    "no-dhcp-client": Fault(change=removed("/usr/sbin/dhclient"), verdict=Verdict.DEGRADED, check="dhcp-client"),
    "network-other-name": Fault(
        change=substituted("/etc/network/interfaces", "eth0", "ens192"),
        verdict=Verdict.DEGRADED,
        check="network-bound-to-name",
    ),
    "cloud-init-config-damaged": Fault(
        change=added("/etc/cloud/cloud.cfg.d/91_source.cfg", "a: [\nb: }"),
        verdict=Verdict.DEGRADED,
        disk=BIOS,
    ),
    "cloud-init-wrong-source": Fault(
        change=lambda disk: disk.write("/etc/cloud/cloud.cfg.d/91_source.cfg", b"datasource_list: [ Ec2 ]\n"),
        verdict=Verdict.DEGRADED,
        check="cloud-init-source",
        disk=BIOS,
    ),
    "no-removable-loader-uefi": Fault(
        change=moved_loader,
        verdict=Verdict.FAILS,
        stage=Stage.FIRMWARE,
        check="nothing-starts",
        disk=LIGHT_UEFI,
    ),
    "loader-for-arm-uefi": Fault(
        change=loader_for_arm,
        verdict=Verdict.FAILS,
        stage=Stage.FIRMWARE,
        check="nothing-starts",
        disk=LIGHT_UEFI,
    ),
    "esp-wiped-uefi": Fault(
        change=zeros(ESP_AT, 1 << 20),
        verdict=Verdict.FAILS,
        stage=Stage.FIRMWARE,
        check="nothing-starts",
        disk=LIGHT_UEFI,
    ),
}


def write_faulty_disk(folder: Path, directory: Path, name: str) -> Path:
    """Write the disk of a fault, and return its path."""
    fault = FAULTS[name]
    path = directory / f"{name}.raw"
    subprocess.run(["cp", "--sparse=always", folder / WHOLE.get(fault.disk, fault.disk), path], check=True)
    disk = Disk(path, fault.disk)
    if fault.disk in WHOLE:
        disk.write("/etc/cloud/cloud-init.disabled", b"")
        initramfs_without(is_seldom_needed)(disk)
        disk.edit(GRUB, lambda text: text.replace(" ro console", " ro net.ifnames=0 console"))
    fault.change(disk)
    return path


def booted(path: Path, *, uefi: bool = False, results: Path | None = None) -> tuple[CheckResult, BootTest]:
    """Check a disk, and boot it once with a virtio disk and its boot mode.

    `results` is the path, without suffix, of the console (.log) and the last screen (.png).
    """
    files = {} if results is None else {"log": results.with_suffix(".log"), "screen": results.with_suffix(".png")}
    checked = aliyun_import.check(path)
    values = {name: value for name, value in checked.parameters.values.items() if name != "nvme_support"}
    values["boot_mode"] = Value(BootMode.UEFI if uefi else BootMode.BIOS)
    once = replace(checked, parameters=replace(checked.parameters, values=values))
    return checked, aliyun_import.boot_test(once, options=BootOptions(timeout_s=1200, **files))


def _row(folder: Path, work: Path, name: str) -> str:
    started_s = time.monotonic()
    path = write_faulty_disk(folder, work, name)
    checked, test = booted(path, uefi="uefi" in FAULTS[name].disk, results=work / name)
    path.unlink()
    found = test.decisive.judgement
    rules = [f"{one.severity}:{one.rule}" for one in checked.findings]
    return f"{name} | {found.verdict} | {found.stage} | {found.reason} | {rules} | {time.monotonic() - started_s:.0f} s"


if __name__ == "__main__":
    source, work_dir, *names = sys.argv[1:]
    for row in map(partial(_row, Path(source), Path(work_dir)), names or FAULTS):
        print(row, flush=True)
