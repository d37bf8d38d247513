"""Tests of containers that ECS does not import."""

import struct
from pathlib import Path

from aliyun_import.disk.containers.interface import Source
from aliyun_import.disk.containers.registry import format_named, open_container
from aliyun_import.disk.reader import BytesReader
from aliyun_import.limits import GIB
from aliyun_import.model.request import DiskFormat
from tests.rows import each_row


def _head(at: int, form: str, value: int, *, magic: bytes = b"") -> bytes:
    head = bytearray(1024)
    head[: len(magic)] = magic
    struct.pack_into(form, head, at, value)
    return bytes(head)


@each_row(
    ("container", "head", "size"),
    [
        ("vmdk", _head(12, "<Q", 40 * GIB // 512, magic=b"KDMV"), 40 * GIB),
        ("vmdk", b"# Disk DescriptorFile\n", None),
        ("vdi", _head(0x170, "<Q", 40 * GIB), 40 * GIB),
        ("qcow", _head(24, ">Q", 40 * GIB), 40 * GIB),
        ("qed", _head(48, "<Q", 40 * GIB), 40 * GIB),
        ("vhdx", bytes(1024), None),
        ("vdi", b"short", None),
    ],
)
def test_the_virtual_size_is_read_from_the_header(container: str, head: bytes, size: int | None) -> None:
    """No QEMU tool is needed; a size that is not at a fixed offset is unknown."""
    source = Source(path=Path("disk"), suffix_rule=None, open_sibling=None, open_inner=open_container)
    known = format_named(container)
    opened = known.open(known, BytesReader(head), source)
    assert (opened.virtual_bytes, opened.format, opened.disk) == (size, DiskFormat.RAW, None)
    assert opened.problems[0].convertible
