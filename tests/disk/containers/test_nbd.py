"""Tests of the NBD client, against servers that keep or break the protocol."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from aliyun_import.disk.containers.qemu import NbdReader, open_nbd
from aliyun_import.disk.reader import Bad, Missing

DISK = bytes(range(256)) * 1000
_GREETING = b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3)


def _receive(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = connection.recv(length - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _serve(connection: socket.socket, *, greeting: bytes = _GREETING, size: int = len(DISK), error: int = 0) -> None:
    """Serve DISK. `error` is the error number in the response to every read."""
    with suppress(ConnectionError), connection:
        connection.sendall(greeting)
        flags = struct.unpack(">I", _receive(connection, 4))[0]
        assert _receive(connection, 16) == b"IHAVEOPT" + struct.pack(">II", 1, 0)
        connection.sendall(struct.pack(">QH", size, 3) + (b"" if flags & 2 else bytes(124)))
        while True:
            magic, _, command, handle, offset, length = struct.unpack(">IHHQQI", _receive(connection, 28))
            assert magic == 0x25609513
            if command == 2:
                return
            answer = struct.pack(">IIQ", 0x67446698, error, handle)
            connection.sendall(answer if error else answer + DISK[offset : offset + length])


@contextmanager
def _reader(**server: object) -> Iterator[NbdReader]:
    client, server_end = socket.socketpair()
    thread = threading.Thread(target=_serve, args=(server_end,), kwargs=server)
    thread.start()
    try:
        with client:
            reader = NbdReader(client)
            yield reader
            reader.close()
    finally:
        thread.join(10)


@pytest.mark.parametrize("flags", [3, 1])
def test_a_served_disk_reads_back(flags: int) -> None:
    """Reads at any offset work, are short at the end, and do not depend on the padding of old servers."""
    with _reader(greeting=b"NBDMAGICIHAVEOPT" + struct.pack(">H", flags)) as disk:
        assert disk.size == len(DISK)
        assert disk.pread(1000, 5000) == DISK[1000:6000]
        assert disk.pread(len(DISK) - 3, 100) == DISK[-3:]
        assert disk.pread(len(DISK) + 5, 1) == b""


def test_a_read_error_raises_bad() -> None:
    """The message has the error number of the server."""
    with _reader(error=5) as disk, pytest.raises(Bad, match="error 5"):
        disk.pread(0, 1)


def test_a_closed_connection_raises_bad() -> None:
    """qemu-nbd closes the connection when an image crashes it."""
    client, server_end = socket.socketpair()
    server_end.close()
    with client, pytest.raises(Bad):
        NbdReader(client)


def test_another_protocol_raises_bad() -> None:
    """A server that does not begin with the magic of NBD is refused."""
    client, server_end = socket.socketpair()
    with client, server_end:
        server_end.sendall(b"220 mail.example.com ESMTP ready\r\n")
        with pytest.raises(Bad, match="not NBD"):
            NbdReader(client)


def test_without_qemu_nbd_missing_is_raised(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller adds to Missing what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing), open_nbd("json:{}"):
        pass
