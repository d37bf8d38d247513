"""Read-only NBD server for one disk: QEMU reads through the readers of this tool, and never opens the file.

The form of the messages is the NBD project's doc/proto.md: fixed newstyle, simple replies.
"""

import errno
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from aliyun_import.disk.reader import Reader, ReadProblem
from aliyun_import.limits import MIB

_INIT_MAGIC, _OPTION_MAGIC = b"NBDMAGIC", b"IHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_OPTION_EXPORT_NAME, _OPTION_ABORT, _OPTION_INFO, _OPTION_GO = 1, 2, 6, 7
_OPTION_REPLY_MAGIC = 0x3E889045565A9
_REPLY_ACK, _REPLY_INFO, _REPLY_UNSUPPORTED = 1, 3, 2**31 + 1
_INFO_EXPORT = 0
_HAS_FLAGS, _READ_ONLY = 1, 2
_REQUEST_MAGIC, _SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
_READ, _WRITE, _DISCONNECT = 0, 1, 2
_MAX_OPTION_BYTES = 64 * 1024
_MAX_REQUEST_BYTES = 32 * MIB


class DiskServer:
    """Server of one disk on a unix socket, in a thread, for one client.

    The disk has `size_bytes`, with zeros after the end of the reader. `problem` is the error of the first read that
    failed, `read_bytes` the number of bytes read so far.
    """

    def __init__(self, reader: Reader, address: Path, *, size_bytes: int) -> None:
        self._reader, self._size_bytes = reader, size_bytes
        self.problem: Exception | None = None
        self.read_bytes = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen(1)
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="boot-disk", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A blocked accept or recv ends with the shutdown, not with the close.
        for opened in (self._listener, self._connection):
            if opened is not None:
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
                opened.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError, EOFError):
            self._connection, _ = self._listener.accept()
            with self._connection:
                if self._negotiate():
                    self._transmit()

    def _negotiate(self) -> bool:
        """Negotiate the only export; return whether the client requests it."""
        self._send(_INIT_MAGIC + _OPTION_MAGIC + struct.pack(">H", _FIXED_NEWSTYLE | _NO_ZEROES))
        (client_flags,) = struct.unpack(">I", self._receive(4))
        export = struct.pack(">QH", self._size_bytes, _HAS_FLAGS | _READ_ONLY)
        while True:
            magic, option, length = struct.unpack(">8sII", self._receive(16))
            if magic != _OPTION_MAGIC or length > _MAX_OPTION_BYTES:
                return False
            self._receive(length)
            if option == _OPTION_EXPORT_NAME:
                self._send(export + (b"" if client_flags & _NO_ZEROES else bytes(124)))
                return True
            if option in (_OPTION_INFO, _OPTION_GO):
                self._reply(option, _REPLY_INFO, struct.pack(">H", _INFO_EXPORT) + export)
            supported = option in (_OPTION_INFO, _OPTION_GO, _OPTION_ABORT)
            self._reply(option, _REPLY_ACK if supported else _REPLY_UNSUPPORTED)
            if option in (_OPTION_GO, _OPTION_ABORT):
                return bool(option == _OPTION_GO)

    def _transmit(self) -> None:
        while True:
            magic, _flags, command, handle, offset, length = struct.unpack(">IHHQQI", self._receive(28))
            if magic != _REQUEST_MAGIC or command == _DISCONNECT:
                return
            if command == _READ and length <= _MAX_REQUEST_BYTES and offset + length <= self._size_bytes:
                self._answer(handle, self._read(offset, length))
                continue
            if command == _WRITE:
                self._receive(length)
            self._answer(handle, errno.EPERM if command != _READ else errno.EINVAL)

    def _read(self, offset: int, length: int) -> bytes | int:
        """Return the bytes, or the number of an error."""
        present = max(0, min(length, self._reader.size - offset))
        try:
            data = self._reader.pread(offset, present) if present else b""
        except (OSError, ReadProblem) as error:
            self.problem = self.problem or error
            return errno.EIO
        self.read_bytes += len(data)
        return data.ljust(length, b"\0")

    def _answer(self, handle: int, answer: bytes | int) -> None:
        number, data = (answer, b"") if isinstance(answer, int) else (0, answer)
        self._send(struct.pack(">IIQ", _SIMPLE_REPLY_MAGIC, number, handle) + data)

    def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        self._send(struct.pack(">QIII", _OPTION_REPLY_MAGIC, option, kind, len(data)) + data)

    def _send(self, data: bytes) -> None:
        assert self._connection is not None  # noqa: S101 -- set by `_serve`
        self._connection.sendall(data)

    def _receive(self, length: int) -> bytes:
        """Return exactly `length` bytes. Raises EOFError if the client has closed the connection."""
        assert self._connection is not None  # noqa: S101 -- set by `_serve`
        data = bytearray()
        while len(data) < length:
            piece = self._connection.recv(min(length - len(data), MIB))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)
