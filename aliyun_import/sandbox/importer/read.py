"""This file reads a disk in OSS as an import does: which format the bytes have, how large the disk is, is it whole.

What the service looks at is not published but for the names of its codes. Taken to be so here: a system disk without
any boot record is imported (nobody looks), a RAW of any length is whole, and VHDX, VDI and VMDK are known for what
they are.
"""

import struct
from dataclasses import dataclass

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.importer import qcow2 as images_qcow2
from aliyun_import.sandbox.importer import vhd as images_vhd
from aliyun_import.sandbox.importer.source import DamagedDiskError, Reader

FORMATS = ("RAW", "VHD", "QCOW2", "VMDK")
GIB = 1 << 30

_MAGICS = (
    (images_qcow2.MAGIC, "QCOW2"),
    (b"KDMV", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (images_vhd.FOOTER_COOKIE, "VHD"),
)
_VDI_MAGIC = bytes.fromhex("7f10dabe")  # at 64, after a line of text


@dataclass(frozen=True, kw_only=True)
class DiskReading:
    """What an import found in an object. `problem` says why its task will fail; it is empty for a disk that is fine.

    `refusal` is the error that ImportImage answers at once.
    """

    format: str
    virtual_bytes: int
    problem: str = ""
    refusal: Refusal | None = None

    @property
    def size_gib(self) -> int:
        """Give the virtual size in GiB, rounded up."""
        return -(-self.virtual_bytes // GIB)


def detect(reader: Reader) -> str:
    """Tell the format by content alone. What nothing else claims is RAW."""
    head = reader.pread(0, min(512, reader.size))
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if head[64:68] == _VDI_MAGIC:
        return "VDI"
    tail_bytes = min(images_vhd.SECTOR_BYTES, reader.size)
    tail = reader.pread(reader.size - tail_bytes, tail_bytes)
    return "VHD" if tail.startswith(images_vhd.FOOTER_COOKIE) else "RAW"


def read_disk(reader: Reader, *, declared: str) -> DiskReading:
    """Read an object as the format that the caller declared (upper case), or as what it is when that is empty."""
    found = detect(reader)
    if declared and declared != found:
        return DiskReading(
            format=declared,
            virtual_bytes=reader.size,
            problem=f"the object is declared as {declared}, but its content is {found}",
        )
    if found not in FORMATS:
        return DiskReading(
            format=found, virtual_bytes=reader.size, problem=f"images of the format {found} can't be imported"
        )
    try:
        virtual_bytes = _virtual_bytes(reader, found)
    except DamagedDiskError as error:
        return DiskReading(format=found, virtual_bytes=reader.size, problem=str(error))
    except Refusal as refusal:
        return DiskReading(format=found, virtual_bytes=reader.size, refusal=refusal)
    return DiskReading(format=found, virtual_bytes=virtual_bytes)


def _virtual_bytes(reader: Reader, found: str) -> int:
    if found == "VHD":
        return images_vhd.virtual_bytes(reader)
    if found == "QCOW2":
        return images_qcow2.virtual_bytes(reader)
    return _vmdk_bytes(reader) if found == "VMDK" else reader.size


def _vmdk_bytes(reader: Reader) -> int:
    # VMware, "Virtual Disk Format 5.0": the sparse header, little-endian, has the capacity in sectors at 12.
    header = reader.pread(0, min(20, reader.size))
    if not header.startswith(b"KDMV") or len(header) < 20:
        raise DamagedDiskError("the VMDK is a descriptor alone: the disk itself is in other files")
    return int(struct.unpack_from("<Q", header, 12)[0]) * images_vhd.SECTOR_BYTES
