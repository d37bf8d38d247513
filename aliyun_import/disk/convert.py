"""Conversion of a disk that ECS does not accept to a temporary file that it accepts.

The name of the file is derived from the fingerprint of the source, and the file gets this name when it is complete. A
push after a killed one finds the file, and converts nothing twice. The file is removed when it is not needed any more.
"""

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from aliyun_import.disk.containers.compressed import compressed_twice, unpacked_file
from aliyun_import.disk.containers.interface import COPY_AGAIN, ContainerFormat, Upload
from aliyun_import.disk.containers.qemu import convert_to_raw
from aliyun_import.disk.containers.registry import format_named, open_container
from aliyun_import.disk.containers.vhd import DiskDirectory, fixed_footer
from aliyun_import.disk.containers.vhd_checks import CHS_PADDED, NEEDS_PARENT, unpadded_bytes
from aliyun_import.disk.containers.vhd_checks import FIXED as VHD_FIXED
from aliyun_import.disk.disk import Disk, open_disk, unpack_failed
from aliyun_import.disk.fingerprint import Comparison, Fingerprint
from aliyun_import.disk.inspect import inspect_disk
from aliyun_import.disk.reader import FileReader, Reader, ReadProblem, data_pieces
from aliyun_import.disk.report import DiskReport
from aliyun_import.disk.sparse import require_space, write_sparse
from aliyun_import.errors import AliyunImportError, DiskChanged, DiskError, Interrupted, LocalStateError, TransientError
from aliyun_import.events import Emit, Noted, Warned
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskFormat

# The name of a partial file, with the id of the process that writes it.
_PART = re.compile(r"aliyun-import-[0-9a-f]{20}\.[a-z0-9]+\.([0-9]{1,9})\.part(?:\.second)?")


def needs_preparing(report: DiskReport) -> bool:
    """Return whether `prepare` would convert this disk to another file.

    A container that ECS does not accept is always converted, whatever its problems are. Of those that it accepts, a
    problem decides: padding of a VHD, or a compressed file that can't be unpacked during the upload.
    """
    return format_named(report.container).is_rewritten or any(
        problem.convertible for problem in report.container_problems
    )


@contextmanager
def prepare(path: Path, report: DiskReport, *, work_dir: Path | None, emit: Emit) -> Iterator[Path]:
    """Yield the file to upload: `path` itself, or a temporary file in the format of the report.

    The default of `work_dir` is TMPDIR, or else /var/tmp. The file is removed at the end. It stays, with a message, if
    the body ends with a transient failure, so that the next run finds it. Raises DiskError if the disk can't be
    converted ("qemu-img-missing", "not-whole", "conversion-failed", "unpack-failed", or the code of a problem of the
    disk in a compressed file), and LocalStateError "no-space", "work-dir-unusable" or "disk-changed".
    """
    if not needs_preparing(report):
        yield path
        return
    try:
        target = _target(path, report, _directory(work_dir))
        _make(path, report, target, emit=emit)
    except LocalStateError as error:
        # A padded VHD can be imported with its padding, too.
        padded = any(problem.code == CHS_PADDED for problem in report.container_problems)
        if not padded or format_named(report.container).compression or isinstance(error, DiskChanged):
            raise
        message = f"{path} is uploaded with its padding. {error.summary}"
        emit(Warned(code=CHS_PADDED, message=message, remedy=error.remedy))
        yield path
        return
    stays = False
    try:
        yield target
    except (Interrupted, TransientError, KeyboardInterrupt):
        stays = True
        emit(Noted(message=f"The converted disk stays in {target} for the next run."))
        raise
    except AliyunImportError as error:
        stays = error.resumable
        raise
    finally:
        if not stays:
            target.unlink(missing_ok=True)


def _directory(work_dir: Path | None) -> Path:
    """Return the directory of temporary files. The default is private to the user, because names are predictable."""
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
        raise _unusable(directory, "it belongs to, or can be written by, another user")
    return directory


def _unusable(directory: Path, cause: str) -> LocalStateError:
    return LocalStateError(
        f"{directory} can't be used for temporary files.",
        code="work-dir-unusable",
        cause=cause,
        remedy="Pass a directory that you own, with enough free space: --work-dir DIRECTORY.",
    )


def _target(path: Path, report: DiskReport, directory: Path) -> Path:
    fingerprints = " ".join(one.encoded() for one in _fingerprints(path, report))
    digest = hashlib.sha256(f"{fingerprints} {report.container}".encode()).hexdigest()[:20]
    return directory / f"aliyun-import-{digest}.{(report.format or DiskFormat.RAW).lower()}"


def fingerprints_of(disk: Disk, report: DiskReport) -> tuple[Fingerprint, ...]:
    """Return the fingerprints of a disk and of its parents. Raises DiskError as `open_disk`."""
    with ExitStack() as parents:
        disks = (disk, *(parents.enter_context(open_disk(path)) for path in report.parents))
        return tuple(one.fingerprint() for one in disks)


def _fingerprints(path: Path, report: DiskReport) -> tuple[Fingerprint, ...]:
    """Return the fingerprints of the files with these names, because a conversion opens its files by name."""
    with open_disk(path) as disk:
        return fingerprints_of(disk, report)


def _make(path: Path, report: DiskReport, target: Path, *, emit: Emit) -> None:
    """Write the target, unless an earlier run completed it.

    The target of a block device is always written again, because its fingerprint does not identify its content.
    """
    identified = all(one.comparison(one) is Comparison.SAME for one in _fingerprints(path, report))
    if _was_completed(target) and not identified:
        target.unlink()
    elif _was_completed(target):
        emit(Noted(message=f"{target}, converted from {path} by an earlier run, is used again."))
        return
    _remove_leftovers(target.parent)
    before = _states(path, report)
    emit(Noted(message=f"{path} ({report.container}) is converted to {target}."))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        container = format_named(report.container)
        if container.upload is Upload.UNPACKED:
            _unpack(path, report, part)
        else:
            _write_raw(path, container, report, part)
        if _states(path, report) != before:
            raise _changed(path)
        _finish(part, target, modified_ns=path.stat().st_mtime_ns)
    except OSError as error:
        raise _failed(path, part, error) from error
    finally:
        part.unlink(missing_ok=True)


def _states(path: Path, report: DiskReport) -> list[Fingerprint | str]:
    """Return a value per file that changes with its content: its fingerprint, or a digest of a whole block device."""
    return [
        _digest(file) if fingerprint.is_block else fingerprint
        for file, fingerprint in zip((path, *report.parents), _fingerprints(path, report), strict=True)
    ]


def _digest(device: Path) -> str:
    with device.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _finish(part: Path, target: Path, *, modified_ns: int) -> None:
    """Rename the partial file after all of it is on stable storage, so that the name is right after a power failure."""
    # The next run may have to write the file again. With the same modification time, its fingerprint is equal.
    os.utime(part, ns=(modified_ns, modified_ns))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(target)


def _changed(path: Path) -> DiskChanged:
    return DiskChanged(
        f"{path} changed while it was converted.",
        code="disk-changed",
        remedy="Stop the program or the machine that writes to it, and run the command again.",
    )


def _failed(path: Path, part: Path, error: OSError) -> AliyunImportError:
    cause = f"{error.filename or part}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LocalStateError(
            f"There is not enough free space in {part.parent} to convert {path}.",
            code="no-space",
            cause=cause,
            remedy="Free some space, or name a directory with more: --work-dir DIRECTORY.",
        )
    return DiskError(
        f"{path} could not be converted.",
        code="conversion-failed",
        cause=cause,
        remedy=f"Check the log of the kernel (`dmesg`) for the disks of {path} and of {part.parent}, or pass another "
        "directory: --work-dir DIRECTORY.",
    )


def _was_completed(target: Path) -> bool:
    """Return whether an earlier run completed the target. Raises LocalStateError if another user may have."""
    try:
        status = target.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        return True
    raise _unusable(target.parent, f"{target} exists, and was not created by this user")


def _remove_leftovers(directory: Path) -> None:
    """Remove the partial files of killed runs, for any disk. Those of running processes stay."""
    for part in directory.iterdir():
        name = _PART.fullmatch(part.name)
        if name and part.lstat().st_uid == os.getuid() and not is_alive(int(name[1])):
            part.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Return whether a process with this number runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _convert(path: Path, container: ContainerFormat, part: Path, *, name: Path, least_bytes: int) -> None:
    require_space(part.parent, least_bytes)
    # Created with mode 0600 and not by qemu-img, so that no other user can read it.
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    convert_to_raw(path, container, name=name, target=part, while_waiting=partial(require_space, part.parent, 0))


def _unpack(path: Path, report: DiskReport, part: Path) -> None:
    require_space(part.parent, report.file_bytes)
    try:
        write_sparse(unpacked_file(path, format_named(report.container)), part)
    except ReadProblem as problem:
        raise unpack_failed(path, problem.message) from problem
    name = path.with_suffix("")  # the name of the content if the user unpacks the file
    inner = inspect_disk(part, name=name)
    container = format_named(inner.container)
    _refuse_inner(path, container, inner)
    made = inner.format
    if container.is_rewritten:
        _replace_by_raw(part, container, inner)
        made = DiskFormat.RAW
    elif container is VHD_FIXED and inner.virtual_bytes is not None:
        # Without its footer a fixed VHD is a RAW disk, the format in the report.
        os.truncate(part, inner.virtual_bytes)
        made = DiskFormat.RAW
    if made is not report.format:
        raise DiskError(
            f"{path} contains a {inner.container} image, and the inspection found a {report.format} image.",
            code="unpack-failed",
            remedy=f"Unpack {path.name} yourself, and push the disk in it.",
        )


def _replace_by_raw(part: Path, container: ContainerFormat, inner: DiskReport) -> None:
    """Convert an unpacked container, whose report is `inner`, in its place."""
    second = part.with_name(f"{part.name}.second")
    try:
        _write_raw(part, container, inner, second)
        second.rename(part)
    finally:
        second.unlink(missing_ok=True)


def _write_raw(path: Path, container: ContainerFormat, report: DiskReport, target: Path) -> None:
    """Write the disk in the container at `path` to `target`. The report has its name for messages."""
    if container.upload is Upload.BY_QEMU:
        least_bytes = min(report.file_bytes, report.virtual_bytes or 0)
        _convert(path, container, target, name=report.path, least_bytes=least_bytes)
    else:
        _rebuild(path, report, target)


def _refuse_inner(path: Path, container: ContainerFormat, inner: DiskReport) -> None:
    """Raise DiskError if the unpacked file can't be imported."""
    if container.compression:
        twice = compressed_twice(path, container)
        raise DiskError(f"{path} can't be imported: {twice.message}", code=twice.code, remedy=twice.remedy)
    # A parent is never in the compressed file, and the directory of the unpacked file may have another with its name.
    if inner.parents or any(problem.code == NEEDS_PARENT for problem in inner.container_problems):
        raise DiskError(
            f"{path} contains a {container.name} image, whose parent is not in it.",
            code=NEEDS_PARENT,
            remedy=f"Unpack {path.name} into the directory of the parent, and push the unpacked file.",
        )
    for problem in inner.container_problems:
        if problem.severity is Severity.BLOCKS and container.upload is not Upload.BY_QEMU:
            raise DiskError(
                f"{path}, once unpacked, can't be imported: {problem.message}",
                code=problem.code,
                remedy=problem.remedy,
                details={"where": problem.where},
            )


def _rebuild(path: Path, report: DiskReport, part: Path) -> None:
    with FileReader(path) as file, DiskDirectory(path) as directory:
        opened = open_container(file, path, open_sibling=directory.open_sibling)
        disk = opened.disk
        if tuple(directory.path / name for name in opened.parents) != report.parents:
            raise _changed(path)
        if disk is None:
            causes = (*(problem.message for problem in opened.problems), *opened.unknowns)
            raise _unreadable(report.path, " ".join(causes))
        # The new file has the same holes.
        allocated_bytes = sum(one.stat().st_blocks * 512 for one in (path, *report.parents))
        require_space(part.parent, min(allocated_bytes, disk.size))
        try:
            write_sparse(_rebuilt(disk, report), part)
        except ReadProblem as problem:
            raise _unreadable(report.path, problem.message) from problem


def _unreadable(path: Path, cause: str) -> DiskError:
    return DiskError(f"{path} can't be read.", code="conversion-failed", cause=cause, remedy=COPY_AGAIN)


def _rebuilt(disk: Reader, report: DiskReport) -> Iterator[bytes | int]:
    """Yield the content of the file to upload: bytes, and numbers of zero bytes.

    The format is that of the report: a VHD becomes a fixed VHD without padding, anything else a RAW disk.
    """
    if report.format is not DiskFormat.VHD:
        return data_pieces(disk, disk.size)
    size = unpadded_bytes(disk, report)
    return chain(data_pieces(disk, size), [fixed_footer(size)])
