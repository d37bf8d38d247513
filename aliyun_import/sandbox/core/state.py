"""State shared by the services: access keys, settings, clock, faults and log of requests.

All persistent state is in tables of frozen records (`State.table`). Assigning a row changes it and makes the change
persistent. The state of a service is a part (`State.part`): a class that opens its tables.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aliyun_import.sandbox.core.blob_store import BlobStore, Content
from aliyun_import.sandbox.core.faults import ActiveFault, Faults
from aliyun_import.sandbox.core.records import Codec, Table, refuse_mutable
from aliyun_import.sandbox.core.request_log import RequestLog

if TYPE_CHECKING:
    from aliyun_import.sandbox.core.store import Store

# A real key id begins with LTAI, so these are recognisably not real.
DEFAULT_ACCOUNT_ID = "1000000000000000"
DEFAULT_KEY_ID = "SANDBOX-KEY"
DEFAULT_KEY_SECRET = "SANDBOX-SECRET"  # noqa: S105 - valid only for this sandbox

GUEST = "guest"
CONSOLES = (GUEST, "boots", "degraded", "panic", "no-root", "dracut", "emergency", "grub", "no-disk", "silent")
# Setting -> allowed values.
_CHOICES = {
    "copy_outcome": ("finished", "failed", "stuck"),
    "default_encryption": ("", "AES256", "KMS", "SM4"),
    "import_outcome": ("finished", "failed", "paused", "stuck", "unavailable"),
    "instance_console": CONSOLES,
}

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_SINGLE_ROW = "only"  # the key of a table with one row


@dataclass(frozen=True, kw_only=True)
class ClockAdjustment:
    """Adjustments of the clock, in seconds. A store keeps them across restarts."""

    advanced_s: float = 0.0
    skew_s: float = 0.0


class Clock:
    """Clock of the sandbox. It follows the machine's clock or stands still (`running=False`). Thread-safe.

    It has two readings, because clients sign their requests by their own clock. `now_s` is the time of tasks, tokens
    and lifecycle rules; `advance` changes only this reading, so that the dates that clients sign stay valid. Signed
    dates are compared with `wall_s`, which `set_skew` changes.
    """

    def __init__(self, *, start_s: float | None = None, running: bool = True) -> None:
        self._lock = threading.Lock()
        self._running = running
        self._start_s = time.time() if start_s is None else start_s
        self._began_s = time.monotonic()
        self._adjustment = ClockAdjustment()

    @property
    def adjustment(self) -> ClockAdjustment:
        """Return the adjustments that were made so far."""
        with self._lock:
            return self._adjustment

    def restore(self, adjustment: ClockAdjustment) -> None:
        """Apply the adjustments of an earlier process."""
        with self._lock:
            self._adjustment = adjustment

    def now_s(self) -> float:
        """Return the time of the sandbox in seconds since the epoch."""
        with self._lock:
            passed = time.monotonic() - self._began_s if self._running else 0.0
            return self._start_s + passed + self._adjustment.advanced_s

    def advance(self, seconds: float) -> None:
        """Move the time forward. Raises ValueError for a negative number of seconds."""
        if seconds < 0:
            raise ValueError("the clock of the sandbox moves forward only")
        with self._lock:
            self._adjustment = replace(self._adjustment, advanced_s=self._adjustment.advanced_s + seconds)

    def wall_s(self) -> float:
        """Return the time that signed dates are compared with: the time of the machine plus the skew."""
        with self._lock:
            return time.time() + self._adjustment.skew_s

    def set_skew(self, seconds: float) -> None:
        """Set the difference between the wall time and the time of the machine."""
        with self._lock:
            self._adjustment = replace(self._adjustment, skew_s=seconds)

    def set_wall(self, at_s: float) -> None:
        """Set the wall time, in seconds since the epoch: captured requests are replayed at their own time."""
        self.set_skew(at_s - time.time())


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Behaviour that differs between accounts, regions and times in the real services."""

    region: str = "cn-hangzhou"
    """Region of requests that do not name one (V1 signatures)."""
    import_s: float = 2.0
    """Duration of an import task."""
    role_propagation_s: float = 0.0
    """Time after a change of a role during which ECS uses the previous version."""
    buckets_per_region: int = 100
    """Buckets per account and region."""
    images_per_region: int = 100
    """Custom images per account and region."""
    snapshots_per_region: int = 1000
    """Snapshots per account and region. An import creates one per disk, and DeleteImage does not remove it."""
    import_queue_s: float = 0.2
    """Part of import_s in which the task is Waiting."""
    image_ready_s: float = 0.5
    """Time from Finished (task) to Available (image)."""
    image_usable_s: float = 0.0
    """Time from Available to Usable. Before, an image can be neither copied nor started."""
    task_hidden_s: float = 0.0
    """Time after the start of a task during which DescribeTasks and DescribeTaskAttribute do not return it."""
    import_outcome: str = "finished"
    """End of new imports: finished, failed, paused, stuck (Processing without end) or unavailable (the task is
    Finished, the image UnAvailable)."""
    import_stops_at_percent: int = 50
    """Progress at which an import fails, pauses or stops."""
    import_error: tuple[str, str] = ("ImportImageFailed", "Importing image is failed.")
    """ErrorCode and ErrorMsg of a failed import."""
    import_refused_with: str = ""
    """Error code of ImportImage after all other checks: the state of an account, such as Account.Arrearage."""
    image_check_s: float = 0.5
    """Duration of the check by DetectionStrategy=Standard after an image is Available. The service takes minutes."""
    image_check_items: tuple[Mapping[str, str], ...] = ()
    """Result of that check: Name, Value and, for a problem, RiskLevel and RiskCode."""
    failed_image: str = "CreateFailed"
    """Status of the image of a failed import; empty if no image is left. The service's behaviour is not documented."""
    dry_run_code: str = "DRYRUN.SUCCESS"
    """Code for a dry run that passed. The other documented code is DryRunOperation."""
    copy_s: float = 4.0
    """Duration of a copy of an image after its start."""
    copy_outcome: str = "finished"
    """End of new copies: finished, failed or stuck (Creating without end)."""
    snapshot_held_s: float = 2.0
    """Time after DeleteImage during which DeleteSnapshot answers SnapshotCreatedImage; a minute at the service."""
    launch_permission_allowed: bool = False
    """True: the account may set LaunchPermission of an image. The service allows it by invitation."""
    kms_keys: tuple[str, ...] = ()
    """KMS keys that exist in every region."""
    regions_encrypted_by_default: tuple[str, ...] = ()
    """Regions in which a new copy is encrypted with the key of the service unless a key is given."""
    instance_pending_s: float = 0.5
    """Time from RunInstances to Starting."""
    instance_start_s: float = 2.0
    """Time from Starting to Running."""
    console_lag_s: float = 0.5
    """Time from Running to the first console output, and maximum age of the output of a guest."""
    instance_console: str = GUEST
    """Console of new instances: guest (QEMU starts the image; if that is not possible, the console is `boots`), or the
    name of a scripted console in sandbox/ecs/consoles.py."""
    guests_at_once: int = 2
    """Number of guests that run at the same time. Each uses up to two processors and 2 GiB of memory."""
    instance_types_sold_out: tuple[str, ...] = ()
    """Instance types without stock, such as ecs.g7.large."""
    instances_per_region: int = 20
    """Instances per account and region."""
    any_role_name: bool = False
    """True: ImportImage accepts any RoleName; the documents allow only AliyunECSImageImportDefaultRole."""
    vmdk_allowed: bool = False
    """True: the account may import VMDK."""
    resource_groups: tuple[str, ...] = ("rg-sandbox",)
    """Resource groups that exist."""
    cloud_boxes: tuple[str, ...] = ()
    """ARNs of the CloudBoxes that exist."""
    regions_without_import: tuple[str, ...] = ()
    """Regions without image imports."""
    formats_refused: tuple[str, ...] = ()
    """Formats that no region imports, such as QCOW2."""
    v1_signatures: bool = True
    """False: V1 signatures are refused, as for accounts created since 2025-03-01."""
    public_endpoint_forbidden: bool = False
    """True: data operations in mainland regions are refused, as for accounts created since 2025-03-20."""
    default_encryption: str = ""
    """Default encryption of new buckets: AES256, KMS, SM4, or empty."""
    arrears: bool = False
    """True: the account owes money. OSS answers UserDisable, ImportImage Account.Arrearage."""
    closed_regions: tuple[str, ...] = ()
    """Regions that the account cannot use: DescribeRegions omits them, ECS and PutBucket refuse them."""
    crc_of_copies: bool = True
    """False: copied objects, and objects with copied parts, have no CRC-64."""
    cnames: Mapping[str, str] = field(default_factory=dict)
    """Custom domain -> its bucket."""
    clock_tolerance_s: float = 900.0
    """Maximum difference between a signed date and the clock of the service."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise ValueError(f"{item.name} takes a number from 0, not {value}")
            if item.name in _CHOICES and value not in _CHOICES[item.name]:
                raise ValueError(
                    f"{item.name} takes one of {', '.join(filter(None, _CHOICES[item.name]))}, not {value}"
                )


@dataclass(frozen=True, kw_only=True)
class AccessKey:
    """Access key, long-lived or (with a token) temporary, and its principal."""

    id: str
    secret: str = field(repr=False)
    account_id: str = DEFAULT_ACCOUNT_ID
    principal: str = "root"
    """`root`, `user/NAME` or `assumed-role/ROLE/SESSION`: the last part of its ARN."""
    token: str | None = field(default=None, repr=False)
    expires_s: float | None = None
    """Time at which the token expires, by the clock of the sandbox."""
    enabled: bool = True
    denied: frozenset[str] = frozenset()
    """RAM actions that are refused before the policies are read, such as `oss:PutObject` or `ram:*`."""
    policies: tuple[str, ...] | None = None
    """Policy documents of its principal; None allows everything, as for the account itself."""
    session_policy: str | None = None
    """Policy document that was given to AssumeRole. It restricts the policies of the role."""

    def denies(self, action: str) -> bool:
        """Return whether an action is in `denied`. The policies are not read."""
        return any(fnmatchcase(action, pattern) for pattern in self.denied)


class State:
    """State of the sandbox. `lock` protects all of it. Hold it for a short time, never during a transfer.

    With a store, the tables are read from it, and `commit` writes the changes to it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        store: "Store | None" = None,
    ) -> None:
        self.directory = directory
        self.clock = clock or Clock()
        self.lock = threading.RLock()
        self.requests = RequestLog()
        self.store = store
        self.codec = Codec() if store is None else store.codec
        self.tables: dict[str, Table[Any, Any]] = {}
        self._parts: dict[type, object] = {}
        self.blobs = BlobStore(
            directory / "objects", files=self.table("files", Table[str, tuple[tuple[int, int], ...]])
        )
        self.codec.add(Content, Content.to_json, self.blobs.content)
        self.faults = Faults(self.table("faults", Table[int, ActiveFault]))
        self._settings = self.table("settings", Table[str, Settings])
        self._adjustments = self.table("clock", Table[str, ClockAdjustment])
        self._keys = self.table("keys", Table[str, AccessKey])
        if settings is not None or not self._settings:
            self._settings[_SINGLE_ROW] = settings or Settings()
        self.clock.restore(self._adjustments.get(_SINGLE_ROW, self.clock.adjustment))
        if DEFAULT_KEY_ID not in self._keys:
            self.add_key(AccessKey(id=DEFAULT_KEY_ID, secret=DEFAULT_KEY_SECRET))

    def table(self, name: str, kind: type[Table[K, V]]) -> Table[K, V]:
        """Open a table by its name and type, such as Table[str, Image], with its stored rows."""
        refuse_mutable(kind)
        if name in self.tables:
            raise ValueError(f"the table {name} is already open")
        table = self.tables[name] = Table[K, V]()
        if self.store is not None:
            self.store.open(name, kind, table)
        return table

    def commit(self) -> None:
        """Write all changes to the store, if there is one. Raises UnwrittenStateError."""
        if self.store is None:
            return
        dropped = self.blobs.dropped()
        if self.clock.adjustment != self._adjustments.get(_SINGLE_ROW):
            self._adjustments[_SINGLE_ROW] = self.clock.adjustment
        self.store.commit(self.lock)
        self.blobs.remove(dropped)  # after the commit: before it, records in the store refer to the files

    @property
    def settings(self) -> Settings:
        """Return the settings."""
        return self._settings[_SINGLE_ROW]

    def configure(self, **changes: object) -> None:
        """Change settings by name, for all later requests. Raises ValueError for an unknown name or a wrong value."""
        with self.lock:
            settings = {item.name: getattr(self.settings, item.name) for item in fields(Settings)}
            self._settings[_SINGLE_ROW] = self.codec.decode(Settings, settings | changes, "settings")

    def add_key(self, key: AccessKey) -> AccessKey:
        """Add a key, or replace the key with the same id. A new account id creates an account."""
        with self.lock:
            self._keys[key.id] = key
        return key

    def all_keys(self) -> tuple[AccessKey, ...]:
        """Return all keys."""
        with self.lock:
            return tuple(self._keys.values())

    def remove_key(self, key_id: str) -> None:
        """Remove a key. Do nothing if it does not exist."""
        with self.lock:
            self._keys.pop(key_id, None)

    def key(self, key_id: str) -> AccessKey | None:
        """Return the key with an id, or None."""
        with self.lock:
            return self._keys.get(key_id)

    def expire_token(self, key_id: str) -> None:
        """Expire the security token of a key. A key without a token is not changed."""
        with self.lock:
            key = self._keys.get(key_id)
            if key is not None and key.token is not None:
                self._keys[key_id] = replace(key, expires_s=self.clock.now_s())

    def deny(self, *actions: str, key_id: str = DEFAULT_KEY_ID) -> None:
        """Remove permissions from a key, such as `oss:PutObject` or a pattern with *."""
        with self.lock:
            key = self._keys[key_id]
            self._keys[key_id] = replace(key, denied=key.denied | set(actions))

    def part(self, kind: "Callable[[State], T]") -> T:
        """Return the state of a service. The first call creates it: `state.part(Ecs)` calls `Ecs(state)`."""
        with self.lock:
            if kind not in self._parts:
                self._parts[kind] = kind(self)  # type: ignore[index]
            return self._parts[kind]  # type: ignore[index,return-value]
