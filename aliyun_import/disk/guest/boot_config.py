"""The entries of all boot loaders on a disk, each checked against the disk."""

from dataclasses import replace

from aliyun_import.disk.guest.boot_files import BootFiles
from aliyun_import.disk.guest.disk_names import DiskNames
from aliyun_import.disk.guest.grub import read_bls, read_grub, read_grub_variables
from aliyun_import.disk.guest.loaders import (
    read_lilo,
    read_limine,
    read_refind,
    read_syslinux,
    read_unified_images,
)
from aliyun_import.disk.guest.report import BootEntry

_MAX_ENTRIES = 100


def read_boot_entries(files: BootFiles, names: DiskNames) -> tuple[BootEntry, ...]:
    """Return all entries of all loaders; the defaults of their configurations come first."""
    variables = read_grub_variables(files)
    raw = [
        *read_grub(files, variables),
        *read_bls(files, variables),
        *read_unified_images(files),
        *read_syslinux(files),
        *read_limine(files),
        *read_refind(files),
        *read_lilo(files),
    ]
    raw.sort(key=lambda entry: not entry.default)
    return tuple(_checked(files, names, entry) for entry in raw[:_MAX_ENTRIES])


def _checked(files: BootFiles, names: DiskNames, entry: BootEntry) -> BootEntry:
    base = files.base_of(entry.where)
    states = [files.found(path, base=base) for path in entry.initrds]
    if entry.loader == "unified":
        states = [True]
    main = [path for path in entry.initrds if "ucode" not in path.lower() and "microcode" not in path.lower()]
    return replace(
        entry,
        initramfs=(main or list(entry.initrds) or [""])[-1],
        kernel_found=files.found(entry.kernel, base=base),
        initramfs_found=False if False in states else None if None in states or not states else True,
        root_found=names.has(entry.root) if entry.root else None,
    )
