"""This file keeps who exists in the sandbox and how it is set; what the services hold hangs below it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from aliyun_import.sandbox.core.clock import Clock
from aliyun_import.sandbox.core.faults import Faults
from aliyun_import.sandbox.core.request_log import RequestLog

# A real account id has 16 digits and a real key begins with LTAI; these can be taken for neither.
DEFAULT_ACCOUNT_ID = "1000000000000000"
DEFAULT_KEY_ID = "SANDBOX-KEY"
DEFAULT_KEY_SECRET = "SANDBOX-SECRET"  # noqa: S105 - it opens nothing but this sandbox

IMPORT_OUTCOMES = ("finished", "failed", "paused", "stuck", "unavailable")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this cloud behaves where the real one differs between accounts, regions and days."""

    region: str = "cn-hangzhou"
    """The region of requests that name none (V1 signatures)."""
    import_s: float = 2.0
    """How long an import task takes."""
    role_propagation_s: float = 0.0
    """How long ECS goes on seeing a role as it was before it was made or changed."""
    buckets_per_region: int = 100
    """Buckets per account and region."""
    images_per_region: int = 100
    """Custom images per account and region."""
    snapshots_per_region: int = 1000
    """Snapshots per account and region; each disk of an import makes one, and DeleteImage leaves it."""
    import_queue_s: float = 0.2
    """How much of import_s the task is Waiting before it is Processing."""
    image_ready_s: float = 0.5
    """How long after its task is Finished an image becomes Available."""
    task_hidden_s: float = 0.0
    """How long a new task is unknown to DescribeTasks and DescribeTaskAttribute."""
    import_outcome: str = "finished"
    """How imports begun from now on end: finished, failed, paused, stuck (Processing for ever) or unavailable (the
    task is Finished, the image UnAvailable)."""
    import_stops_at_percent: int = 50
    """Where an import that fails, pauses or sticks does so."""
    import_error: tuple[str, str] = ("ImportImageFailed", "Importing image is failed.")
    """ErrorCode and ErrorMsg of an import that fails as ordered."""
    import_refused_with: str = ""
    """A code that ImportImage answers once all else is in order: for the state of an account, as Account.Arrearage."""
    image_check_s: float = 2.0
    """How long the check of DetectionStrategy=Standard runs once an image is Available; minutes at the service."""
    image_check_items: tuple[Mapping[str, str], ...] = ()
    """What the check finds: Name, Value and, where something is wrong, RiskLevel and RiskCode."""
    failed_image: str = "CreateFailed"
    """What a failed import leaves, which no document says: an image that is CreateFailed, or (empty) none."""
    dry_run_code: str = "DRYRUN.SUCCESS"
    """What a dry run that passed is answered with; the other documented spelling is DryRunOperation."""
    any_role_name: bool = False
    """True: RoleName may be another than AliyunECSImageImportDefaultRole, which the documents deny."""
    vmdk_allowed: bool = False
    """True: the account is on the white list for VMDK."""
    resource_groups: tuple[str, ...] = ("rg-sandbox",)
    """The resource groups that exist."""
    cloud_boxes: tuple[str, ...] = ()
    """The ARNs of CloudBoxes that exist."""
    regions_without_import: tuple[str, ...] = ()
    """Regions that import no images."""
    formats_refused: tuple[str, ...] = ()
    """Formats that no region imports, such as QCOW2."""
    v1_signatures: bool = True
    """False: V1 is refused, as for accounts since 2025-03-01."""
    public_endpoint_forbidden: bool = False
    """True: data operations in mainland regions are refused, as for accounts since 2025-03-20."""
    crc_of_copies: bool = True
    """False: objects made by copies, or with copied parts, carry no CRC-64."""
    cnames: Mapping[str, str] = field(default_factory=dict)
    """Host names that are custom domains of buckets, and their buckets."""
    clock_tolerance_s: float = 900.0
    """How far a signed date may be from the service's clock."""

    def __post_init__(self) -> None:
        if self.import_outcome not in IMPORT_OUTCOMES:
            raise ValueError(f"no such outcome: {self.import_outcome}; there are {', '.join(IMPORT_OUTCOMES)}")


@dataclass(frozen=True, kw_only=True)
class AccessKey:
    """A key pair, long-lived or (with a token) temporary, and whom it speaks for."""

    id: str
    secret: str = field(repr=False)
    account_id: str = DEFAULT_ACCOUNT_ID
    principal: str = "root"
    """`root`, `user/NAME` or `assumed-role/ROLE/SESSION`: the tail of its ARN."""
    token: str | None = field(default=None, repr=False)
    expires_s: float | None = None
    """When the token expires, in the cloud's time."""
    enabled: bool = True
    denied: frozenset[str] = frozenset()
    """RAM actions that it has no right to, such as `oss:PutObject` or `ram:*`."""

    def may(self, action: str) -> bool:
        """Tell whether the key has the right to an action."""
        return not any(fnmatchcase(action, pattern) for pattern in self.denied)


class State:
    """Everything that the sandbox knows. `lock` guards all of it; hold it shortly, never while bytes move."""

    def __init__(self, directory: Path, *, settings: Settings | None = None, clock: Clock | None = None) -> None:
        self.directory = directory
        self.settings = settings or Settings()
        self.clock = clock or Clock()
        self.lock = threading.RLock()
        self.faults = Faults()
        self.requests = RequestLog()
        self._keys: dict[str, AccessKey] = {}
        self._parts: dict[type, object] = {}
        self.add_key(AccessKey(id=DEFAULT_KEY_ID, secret=DEFAULT_KEY_SECRET))

    def configure(self, **changes: object) -> None:
        """Change settings by name, from the next request on."""
        with self.lock:
            self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]

    def add_key(self, key: AccessKey) -> AccessKey:
        """Add a key, or replace the one of that id; a new account id makes a new account."""
        with self.lock:
            self._keys[key.id] = key
        return key

    def key(self, key_id: str) -> AccessKey | None:
        """Find a key by its id."""
        with self.lock:
            return self._keys.get(key_id)

    def expire_token(self, key_id: str) -> None:
        """Let a key's security token expire now; a key without one is left alone."""
        with self.lock:
            key = self._keys.get(key_id)
            if key is not None and key.token is not None:
                self._keys[key_id] = replace(key, expires_s=self.clock.now_s())

    def deny(self, *actions: str, key_id: str = DEFAULT_KEY_ID) -> None:
        """Take rights away from a key, such as `oss:PutObject`; patterns with * are fine."""
        with self.lock:
            key = self._keys[key_id]
            self._keys[key_id] = replace(key, denied=key.denied | set(actions))

    def part(self, kind: "Callable[[State], T]") -> T:
        """Give a service's own state, made at the first asking: `state.part(EcsState)` calls `EcsState(state)`."""
        with self.lock:
            if kind not in self._parts:
                self._parts[kind] = kind(self)  # type: ignore[index]
            return self._parts[kind]  # type: ignore[index,return-value]
