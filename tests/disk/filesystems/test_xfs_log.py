"""Tests of the detection of an unmount in the log of XFS."""

import struct

import pytest

from aliyun_import.disk.filesystems.xfs import Xfs
from aliyun_import.disk.filesystems.xfs_format import was_unmounted
from aliyun_import.disk.reader import BytesReader
from tests.disk.fixtures import image
from tests.rows import each_row

BLOCKS = 64


def log_of(records: list[tuple[int, int, bool]], *, cycle: int = 2) -> bytes:
    """Build a log with a record of one header and one block at each (block, cycle, is an unmount)."""
    log = bytearray()
    written = {block: number for at, number, _unmount in records for block in (at, (at + 1) % BLOCKS)}
    edge = next((block for block in range(BLOCKS) if written.get(block, cycle) != cycle), BLOCKS)
    for block in range(BLOCKS):
        log += struct.pack(">I", written.get(block, cycle if block < edge else cycle - 1)) + bytes(508)
    for at, number, unmount in records:
        header = struct.pack(">IIIIQQIII", 0xFEEDBABE, number, 2, 512, 0, 0, 0, 0, 1)
        log[at * 512 : at * 512 + len(header)] = header
        log[at * 512 + 320 : at * 512 + 324] = struct.pack(">I", 32768)
        log[(at + 1) % BLOCKS * 512 + 9] = 0x20 if unmount else 0x01
    return bytes(log)


@each_row(
    ("records", "unmounted"),
    [
        pytest.param([(0, 2, False), (2, 2, True), (4, 1, False)], True, id="an unmount, then the cycle before"),
        pytest.param([(0, 2, True), (2, 2, False), (4, 1, True)], False, id="a record after the unmount"),
        pytest.param([(0, 2, False), (63, 1, True)], False, id="an unmount of the cycle before"),
        pytest.param([(60, 2, False), (62, 2, True)], True, id="an unmount at the end of the log"),
    ],
)
def test_the_last_record_of_the_log_is_decisive(records: list[tuple[int, int, bool]], unmounted: bool) -> None:
    """The last record is found by its cycle, wherever in the circular log it is."""
    data = log_of(records)
    assert was_unmounted(BytesReader(bytes(4096) + data), start=4096, size_bytes=len(data)) is unmounted


def test_an_incomplete_record_is_not_an_unmount() -> None:
    """A copy of a mounted file system may end in the middle of a record."""
    data = bytearray(log_of([(0, 2, False), (2, 2, True), (4, 1, False)]))
    data[2 * 512 + 12 : 2 * 512 + 16] = struct.pack(">I", 2048)
    assert was_unmounted(BytesReader(bytes(data)), start=0, size_bytes=len(data)) is False


@pytest.mark.parametrize("data", [bytes(BLOCKS * 512), b"\1" * BLOCKS * 512, b"\1" * 600])
def test_data_that_is_not_a_log_has_no_result(data: bytes) -> None:
    """Zeros, noise and truncated logs are neither clean nor unclean."""
    assert was_unmounted(BytesReader(data), start=0, size_bytes=BLOCKS * 512) is None


@each_row("name", ["xfs-v4", "xfs-v5", "xfs-1k", "guest-rhel-root"])
def test_a_file_system_is_clean_only_with_an_unmount_record(name: str) -> None:
    """Images of mkfs and of the kernel are clean; without the flag of the unmount record they are not."""
    raw = bytearray(image(name))
    assert Xfs(BytesReader(bytes(raw))).facts.unclean == ""
    for at in range(0, len(raw), 512):
        if raw[at : at + 4] == b"\xfe\xed\xba\xbe":
            raw[at + 512 + 9] &= ~0x20
    assert "its log does not end with an unmount record" in Xfs(BytesReader(bytes(raw))).facts.unclean
