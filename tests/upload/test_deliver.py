"""Deliver a disk, against a store in memory."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aliyun_import.events import Event, UploadPlanned, UploadProgress
from aliyun_import.journal import open_journal
from aliyun_import.limits import KIB, MIB
from aliyun_import.model import UploadedObject
from aliyun_import.upload.deliver import Delivery, TransferOptions, deliver
from tests.upload.scripted_store import ScriptedStore, SteeredClock


@dataclass
class Scene:
    """A disk, a store, and what was said."""

    directory: Path
    store: ScriptedStore = field(default_factory=ScriptedStore)
    clock: SteeredClock = field(default_factory=SteeredClock)
    events: list[Event] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    options: TransferOptions = field(default_factory=lambda: TransferOptions(jobs=2))
    key: str | None = None
    base_key: str | None = None
    state: str = "state"

    @property
    def path(self) -> Path:
        """Where the disk lies."""
        return self.directory / "disk.raw"

    def write_disk(self, layout: str, *, unit: int = 256 * KIB, seed: int = 1) -> bytes:
        """Write a disk: each letter is a unit, "." a hole, "0" zeros that are written, others are random by letter."""
        with self.path.open("wb") as file:
            for letter in layout:
                if letter == ".":
                    file.seek(unit, 1)
                else:
                    file.write(bytes(unit) if letter == "0" else random.Random(f"{letter}{seed}").randbytes(unit))
            file.truncate(len(layout) * unit)
        return self.path.read_bytes()

    def push(self) -> UploadedObject:
        """Deliver the disk."""
        delivery = Delivery(
            path=self.path,
            disk_index=0,
            key=self.key,
            key_stem="aliyun-import/web/system",
            suffix=".raw",
            base_key=self.base_key,
        )
        with open_journal(self.directory / self.state, {"name": "web"}) as journal:
            return deliver(
                delivery,
                store=self.store,
                journal=journal,
                options=self.options,
                clock=self.clock,
                emit=self.events.append,
                stop=self.stop,
            )

    def said(self, kind: type[Event]) -> list[Event]:
        """Give the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Give an empty scene."""
    return Scene(tmp_path)


def test_the_object_is_the_disk(scene: Scene) -> None:
    """Data, holes and written zeros come out byte for byte, and only the data travels."""
    content = scene.write_disk("ab" + "." * 40 + "c" + "0" * 8 + "d..e")
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert uploaded.proof == "CRC-64 of the object"
    assert uploaded.made_by_us
    assert uploaded.sent_bytes == scene.store.received_bytes <= 5 * 256 * KIB + 1 * MIB
    assert list(scene.store.objects) == [uploaded.key]
    assert not scene.store.uploads
    (planned,) = scene.said(UploadPlanned)
    assert isinstance(planned, UploadPlanned)
    assert planned.send_bytes == 5 * 256 * KIB
    last = scene.said(UploadProgress)[-1]
    assert isinstance(last, UploadProgress)
    assert last.done_bytes == last.total_bytes == len(content)
