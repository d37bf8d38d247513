"""Parts on their way: what is retried, cut, slowed down, or given up."""

import threading
import time
from dataclasses import replace

import pytest

from aliyun_import.errors import AliyunImportError, ConnectionLost, Throttled, TimedOut, TransientError
from aliyun_import.events import Noted, PartRetried, UploadProgress
from aliyun_import.limits import MIB
from aliyun_import.model.objects import RemotePart
from aliyun_import.services import PartBody
from aliyun_import.upload import plan
from aliyun_import.upload.context import TransferOptions
from aliyun_import.upload.transfer.concurrency import PIECE_BYTES
from tests.upload.scene import UNIT, Killed, Scene
from tests.upload.scripted_store import ScriptedStore

DENSE = "abcd"
# The least size of a sent part here: two of the pieces that a part is split into.
PART = 2 * PIECE_BYTES
RATE = 1 * MIB


@pytest.fixture(autouse=True)
def _parts_of_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MIN_SEND_BYTES", PART)


def failing(scene: Scene, error: AliyunImportError, *, calls: range) -> None:
    """Let some attempts to send a part fail."""

    def hook(operation: str, count: int) -> None:
        if operation == "send_part" and count in calls:
            raise error

    scene.store.before = hook


def transient(code: str, *, retry_after_s: float | None = None) -> TransientError:
    """Return a transient failure."""
    kind = {"connection-lost": ConnectionLost, "throttled": Throttled, "timed-out": TimedOut}.get(code, TransientError)
    return kind("Trouble.", code=code, cause="It passes.", remedy=None, retry_after_s=retry_after_s)


class SlowStore(ScriptedStore):
    """A store on a network that carries one piece before a timeout, and a kill after a number of parts."""

    def __init__(self, *, kill_after: int = 10_000) -> None:
        super().__init__()
        self.timed_out = 0
        self._kill_after = kill_after

    def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
        """Take a part that is short enough."""
        if len(self.sent_parts) >= self._kill_after:
            raise Killed
        if len(body) > PIECE_BYTES:
            self.timed_out += 1
            raise transient("timed-out")
        return super().send_part(key, upload_id, number=number, body=body)


class CrowdedStore(ScriptedStore):
    """A store at the end of a line on which eight parts at once time out; then it counts how many come at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most_at_once = 0
        self._under_way = 0
        self._counting = threading.Lock()
        self._all_eight = threading.Barrier(8)

    def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
        """Take a part, but none of the first eight; of the next eight, each takes a while."""
        if len(body) > PIECE_BYTES:
            self._all_eight.wait(timeout=10)
            raise transient("timed-out")
        with self._counting:
            self._under_way += 1
            if len(self.sent_parts) < 8:
                self.most_at_once = max(self.most_at_once, self._under_way)
        if len(self.sent_parts) < 8:
            time.sleep(0.02)
        part = super().send_part(key, upload_id, number=number, body=body)
        with self._counting:
            self._under_way -= 1
        return part


def test_a_part_is_retried_alone(scene: Scene) -> None:
    """The others continue, the wait is emitted, and the object equals the disk."""
    content = scene.write_disk(DENSE, unit=PART)
    failing(scene, transient("connection-lost"), calls=range(2, 4))
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    retried = scene.said(PartRetried)
    assert len(retried) == 2
    assert all(event.attempt <= 2 and event.reason == "Trouble. It passes." for event in retried)
    assert scene.store.calls["send_part"] == 4 + 2


def test_a_line_that_is_down_stops_as_many_parts_as_there_are_workers(scene: Scene) -> None:
    """A part that waits for its next attempt keeps its worker's place: the others are not thrown after it."""
    scene.write_disk("abcdefgh", unit=PART)
    scene.options = TransferOptions(jobs=2)
    failing(scene, transient("connection-lost"), calls=range(1000))
    with pytest.raises(TransientError):
        scene.push()
    assert len({event.number for event in scene.said(PartRetried)}) <= 2


def test_the_attempts_of_a_part_end(scene: Scene) -> None:
    """After twelve attempts the error names what is kept; the same command resumes."""
    scene.write_disk("a")
    failing(scene, transient("service-unwell"), calls=range(100))
    with pytest.raises(TransientError) as raised:
        scene.push()
    assert raised.value.code == "service-unwell"
    assert raised.value.resumable
    assert scene.store.calls["send_part"] == 12


def test_the_services_wish_to_be_left_alone_is_kept(scene: Scene) -> None:
    """No attempt of that part before the time that it named."""
    scene.write_disk("a", unit=PART)
    failing(scene, transient("throttled", retry_after_s=17.0), calls=range(1))
    scene.push()
    assert sum(scene.clock.slept) >= 17.0


def test_a_part_with_a_wrong_crc_is_sent_again(scene: Scene) -> None:
    """What the server computed of what it got differs: the line, or a memory, is to blame; once is an accident."""
    content = scene.write_disk(DENSE, unit=PART)
    wrong = iter([True])
    scene.store.change_part = lambda part: replace(part, crc64=(part.crc64 or 0) ^ 1) if next(wrong, False) else part
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    (retried,) = scene.said(PartRetried)
    assert "differs from the bytes" in retried.reason


def test_a_part_that_is_always_wrong_fails_by_name(scene: Scene) -> None:
    """Three times is no accident."""
    scene.write_disk("a", unit=PART)
    scene.store.change_part = lambda part: replace(part, crc64=(part.crc64 or 0) ^ 1)
    with pytest.raises(TransientError) as raised:
        scene.push()
    assert raised.value.code == "part-corrupted"
    assert raised.value.details["part"] == "1"
    assert scene.store.calls["send_part"] == 3
    assert scene.store.calls["complete"] == 0


def test_a_copy_that_is_wrong_is_made_again_and_then_fails_by_name(scene: Scene) -> None:
    """Answers to copies have no CRC-64; the list of parts has it before the object is made."""
    scene.write_disk("a" + "." * 30)
    scene.store.change_part = lambda part: replace(part, crc64=1) if part.size_bytes > UNIT else part
    with pytest.raises(TransientError) as raised:
        scene.push()
    assert raised.value.code == "part-corrupted"
    assert scene.store.calls["list_parts"] == 3
    assert scene.store.calls["complete"] == 0


def test_a_part_that_times_out_is_cut(scene: Scene) -> None:
    """On a line so slow that a part does not pass in time, pieces do; the next ones are cut before they are tried."""
    content = scene.write_disk(DENSE, unit=PART)

    scene.store = SlowStore()
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert len(scene.store.sent_parts) == 4 * 2
    assert scene.store.timed_out <= 2, "the parts that were in flight"
    assert len([noted for noted in scene.said(Noted) if "does not get through" in noted.message]) == 1


def test_a_part_that_timed_out_does_not_keep_its_place(scene: Scene) -> None:
    """With one worker, the other parts are sent while a part waits after a timeout."""
    scene.write_disk("a....b....c")
    scene.options = TransferOptions(jobs=1)
    failing(scene, transient("timed-out"), calls=range(1))
    scene.push()
    retried = scene.said(PartRetried)[0].number
    assert scene.store.sent_parts[0] != retried
    assert retried in scene.store.sent_parts


def test_a_line_that_is_too_slow_for_all_workers_gets_fewer(scene: Scene) -> None:
    """After a timeout half of the workers continue, so that each has more bandwidth; success restores them."""
    scene.write_disk("abcdefgh", unit=PART)
    scene.options = TransferOptions(jobs=8)
    scene.store = store = CrowdedStore()
    scene.push()
    assert 1 < store.most_at_once <= 6


def test_a_part_under_which_the_line_breaks_over_and_over_is_cut(scene: Scene) -> None:
    """A line that never carries a part in one go may carry half of one."""
    content = scene.write_disk("a", unit=PART)
    failing(scene, transient("connection-lost"), calls=range(3))
    assert scene.store.content(scene.push().key) == content
    assert len(scene.store.sent_parts) == 2


def test_cut_parts_are_found_again(scene: Scene) -> None:
    """After a kill, with the journal and without it, the existing pieces count."""
    content = scene.write_disk(DENSE, unit=PART)

    for state in ("state", "another machine"):
        scene.store = SlowStore(kill_after=3)
        scene.state = "state"
        with pytest.raises(Killed):
            scene.push()
        (upload,) = scene.store.uploads.values()
        there = sum(part.size_bytes for _, part in upload.parts.values())
        calm = ScriptedStore()
        calm.uploads = scene.store.uploads
        scene.store, scene.state = calm, state
        uploaded = scene.push()
        assert calm.content(uploaded.key) == content
        assert calm.received_bytes == len(content) - there
        for path in (scene.directory / "state").iterdir():
            path.unlink()


def test_the_limit_is_kept_over_all_workers(scene: Scene) -> None:
    """1 MiB/s over ten seconds, within 5 %, however many workers there are."""
    scene.write_disk("abcde", unit=PART)
    scene.options = TransferOptions(jobs=4, limit_rate_bytes_s=RATE)
    began = scene.clock.monotonic_s()
    scene.push()
    took = scene.clock.monotonic_s() - began
    assert took == pytest.approx(5 * PART / RATE, rel=0.05)


def test_events_come_at_most_ten_a_second(scene: Scene) -> None:
    """Progress follows the clock, and the last one is always emitted."""
    scene.write_disk(DENSE, unit=PART)
    scene.options = TransferOptions(jobs=2, limit_rate_bytes_s=2 * RATE)
    began = scene.clock.monotonic_s()
    scene.push()
    took = scene.clock.monotonic_s() - began
    progress = scene.said(UploadProgress)
    assert len(progress) <= took * 10 + 2
    assert progress[-1].parts_done == progress[-1].parts == 4
