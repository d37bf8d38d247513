"""Tests of the machine of a UEFI program."""

import pytest

from aliyun_import.disk.partitions.boot import pe_machine
from aliyun_import.disk.reader import Bad
from aliyun_import.model.request import Architecture
from tests.disk import build
from tests.rows import each_row


@each_row(
    ("machine", "expected"),
    [
        (build.X86_64, ("x86_64", Architecture.X86_64)),
        (build.ARM64, ("arm64", Architecture.ARM64)),
        (build.I386, ("i386", Architecture.I386)),
        (0x5064, ("riscv64", None)),
        (0x1234, ("machine 0x1234", None)),
    ],
)
def test_the_machine_has_a_name_and_an_architecture(machine: int, expected: tuple[str, Architecture | None]) -> None:
    """Machines that ECS offers have its name of the architecture; others have only a name."""
    assert pe_machine(build.pe_program(machine)) == expected


@each_row("head", [b"", b"MZ", b"\x7fELF" + bytes(200), build.pe_program()[:0x82], b"MZ" + b"\xff" * 200])
def test_a_file_that_is_not_pe_raises_bad(head: bytes) -> None:
    """Other formats and truncated files are refused."""
    with pytest.raises(Bad):
        pe_machine(head)
