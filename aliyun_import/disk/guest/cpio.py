"""This file reads the names in cpio archives of the "newc" form, of which an initramfs is made."""

import struct
from binascii import unhexlify
from collections.abc import Iterable, Iterator

from aliyun_import.disk.filesystem import text_of
from aliyun_import.disk.reader import Bad

MAGICS = (b"070701", b"070702")
_HEADER_BYTES = 110
_MAX_NAME_BYTES = 4096
_TRAILER = "TRAILER!!!"


class ByteStream:
    """Chunks read as one stream. `position` counts the bytes that were taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        # The chunk at hand, and how much of it was taken: a chunk of 8 MiB may hold 75,000 members, and cutting each
        # off its front would copy the rest as often.
        self._buffer, self._taken = b"", 0
        self.position = 0

    def read(self, length: int) -> bytes:
        """Take `length` bytes, fewer only where the stream ends."""
        while len(self._buffer) - self._taken < length:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._buffer, self._taken = self._buffer[self._taken :] + chunk, 0
        data = self._buffer[self._taken : self._taken + length]
        self._taken += len(data)
        self.position += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Put back what was read last."""
        self._taken -= len(data)
        self.position -= len(data)

    def skip(self, length: int) -> None:
        """Pass over `length` bytes; Bad where the stream ends before."""
        self.position += length
        while length > len(self._buffer) - self._taken:
            length -= len(self._buffer) - self._taken
            chunk = next(self._chunks, None)
            if chunk is None:
                raise Bad("a cpio archive ends early")
            self._buffer, self._taken = chunk, 0
        self._taken += length


def member_names(stream: ByteStream) -> Iterator[str]:
    """Go through the names of one archive, up to and with its trailer; what follows is left in the stream."""
    while True:
        begin = stream.position
        header = stream.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[:6] not in MAGICS:
            raise Bad(f"there is no cpio header at {begin}")
        try:  # int() would take signs, blanks and underscores, too
            file_bytes, name_bytes = struct.unpack(">II", unhexlify(header[54:62] + header[94:102]))
        except ValueError:
            raise Bad(f"the cpio header at {begin} has numbers that are none") from None
        if not 0 < name_bytes <= _MAX_NAME_BYTES:
            raise Bad(f"the cpio header at {begin} has a name of {name_bytes} bytes")
        name = text_of(stream.read(name_bytes).rstrip(b"\0"))
        # The name is padded so that the data begin at a multiple of 4, and the data so that the next header does.
        stream.skip(-(_HEADER_BYTES + name_bytes) % 4)
        if name == _TRAILER:
            return
        stream.skip(file_bytes + -file_bytes % 4)
        yield name
