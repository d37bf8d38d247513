"""Disk formats: detection, virtual size and completeness for imports, conversion by qemu-img for exports.

The checks of the service are not published, only its error codes. Assumed: a system disk without a boot record is
imported (the service does not check it), a RAW disk of any length is complete, and VHDX, VDI and VMDK are recognised.

Sources: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 of October 2006 (big-endian numbers,
sectors of 512 bytes); QEMU, docs/interop/qcow2 (big-endian numbers).
"""

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from aliyun_import.sandbox.core.blob_store import BlobStore, Content
from aliyun_import.sandbox.core.http_types import CHUNK_BYTES
from aliyun_import.sandbox.core.rpc_errors import Refusal

FORMATS = ("RAW", "VHD", "QCOW2", "VMDK")
GIB = 1 << 30
SECTOR_BYTES = 512
VHD_COOKIE = b"conectix"
QCOW2_MAGIC = b"QFI\xfb"
_MAGICS = (
    (QCOW2_MAGIC, "QCOW2"),
    (b"KDMV", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (VHD_COOKIE, "VHD"),
)
_VDI_MAGIC = bytes.fromhex("7f10dabe")  # at offset 64, after a line of text

# Conversion
DRIVERS: Mapping[str, str] = MappingProxyType(
    {"RAW": "raw", "VHD": "vpc", "QCOW2": "qcow2", "VMDK": "vmdk", "VDI": "vdi"}
)
# Without it qemu-img rounds the size of a VHD up to a whole number of cylinders.
_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({"VHD": ("-o", "force_size=on")})
TIMEOUT_S = 600

# VHD
_HEADER_COOKIE = b"cxsparse"
_FIXED, _DYNAMIC, _DIFFERENCING = 2, 3, 4
_UNUSED = 0xFFFFFFFF
# 2 MiB is the default of the specification, 512 KiB its other example. The sizes that the service accepts are not
# published.
_BLOCK_BYTES = (512 << 10, 2 << 20)
# QCOW2
_OFFSET = 0x00FFFFFFFFFFFE00  # bits 9-55 of a table's entry
_COMPRESSED = 1 << 62
_CORRUPT, _EXTERNAL_DATA, _EXTENDED_L2 = 1 << 1, 1 << 2, 1 << 4


class Reader(Protocol):
    """Object in OSS, read by ranges."""

    @property
    def size(self) -> int:
        """Return the number of bytes."""

    def pread(self, offset: int, length: int) -> bytes:
        """Return a range of the object."""


class DamagedDiskError(Exception):
    """The bytes are not a complete disk of their format. The message is the reason."""


@dataclass(frozen=True, kw_only=True)
class DiskReading:
    """Disk in an object.

    `problem` is the reason why the task of the import will fail, empty for a complete disk. `refusal` is the error with
    which ImportImage refuses the disk.
    """

    format: str
    virtual_bytes: int
    problem: str = ""
    refusal: Refusal | None = None

    @property
    def size_gib(self) -> int:
        """Return the virtual size in GiB, rounded up."""
        return -(-self.virtual_bytes // GIB)


def detect(reader: Reader) -> str:
    """Return the format of the content; RAW if no other format matches."""
    head = reader.pread(0, min(512, reader.size))
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if head[64:68] == _VDI_MAGIC:
        return "VDI"
    tail_bytes = min(SECTOR_BYTES, reader.size)
    tail = reader.pread(reader.size - tail_bytes, tail_bytes)
    return "VHD" if tail.startswith(VHD_COOKIE) else "RAW"


def read_disk(reader: Reader, *, declared: str) -> DiskReading:
    """Return the disk in an object. `declared` is the format of the request in upper case, or empty."""
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
        return _vhd_bytes(reader)
    if found == "QCOW2":
        return _qcow2_bytes(reader)
    return _vmdk_bytes(reader) if found == "VMDK" else reader.size


def _vmdk_bytes(reader: Reader) -> int:
    # VMware, "Virtual Disk Format 5.0": the little-endian sparse header has the capacity in sectors at offset 12.
    header = reader.pread(0, min(20, reader.size))
    if not header.startswith(b"KDMV") or len(header) < 20:
        raise DamagedDiskError("the VMDK is only a descriptor: the disk is in other files")
    return int(struct.unpack_from("<Q", header, 12)[0]) * SECTOR_BYTES


@dataclass(frozen=True, kw_only=True)
class _Footer:
    data_offset: int
    current_bytes: int
    disk_type: int


def _vhd_bytes(reader: Reader) -> int:
    """Return the size of the disk in a complete VHD.

    Raises DamagedDiskError, and Refusal for the two defects with a code of ImportImage (table size, block size).
    """
    if reader.size < SECTOR_BYTES:
        raise DamagedDiskError("the object is too short for a VHD footer")
    footer = _footer(reader.pread(reader.size - SECTOR_BYTES, SECTOR_BYTES))
    if footer.current_bytes == 0 or footer.current_bytes % SECTOR_BYTES:
        raise DamagedDiskError(f"the VHD footer's current size, {footer.current_bytes}, is not a number of sectors")
    if footer.disk_type == _FIXED:
        if reader.size != footer.current_bytes + SECTOR_BYTES:
            raise DamagedDiskError(
                f"the footer of the fixed VHD has {footer.current_bytes} bytes, the object {reader.size - SECTOR_BYTES}"
            )
    elif footer.disk_type == _DYNAMIC:
        _check_dynamic(reader, footer)
    elif footer.disk_type == _DIFFERENCING:
        raise DamagedDiskError("the VHD is a differencing disk: its parent is missing")
    else:
        raise DamagedDiskError(f"the VHD's disk type is {footer.disk_type}")
    return footer.current_bytes


def _footer(data: bytes) -> _Footer:
    if not data.startswith(VHD_COOKIE):
        raise DamagedDiskError("the last sector holds no VHD footer: the object is truncated")
    _check_checksum("footer", data, at=64)
    version, data_offset = struct.unpack_from(">IQ", data, 12)
    if version >> 16 != 1:
        raise DamagedDiskError(f"the VHD has version {version >> 16}.{version & 0xFFFF}")
    current_bytes, disk_type = struct.unpack_from(">Q4xI", data, 48)
    return _Footer(data_offset=data_offset, current_bytes=current_bytes, disk_type=disk_type)


def _check_dynamic(reader: Reader, footer: _Footer) -> None:
    end = reader.size - SECTOR_BYTES
    if footer.data_offset + 1024 > end:
        raise DamagedDiskError("the VHD's dynamic header lies outside of the object")
    header = reader.pread(footer.data_offset, 1024)
    if not header.startswith(_HEADER_COOKIE):
        raise DamagedDiskError("the VHD has no dynamic header at the offset in its footer")
    _check_checksum("dynamic header", header, at=36)
    table_offset, _, entries, block_bytes = struct.unpack_from(">QIII", header, 16)
    if block_bytes not in _BLOCK_BYTES:
        raise Refusal("InvalidBlockSize.NotSupport", f"The block size {block_bytes} of the VHD is not supported.")
    if footer.current_bytes > entries * block_bytes:
        raise Refusal("InvalidVHDImage.IncorrectSize")
    if table_offset + 4 * entries > end:
        raise DamagedDiskError("the VHD's block table lies outside of the object")
    bitmap_bytes = -(-block_bytes // SECTOR_BYTES // 8 // SECTOR_BYTES) * SECTOR_BYTES
    for (sector,) in struct.iter_unpack(">I", reader.pread(table_offset, 4 * entries)):
        if sector != _UNUSED and sector * SECTOR_BYTES + bitmap_bytes + block_bytes > end:
            raise DamagedDiskError(f"a block of the VHD, at sector {sector}, ends outside of the object")


def _check_checksum(what: str, data: bytes, *, at: int) -> None:
    """Check a checksum: the one's complement of the sum of all other bytes. Raises DamagedDiskError."""
    (given,) = struct.unpack_from(">I", data, at)
    if given != ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF:
        raise DamagedDiskError(f"the checksum of the VHD's {what} is wrong")


def _qcow2_bytes(reader: Reader) -> int:
    """Return the size of the disk in a complete QCOW2 image. Raises DamagedDiskError."""
    header = reader.pread(0, min(104, reader.size))
    if len(header) < 72:
        raise DamagedDiskError("the object is too short for a QCOW2 header")
    version, backing_offset, _, cluster_bits, size, crypt, l1_entries, l1_offset = struct.unpack_from(
        ">IQIIQIIQ", header, 4
    )
    if version not in (2, 3):
        raise DamagedDiskError(f"the QCOW2 image has version {version}")
    if backing_offset:
        raise DamagedDiskError("the QCOW2 image has a backing file, which is missing")
    if crypt:
        raise DamagedDiskError("the QCOW2 image is encrypted")
    if not 9 <= cluster_bits <= 21:
        raise DamagedDiskError(f"the QCOW2 image's clusters have 2^{cluster_bits} bytes")
    if size == 0:
        raise DamagedDiskError("the QCOW2 image holds a disk of no bytes")
    features = struct.unpack_from(">Q", header, 72)[0] if version == 3 and len(header) >= 80 else 0
    _check_features(features)
    entry_bytes = 16 if features & _EXTENDED_L2 else 8
    per_l1 = (1 << cluster_bits) * ((1 << cluster_bits) // entry_bytes)
    if l1_entries < -(-size // per_l1) or l1_offset + 8 * l1_entries > reader.size:
        raise DamagedDiskError("the QCOW2 image's first table is too short, or lies outside of the object")
    for (entry,) in struct.iter_unpack(">Q", reader.pread(l1_offset, 8 * l1_entries)):
        if entry & _OFFSET:
            _check_second_table(reader, entry & _OFFSET, cluster_bits=cluster_bits, step=entry_bytes // 8)
    return int(size)


def _check_features(features: int) -> None:
    if features & _CORRUPT:
        raise DamagedDiskError("the QCOW2 image is marked as corrupt")
    if features & _EXTERNAL_DATA:
        raise DamagedDiskError("the QCOW2 image keeps its data in another file")


def _check_second_table(reader: Reader, offset: int, *, cluster_bits: int, step: int) -> None:
    if offset + (1 << cluster_bits) > reader.size:
        raise DamagedDiskError("a table of the QCOW2 image lies outside of the object: it is truncated")
    compressed_mask = (1 << (62 - (cluster_bits - 8))) - 1
    table = struct.unpack(f">{(1 << cluster_bits) // 8}Q", reader.pread(offset, 1 << cluster_bits))
    for entry in table[::step]:
        start = entry & (compressed_mask if entry & _COMPRESSED else _OFFSET)
        if start >= reader.size:
            raise DamagedDiskError(f"data of the QCOW2 image, at {start}, lies outside of the object: it is truncated")


class ConversionError(Exception):
    """The conversion of a disk failed. The message is the reason."""


def unsupported_reason(source: str, target: str) -> str:
    """Return the reason why a conversion is not possible on this machine; an empty string if it is."""
    if source == target:
        return ""
    if source == "VMDK":
        # The descriptor may name any file of this machine as an extent or a parent, and qemu-img would open it.
        return "a VMDK may refer to other files, which the sandbox does not open"
    return "" if shutil.which("qemu-img") else "it needs qemu-img, which is not in PATH"


def convert(content: Content, blobs: BlobStore, *, source: str, target: str) -> Content:
    """Return a disk in another format, as a new content. Raises ConversionError."""
    if source == target:
        return content
    with tempfile.TemporaryDirectory(prefix="aliyun-import-export-") as directory:
        before, after = Path(directory, "before"), Path(directory, "after")
        try:
            write_disk(content, before)
            options = _image_options(before, source)
            _run("--image-opts", options, "-O", DRIVERS[target], *_OPTIONS.get(target, ()), str(after))
            return blobs.receive(_chunks(after)).content
        except OSError as error:
            raise ConversionError(str(error)) from error


def _image_options(path: Path, source: str) -> str:
    # By default, qemu-img computes the size of some VHDs from their geometry. An import takes it from the footer.
    size = ",force_size_calc=current_size" if source == "VHD" else ""
    return f"driver={DRIVERS[source]}{size},file.driver=file,file.filename={str(path).replace(',', ',,')}"


def _run(*arguments: str) -> None:
    try:
        done = subprocess.run(
            ["qemu-img", "convert", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ConversionError(f"qemu-img took longer than {TIMEOUT_S} s") from error
    if done.returncode:
        raise ConversionError(done.stderr.strip())


def write_disk(content: Content, path: Path) -> None:
    """Write a disk as a sparse file of whole sectors."""
    with path.open("wb") as file:
        for offset, length in content.data_extents():
            file.seek(offset)
            for chunk in content.chunks(offset, length):
                file.write(chunk)
        file.flush()
        os.ftruncate(file.fileno(), -(-content.size // SECTOR_BYTES) * SECTOR_BYTES)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
