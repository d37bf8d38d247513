"""Tests of the NBD server of a disk, with the client of the disk readers."""

import socket
import struct
from pathlib import Path

import pytest

from aliyun_import.boot.nbd import DiskServer
from aliyun_import.disk.containers.qemu import NbdReader
from aliyun_import.disk.reader import Bad, BytesReader

DATA = bytes(range(256)) * 64
SIZE = 32768


class UnreadableSectors(BytesReader):
    """Disk of which only the first sector can be read."""

    def pread(self, offset: int, length: int) -> bytes:
        """Read the first sector only."""
        if offset + length > 512:
            raise OSError(5, "Input/output error")
        return super().pread(offset, length)


def connected(address: Path) -> socket.socket:
    """Return a connection to the server."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(5)
    connection.connect(str(address))
    return connection


def test_a_disk_is_padded_with_zeros(tmp_path: Path) -> None:
    """The export has the size of the image, and begins with the content of the disk."""
    with (
        DiskServer(BytesReader(DATA), tmp_path / "disk", size_bytes=SIZE) as server,
        connected(tmp_path / "disk") as to,
    ):
        reader = NbdReader(to)
        assert reader.size == SIZE
        assert reader.pread(0, SIZE) == DATA.ljust(SIZE, b"\0")
        assert reader.pread(len(DATA) - 10, 20) == DATA[-10:] + bytes(10)
        assert server.problem is None
        reader.close()


def test_a_read_error_is_returned_and_recorded(tmp_path: Path) -> None:
    """The guest gets an error, and the boot test can report that the disk was not readable."""
    with (
        DiskServer(UnreadableSectors(DATA), tmp_path / "disk", size_bytes=SIZE) as server,
        connected(tmp_path / "disk") as to,
    ):
        reader = NbdReader(to)
        assert reader.pread(0, 512) == DATA[:512]
        with pytest.raises(Bad, match="error 5"):
            reader.pread(512, 512)
        assert isinstance(server.problem, OSError)


@pytest.mark.parametrize(
    ("command", "offset", "length", "payload", "error"),
    [(1, 0, 4, b"data", 1), (4, 0, 512, b"", 1), (0, SIZE, 512, b"", 22)],
)
def test_writes_are_refused(tmp_path: Path, command: int, offset: int, length: int, payload: bytes, error: int) -> None:
    """And discards, and reads after the end; the connection stays usable."""
    with DiskServer(BytesReader(DATA), tmp_path / "disk", size_bytes=SIZE), connected(tmp_path / "disk") as to:
        reader = NbdReader(to)
        to.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, 7, offset, length) + payload)
        assert to.recv(16) == struct.pack(">IIQ", 0x67446698, error, 7)
        assert reader.pread(0, 512) == DATA[:512]


def test_the_server_stops_without_a_client(tmp_path: Path) -> None:
    """If QEMU never connects, no thread is left."""
    with DiskServer(BytesReader(DATA), tmp_path / "disk", size_bytes=SIZE) as server:
        pass
    assert not server._thread.is_alive()
