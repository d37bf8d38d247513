"""Registry of the container formats, and detection of the format of a file by its content.

The name of a file is only used to detect that a file with the suffix .vhd or .qcow2 has another format: it was
truncated, or is the wrong file.
"""

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from aliyun_import.disk.containers import compressed, qcow2, qemu, vhd_checks
from aliyun_import.disk.containers.interface import (
    FILE,
    ContainerFormat,
    OpenedContainer,
    OpenSibling,
    Source,
    SuffixRule,
    Upload,
    broken_file,
)
from aliyun_import.disk.reader import Reader
from aliyun_import.disk.report import UNKNOWN, Problem
from aliyun_import.limits import MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

_HEAD_BYTES = 4096
# The smallest disk with a partition: tools leave the first MiB free.
_SMALLEST_BYTES = MIB
_ISO_AT, _ISO_MAGIC = 32769, b"CD001"
_SAMPLES = 64


def identify(file: Reader) -> ContainerFormat:
    """Return the format of a file. Raises OSError."""
    head = file.pread(0, _HEAD_BYTES)
    return next(known for known in FORMATS if known.recognises(file, head))


def format_named(name: str) -> ContainerFormat:
    """Return the format with this name. Raises KeyError."""
    return {known.name: known for known in FORMATS}[name]


def open_container(
    file: Reader, path: Path, *, name: Path | None = None, open_sibling: OpenSibling | None = None
) -> OpenedContainer:
    """Detect the format of a file, open the disk in it, and check the container. Raises OSError only.

    `name` is the file in messages, if it is not `path`. No other file is opened except the parents of a differencing
    VHD, with `open_sibling`.
    """
    found = identify(file)
    suffix = path.suffix.lower()
    rule = next((known.suffix_rule for known in FORMATS if known.suffix_rule and suffix in known.suffixes), None)
    source = Source(path=name or path, suffix_rule=rule, open_sibling=open_sibling, open_inner=_open_inner)
    opened = found.open(found, file, source)
    if found.upload is Upload.REWRITTEN:
        opened = _as_rewritten(opened)
    quoted = shlex.quote(str(source.path))
    problems = tuple(replace(one, remedy=one.remedy and one.remedy.replace(FILE, quoted)) for one in opened.problems)
    return replace(opened, problems=problems)


def _as_rewritten(opened: OpenedContainer) -> OpenedContainer:
    """Return a container that this tool rewrites with what is true of all: a note, and the format and size as RAW."""
    if opened.disk is None:
        return replace(opened, format=None)
    note = Problem(
        code="container-foreign",
        severity=Severity.NOTE,
        message=f"The file is {opened.container.name}, which ECS does not import: it is converted to RAW first.",
        where="first bytes",
        convertible=True,
    )
    has_note = any(problem.convertible for problem in opened.problems)
    return replace(
        opened,
        format=DiskFormat.RAW,
        virtual_bytes=opened.disk.size,
        problems=opened.problems if has_note else (note, *opened.problems),
    )


def is_text(head: bytes) -> bool:
    """Return whether bytes are plain text: printable UTF-8 with line ends, and no zero byte."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut at the end.
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(char.isprintable() or char in "\t\r\n\f\ufeff" for char in text)


def _open_inner(file: Reader, path: Path) -> OpenedContainer:
    """Open the content of a compressed file, unless it is compressed, too: that may be repeated without end."""
    found = identify(file)
    return OpenedContainer(container=found) if found.compression else open_container(file, path)


def _open_raw(own: ContainerFormat, file: Reader, source: Source) -> OpenedContainer:
    problems = []
    if file.size >= _SMALLEST_BYTES and file.size % 512:
        problems.append(
            broken_file(
                "raw-size-not-512",
                f"The size of a RAW disk is a multiple of 512 bytes, but the file has {file.size} bytes, which is "
                f"{file.size % 512} too many: it was truncated, or something was appended.",
                where=f"byte {file.size // 512 * 512}",
            )
        )
    if file.size < _SMALLEST_BYTES:
        problems.append(
            Problem(
                code="disk-too-small",
                severity=Severity.BLOCKS,
                message=f"The file has {file.size} bytes, which is too small for a disk with a partition.",
                where="file size",
                remedy="Pass the disk image. If this is the disk image, copy it again from its source.",
            )
        )
    if source.suffix_rule:
        problems.append(_wrong_suffix(source.suffix_rule, source.path))
    if not problems and _is_blank(file):
        problems.append(
            Problem(
                code="disk-blank",
                severity=Severity.NOTE,
                message="All sampled parts of the disk are zeros.",
                where=f"{_SAMPLES} samples between byte 0 and {file.size}",
                remedy="Do nothing if it is meant as an empty data disk; a system disk must contain a system.",
            )
        )
    return OpenedContainer(
        container=own, format=DiskFormat.RAW, virtual_bytes=file.size, disk=file, problems=tuple(problems)
    )


def _is_blank(file: Reader) -> bool:
    """Return whether the first MiB, the last 64 KiB, and evenly spread samples between them are zeros."""
    if any(file.pread(0, MIB)) or any(file.pread(max(file.size - 65536, 0), 65536)):
        return False
    return not any(any(file.pread(file.size // _SAMPLES * index, 65536)) for index in range(1, _SAMPLES))


def _wrong_suffix(rule: SuffixRule, path: Path) -> Problem:
    """Return the problem of a file with the suffix of another format. A VHD without its footer reads as a RAW disk."""
    return Problem(
        code=rule.code,
        severity=Severity.BLOCKS,
        message=f"The suffix of the file is {path.suffix}, but a {rule.title} has {rule.content}, and this file "
        "does not: it was truncated, or it is a RAW disk with the wrong suffix.",
        where=rule.where,
        remedy="Copy the file again from its source. If it is a RAW disk, change its suffix to .raw.",
    )


def _refuse(own: ContainerFormat, _file: Reader, _source: Source, *, problem: Problem) -> OpenedContainer:
    return OpenedContainer(container=own, problems=(problem,))


def _refused(
    name: str,
    code: str,
    message: str,
    *,
    where: str,
    remedy: str,
    suffixes: tuple[str, ...] = (),
    signatures: tuple[tuple[int, bytes], ...] = (),
    matches: Callable[[Reader, bytes], bool] | None = None,
) -> ContainerFormat:
    problem = Problem(code=code, severity=Severity.BLOCKS, message=message, where=where, remedy=remedy)
    opened = partial(_refuse, problem=problem)
    return ContainerFormat(
        name=name,
        open=opened,
        upload=Upload.NEVER,
        signatures=signatures,
        matches=matches,
        judged_by_head=True,
        suffixes=suffixes,
    )


def _archive(name: str, suffixes: tuple[str, ...], signature: tuple[int, bytes], remedy: str) -> ContainerFormat:
    message = f"The file is {name} data, which ECS does not import and this tool does not unpack."
    return _refused(
        name,
        f"container-{name}",
        message,
        where="first bytes",
        remedy=remedy,
        suffixes=suffixes,
        signatures=(signature,),
    )


_LZ4 = _archive("lz4", (".lz4",), (0, b"\x04\x22\x4d\x18"), "Unpack it with `lz4 -d {file}`, and push the result.")
_SEVEN_ZIP = _archive(
    "7z",
    (".7z",),
    (0, b"7z\xbc\xaf\x27\x1c"),
    "Unpack it with `7z x {file}`, and push the disk image in it.",
)
_TAR = _archive(
    "tar",
    (".tar", ".ova"),
    (257, b"ustar"),
    "Unpack it with `tar -xf {file}` (an .ova is a tar archive), and push the disk image in it.",
)
_EMPTY = replace(
    _refused(
        "empty",
        "file-empty",
        "The file is empty.",
        where="file size",
        remedy="Copy the file again from its source.",
        matches=lambda file, _head: file.size == 0,
    ),
    judged_by_head=False,
)
_ISO = _refused(
    "iso",
    "iso-image",
    "The file is an ISO image (an installation medium), which ECS does not import.",
    where=f"byte {_ISO_AT}: CD001",
    suffixes=(".iso",),
    remedy="Install the system from it in a virtual machine, and push the disk of that machine.",
    # A hybrid ISO has a boot record, too, but ECS does not accept it as a disk.
    matches=lambda file, _head: file.pread(_ISO_AT, len(_ISO_MAGIC)) == _ISO_MAGIC,
)
_TEXT = _refused(
    UNKNOWN,
    "not-a-disk",
    "The file is plain text and not a disk image.",
    where="byte 0",
    remedy="Pass the disk image, and not a file about it (a checksum file, a descriptor, an error page).",
    matches=lambda _file, head: head[510:512] != b"\x55\xaa" and is_text(head),
)
_RAW = ContainerFormat(
    name="raw", open=_open_raw, upload=Upload.AS_IS, suffixes=(".raw", ".img", ".bin", ".dd", ".disk")
)
_DISKS = (
    # A VHD may begin with any bytes, so its footer is searched first.
    vhd_checks.FIXED,
    vhd_checks.DIFFERENCING,
    vhd_checks.DYNAMIC,
    qemu.VMDK,
    qemu.VHDX,
    qemu.VDI,
    qemu.QED,
    qemu.QCOW1,
    qcow2.QCOW2,
    qemu.PARALLELS,
)
# In the order in which they are tried. RAW matches all files.
FORMATS: tuple[ContainerFormat, ...] = (
    _EMPTY,
    *_DISKS,
    compressed.GZIP,
    compressed.XZ,
    compressed.ZSTD,
    compressed.BZIP2,
    compressed.zip_of(tuple(suffix for known in (*_DISKS, _RAW) for suffix in known.suffixes)),
    _LZ4,
    _SEVEN_ZIP,
    _TAR,
    _ISO,
    _TEXT,
    _RAW,
)
