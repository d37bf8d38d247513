"""This file tests the sample disk: its table, its boot sector run step by step, its size on the disk."""

import struct
from pathlib import Path

import pytest

from aliyun_import.sandbox.sample import BOOT_CODE, DISK_ID, LINE, NOTE, boot_record, write_sample_disk

GIB = 1 << 30


def _run(sector: bytes) -> bytes:  # noqa: C901 - one case an instruction
    """Run a boot sector as a PC would, as far as its few instructions go, and give what it printed before halting."""
    memory = {0x7C00 + offset: byte for offset, byte in enumerate(sector)}
    ip, al, ah, si, zero, printed = 0x7C00, 0, 0, 0, False, b""

    def word(at: int) -> int:
        return memory[at] | memory[at + 1] << 8

    def jump(at: int) -> int:
        (offset,) = struct.unpack("b", bytes([memory[at + 1]]))
        return at + 2 + int(offset)

    for _ in range(10_000):
        match memory[ip], memory[ip + 1]:
            case (0xFA | 0xFB | 0xFC, _):  # cli, sti, cld
                ip += 1
            case (0x31, 0xC0):  # xor ax, ax
                al, ah, ip = 0, 0, ip + 2
            case (0x8E, 0xD8 | 0xD0):  # mov ds, ax; mov ss, ax
                assert (al, ah) == (0, 0)
                ip += 2
            case (0xBC | 0xBB, _):  # mov sp, word; mov bx, word
                ip += 3
            case (0xBE, _):  # mov si, word
                si, ip = word(ip + 1), ip + 3
            case (0xAC, _):  # lodsb
                al, si, ip = memory[si], si + 1, ip + 1
            case (0x84, 0xC0):  # test al, al
                zero, ip = al == 0, ip + 2
            case (0x74, _):  # jz
                ip = jump(ip) if zero else ip + 2
            case (0xB4, value):  # mov ah, byte
                ah, ip = value, ip + 2
            case (0xCD, 0x10):  # int 0x10
                assert ah == 0x0E
                printed, ip = printed + bytes([al]), ip + 2
            case (0xEB, _):  # jmp
                ip = jump(ip)
            case (0xF4, _):  # hlt
                assert jump(ip + 1) == ip
                return printed
            case unknown:
                raise AssertionError(f"an instruction at {ip:#x} that this test does not know: {unknown}")
    raise AssertionError("the boot sector does not come to rest")


def test_the_boot_sector_prints_its_line_and_halts() -> None:
    """The hand-assembled code does what its comments say."""
    assert _run(boot_record(size_bytes=GIB)) == LINE.rstrip(b"\0")
    assert len(BOOT_CODE) == 0x20


def test_the_disk_has_one_active_linux_partition_to_its_end(tmp_path: Path) -> None:
    """The table is one that any tool reads."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=5 * GIB)
    with path.open("rb") as disk:
        sector = disk.read(512)
        disk.seek(2048 * 512)
        assert disk.read(len(NOTE)) == NOTE
    assert path.stat().st_size == 5 * GIB
    assert sector[510:] == b"\x55\xaa"
    assert sector[440:444] == DISK_ID
    flag, kind, start, count = struct.unpack("<B3xB3xII", sector[446:462])
    assert (flag, kind, start, (start + count) * 512) == (0x80, 0x83, 2048, 5 * GIB)
    assert sector[462:510] == bytes(48)


def test_the_disk_is_sparse_and_always_the_same(tmp_path: Path) -> None:
    """A terabyte of it costs a few blocks, and writing it again changes nothing."""
    path = tmp_path / "disk.raw"
    write_sample_disk(path, size_bytes=1024 * GIB)
    assert path.stat().st_blocks * 512 <= 1 << 20
    write_sample_disk(tmp_path / "again.raw", size_bytes=1024 * GIB)
    with path.open("rb") as one, (tmp_path / "again.raw").open("rb") as other:
        assert one.read(2 << 20) == other.read(2 << 20)


@pytest.mark.parametrize("size_bytes", [0, 1 << 20, GIB + 1, 3 << 40])
def test_sizes_that_no_mbr_disk_has_are_refused(tmp_path: Path, size_bytes: int) -> None:
    """Nothing is written then."""
    with pytest.raises(ValueError, match="no size"):
        write_sample_disk(tmp_path / "disk.raw", size_bytes=size_bytes)
    assert list(tmp_path.iterdir()) == []
