"""Tests of the sample disk: its partition table, its boot code in an emulator, and its allocated size."""

import os
import struct
import subprocess
from pathlib import Path
from shutil import which

import pytest
from click.testing import CliRunner

from aliyun_import import check
from aliyun_import.cli.commands.sandbox import sandbox as sandbox_commands
from aliyun_import.errors import UsageError
from aliyun_import.model.finding import Severity
from aliyun_import.sandbox.sample import (
    BOOT_RECORD_CODE,
    DISK_ID,
    LINE,
    PARTITION_CODE,
    is_sample_disk,
    write_sample_disk,
)
from tests.rows import each_row

GIB = 1 << 30


class _Emulator:
    """Emulator of a PC with the instructions that the disk uses."""

    def __init__(self, disk: bytes) -> None:
        self.disk = disk
        self.memory = bytearray(1 << 16)
        self.memory[0x7C00:0x7E00] = disk[:512]
        self.printed = self.serial = b""
        self.ip, self.al, self.ah, self.si, self.di, self.cx = 0x7C00, 0xAA, 0, 0, 0, 0
        self.zero = False

    def run(self) -> bytes:
        """Run until the machine halts, and return its output."""
        for _ in range(10_000):
            if self.memory[self.ip] == 0xF4:  # hlt
                assert self._near(self.ip + 1) == self.ip
                return self.printed
            self.ip = self._step(self.memory[self.ip], self.memory[self.ip + 1])
        raise AssertionError("the emulator does not halt")

    def _step(self, opcode: int, operand: int) -> int:  # noqa: C901 - one case per instruction
        """Execute one instruction, and return the address of the next."""
        match opcode, operand:
            case (0xFA | 0xFB | 0xFC, _):  # cli, sti, cld
                return self.ip + 1
            case (0x31, 0xC0):  # xor ax, ax
                self.al = self.ah = 0
            case (0x8E, 0xD8 | 0xC0 | 0xD0):  # mov ds, es, ss; all code and data are in segment 0
                assert (self.al, self.ah) == (0, 0)
            case (0x84, 0xC0):  # test al, al
                self.zero = self.al == 0
            case (0xBC | 0xBB, _):  # mov sp, bx
                return self.ip + 3
            case (0xBE, _):  # mov si
                self.si = self._word(self.ip + 1)
                return self.ip + 3
            case (0xBF, _):  # mov di
                self.di = self._word(self.ip + 1)
                return self.ip + 3
            case (0xB9, _):  # mov cx
                self.cx = self._word(self.ip + 1)
                return self.ip + 3
            case (0xB4, _):  # mov ah
                self.ah = operand
            case (0xF3, 0xA5):  # rep movsw
                self.memory[self.di : self.di + 2 * self.cx] = self.memory[self.si : self.si + 2 * self.cx]
            case (0xAC, _):  # lodsb
                self.al, self.si = self.memory[self.si], self.si + 1
                return self.ip + 1
            case (0x74, _):  # jz
                return self._near(self.ip) if self.zero else self.ip + 2
            case (0xEB, _):  # jmp
                return self._near(self.ip)
            case (0xEA, _):  # jmp to another segment
                assert self._word(self.ip + 3) == 0
                return self._word(self.ip + 1)
            case (0x72, _):  # jc: reads of this emulator do not fail
                pass
            case (0xCD, 0x10):
                assert self.ah == 0x0E
                self.printed += bytes([self.al])
            case (0x31, 0xD2):  # xor dx, dx
                pass
            case (0xCD, 0x14):
                assert self.ah == 1
                self.serial += bytes([self.al])
            case (0xCD, 0x13):
                self._read_disk()
            case _:
                raise AssertionError(f"an unknown instruction at {self.ip:#x}")
        return self.ip + 2

    def _word(self, at: int) -> int:
        return int.from_bytes(self.memory[at : at + 2], "little")

    def _near(self, at: int) -> int:
        return at + 2 + int.from_bytes(self.memory[at + 1 : at + 2], "little", signed=True)

    def _read_disk(self) -> None:
        size, _, count, offset, segment, sector = struct.unpack("<BBHHHQ", self.memory[self.si : self.si + 16])
        assert (self.ah, size, segment) == (0x42, 16, 0)
        self.memory[offset : offset + 512 * count] = self.disk[sector * 512 : (sector + count) * 512]


def test_the_disk_boots_prints_its_line_and_halts(tmp_path: Path) -> None:
    """The boot record starts the code of the active partition, which prints the line on screen and serial port."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=4 << 20)
    emulator = _Emulator(path.read_bytes())
    assert emulator.run() == emulator.serial == LINE.rstrip(b"\0")
    assert (len(BOOT_RECORD_CODE), len(PARTITION_CODE)) == (0x30, 0x26)


def test_the_disk_has_one_active_linux_partition_to_its_end(tmp_path: Path) -> None:
    """Other tools can read the partition table."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=5 * GIB)
    with path.open("rb") as disk:
        sector = disk.read(512)
        disk.seek(2048 * 512)
        assert disk.read(512).endswith(b"\x55\xaa")
    assert path.stat().st_size == 5 * GIB
    assert sector[510:] == b"\x55\xaa"
    assert sector[440:444] == DISK_ID
    flag, kind, start, count = struct.unpack("<B3xB3xII", sector[446:462])
    assert (flag, kind, start, (start + count) * 512) == (0x80, 0x83, 2048, 5 * GIB)
    assert sector[462:510] == bytes(48)


def test_the_disk_is_sparse_and_always_the_same(tmp_path: Path) -> None:
    """A terabyte uses a few blocks, and a second disk is equal."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=1024 * GIB)
    assert path.stat().st_blocks * 512 <= 1 << 20
    write_sample_disk(tmp_path / "again.raw", size_bytes=1024 * GIB)
    with path.open("rb") as one, (tmp_path / "again.raw").open("rb") as other:
        assert one.read(2 << 20) == other.read(2 << 20)


@each_row("size_bytes", [0, 1 << 20, GIB + 1, 3 << 40])
def test_invalid_sizes_are_refused(tmp_path: Path, size_bytes: int) -> None:
    """No file is written."""
    with pytest.raises(ValueError, match="2 MiB to 2 TiB"):
        write_sample_disk(tmp_path / "disk.raw", size_bytes=size_bytes)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_disk_is_recognised_by_all_its_bytes(tmp_path: Path) -> None:
    """A disk with another byte or size is not recognised, and only regular files are compared."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=GIB)
    assert is_sample_disk(path, size_bytes=GIB)
    assert not is_sample_disk(path, size_bytes=2 * GIB)
    for offset in (0, 511, 2048 * 512, 2048 * 512 + 512, 2 << 20, GIB - 1):
        write_sample_disk(path, size_bytes=GIB)
        with path.open("r+b") as disk:
            disk.seek(offset)
            byte = disk.read(1)
            disk.seek(offset)
            disk.write(bytes([byte[0] ^ 1]))
        assert not is_sample_disk(path, size_bytes=GIB), offset
    path.write_bytes(b"")
    os.truncate(path, GIB)
    assert not is_sample_disk(path, size_bytes=GIB)
    assert not is_sample_disk(tmp_path, size_bytes=tmp_path.stat().st_size)


def test_a_sample_disk_without_holes_is_recognised(tmp_path: Path) -> None:
    """A copy with allocated zeros has the same bytes."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=4 << 20)
    (tmp_path / "copy.raw").write_bytes(path.read_bytes())
    assert is_sample_disk(tmp_path / "copy.raw", size_bytes=4 << 20)


def test_the_command_does_not_overwrite_a_changed_sample_disk(tmp_path: Path) -> None:
    """`sandbox disk` overwrites only an identical file."""
    path = tmp_path / "demo.raw"
    command = ["disk", str(path), "--size", "1G"]
    assert CliRunner().invoke(sandbox_commands, command).exit_code == 0
    assert CliRunner().invoke(sandbox_commands, command).exit_code == 0
    with path.open("r+b") as disk:
        disk.seek(2 << 20)
        disk.write(b"local changes")
    result = CliRunner().invoke(sandbox_commands, command)
    assert isinstance(result.exception, UsageError)
    assert result.exception.code == "file-exists"
    with path.open("rb") as disk:
        disk.seek(2 << 20)
        assert disk.read(13) == b"local changes"


def test_the_disk_has_no_finding_but_notes(tmp_path: Path) -> None:
    """A first push with it has no warnings, and reports a Linux system."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=5 * GIB)
    result = check(path)
    guest = result.report.guest
    assert guest is not None
    assert guest.name == "Sample Linux 1"
    assert [finding.rule for finding in result.findings if finding.severity is not Severity.NOTE] == []
    assert result.parameters.values["nvme_support"].value == "supported"


@pytest.mark.root
@pytest.mark.skipif(which("e2fsck") is None, reason="needs e2fsprogs")
@pytest.mark.parametrize("size_bytes", [2 << 20, 64 << 20, GIB])
def test_the_file_system_is_valid_for_e2fsck(tmp_path: Path, size_bytes: int) -> None:
    """Another implementation checks structure, counts and bitmaps."""
    disk, partition = tmp_path / "disk.raw", tmp_path / "partition.img"
    write_sample_disk(disk, size_bytes=size_bytes)
    with disk.open("rb") as file:
        file.seek(1 << 20)
        partition.write_bytes(file.read(128 << 20))
    checked = subprocess.run(["e2fsck", "-fn", partition], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
