"""Setup of the upload's tests: a disk, a store, a journal, and the emitted events."""

import itertools
import random
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from aliyun_import.context import Context
from aliyun_import.disk.disk import open_disk, sample_ranges
from aliyun_import.events import Event
from aliyun_import.journal import copy_journal, open_journal
from aliyun_import.limits import KIB
from aliyun_import.model.objects import UploadedObject
from aliyun_import.services import ObjectStore
from aliyun_import.upload.context import TransferOptions, UploadRequest
from aliyun_import.upload.plan import Preview
from aliyun_import.upload.upload import preview_upload, upload_disk
from tests.clocks import SteeredClock
from tests.upload.scripted_store import ScriptedStore

UNIT = 256 * KIB
# Minimum size of a sent part with the fixture `small_parts`: most of the tests' time is copying of bytes.
PART = 4 * UNIT
E = TypeVar("E", bound=Event)


@cache
def data_of(letter: str) -> bytes:
    """Return the unit of random data that belongs to a letter."""
    return random.Random(letter).randbytes(UNIT)


def unsampled_offset(size_bytes: int, *, after: int = 0) -> int:
    """Return an offset above `after` that is outside the sample of a disk of this size."""
    pairs = itertools.pairwise(sample_ranges(size_bytes))
    return next(start + length for (start, length), (following, _) in pairs if after < start + length < following)


class Killed(BaseException):
    """Raised in place of SIGKILL: no handler of the engine catches it."""


@dataclass
class UploadSetup:
    """A disk and the target of its upload. A second push with the same setup is the same command run again."""

    directory: Path
    store: ScriptedStore = field(default_factory=ScriptedStore)
    clock: SteeredClock = field(default_factory=SteeredClock)
    events: list[Event] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)
    options: TransferOptions = field(default_factory=lambda: TransferOptions(jobs=2))
    key: str | None = None
    base_key: str | None = None
    state: str = "state"

    @property
    def path(self) -> Path:
        """The path of the disk."""
        return self.directory / "disk.raw"

    @property
    def context(self) -> Context:
        """The context of a run, with the steered clock and the list of events."""
        return Context(clock=self.clock, emit=self.events.append, cancel=self.cancel)

    @property
    def request(self) -> UploadRequest:
        """The request to upload the disk."""
        return UploadRequest(
            disk_index=0,
            region="cn-hangzhou",
            key=self.key,
            key_stem="aliyun-import/web/system",
            suffix=".raw",
            base_key=self.base_key,
        )

    def write_disk(self, layout: str, *, unit: int = UNIT) -> bytes:
        """Write a disk of one unit per character: "." is a hole, "0" written zeros, a letter its random data."""
        parts = [bytes(unit) if letter in ".0" else data_of(letter) * (unit // UNIT) for letter in layout]
        with self.path.open("wb") as file:
            for letter, part in zip(layout, parts, strict=True):
                if letter == ".":
                    file.seek(unit, 1)
                else:
                    file.write(part)
            file.truncate(len(layout) * unit)
        return b"".join(parts)

    def push(self, *, store: ObjectStore | None = None) -> UploadedObject:
        """Upload the disk."""
        with open_disk(self.path) as disk, open_journal(self.directory / self.state, {"name": "web"}) as journal:
            return upload_disk(
                disk, self.request, self.context, store=store or self.store, journal=journal, options=self.options
            )

    def preview(self, *, has_bucket: bool = True) -> Preview:
        """Return the preview of a push."""
        with open_disk(self.path) as disk:
            return preview_upload(
                disk,
                self.request,
                self.context,
                store=self.store,
                journal=copy_journal(self.directory / self.state, {"name": "web"}),
                options=self.options,
                has_bucket=has_bucket,
            )

    def events_of(self, kind: type[E]) -> list[E]:
        """Return the events of one class."""
        return [event for event in self.events if isinstance(event, kind)]
