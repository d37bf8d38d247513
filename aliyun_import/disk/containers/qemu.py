"""Containers that the tools of QEMU read: `qemu-img` converts them, `qemu-nbd` reads them for the inspection.

The tools always get the format, so that they do not guess it, and they follow no reference. A VMDK or QED may name any
file of this machine as its parent or as a part of itself. So a VMDK that is a descriptor of other files is not passed
to qemu-img, which would open them. Any other image is passed with `backing: null`, examined with `qemu-img info`, and
refused if it is not complete.
"""

import json
import shlex
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from aliyun_import.disk.containers.interface import (
    COPY_AGAIN,
    ContainerFormat,
    OpenedContainer,
    Source,
    SuffixRule,
    Upload,
)
from aliyun_import.disk.isolated import child_environment, last_line, with_parent_death_signal
from aliyun_import.disk.reader import Bad, FileReader, Missing, PiecewiseReader, Reader, Unsupported
from aliyun_import.disk.report import Problem
from aliyun_import.errors import DiskError, LocalStateError, QemuImgMissing
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

_INFO_TIMEOUT_S = 60
# The interval at which the free space is checked while qemu-img writes.
_CHECK_EVERY_S = 1.0
_NO_PARENT_CID = 0xFFFFFFFF


def _open(own: ContainerFormat, file: Reader, source: Source, *, size_at: tuple[str, int] | None) -> OpenedContainer:
    """Open a file whose disk `open_nbd` reads. `size_at`: struct format and offset of the virtual size in bytes."""
    return OpenedContainer(
        container=own,
        format=DiskFormat.RAW,
        virtual_bytes=_number(file, *size_at) if size_at else None,
        problems=(_other_hypervisor(own, source.path),),
    )


def _open_vmdk(own: ContainerFormat, file: Reader, source: Source) -> OpenedContainer:
    opened = _open(own, file, source, size_at=None)
    sectors = _number(file, "<Q", 12) if file.pread(0, 4) == b"KDMV" else None
    return OpenedContainer(
        container=own, format=opened.format, virtual_bytes=sectors and sectors * 512, problems=opened.problems
    )


def _number(file: Reader, form: str, at: int) -> int | None:
    raw = file.pread(at, 8)
    number: int = struct.unpack(form, raw)[0] if len(raw) == 8 else 0
    return number or None


def _conversion(path: Path, container: ContainerFormat) -> str:
    """Return the command that converts a file to a QCOW2 in the same directory, quoted for a shell."""
    name, target = shlex.quote(str(path)), shlex.quote(str(path.with_suffix(".qcow2")))
    return f"qemu-img convert -f {container.qemu_name} -O qcow2 {name} {target}"


def _other_hypervisor(own: ContainerFormat, path: Path) -> Problem:
    name, command = own.name.upper(), _conversion(path, own)
    if shutil.which("qemu-img") is None:
        return Problem(
            code="container-foreign",
            severity=Severity.BLOCKS,
            message=f"The file is {name}, which ECS does not import. qemu-img, which converts it, is not installed.",
            where="first bytes",
            remedy=f"Install qemu-img (package qemu-utils or qemu-img), or convert it elsewhere: `{command}`.",
            convertible=True,
        )
    return Problem(
        code="container-foreign",
        severity=Severity.NOTE,
        message=f"The file is {name}, which ECS does not import: it is converted first.",
        where="first bytes",
        remedy=f"To keep the converted disk, convert it yourself: `{command}`.",
        convertible=True,
    )


def _format(
    name: str,
    *signatures: tuple[int, bytes],
    size_at: tuple[str, int] | None = None,
    suffixes: tuple[str, ...] = (),
    content: str = "",
) -> ContainerFormat:
    return ContainerFormat(
        name=name,
        open=_open_vmdk if name == "vmdk" else partial(_open, size_at=size_at),
        upload=Upload.BY_QEMU,
        judged_by_head=True,
        signatures=signatures,
        suffixes=suffixes,
        suffix_rule=SuffixRule(title=name.upper(), content=content) if content else None,
        qemu_name=name,
    )


# There is no rule for .vmdk: the extent of a flat VMDK has this suffix, and is a RAW disk.
VMDK = _format("vmdk", (0, b"KDMV"), (0, b"COWD"), (0, b"# Disk DescriptorFile"), suffixes=(".vmdk",))
VHDX = _format("vhdx", (0, b"vhdxfile"), suffixes=(".vhdx",), content="`vhdxfile` in its first bytes")
VDI = _format(
    "vdi",
    (0x40, b"\x7f\x10\xda\xbe"),
    size_at=("<Q", 0x170),
    suffixes=(".vdi",),
    content="its signature at byte 64",
)
QCOW1 = _format("qcow", (0, b"QFI\xfb\0\0\0\x01"), size_at=(">Q", 24), suffixes=(".qcow",))
QED = _format("qed", (0, b"QED\0"), size_at=("<Q", 48), suffixes=(".qed",))
PARALLELS = _format("parallels", (0, b"WithoutFreeSpace"), (0, b"WithouFreSpacExt"), suffixes=(".hdd", ".hds"))


def convert_to_raw(
    path: Path, container: ContainerFormat, *, name: Path, target: Path, while_waiting: Callable[[], None]
) -> None:
    """Convert an image to a sparse RAW file at `target`. An existing file is overwritten and keeps its mode.

    `name` is the image in errors. `while_waiting` is called every second, and may raise to stop the conversion. Raises
    DiskError "qemu-img-missing", "not-whole" or "conversion-failed", and LocalStateError "no-space". The child has
    ended when this returns or raises.
    """
    ensure_whole(path, container, name=name)
    image = description(path, container)
    with subprocess.Popen(
        with_parent_death_signal(["qemu-img", "convert", "-O", "raw", "-S", "64k", image, target]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=child_environment(),
    ) as child:
        try:
            stderr = _wait(child, while_waiting)
        finally:
            with suppress(ProcessLookupError):
                child.kill()
    if child.returncode:
        raise _failed(name, container, stderr)


def ensure_whole(path: Path, container: ContainerFormat, *, name: Path) -> None:
    """Let qemu-img open the image, and refuse one that depends on other files. `name` is the image in errors.

    Raises DiskError: "qemu-img-missing", "not-whole", "conversion-failed".
    """
    if shutil.which("qemu-img") is None:
        raise _missing(name, container)
    if container is VMDK and _is_descriptor(path):
        raise _not_whole(name, "it is a descriptor, and its data is in other files", format_name="vmdk")
    _refuse_parts(path, _info(name, description(path, container)), name=name)


def description(path: Path, container: ContainerFormat) -> str:
    """Return the name of an image for QEMU with its format, and without a protocol or a parent to guess."""
    described = {
        "driver": container.qemu_name,
        "file": {"driver": "file", "filename": str(path.absolute())},
        "backing": None,
    }
    return "json:" + json.dumps(described)


def _is_descriptor(path: Path) -> bool:
    """Return whether a VMDK is only a descriptor of other files: text, or text after a header with zero sectors."""
    try:
        with FileReader(path) as file:
            head = file.pread(0, 20)
    except OSError as error:
        raise DiskError(
            f"{path} can't be read.",
            code="disk-read",
            cause=error.strerror,
            remedy=f"Copy {path} to healthy storage, and use the copy.",
        ) from error
    return head.startswith(b"#") or (head.startswith(b"KDMV") and not any(head[12:20]))


def _wait(child: "subprocess.Popen[bytes]", while_waiting: Callable[[], None]) -> bytes:
    while True:
        with suppress(subprocess.TimeoutExpired):
            return child.communicate(timeout=_CHECK_EVERY_S)[1]
        while_waiting()


def _info(path: Path, image: str) -> Mapping[str, object]:
    try:
        done = subprocess.run(
            with_parent_death_signal(["qemu-img", "info", "--force-share", "--output=json", image]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=child_environment(),
            timeout=_INFO_TIMEOUT_S,
            check=False,
        )
        answer = json.loads(done.stdout) if done.returncode == 0 else None
    except subprocess.TimeoutExpired as error:
        raise DiskError(
            f"{path} can't be converted: qemu-img did not answer within {_INFO_TIMEOUT_S} seconds.",
            code="conversion-failed",
            remedy=f"Try `qemu-img info {path}`, and check the log of the kernel (`dmesg`) for the disk that it is on.",
        ) from error
    except ValueError as error:
        raise DiskError(
            f"{path} can't be converted: the output of qemu-img is not valid.",
            code="conversion-failed",
            remedy="Check `qemu-img --version`: 4.0 or later is needed.",
        ) from error
    if not isinstance(answer, dict):
        raise DiskError(
            f"{path} can't be converted: qemu-img can't open it.",
            code="conversion-failed",
            cause=last_line(done.stderr),
            remedy=COPY_AGAIN,
        )
    return answer


def _refuse_parts(path: Path, info: Mapping[str, object], *, name: Path) -> None:
    """Refuse an image with a parent, or with data in other files."""
    details = info.get("format-specific")
    data = details.get("data") if isinstance(details, dict) else None
    data = data if isinstance(data, dict) else {}
    parent = info.get("backing-filename")
    if parent or data.get("parent-cid", _NO_PARENT_CID) != _NO_PARENT_CID:
        reason = f"it contains only the differences from {parent or 'a parent'}"
    else:
        extents = data.get("extents")
        names = {extent.get("filename") for extent in extents} if isinstance(extents, list) else set()
        others = sorted(str(name) for name in names if name and Path(str(name)) != path.absolute())
        if not others:
            return
        reason = f"its data is in {others[0]}{' and other files' if len(others) > 1 else ''}"
    raise _not_whole(name, reason, format_name=str(info.get("format", "vmdk")))


def _not_whole(path: Path, reason: str, *, format_name: str) -> DiskError:
    source, target = shlex.quote(str(path)), shlex.quote(str(path.with_suffix(".raw")))
    return DiskError(
        f"{path} is not a whole disk: {reason}. Such references are not followed.",
        code="not-whole",
        remedy=f"If you trust the image, convert it to one file: `qemu-img convert -f {format_name} -O raw {source} "
        f"{target}`, and push that.",
    )


def _missing(path: Path, container: ContainerFormat) -> DiskError:
    return QemuImgMissing(
        f"{path} is {container.name.upper()}, which ECS does not import, and qemu-img is not installed.",
        code="qemu-img-missing",
        remedy="Install qemu-img (Debian, Ubuntu: qemu-utils; others: qemu-img), or convert it on another machine: "
        f"`{_conversion(path, container)}`.",
    )


def _failed(path: Path, container: ContainerFormat, stderr: bytes) -> DiskError | LocalStateError:
    line = last_line(stderr)
    if "No space left" in line:
        return LocalStateError(
            f"There is not enough free space to convert {path}.",
            code="no-space",
            cause=line,
            remedy="Free some space, or name a directory with more: --work-dir DIRECTORY.",
        )
    return DiskError(
        f"{path} could not be converted.",
        code="conversion-failed",
        cause=line,
        remedy=f"Check it: `qemu-img check -f {container.qemu_name} {shlex.quote(str(path))}`; or copy it again from "
        "its source.",
    )


# The NBD project's doc/proto.md: fixed newstyle, NBD_OPT_EXPORT_NAME.
_INIT_MAGIC, _OPTION_MAGIC = b"NBDMAGIC", b"IHAVEOPT"
_FIXED_NEWSTYLE, _NO_ZEROES = 1, 2
_EXPORT_NAME = 1
_REQUEST_MAGIC, _REPLY_MAGIC = 0x25609513, 0x67446698
_READ, _DISCONNECT = 0, 2
# The protocol allows servers to refuse requests over 32 MiB.
_MAX_REQUEST_BYTES = 32 * MIB
_START_TIMEOUT_S, _TRY_EVERY_S, _REPLY_TIMEOUT_S = 20.0, 0.02, 30.0
# Not the default of tempfile, which is found by writing a file: the isolated child can't write files. Short, because
# the path of a socket has at most 107 characters. The directory that is created in it is private.
_SOCKET_DIRECTORY = "/tmp"  # noqa: S108


class NbdReader(PiecewiseReader):
    """A disk of an NBD server, read through a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        """Perform the handshake. Raises Bad if the server does not use NBD."""
        self._connection = connection
        greeting = self._receive(18)
        if not greeting.startswith(_INIT_MAGIC + _OPTION_MAGIC):
            raise Bad("the greeting of qemu-nbd is not NBD")
        (flags,) = struct.unpack_from(">H", greeting, 16)
        self._send(struct.pack(">I", flags & (_FIXED_NEWSTYLE | _NO_ZEROES)))
        self._send(_OPTION_MAGIC + struct.pack(">II", _EXPORT_NAME, 0))
        super().__init__(struct.unpack(">QH", self._receive(10))[0])
        if not flags & _NO_ZEROES:
            self._receive(124)

    def close(self) -> None:
        """Disconnect, which ends qemu-nbd."""
        with suppress(Bad):
            self._send(struct.pack(">IHHQQI", _REQUEST_MAGIC, 0, _DISCONNECT, 0, 0, 0))

    def _piece(self, offset: int, length: int) -> bytes:
        """Request a range. Raises Bad if qemu-nbd can't read it, or has ended."""
        length = min(length, _MAX_REQUEST_BYTES)
        self._send(struct.pack(">IHHQQI", _REQUEST_MAGIC, 0, _READ, offset, offset, length))
        magic, error, handle = struct.unpack(">IIQ", self._receive(16))
        if magic != _REPLY_MAGIC or handle != offset:
            raise Bad("the reply of qemu-nbd is not NBD", offset=offset)
        if error:
            raise Bad(f"qemu-nbd can't read it (error {error})", offset=offset)
        return self._receive(length)

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Bad(f"the connection to qemu-nbd is broken ({error})") from error

    def _receive(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            try:
                piece = self._connection.recv(min(length - len(data), MIB))
            except OSError as error:
                raise Bad(f"qemu-nbd does not answer ({error})") from error
            if not piece:
                raise Bad("qemu-nbd ended: the image is damaged, or has another format")
            data += piece
        return bytes(data)


@contextmanager
def open_nbd(image: str) -> Iterator[NbdReader]:
    """Start qemu-nbd for an image with a name as of `description`, and yield a reader of its disk.

    qemu-nbd opens the file read-only, serves one client on a private socket, and ends with it. Raises Missing if it is
    not installed, and Unsupported if it can't open the image.
    """
    if shutil.which("qemu-nbd") is None:
        raise Missing("qemu-nbd is not installed")
    with tempfile.TemporaryDirectory(prefix="aliyun-import-", dir=_SOCKET_DIRECTORY) as directory:
        address = f"{directory}/nbd"
        with subprocess.Popen(
            with_parent_death_signal(["qemu-nbd", "--read-only", "--socket", address, image]),
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
    """Wait until qemu-nbd listens, and connect."""
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
            _, stderr = server.communicate(timeout=_TRY_EVERY_S)
            raise Unsupported(f"qemu-nbd can't open it ({last_line(stderr)})")
    raise Unsupported(f"qemu-nbd did not listen within {_START_TIMEOUT_S:g} seconds")
