"""This file makes of a disk that ECS does not take one that it does, in a temporary file, and never in place.

The file's name is made of the source's fingerprint, and it gets this name when it is whole: a push that was killed
finds it again and makes nothing twice. It is removed when what it was made for is done.
"""

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from aliyun_import.disk.containers.compressed_checks import COMPRESSED
from aliyun_import.disk.containers.qemu_formats import QEMU_NAMES
from aliyun_import.disk.containers.registry import open_container
from aliyun_import.disk.containers.vhd import fixed_footer
from aliyun_import.disk.containers.vhd_parent import Folder
from aliyun_import.disk.disk import open_source
from aliyun_import.disk.fingerprint import Fingerprint, Likeness
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.io.qemu import convert_to_raw
from aliyun_import.disk.io.reader import FileReader, Reader, ReadProblem, next_data
from aliyun_import.disk.io.sparse import require_space, write_sparse
from aliyun_import.disk.io.unpack import unpacked
from aliyun_import.disk.report import Container, DiskReport
from aliyun_import.errors import AliyunImportError, DiskChanged, DiskError, Interrupted, LocalStateError, TransientError
from aliyun_import.events import Emit, Noted, Warned
from aliyun_import.limits import GIB, MIB
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

CHS_PADDED = "vhd-chs-padded"
_CHUNK_BYTES = 4 * MIB
# A file on its way to its name, with the process that makes it.
_PART = re.compile(r"aliyun-import-[0-9a-f]{20}\.[a-z0-9]+\.([0-9]{1,9})\.part(?:\.second)?")
_GPT_ALTERNATE_AT = 512 + 32


def needs_preparing(report: DiskReport) -> bool:
    """Tell whether `prepare` would make another file of this disk."""
    return any(problem.convertible for problem in report.container_problems)


@contextmanager
def prepare(path: Path, report: DiskReport, *, work_dir: Path | None, emit: Emit) -> Iterator[Path]:
    """Give the file to upload: `path` itself, or a temporary file in the format that the report tells.

    `work_dir` None takes TMPDIR, else /var/tmp. The file is removed at the end; it stays when the body ends with
    trouble that passes, so that the next run finds it: then that is said. Raises DiskError for what can't be converted
    ("qemu-img-missing", "not-whole", "conversion-failed", "unpack-failed", or the code of the problem of the disk that
    was packed), LocalStateError "no-space", "work-dir-unusable" or "disk-changed".
    """
    if not needs_preparing(report):
        yield path
        return
    try:
        target = _target(path, report, _directory(work_dir))
        _make(path, report, target, emit=emit)
    except LocalStateError as error:
        # A padded VHD can be imported as it is, only larger.
        padded = any(problem.code == CHS_PADDED for problem in report.container_problems)
        if not padded or report.container in COMPRESSED or error.code == "disk-changed":
            raise
        emit(Warned(code=CHS_PADDED, message=f"{path} is sent with its padding. {error.summary}", remedy=error.remedy))
        yield path
        return
    try:
        yield target
    except (Interrupted, TransientError, KeyboardInterrupt):
        emit(Noted(message=f"The converted disk stays in {target} for the next run."))
        raise
    except AliyunImportError as error:
        if not error.resumable:
            target.unlink(missing_ok=True)
        raise
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    target.unlink(missing_ok=True)


def _directory(work_dir: Path | None) -> Path:
    """Give the directory to work in; the default one is private to the user, because names in it can be foretold."""
    # /var/tmp is for large files and survives a restart; /tmp may be in memory.
    usual = "/var/tmp" if Path("/var/tmp").is_dir() else tempfile.gettempdir()  # noqa: S108 -- not used itself
    base = Path(os.environ.get("TMPDIR") or usual)
    directory = work_dir or base / f"aliyun-import-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat() if work_dir else directory.lstat()
    except OSError as error:
        raise _unusable(directory, error.strerror or str(error)) from error
    if not stat.S_ISDIR(status.st_mode) or not os.access(directory, os.W_OK | os.X_OK):
        raise _unusable(directory, "it can't be written to")
    if work_dir is None and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise _unusable(directory, "it belongs to, or can be written by, somebody else")
    return directory


def _unusable(directory: Path, cause: str) -> LocalStateError:
    return LocalStateError(
        f"{directory} can't be used for temporary files.",
        code="work-dir-unusable",
        cause=cause,
        remedy="Name a directory of your own with enough room: --work-dir DIRECTORY.",
    )


def _target(path: Path, report: DiskReport, directory: Path) -> Path:
    seen = " ".join(one.encoded() for one in fingerprints_of(path, report))
    digest = hashlib.sha256(f"{seen} {report.container}".encode()).hexdigest()[:20]
    return directory / f"aliyun-import-{digest}.{(report.format or DiskFormat.RAW).lower()}"


def fingerprints_of(path: Path, report: DiskReport) -> tuple[Fingerprint, ...]:
    """Look at all files that a disk is made of, the disk first. Raises DiskError as `open_source` does."""
    seen = []
    for file in (path, *report.parents):
        with open_source(file) as source:
            seen.append(source.fingerprint())
    return tuple(seen)


def _make(path: Path, report: DiskReport, target: Path, *, emit: Emit) -> None:
    """Make the target, unless an earlier run did: it bears its name only when it is whole.

    The name tells of which content it was made only where fingerprints do: what an earlier run made of a block device
    is made again.
    """
    believed = all(one.likeness(one) is Likeness.SAME for one in fingerprints_of(path, report))
    if _is_ours(target) and not believed:
        target.unlink()
    elif _is_ours(target):
        emit(Noted(message=f"{target}, converted from {path} by an earlier run, is used again."))
        return
    _remove_leftovers(target.parent)
    before = _states(path, report)
    emit(Noted(message=f"{path} ({report.container}) is converted to {target}."))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if report.container in COMPRESSED:
            _unpack(path, report, part)
        elif report.container in QEMU_NAMES:
            _convert(path, report.container, part, least_bytes=min(report.file_bytes, report.virtual_bytes or 0))
        else:
            _rewrite(path, report, part)
        if _states(path, report) != before:
            raise _changed(path)
        _finish(part, target, modified_ns=path.stat().st_mtime_ns)
    except OSError as error:
        raise _failed(path, part, error) from error
    finally:
        part.unlink(missing_ok=True)


def _states(path: Path, report: DiskReport) -> list[Fingerprint | str]:
    """Tell of all files that are read what changes when they do: of a block device, a digest of all of it."""
    return [
        _digest(file) if seen.is_block else seen
        for file, seen in zip((path, *report.parents), fingerprints_of(path, report), strict=True)
    ]


def _digest(device: Path) -> str:
    with device.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _finish(part: Path, target: Path, *, modified_ns: int) -> None:
    """Give the part its name, once it is on the disk whole: after a power cut the name must not be a lie."""
    # The next run may have to make the file again: it then looks the same to whoever asks for its time.
    os.utime(part, ns=(modified_ns, modified_ns))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(target)


def _changed(path: Path) -> LocalStateError:
    return DiskChanged(
        f"{path} changed while it was converted.",
        code="disk-changed",
        remedy="Stop whatever writes to it (a running machine?), and run the command again.",
    )


def _failed(path: Path, part: Path, error: OSError) -> AliyunImportError:
    cause = f"{error.filename or part}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LocalStateError(
            f"There is no room left in {part.parent} to convert {path}.",
            code="no-space",
            cause=cause,
            remedy="Free some, or name a directory with more: --work-dir DIRECTORY.",
        )
    return DiskError(
        f"{path} could not be converted.",
        code="conversion-failed",
        cause=cause,
        remedy=f"Look at the system's log (`dmesg`) for the disks of {path} and of {part.parent}, "
        "or name another directory: --work-dir DIRECTORY.",
    )


def _is_ours(target: Path) -> bool:
    try:
        status = target.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        return True
    raise _unusable(target.parent, f"{target} is there, and was not made by this user")


def _remove_leftovers(directory: Path) -> None:
    """Remove what killed runs left half-made, of whatever disk; a run that goes on keeps its own."""
    for part in directory.iterdir():
        name = _PART.fullmatch(part.name)
        if name and part.lstat().st_uid == os.getuid() and not _is_alive(int(name[1])):
            part.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _convert(path: Path, container: Container, part: Path, *, least_bytes: int) -> None:
    require_space(part.parent, least_bytes)
    # Made here and not by qemu-img, so that nobody else can read it.
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    convert_to_raw(path, container, target=part, while_waiting=partial(require_space, part.parent, 0))


def _unpack(path: Path, report: DiskReport, part: Path) -> None:
    require_space(part.parent, report.file_bytes)
    try:
        write_sparse(unpacked(path, report.container), part)
    except ReadProblem as problem:
        raise DiskError(
            f"{path} can't be unpacked.",
            code="unpack-failed",
            cause=problem.message,
            remedy=f"Copy {path.name} again from its source, or unpack it yourself and push the disk in it.",
        ) from problem
    inner = inspect_disk(part)
    if inner.container in QEMU_NAMES:
        second = part.with_name(f"{part.name}.second")
        try:
            _convert(part, inner.container, second, least_bytes=min(inner.file_bytes, inner.virtual_bytes or 0))
            second.rename(part)
        finally:
            second.unlink(missing_ok=True)
        return
    _refuse_inner(path, inner)
    if inner.container is Container.VHD_FIXED and inner.virtual_bytes is not None:
        # Without its footer a fixed VHD is a RAW disk, which is what the report says.
        os.truncate(part, inner.virtual_bytes)
    elif inner.format is not report.format:
        raise DiskError(
            f"{path} holds a {inner.container} image where a {report.format} one was seen before.",
            code="unpack-failed",
            remedy=f"Unpack {path.name} yourself, and push the disk in it.",
        )


def _refuse_inner(path: Path, inner: DiskReport) -> None:
    for problem in inner.container_problems:
        # The parent of a packed differencing VHD is not packed with it.
        alone = inner.container not in COMPRESSED and inner.container is not Container.VHD_DIFFERENCING
        if problem.severity is Severity.BLOCKS or not alone:
            raise DiskError(
                f"{path}, once unpacked, can't be imported: {problem.seen}",
                code=problem.code,
                remedy=problem.remedy,
                details={"where": problem.where},
            )


def _rewrite(path: Path, report: DiskReport, part: Path) -> None:
    """Write the disk in a VHD anew: a differencing one whole, as RAW; a CHS-padded one as a fixed VHD without padding.

    Read through our own readers: qemu-img takes a differencing VHD for a dynamic one.
    """
    with FileReader(path) as file, Folder(path) as folder:
        opened = open_container(file, path, neighbours=folder.neighbour)
        disk = opened.disk
        if disk is None or tuple(folder.path / name for name in opened.parents) != report.parents:
            raise _changed(path)
        # What is a hole takes no room in the new file either.
        held = sum(one.stat().st_blocks * 512 for one in (path, *report.parents))
        require_space(part.parent, min(held, disk.size))
        try:
            if report.container is Container.VHD_DIFFERENCING:
                write_sparse(_pieces(disk, disk.size), part)
            else:
                size = _unpadded_bytes(disk, report)
                write_sparse(chain(_pieces(disk, size), [fixed_footer(size)]), part)
        except ReadProblem as problem:
            raise DiskError(
                f"{path} can't be read.",
                code="conversion-failed",
                cause=problem.message,
                remedy="Copy the file again from its source, and compare the sizes (and a checksum) of both.",
            ) from problem


def _unpadded_bytes(disk: Reader, report: DiskReport) -> int:
    """Tell the size before the padding: to the GPT's backup, else the whole GiB or MiB below, if nothing lies behind.

    The padding is a cylinder at most, 2 MiB.
    """
    head = disk.pread(512, 512)
    alternate = int.from_bytes(head[_GPT_ALTERNATE_AT - 512 : _GPT_ALTERNATE_AT - 504], "little")
    has_gpt = head.startswith(b"EFI PART")
    sizes = [(alternate + 1) * 512] if has_gpt else [disk.size // unit * unit for unit in (GIB, MIB)]
    used = max((partition.start_bytes + partition.size_bytes for partition in report.partitions), default=0)
    for size in sizes:
        if max(used, disk.size - _CHUNK_BYTES) <= size <= disk.size and not any(disk.pread(size, _CHUNK_BYTES)):
            return size
    return disk.size


def _pieces(disk: Reader, size: int) -> Iterator[bytes | int]:
    """Read a disk from its beginning, as `write_sparse` takes it: without a look at its holes."""
    offset = 0
    while offset < size:
        start = min(next_data(disk, offset), size)
        yield start - offset
        yield disk.pread(start, min(_CHUNK_BYTES, size - start))
        offset = min(start + _CHUNK_BYTES, size)
