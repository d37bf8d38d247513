"""This file reads a disk through qemu-nbd: the containers that none of our own readers knows.

qemu-nbd is told the format, opens the file read-only, follows no parent, serves one client on a socket that only we can
reach, and ends with it. The protocol is the NBD project's doc/proto.md: fixed newstyle, NBD_OPT_EXPORT_NAME.
"""

import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aliyun_import.disk.io.parent_death_signal import child_environment, last_line, leashed
from aliyun_import.disk.io.reader import Bad, Missing, Unsupported, check_range
from aliyun_import.limits import MIB

_INIT_MAGIC, _OPTION_MAGIC = b"NBDMAGIC", b"IHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_EXPORT_NAME = 1
_REQUEST_MAGIC, _REPLY_MAGIC = 0x25609513, 0x67446698
_READ, _DISCONNECT = 0, 2
# The protocol lets a server refuse requests over 32 MiB.
_MAX_REQUEST_BYTES = 32 * MIB
_START_TIMEOUT_S, _TRY_EVERY_S, _REPLY_TIMEOUT_S = 20.0, 0.02, 30.0
# Named, because Python finds its own choice by writing a file, which the bounded child can't; and short, because a
# socket's path has at most 107 characters. The directory made in it is private.
_SOCKET_DIRECTORY = "/tmp"  # noqa: S108


class NbdReader:
    """A disk on the other end of a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Take the handshake. Bad when the other end speaks something else."""
        self._connection = connection
        greeting = self._receive(18)
        if not greeting.startswith(_INIT_MAGIC + _OPTION_MAGIC):
            raise Bad("qemu-nbd greets in a way that is not NBD")
        (flags,) = struct.unpack_from(">H", greeting, 16)
        self._send(struct.pack(">I", flags & (_FIXED_NEWSTYLE | _NO_ZEROES)))
        self._send(_OPTION_MAGIC + struct.pack(">II", _EXPORT_NAME, 0))
        self._size: int = struct.unpack(">QH", self._receive(10))[0]
        if not flags & _NO_ZEROES:
            self._receive(124)

    @property
    def size(self) -> int:
        """Give the size of the disk in bytes."""
        return self._size

    def pread(self, offset: int, length: int) -> bytes:
        """Read; Bad when qemu-nbd can't, or is gone."""
        check_range(offset, length)
        end = min(offset + length, self._size)
        pieces = []
        while offset < end:
            piece = min(end - offset, _MAX_REQUEST_BYTES)
            self._send(struct.pack(">IHHQQI", _REQUEST_MAGIC, 0, _READ, offset, offset, piece))
            magic, error, handle = struct.unpack(">IIQ", self._receive(16))
            if magic != _REPLY_MAGIC or handle != offset:
                raise Bad("qemu-nbd answers in a way that is not NBD", offset=offset)
            if error:
                raise Bad(f"qemu-nbd can't read it (error {error})", offset=offset)
            pieces.append(self._receive(piece))
            offset += piece
        return b"".join(pieces)

    def close(self) -> None:
        """Say goodbye: qemu-nbd ends."""
        with suppress(Bad):
            self._send(struct.pack(">IHHQQI", _REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Bad(f"qemu-nbd does not listen any more ({error})") from error

    def _receive(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            try:
                piece = self._connection.recv(min(length - len(data), MIB))
            except OSError as error:
                raise Bad(f"qemu-nbd does not answer ({error})") from error
            if not piece:
                raise Bad("qemu-nbd ended: the image is damaged, or is none of its format")
            data += piece
        return bytes(data)


@contextmanager
def open_nbd(image: str) -> Iterator[NbdReader]:
    """Serve an image, named as QEMU names block devices ("json:{...}"), and read it.

    Raises Missing when qemu-nbd is not installed, Unsupported when it can't open the image. It is gone afterwards.
    """
    if shutil.which("qemu-nbd") is None:
        raise Missing("qemu-nbd is not installed")
    with tempfile.TemporaryDirectory(prefix="aliyun-import-", dir=_SOCKET_DIRECTORY) as directory:
        address = f"{directory}/nbd"
        with subprocess.Popen(
            leashed(["qemu-nbd", "--read-only", "--socket", address, image]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=child_environment(),
        ) as server:
            try:
                with _connected(server, address) as connection:
                    reader = NbdReader(connection)
                    yield reader
                    reader.close()
            finally:
                server.kill()


def _connected(server: "subprocess.Popen[bytes]", address: str) -> socket.socket:
    """Connect as soon as qemu-nbd listens."""
    for _ in range(round(_START_TIMEOUT_S / _TRY_EVERY_S)):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_REPLY_TIMEOUT_S)
        try:
            connection.connect(address)
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
        except BaseException:
            connection.close()
            raise
        with suppress(subprocess.TimeoutExpired):
            _, noise = server.communicate(timeout=_TRY_EVERY_S)
            raise Unsupported(f"qemu-nbd can't open it ({last_line(noise)})")
    raise Unsupported(f"qemu-nbd did not listen within {_START_TIMEOUT_S:g} seconds")
