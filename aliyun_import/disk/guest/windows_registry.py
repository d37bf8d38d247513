"""This file reads NTFS volumes and registry hives through libfsntfs and libregf, the extra `[windows]`.

Both are native code, and a damaged input has crashed libraries of that family: so it runs in the bounded child process
only. They raise OSError for nearly everything; here that becomes Bad. A hive's transaction logs are not replayed.
"""

import importlib
import io
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Protocol, TypeVar

from aliyun_import.disk.io.reader import Bad, Missing, Reader, Unsupported

T = TypeVar("T")
# SOFTWARE of a server that has run for years has some 150 MiB.
_MAX_HIVE_BYTES = 256 << 20
_READ_BYTES = 1 << 20
_MAX_NAMES = 200_000
# NTFS: the file $Volume, its attribute $VOLUME_INFORMATION with the flag for chkdsk, and FILE_ATTRIBUTE_READONLY.
_VOLUME_FILE = 3
_VOLUME_INFORMATION = 0x70
_DIRTY = 0x0001
_READ_ONLY = 0x0001


class _Entry(Protocol):
    """What is used of pyfsntfs.file_entry."""

    name: str
    size: int
    file_attribute_flags: int
    attributes: "Iterable[_Attribute]"
    number_of_sub_file_entries: int

    def get_sub_file_entry(self, index: int) -> "_Entry": ...
    def read_buffer_at_offset(self, size: int, offset: int) -> bytes: ...


class _Attribute(Protocol):
    """What is used of pyfsntfs.attribute; `flags` only those of the kind $VOLUME_INFORMATION have."""

    attribute_type: int
    flags: int


class _Value(Protocol):
    """What is used of pyregf.value."""

    data: bytes | None

    def get_data_as_string(self) -> str | None: ...
    def get_data_as_integer(self) -> int: ...


class _FileObject:
    """A Reader with the face that the libraries want: read, seek, tell, get_size."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._at = reader, 0

    def read(self, length: int = -1) -> bytes:
        """Read on from the current place."""
        left = max(self._reader.size - self._at, 0)
        data = self._reader.pread(self._at, left if length < 0 else min(length, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> None:
        """Go to a place."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._reader.size}[whence]
        self._at = start + offset

    def tell(self) -> int:
        """Give the current place."""
        return self._at

    def get_size(self) -> int:
        """Give the size in bytes."""
        return self._reader.size


class Ntfs:
    """An NTFS volume. Paths have slashes. Every method raises Bad or Missing, the making Unsupported or Bad."""

    def __init__(self, reader: Reader) -> None:
        """Open the volume; Unsupported when the extra is not installed."""
        library = _library("pyfsntfs")
        self._file = _FileObject(reader)  # the library does not keep it alive
        self._volume = library.volume()
        _call(lambda: self._volume.open_file_object(self._file))

    def exists(self, path: str) -> bool:
        """Tell whether there is anything at path."""
        return self._entry(path) is not None

    def is_read_only(self, path: str) -> bool:
        """Tell whether the file at path has the attribute read-only; false where there is none."""
        entry = self._entry(path)
        return entry is not None and bool(_call(lambda: entry.file_attribute_flags & _READ_ONLY))

    def is_dirty(self) -> bool:
        """Tell whether the volume is marked to be checked at the next start."""
        entry: _Entry = _call(lambda: self._volume.get_file_entry(_VOLUME_FILE))
        kinds = _call(lambda: {one.attribute_type: one for one in entry.attributes})
        information = kinds.get(_VOLUME_INFORMATION)
        return information is not None and bool(_call(lambda: information.flags & _DIRTY))

    def names(self, path: str) -> tuple[str, ...]:
        """List a directory; empty when there is none."""
        entry = self._entry(path)
        if entry is None:
            return ()
        count = _call(lambda: entry.number_of_sub_file_entries)
        if count > _MAX_NAMES:
            raise Bad(f"{path} has {count} names")
        return _call(lambda: tuple(str(entry.get_sub_file_entry(index).name) for index in range(count)))

    def read_head(self, path: str, length: int) -> bytes:
        """Read the first bytes of a file; Missing when there is none."""
        entry = self._entry(path)
        if entry is None:
            raise Missing(f"{path} is not there")
        return bytes(_call(lambda: entry.read_buffer_at_offset(length, 0)))

    def read(self, path: str) -> bytes:
        """Read a whole file; Missing when there is none."""
        entry = self._entry(path)
        if entry is None:
            raise Missing(f"{path} is not there")
        size = _call(lambda: entry.size)
        if size > _MAX_HIVE_BYTES:
            raise Bad(f"{path} has {size} bytes, more than is read")
        starts = range(0, size, _READ_BYTES)
        return _call(lambda: b"".join(entry.read_buffer_at_offset(min(_READ_BYTES, size - at), at) for at in starts))

    def _entry(self, path: str) -> _Entry | None:
        entry: _Entry | None = _call(lambda: self._volume.get_file_entry_by_path(path.replace("/", "\\")))
        return entry


class Hive:
    """A registry hive in memory. Every method raises Bad only, the making Unsupported too."""

    def __init__(self, data: bytes) -> None:
        """Open the hive; Bad when it is none, Unsupported when the extra is not installed."""
        library = _library("pyregf")
        if data[:4] != b"regf":
            raise Bad("it does not begin as a registry hive")
        self._file = io.BytesIO(data)  # the library does not keep it alive
        self._hive = library.file()
        _call(lambda: self._hive.open_file_object(self._file))

    def has(self, key: str) -> bool:
        """Tell whether there is such a key."""
        return _call(lambda: self._hive.get_key_by_path(key)) is not None

    def text(self, key: str, name: str) -> str | None:
        """Give a string value; None when it is not there."""
        value = self._value(key, name)
        return None if value is None else str(_call(lambda: value.get_data_as_string()) or "").rstrip("\0")

    def number(self, key: str, name: str) -> int | None:
        """Give a number; None when it is not there."""
        value = self._value(key, name)
        return None if value is None else int(_call(lambda: value.get_data_as_integer()))

    def texts(self, key: str, name: str) -> tuple[str, ...]:
        """Give the strings of a multi-string value; empty when it is not there."""
        value = self._value(key, name)
        if value is None:
            return ()
        raw = bytes(_call(lambda: value.data) or b"")[:65536]
        return tuple(text for text in raw.decode("utf-16-le", "replace").split("\0") if text)

    def _value(self, key: str, name: str) -> _Value | None:
        found = _call(lambda: self._hive.get_key_by_path(key))
        value: _Value | None = None if found is None else _call(lambda: found.get_value_by_name(name))
        return value


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unsupported(
            "it holds NTFS, which is read with the extra only: pip install 'aliyun-import[windows]'"
        ) from error


def _call(question: Callable[[], T]) -> T:
    """Ask a library, and turn its errors into ours; a read error of the disk itself is among them."""
    try:
        return question()
    except (OSError, OverflowError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise Bad(
            f"the library could not read it: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
