"""Values that describe boot tests, their results, and the instances that they start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aliyun_import.model.request import Architecture, BootMode


class Verdict(StrEnum):
    """Result of a boot test, from the worst to the best."""

    FAILS = "does-not-boot"
    UNPROVEN = "unproven"
    DEGRADED = "boots-degraded"
    BOOTS = "boots"


class Stage(StrEnum):
    """Stage at which a boot failed."""

    FIRMWARE = "firmware"
    LOADER = "boot-loader"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    SYSTEM = "system"


class Bus(StrEnum):
    """Bus of an instance's system disk. The newer instance families have NVMe only."""

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
    """A verdict and its reason, as a sentence. `evidence` are lines of the console, in order.

    `stage` is where a boot failed, None for other verdicts or if unknown. `stop_code` is that of a stop error of
    Windows.
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
    """All boots of one disk, in order; the worst of them decides."""

    runs: tuple[BootRun, ...]

    @property
    def decisive(self) -> BootRun:
        """The run with the worst verdict, the first of several."""
        return min(self.runs, key=lambda run: list(Verdict).index(run.judgement.verdict))

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return self.decisive.judgement.verdict


# Tag of an instance; its value is the boot test that started it. A vSwitch and a security group with this key, and any
# value, are for boot tests. ECS refuses keys that begin with "aliyun" or "acs:".
BOOT_TEST_TAG = "import-boot-test"


@dataclass(frozen=True, slots=True, kw_only=True)
class VSwitch:
    """A vSwitch: a network in one zone."""

    id: str
    vpc_id: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityGroup:
    """A security group."""

    id: str
    vpc_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """An instance type. `needs_nvme`: it can't start an image that does not support NVMe."""

    name: str
    processors: int
    memory_gib: float
    needs_nvme: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemDisk:
    """A category of system disks, and its sizes."""

    category: str
    min_gib: int
    max_gib: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCall:
    """A call of RunInstances. `released` is the AutoReleaseTime, in UTC: 2026-11-24T10:45:00Z.

    A call with the same client token and the same values starts no second instance.
    """

    image_id: str
    instance_type: str
    vswitch_id: str
    security_group_id: str
    disk_category: str
    disk_gib: int
    released: str
    client_token: str
    dry_run: bool = False

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of the instance; the client token names its boot test."""
        return {BOOT_TEST_TAG: self.client_token}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance as the service describes it."""

    instance_id: str
    status: str
    zone: str
    is_windows: bool = False
    created_s: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudBootTest:
    """Result of the boot test of an image. `left_over` is the instance if it could not be deleted, else empty."""

    image_id: str
    instance_id: str
    instance_type: str
    seconds: float
    judgement: Judgement
    left_over: str = ""
