"""Tests of the containers that ECS does not take."""

import struct
from pathlib import Path

import pytest

from aliyun_import.disk.containers.qemu_formats import open_foreign
from aliyun_import.disk.io.reader import BytesReader
from aliyun_import.disk.report import Container
from aliyun_import.limits import GIB
from aliyun_import.model.request import DiskFormat


def _head(at: int, form: str, value: int, *, magic: bytes = b"") -> bytes:
    head = bytearray(1024)
    head[: len(magic)] = magic
    struct.pack_into(form, head, at, value)
    return bytes(head)


@pytest.mark.parametrize(
    ("container", "head", "size"),
    [
        (Container.VMDK, _head(12, "<Q", 40 * GIB // 512, magic=b"KDMV"), 40 * GIB),
        (Container.VMDK, b"# Disk DescriptorFile\n", None),
        (Container.VDI, _head(0x170, "<Q", 40 * GIB), 40 * GIB),
        (Container.QCOW1, _head(24, ">Q", 40 * GIB), 40 * GIB),
        (Container.QED, _head(48, "<Q", 40 * GIB), 40 * GIB),
        (Container.VHDX, bytes(1024), None),
        (Container.VDI, b"short", None),
    ],
)
def test_the_size_is_told_where_the_header_has_it(container: Container, head: bytes, size: int | None) -> None:
    """Also where no tool of QEMU is installed; where it is not in a fixed place, nothing is guessed."""
    opened = open_foreign(BytesReader(head), container, path=Path("disk"))
    assert (opened.virtual_bytes, opened.format, opened.disk) == (size, DiskFormat.RAW, None)
    assert opened.problems[0].convertible
