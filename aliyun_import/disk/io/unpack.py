"""This file unpacks compressed disk images as a stream: gzip, xz, zstd, bzip2, zip.

Memory stays small whatever the file says of itself; how much comes out is for the caller to bound.
"""

import bz2
import lzma
import sys
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from aliyun_import.disk.io.reader import Bad, Unsupported
from aliyun_import.disk.report import Container
from aliyun_import.limits import KIB, MIB

_READ_BYTES = MIB
# A step gives at most this much, so that a bomb of zeros comes in pieces like everything else.
STEP_BYTES = 4 * MIB
# xz -9 needs 65 MiB; what asks for more than this is not meant for us.
_XZ_MEMORY_BYTES = 1024 * MIB
_DISK_SUFFIXES = (".raw", ".img", ".vhd", ".qcow2", ".vmdk", ".vhdx", ".vdi", ".bin", ".dd")


class Decompressor(Protocol):
    """What bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Tell whether the stream came to its end."""
        ...

    @property
    def needs_input(self) -> bool:
        """Tell whether more has to be read before more comes out."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Give what was read behind the end."""
        ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take data, and give what they unpack to, `max_length` bytes at most."""
        ...


class _Gzip:
    """zlib's decompressor with the face of the others."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def unpacked(path: Path, container: Container) -> Generator[bytes]:
    """Give what a compressed file unpacks to, piece by piece, none longer than STEP_BYTES.

    Several streams one after the other are one file, as all the tools have it. Raises Bad when it is damaged or cut
    short, Unsupported for what can't be unpacked here, and OSError.
    """
    with path.open("rb") as file:
        yield from _unzipped(file) if container is Container.ZIP else unpacked_stream(file, container)


def unpacked_stream(file: BinaryIO, container: Container) -> Generator[bytes]:
    """Do the same for an open file of any container but zip, which has its table at the end."""
    make, errors = _decompressor(container)
    yield from _streams(file, make, errors)


def _decompressor(container: Container) -> tuple[Callable[[], Decompressor], type[Exception]]:
    if container is Container.GZIP:
        return _Gzip, zlib.error
    if container is Container.BZIP2:
        return bz2.BZ2Decompressor, OSError
    if container is Container.XZ:
        return lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES), lzma.LZMAError
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor, zstd.ZstdError


def _streams(file: BinaryIO, make: Callable[[], Decompressor], errors: type[Exception]) -> Iterator[bytes]:
    data = file.read(_READ_BYTES)
    while data:
        stream = make()
        while not stream.eof:
            try:
                piece = stream.decompress(data, STEP_BYTES)
            except errors as error:
                raise Bad(f"the compressed data is damaged ({error})", offset=file.tell()) from error
            data = b""
            if piece:
                yield piece
            if stream.needs_input and not stream.eof:
                data = file.read(_READ_BYTES)
                if not data:
                    raise Bad("the compressed data ends before its end: the file was cut short", offset=file.tell())
        data = stream.unused_data or file.read(_READ_BYTES)
        # Zeros after the last stream are padding (tapes, xz): no stream begins with one.
        data = data.lstrip(b"\0") or (file.read(_READ_BYTES).lstrip(b"\0") if data else b"")


def _unzipped(file: BinaryIO) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            disks = [member for member in members if member.filename.lower().endswith(_DISK_SUFFIXES)]
            chosen = members if len(members) == 1 else disks
            if len(chosen) != 1:
                raise Unsupported(
                    f"the zip archive holds {len(members)} files, and {len(chosen)} of them look like disks"
                )
            with archive.open(chosen[0]) as member:
                while piece := member.read(256 * KIB):
                    yield piece
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Bad(f"the zip archive is damaged ({error})") from error
    except (NotImplementedError, RuntimeError) as error:
        # Another method of compression, or a password.
        raise Unsupported(f"the zip archive can't be unpacked here ({error})") from error
