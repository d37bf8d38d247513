"""Tests of the transfer of parts: retries, splits, rate limit, and final errors."""

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
from tests.upload.scripted_store import ScriptedStore
from tests.upload.upload_setup import UNIT, Killed, UploadSetup

DENSE = "abcd"
# The minimum size of a sent part in these tests: two of the pieces into which a part is split.
PART = 2 * PIECE_BYTES
RATE = 1 * MIB


@pytest.fixture(autouse=True)
def _parts_of_two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MIN_SEND_BYTES", PART)


def fail_send_part(setup: UploadSetup, error: AliyunImportError, *, calls: range) -> None:
    """Let the attempts to send a part with these numbers fail."""

    def hook(operation: str, count: int) -> None:
        if operation == "send_part" and count in calls:
            raise error

    setup.store.before = hook


def transient(code: str, *, retry_after_s: float | None = None) -> TransientError:
    """Return a transient failure."""
    kind = {"connection-lost": ConnectionLost, "throttled": Throttled, "timed-out": TimedOut}.get(code, TransientError)
    return kind("It failed.", code=code, cause="It is temporary.", remedy=None, retry_after_s=retry_after_s)


class SlowStore(ScriptedStore):
    """A store on a network that transfers one piece before a timeout; after `kill_after` parts it raises Killed."""

    def __init__(self, *, kill_after: int = 10_000) -> None:
        super().__init__()
        self.timed_out = 0
        self._kill_after = kill_after

    def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
        """Receive a part that is not longer than a piece."""
        if len(self.sent_parts) >= self._kill_after:
            raise Killed
        if len(body) > PIECE_BYTES:
            self.timed_out += 1
            raise transient("timed-out")
        return super().send_part(key, upload_id, number=number, body=body)


class SaturatedStore(ScriptedStore):
    """A store on a network where eight parts at once time out; it counts the pieces sent at once after that."""

    def __init__(self) -> None:
        super().__init__()
        self.max_running = 0
        self._running = 0
        self._running_lock = threading.Lock()
        self._first_eight = threading.Barrier(8)

    def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
        """Receive a piece, the first eight slowly; eight whole parts time out together."""
        if len(body) > PIECE_BYTES:
            self._first_eight.wait(timeout=10)
            raise transient("timed-out")
        with self._running_lock:
            self._running += 1
            if len(self.sent_parts) < 8:
                self.max_running = max(self.max_running, self._running)
        if len(self.sent_parts) < 8:
            time.sleep(0.02)
        part = super().send_part(key, upload_id, number=number, body=body)
        with self._running_lock:
            self._running -= 1
        return part


def test_a_failed_part_is_retried_alone(setup: UploadSetup) -> None:
    """The other parts continue, the wait is reported, and the object equals the disk."""
    content = setup.write_disk(DENSE, unit=PART)
    fail_send_part(setup, transient("connection-lost"), calls=range(2, 4))
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    retried = setup.events_of(PartRetried)
    assert len(retried) == 2
    assert all(event.attempt <= 2 and event.reason == "It failed. It is temporary." for event in retried)
    assert setup.store.calls["send_part"] == 4 + 2


def test_while_the_network_is_down_each_worker_retries_one_part(setup: UploadSetup) -> None:
    """A part that waits for its next attempt blocks its worker, so that the other parts do not fail, too."""
    setup.write_disk("abcdefgh", unit=PART)
    setup.options = TransferOptions(jobs=2)
    fail_send_part(setup, transient("connection-lost"), calls=range(1000))
    with pytest.raises(TransientError):
        setup.push()
    assert len({event.number for event in setup.events_of(PartRetried)}) <= 2


def test_a_part_fails_after_twelve_attempts(setup: UploadSetup) -> None:
    """The error is resumable."""
    setup.write_disk("a")
    fail_send_part(setup, transient("service-unwell"), calls=range(100))
    with pytest.raises(TransientError) as raised:
        setup.push()
    assert raised.value.code == "service-unwell"
    assert raised.value.resumable
    assert setup.store.calls["send_part"] == 12


def test_the_wait_that_the_service_requests_is_kept(setup: UploadSetup) -> None:
    """The part is not retried earlier."""
    setup.write_disk("a", unit=PART)
    fail_send_part(setup, transient("throttled", retry_after_s=17.0), calls=range(1))
    setup.push()
    assert sum(setup.clock.slept) >= 17.0


def test_a_part_with_a_wrong_crc_is_sent_again(setup: UploadSetup) -> None:
    """The server's CRC-64 of the received bytes differs once, by an error of the network or of memory."""
    content = setup.write_disk(DENSE, unit=PART)
    wrong = iter([True])
    setup.store.change_part = lambda part: replace(part, crc64=(part.crc64 or 0) ^ 1) if next(wrong, False) else part
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    (retried,) = setup.events_of(PartRetried)
    assert "differs from the bytes" in retried.reason


def test_a_part_with_a_wrong_crc_three_times_fails_by_name(setup: UploadSetup) -> None:
    """The error names the part, and no object is made."""
    setup.write_disk("a", unit=PART)
    setup.store.change_part = lambda part: replace(part, crc64=(part.crc64 or 0) ^ 1)
    with pytest.raises(TransientError) as raised:
        setup.push()
    assert raised.value.code == "part-corrupted"
    assert raised.value.details["part"] == "1"
    assert setup.store.calls["send_part"] == 3
    assert setup.store.calls["complete"] == 0


def test_a_corrupted_copy_is_repeated_and_then_fails_by_name(setup: UploadSetup) -> None:
    """Answers to copies have no CRC-64; the list of parts shows it before the object is made."""
    setup.write_disk("a" + "." * 30)
    setup.store.change_part = lambda part: replace(part, crc64=1) if part.size_bytes > UNIT else part
    with pytest.raises(TransientError) as raised:
        setup.push()
    assert raised.value.code == "part-corrupted"
    assert setup.store.calls["list_parts"] == 3
    assert setup.store.calls["complete"] == 0


def test_a_part_that_times_out_is_split(setup: UploadSetup) -> None:
    """On a slow network pieces succeed; the following parts are split before they are tried."""
    content = setup.write_disk(DENSE, unit=PART)

    setup.store = SlowStore()
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert len(setup.store.sent_parts) == 4 * 2
    assert setup.store.timed_out <= 2, "the parts that were in flight"
    assert len([noted for noted in setup.events_of(Noted) if "failed repeatedly" in noted.message]) == 1


def test_a_part_that_timed_out_does_not_block_its_worker(setup: UploadSetup) -> None:
    """With one worker, other parts are sent while that part waits."""
    setup.write_disk("a....b....c")
    setup.options = TransferOptions(jobs=1)
    fail_send_part(setup, transient("timed-out"), calls=range(1))
    setup.push()
    retried = setup.events_of(PartRetried)[0].number
    assert setup.store.sent_parts[0] != retried
    assert retried in setup.store.sent_parts


def test_timeouts_reduce_the_number_of_workers(setup: UploadSetup) -> None:
    """After timeouts half of the workers continue; success increases their number again."""
    setup.write_disk("abcdefgh", unit=PART)
    setup.options = TransferOptions(jobs=8)
    setup.store = store = SaturatedStore()
    setup.push()
    assert 1 < store.max_running <= 6


def test_a_part_whose_connection_breaks_repeatedly_is_split(setup: UploadSetup) -> None:
    """A network that never transfers a whole part may transfer half of one."""
    content = setup.write_disk("a", unit=PART)
    fail_send_part(setup, transient("connection-lost"), calls=range(3))
    assert setup.store.content(setup.push().key) == content
    assert len(setup.store.sent_parts) == 2


def test_pieces_are_found_by_a_resumed_upload(setup: UploadSetup) -> None:
    """After a kill the finished pieces count, with the journal and without it."""
    content = setup.write_disk(DENSE, unit=PART)

    for state in ("state", "another machine"):
        setup.store = SlowStore(kill_after=3)
        setup.state = "state"
        with pytest.raises(Killed):
            setup.push()
        (upload,) = setup.store.uploads.values()
        kept_bytes = sum(part.size_bytes for _, part in upload.parts.values())
        healthy = ScriptedStore()
        healthy.uploads = setup.store.uploads
        setup.store, setup.state = healthy, state
        uploaded = setup.push()
        assert healthy.content(uploaded.key) == content
        assert healthy.received_bytes == len(content) - kept_bytes
        for path in (setup.directory / "state").iterdir():
            path.unlink()


def test_the_rate_limit_is_kept_over_all_workers(setup: UploadSetup) -> None:
    """5 parts at 1 MiB/s take the computed time within 5 %, with four workers."""
    setup.write_disk("abcde", unit=PART)
    setup.options = TransferOptions(jobs=4, limit_rate_bytes_s=RATE)
    started_s = setup.clock.monotonic_s()
    setup.push()
    elapsed_s = setup.clock.monotonic_s() - started_s
    assert elapsed_s == pytest.approx(5 * PART / RATE, rel=0.05)


def test_progress_events_are_at_most_ten_per_second(setup: UploadSetup) -> None:
    """They follow the clock, and the last one is always emitted."""
    setup.write_disk(DENSE, unit=PART)
    setup.options = TransferOptions(jobs=2, limit_rate_bytes_s=2 * RATE)
    started_s = setup.clock.monotonic_s()
    setup.push()
    elapsed_s = setup.clock.monotonic_s() - started_s
    progress = setup.events_of(UploadProgress)
    assert len(progress) <= elapsed_s * 10 + 2
    assert progress[-1].parts_done == progress[-1].parts == 4
