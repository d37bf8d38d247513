"""Conversion of disks between formats by qemu-img, for exports in another format than that of the import."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from aliyun_import.sandbox.core.blob_store import Content, Shelf
from aliyun_import.sandbox.core.http_types import CHUNK_BYTES

DRIVERS: Mapping[str, str] = MappingProxyType(
    {"RAW": "raw", "VHD": "vpc", "QCOW2": "qcow2", "VMDK": "vmdk", "VDI": "vdi"}
)
# Without it qemu-img rounds the size of a VHD up to a whole number of cylinders.
_OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({"VHD": ("-o", "force_size=on")})
SECTOR_BYTES = 512
TIMEOUT_S = 600


class ConversionError(Exception):
    """A disk was not converted; the text has the reason."""


def obstacle(source: str, wanted: str) -> str:
    """Return why a disk of a format can't be converted here; empty if it can, or need not be."""
    if source == wanted:
        return ""
    if source == "VMDK":
        # Its descriptor may name any file of this machine as an extent or a parent, and qemu-img opens it.
        return "a VMDK may refer to other files, which the sandbox does not open"
    return "" if shutil.which("qemu-img") else "it needs qemu-img, which is not in PATH"


def converted(content: Content, shelf: Shelf, *, source: str, wanted: str) -> Content:
    """Return the disk in another format, stored anew; raises ConversionError."""
    if source == wanted:
        return content
    with tempfile.TemporaryDirectory(prefix="aliyun-import-export-") as place:
        before, after = Path(place, "before"), Path(place, "after")
        try:
            write_disk(content, before)
            _run("--image-opts", _opened(before, source), "-O", DRIVERS[wanted], *_OPTIONS.get(wanted, ()), str(after))
            return shelf.receive(_chunks(after)).content
        except OSError as error:
            raise ConversionError(str(error)) from error


def _opened(path: Path, source: str) -> str:
    # By default qemu-img takes the size of some VHDs from their geometry; an import takes it from the footer.
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
