"""Result of a boot test: frozen values."""

from dataclasses import dataclass
from enum import StrEnum

from aliyun_import.model.request import Architecture, BootMode


class Verdict(StrEnum):
    """What a boot test shows, from the worst to the best."""

    FAILS = "does-not-boot"
    UNPROVEN = "unproven"
    DEGRADED = "boots-degraded"
    BOOTS = "boots"


class Stage(StrEnum):
    """How far a boot that fails came."""

    FIRMWARE = "firmware"
    LOADER = "boot-loader"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    SYSTEM = "system"


class Bus(StrEnum):
    """How an instance is given its system disk. The newer instance families have NVMe only."""

    VIRTIO = "virtio-blk"
    NVME = "nvme"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootMachine:
    """The machine of a boot. `accelerator` is "kvm", or "tcg" for emulation."""

    architecture: Architecture
    boot_mode: BootMode
    bus: Bus
    accelerator: str
    processors: int
    memory_mib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict and its reason, as a sentence. `evidence` has lines of the console, the last one last.

    `stage` is how far a boot that fails came, None for the other verdicts, and where it is not known. `stop_code` is
    that of a stop error of Windows.
    """

    verdict: Verdict
    reason: str
    stage: Stage | None = None
    remedy: str | None = None
    evidence: tuple[str, ...] = ()
    stop_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootRun:
    """One boot of the disk."""

    machine: BootMachine
    seconds: float
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class BootTest:
    """All boots of one disk, in their order; the worst of them decides."""

    runs: tuple[BootRun, ...]

    @property
    def decisive(self) -> BootRun:
        """The run with the worst verdict, the first of several."""
        return min(self.runs, key=lambda run: list(Verdict).index(run.judgement.verdict))

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return self.decisive.judgement.verdict
