"""This file speaks to qemu-img: always with the format named, and never following what an image refers to.

A VMDK or QED may name any file of this machine as its parent, or as a part of itself. So a VMDK that is a descriptor of
other files is not even shown to qemu-img, which would open them; every other image is described with `backing: null`,
looked at with `qemu-img info`, and refused when it is not whole in itself.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from aliyun_import.disk.containers.qemu_formats import QEMU_NAMES, conversion
from aliyun_import.disk.io.parent_death_signal import child_environment, last_line, leashed
from aliyun_import.disk.io.reader import FileReader
from aliyun_import.disk.report import Container
from aliyun_import.errors import DiskError, LocalStateError, QemuImgMissing

_INFO_TIMEOUT_S = 60
# How often the free space is looked at while qemu-img writes.
_LOOK_EVERY_S = 1.0
_NO_PARENT_CID = 0xFFFFFFFF


def convert_to_raw(path: Path, container: Container, *, target: Path, while_waiting: Callable[[], None]) -> None:
    """Convert an image to a sparse RAW file at `target`; one that is there is written over and keeps its mode.

    `while_waiting` is called every second and may raise to stop it. Raises DiskError: "qemu-img-missing",
    "not-whole", "conversion-failed". No child is left, however this ends.
    """
    ensure_whole(path, container)
    image = described(path, container)
    with subprocess.Popen(
        leashed(["qemu-img", "convert", "-O", "raw", "-S", "64k", image, target]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=child_environment(),
    ) as child:
        try:
            noise = _wait(child, while_waiting)
        finally:
            with suppress(ProcessLookupError):
                child.kill()
    if child.returncode:
        raise _failed(path, container, noise)


def ensure_whole(path: Path, container: Container) -> None:
    """Have qemu-img open the image, and refuse one that is not whole in itself.

    Raises DiskError: "qemu-img-missing", "not-whole", "conversion-failed".
    """
    if shutil.which("qemu-img") is None:
        raise _missing(path, container)
    if container is Container.VMDK and _is_descriptor(path):
        raise _not_whole(path, "it is a descriptor, and its data lies in other files", name="vmdk")
    _refuse_parts(path, _info(path, described(path, container)))


def _is_descriptor(path: Path) -> bool:
    """Tell a VMDK that only names the files that hold its data: text, or a header of a disk of no sectors with text."""
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
            return child.communicate(timeout=_LOOK_EVERY_S)[1]
        while_waiting()


def described(path: Path, container: Container) -> str:
    """Name an image to QEMU so that it guesses nothing: neither a format, nor a protocol in the name, nor a parent."""
    description = {
        "driver": QEMU_NAMES[container],
        "file": {"driver": "file", "filename": str(path.absolute())},
        "backing": None,
    }
    return "json:" + json.dumps(description)


def _info(path: Path, image: str) -> Mapping[str, object]:
    try:
        done = subprocess.run(
            leashed(["qemu-img", "info", "--force-share", "--output=json", image]),
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
            remedy=f"Try `qemu-img info {path}`, and look at the system's log (`dmesg`) for the disk that it is on.",
        ) from error
    except ValueError as error:
        raise DiskError(
            f"{path} can't be converted: qemu-img's answer makes no sense.",
            code="conversion-failed",
            remedy="Look at `qemu-img --version`: 4.0 or later is needed.",
        ) from error
    if not isinstance(answer, dict):
        raise DiskError(
            f"{path} can't be converted: qemu-img can't open it.",
            code="conversion-failed",
            cause=last_line(done.stderr),
            remedy="Copy the file again from its source, and compare the sizes (and a checksum) of both.",
        )
    return answer


def _refuse_parts(path: Path, info: Mapping[str, object]) -> None:
    """Refuse an image that is not whole: one with a parent, or one whose data lies in other files."""
    details = info.get("format-specific")
    data = details.get("data") if isinstance(details, dict) else None
    data = data if isinstance(data, dict) else {}
    parent = info.get("backing-filename")
    if parent or data.get("parent-cid", _NO_PARENT_CID) != _NO_PARENT_CID:
        seen = f"it holds only the differences to {parent or 'a parent'}"
    else:
        extents = data.get("extents")
        names = {extent.get("filename") for extent in extents} if isinstance(extents, list) else set()
        others = sorted(str(name) for name in names if name and Path(str(name)) != path.absolute())
        if not others:
            return
        seen = f"its data lies in {others[0]}{' and other files' if len(others) > 1 else ''}"
    raise _not_whole(path, seen, name=str(info.get("format", "vmdk")))


def _not_whole(path: Path, seen: str, *, name: str) -> DiskError:
    return DiskError(
        f"{path} is not a whole disk: {seen}, and such references are not followed.",
        code="not-whole",
        remedy=f"If you trust it, make one file of it: `qemu-img convert -f {name} -O raw {path} "
        f"{path.with_suffix('.raw')}`, and push that.",
    )


def _missing(path: Path, container: Container) -> DiskError:
    return QemuImgMissing(
        f"{path} is {container.upper()}, which ECS does not import, and qemu-img is not installed.",
        code="qemu-img-missing",
        remedy="Install qemu-img (Debian, Ubuntu: qemu-utils; others: qemu-img), or convert it on another machine: "
        f"`{conversion(path, container)}`.",
    )


def _failed(path: Path, container: Container, noise: bytes) -> DiskError | LocalStateError:
    line = last_line(noise)
    if "No space left" in line:
        return LocalStateError(
            f"There is no room left to convert {path}.",
            code="no-space",
            cause=line,
            remedy="Free some, or name a directory with more: --work-dir DIRECTORY.",
        )
    return DiskError(
        f"{path} could not be converted.",
        code="conversion-failed",
        cause=line,
        remedy=f"Check it: `qemu-img check -f {QEMU_NAMES[container]} {path}`; or copy it again from its source.",
    )
