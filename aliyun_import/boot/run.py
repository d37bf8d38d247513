"""Boot test of a disk in QEMU: one boot for each disk controller that an instance could have."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from aliyun_import.boot.accelerator import KVM, TCG, choose_accelerator
from aliyun_import.boot.guest import Guest, ensure_started, start_guest
from aliyun_import.boot.machine import find_firmware, find_program, memory_mib, processors
from aliyun_import.boot.output import as_png, lines_of
from aliyun_import.boot.verdict import BootObservation, decide, is_up
from aliyun_import.context import Context
from aliyun_import.disk.containers.interface import Upload
from aliyun_import.disk.containers.qemu import description, ensure_whole, open_nbd
from aliyun_import.disk.containers.registry import format_named, open_container
from aliyun_import.disk.containers.vhd import DiskDirectory
from aliyun_import.disk.reader import FileReader, Reader, ReadProblem
from aliyun_import.disk.report import DiskReport
from aliyun_import.errors import DiskError, LocalStateError
from aliyun_import.events import BootProgress, Noted
from aliyun_import.limits import GIB
from aliyun_import.model.arguments import check_fields, require_positive
from aliyun_import.model.boot import BootMachine, BootRun, BootTest, Bus, Judgement, Stage, Verdict
from aliyun_import.model.request import Architecture, BootMode, ImportRequest, OsType

# Long enough for the slowest failure: systemd waits 90 s for an absent disk, dracut 180 s, under emulation after a
# minute of booting.
DEFAULT_TIMEOUT_S = 600.0
_START_TIMEOUT_S = 30.0
_POLL_S = 0.5
_SCREEN_EVERY_S = 3.0
_PROGRESS_EVERY_S = 1.0
MAX_LOG_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOptions:
    """Options of a boot test. `timeout_s` bounds each boot of the disk.

    `log` is a file for the whole consoles, `screen` a file for a picture of the last screen (PNG) of the boot that
    decides. `work_dir` is for a compressed disk that has to be unpacked (None: TMPDIR, else /var/tmp).
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    log: Path | None = None
    screen: Path | None = None
    work_dir: Path | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        require_positive("timeout_s", self.timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSubject:
    """Disk of a boot test, in the file `path`, and the parameters with which an instance would start it."""

    path: Path
    report: DiskReport
    boot_mode: BootMode
    architecture: Architecture
    is_nvme_supported: bool
    size_gib: int
    is_windows: bool = False
    has_cloud_init: bool = False


def subject_of(path: Path, report: DiskReport, request: ImportRequest) -> BootSubject:
    """Return the subject of a disk with the parameters of its import; what is unknown is the service's default.

    Raises DiskError "boot-test-impossible" for a disk that can't be read.
    """
    if not report.virtual_bytes or format_named(report.container).upload is Upload.NEVER:
        raise DiskError(
            f"{report.path} contains no disk that can be started.",
            code="boot-test-impossible",
            remedy="Repair what the other findings name first.",
        )
    architecture = request.architecture or report.architecture or Architecture.X86_64
    is_arm = architecture is Architecture.ARM64
    cloud_init = report.guest.cloud_init if report.guest is not None else None
    return BootSubject(
        path=path,
        report=report,
        boot_mode=(request.boot_mode or (BootMode.UEFI if is_arm else BootMode.BIOS)).started_as,
        architecture=architecture,
        is_nvme_supported=request.nvme_support == "supported",
        size_gib=request.disks[0].size_gib or -(-report.virtual_bytes // GIB),
        is_windows=request.os_type is OsType.WINDOWS,
        has_cloud_init=cloud_init is not None and cloud_init.enabled is not False,
    )


def boot_test(subject: BootSubject, options: BootOptions, context: Context) -> BootTest:
    """Start a disk in every way that an instance could, and return the verdicts.

    The disk is opened read-only. Nothing is left behind, also after an interrupt. Raises DiskError for a disk that
    can't be read, LocalStateError "qemu-missing", "qemu-failed" and "file-unwritable", and Interrupted.
    """
    find_program(subject.architecture)
    if subject.boot_mode is BootMode.UEFI:
        find_firmware(subject.architecture)
    with ExitStack() as stack:
        log = _Log(options.log)
        stack.callback(log.close)
        disk = stack.enter_context(open_subject(subject))
        accelerator, why_not = choose_accelerator(subject.architecture)
        if why_not:
            context.emit(Noted(message=f"The guest is emulated, which is slow: {why_not}."))
        boots = _DiskBoots(subject, options, context, disk, log)
        runs = [boots.boot(Bus.VIRTIO, accelerator)]
        if subject.is_nvme_supported and _reached_kernel(runs[0]):
            runs.append(boots.boot(Bus.NVME, accelerator))
        test = BootTest(runs=tuple(runs))
        if options.screen is not None:
            _write(options.screen, boots.pictures[runs.index(test.decisive)])
        return test


@contextmanager
def open_subject(subject: BootSubject) -> Iterator[Reader]:
    """Open the disk in a file of any container format read-only, by the readers of this tool. Raises DiskError."""
    path, name = subject.path, subject.report.path
    with ExitStack() as stack:
        try:
            file = stack.enter_context(FileReader(path))
            directory = stack.enter_context(DiskDirectory(path))
            opened = open_container(file, path, open_sibling=directory.open_sibling)
            if opened.container.upload is Upload.BY_QEMU:
                ensure_whole(path, opened.container, name=name)
                yield stack.enter_context(open_nbd(description(path, opened.container)))
                return
        except (OSError, ReadProblem) as error:
            raise _unreadable(name, error) from error
        if opened.disk is None:
            raise _unreadable(name, None)
        yield opened.disk


def _unreadable(path: Path, error: Exception | None) -> DiskError:
    return DiskError(
        f"The disk in {path} can't be read, so it was not started.",
        code="boot-test-impossible",
        cause=str(error) if error else None,
        remedy=f"Run `aliyun-import check {path}` without --boot, and repair what it finds.",
    )


def _reached_kernel(run: BootRun) -> bool:
    """Return whether a boot came far enough for another disk controller to change its verdict."""
    return run.judgement.stage not in (Stage.FIRMWARE, Stage.LOADER)


class _Log:
    """The file of --boot-log: the whole consoles of all boots, up to a limit."""

    def __init__(self, path: Path | None) -> None:
        self._left = MAX_LOG_BYTES
        try:
            self._file = path.open("wb") if path else None
        except OSError as error:
            raise _unwritable(path, error) from error

    def write(self, data: bytes) -> None:
        """Write what the guest wrote."""
        if self._file is not None and self._left > 0:
            self._file.write(data[: self._left])
            self._file.flush()
            self._left -= len(data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _write(path: Path, picture: bytes | None) -> None:
    try:
        png = as_png(picture or b"")
    except ValueError:  # no picture: QEMU ended
        return
    write_file(path, png)


def ensure_writable(path: Path) -> None:
    """Create a file for a result, or leave one as it is. Raises LocalStateError "file-unwritable"."""
    try:
        path.open("ab").close()
    except OSError as error:
        raise _unwritable(path, error) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a result of a boot test. Raises LocalStateError "file-unwritable"."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path | None, error: OSError) -> LocalStateError:
    return LocalStateError(
        f"{path} can't be written.",
        code="file-unwritable",
        cause=error.strerror or str(error),
        remedy="Name a file in a directory of your own.",
    )


class _DiskBoots:
    """Boots of one disk. `pictures` has the last screen of each, as PPM."""

    def __init__(self, subject: BootSubject, options: BootOptions, context: Context, disk: Reader, log: _Log) -> None:
        self._subject, self._options, self._context = subject, options, context
        self._disk, self._log = disk, log
        self.pictures: list[bytes | None] = []

    def boot(self, bus: Bus, accelerator: str) -> BootRun:
        """Boot the disk. A boot that does not succeed with KVM is repeated under emulation, whose verdict counts."""
        if accelerator == KVM:
            try:
                run = self._boot(bus, accelerator)
            except LocalStateError as error:
                if error.code != "qemu-failed":
                    raise
            else:
                # A stop code is a proof: only a kernel that runs can report it.
                if run.judgement.verdict in (Verdict.BOOTS, Verdict.DEGRADED) or run.judgement.stop_code:
                    return run
                self.pictures.pop()
            self._context.emit(Noted(message="The boot with KVM did not succeed; it is repeated under emulation."))
        return self._boot(bus, TCG)

    def _boot(self, bus: Bus, accelerator: str) -> BootRun:
        machine = BootMachine(
            architecture=self._subject.architecture,
            boot_mode=self._subject.boot_mode,
            bus=bus,
            accelerator=accelerator,
            processors=processors(),
            memory_mib=memory_mib(),
        )
        kind = f"{machine.boot_mode}, {bus}, {accelerator}"
        self._log.write(f"# {self._subject.report.path}: {kind}\n".encode())
        with (
            self._context.stage(
                "boot", f"{self._subject.report.path} ({kind}): runs the code on the disk, isolated"
            ) as stage,
            start_guest(machine, self._disk, size_bytes=self._subject.size_gib * GIB) as guest,
        ):
            guest.log = self._log.write
            ensure_started(guest, _START_TIMEOUT_S)
            seconds, judgement = self._watch(guest, machine)
            stage.detail = f"{judgement.verdict} ({kind}): {judgement.reason}"
        return BootRun(machine=machine, seconds=seconds, judgement=judgement)

    def _watch(self, guest: Guest, machine: BootMachine) -> tuple[float, Judgement]:
        watch = _Watch(guest, self._subject, timeout_s=self._options.timeout_s)
        progress_s = 0.0
        while True:
            self._context.check_cancelled()
            guest.poll(_POLL_S)
            seen = watch.observe()
            if seen.elapsed_s - progress_s >= _PROGRESS_EVERY_S:
                progress_s = seen.elapsed_s
                self._emit(guest, machine, seen)
            judgement = _ended_early(guest, self._subject) or decide(seen)
            if judgement is not None:
                self.pictures.append(guest.picture() or watch.picture)
                return seen.elapsed_s, judgement

    def _emit(self, guest: Guest, machine: BootMachine, seen: BootObservation) -> None:
        line = guest.console.last_line or next(reversed(lines_of(seen.screen)), "")
        self._context.emit(
            BootProgress(
                disk=str(self._subject.report.path),
                bus=machine.bus,
                elapsed_s=round(seen.elapsed_s, 1),
                timeout_s=self._options.timeout_s,
                line=line,
            )
        )


def _ended_early(guest: Guest, subject: BootSubject) -> Judgement | None:
    """Raise DiskError if the disk could not be read; return a verdict if QEMU ended and the guest did not power off."""
    if guest.read_problem is not None:
        raise _unreadable(subject.report.path, guest.read_problem)
    if not guest.ended or guest.powered_off:
        return None
    return Judgement(
        verdict=Verdict.UNPROVEN,
        reason=f"QEMU ended before the guest was up: {guest.failure()}.",
        remedy="Install a current QEMU; --boot-log FILE keeps the console.",
        evidence=tuple(lines_of(guest.console.text)[-3:]),
    )


class _Watch:
    """Observation of a guest over time."""

    def __init__(self, guest: Guest, subject: BootSubject, *, timeout_s: float) -> None:
        self._guest, self._timeout_s = guest, timeout_s
        self._fixed = BootObservation(
            timeout_s=timeout_s, has_cloud_init=subject.has_cloud_init, is_windows=subject.is_windows
        )
        # Not the clock of the context: a guest runs in real time.
        self._began_s = self._changed_s = self._console_changed_s = time.monotonic()
        self._screen_s = 0.0
        self._up_s: float | None = None
        self._picture_digest = b""
        self._screen_text = ""
        self._state: tuple[object, ...] = ()
        self._console_state: tuple[object, ...] = ()
        self.picture: bytes | None = None
        self._screen_changes = 0

    def observe(self) -> BootObservation:
        """Return what is known now."""
        guest, now_s = self._guest, time.monotonic()
        if now_s - self._screen_s >= _SCREEN_EVERY_S:
            self._capture_screen(now_s)
        texts = (guest.restarts, len(guest.console.text), guest.console.last_line, self._screen_text)
        if texts != self._console_state:
            self._console_state, self._console_changed_s = texts, now_s
        # A blinking cursor changes the picture; but Windows shows its progress in pictures only.
        picture = self._picture_digest if self._fixed.is_windows else b""
        state = (*texts, guest.firmware.text, picture, guest.read_bytes, guest.metadata.requests)
        if state != self._state:
            self._state, self._changed_s = state, now_s
        seen = replace(
            self._fixed,
            console=guest.console.text,
            screen=f"{guest.firmware.text}\n{self._screen_text}",
            elapsed_s=now_s - self._began_s,
            still_s=now_s - self._changed_s,
            console_still_s=now_s - self._console_changed_s,
            read_bytes=guest.read_bytes,
            screen_changes=self._screen_changes,
            restarts=guest.restarts,
            before_restart=guest.before_restart,
            powered_off=guest.powered_off,
            panicked=guest.panicked,
            stop_code=guest.stop_code,
            cloud_init_done=guest.metadata.is_done,
        )
        if self._up_s is None and is_up(seen):
            self._up_s = now_s
        return replace(seen, up_s=None if self._up_s is None else now_s - self._up_s)

    def _capture_screen(self, now_s: float) -> None:
        """Take a picture of the screen, and read its text if it has any."""
        self._screen_s = now_s
        picture = self._guest.picture()
        if picture is None:
            return
        digest = hashlib.blake2b(picture).digest()
        if digest != self._picture_digest:
            self._picture_digest, self.picture = digest, picture
            self._screen_changes += 1
            with suppress(ValueError):
                self._screen_text = self._guest.screen_text(picture)
