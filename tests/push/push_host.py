"""Host that pushes a disk to a sandbox, in this process."""

import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.boot.instance_choice import Cloud, Confirm, InstanceOffer
from aliyun_import.errors import AliyunImportError
from aliyun_import.events import Emit, Event, StageFinished, ignore
from aliyun_import.journal import Journal
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.push.options import PushOptions, PushResult
from aliyun_import.push.push import push
from aliyun_import.retry import add_retries
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.clocks import import_calls
from tests.image.sandbox_services import SandboxServices
from tests.image.scripted_services import EventRecorder

SMALL_DISK_BYTES = 1 << 20
SECTOR = 512


def write_small_disk(path: Path, *, seed: int = 1) -> Path:
    """Write a bootable disk of 1 MiB. It is sent in one part, which saves requests and time for checksums."""
    entry = struct.pack("<B3sB3sII", 0x80, bytes(3), 0x83, bytes(3), 1, SMALL_DISK_BYTES // SECTOR - 1)
    record = b"\xfa\xf4\xeb\xfd".ljust(446, b"\x90") + entry.ljust(64, b"\0") + b"\x55\xaa"
    partition = bytearray(random.Random(seed).randbytes(SECTOR) * (SMALL_DISK_BYTES // SECTOR - 1))
    partition[SECTOR - 2 : SECTOR] = b"\x55\xaa"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(record + partition)
    return path


class PushHost:
    """Host with a disk and a state directory.

    `emit` is called with each event, and `confirm` before an instance is started.
    """

    def __init__(self, sandbox: Sandbox, home: Path, disk: Path) -> None:
        self.sandbox = sandbox
        self.cloud = SandboxServices(sandbox)
        self.request = ImportRequest(region="cn-hangzhou", disks=(DiskRequest(path=disk),), name="web")
        self.state_dir = home / "state"
        self.heard = EventRecorder()
        self.held: list[Journal] = []
        self.offers: list[InstanceOffer] = []
        self.confirm: Confirm = self.offers.append
        self.emit: Emit = ignore

    def push(self, *, is_name_given: bool = True, **options: object) -> PushResult:
        """Push, and record the events of this run in `heard`."""
        self.heard = EventRecorder()
        push_options = replace(PushOptions(state_dir=self.state_dir), **options)  # type: ignore[arg-type]
        context = self.cloud.context(self._hear)
        services = add_retries(self.cloud.services, context)
        cloud = Cloud(
            images=services.images,
            instances=services.instances,
            context=context,
            deleting=services.instances,
            deleting_context=context,
            region=self.request.region,
        )
        return push(
            self.request,
            push_options,
            self.cloud.services,
            context,
            is_name_given=is_name_given,
            cloud=cloud,
            confirm=self.confirm,
        )

    def use(self, key: AccessKey) -> None:
        """Use another access key for the next pushes."""
        self.cloud = SandboxServices(self.sandbox, key=key)

    def deny(self, permission: str) -> None:
        """Use an access key without a permission for the next pushes."""
        self.cloud = SandboxServices(self.sandbox, denied=(permission,))

    def _hear(self, event: Event) -> None:
        self.heard(event)
        self.emit(event)

    def failure(self, kind: type[AliyunImportError], **options: Any) -> AliyunImportError:
        """Return the error of a push."""
        with pytest.raises(kind) as caught:
            self.push(**options)
        return caught.value

    def details(self, stage: str) -> list[str]:
        """Return the details that a stage of the last run reported."""
        return [one.detail for one in self.heard.events if isinstance(one, StageFinished) and one.stage == stage]

    def count(self, operation: str, *, importing: bool = False) -> int:
        """Return how often an operation was requested; `importing` leaves out dry runs of ImportImage."""
        entries = import_calls(self.sandbox) if importing else self.sandbox.requests.entries(operation)
        return len(entries)
