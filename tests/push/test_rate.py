"""How fast the last push was: measured on the way, kept by endpoint, and never a reason to fail."""

import threading
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from aliyun_import.account.check import AccountState
from aliyun_import.events import Event, UploadProgress, ignore
from aliyun_import.journal import open_journal
from aliyun_import.limits import MIB
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.model.roles import CallerIdentity
from aliyun_import.push.context import Cloud, PushContext, PushOptions
from aliyun_import.push.rate import FILE, KEPT, Measured, Meter, recall, remember
from aliyun_import.push.upload_stage import upload_all
from aliyun_import.upload.context import TransferOptions
from tests.image.scripted import ScriptedImages, ScriptedRoles
from tests.upload.scene import Killed, Scene
from tests.upload.scripted_store import SteeredClock

HERE = "https://oss-cn-hangzhou.aliyuncs.com"
RATE = Measured(bytes_s=50.0 * MIB, at_s=1_800_000_000.0)
PROGRESS = UploadProgress(
    disk="d", done_bytes=0, total_bytes=0, sent_bytes=0, send_bytes=0, parts_done=0, parts=0, workers=0
)


def measure(*steps: tuple[float, int]) -> float | None:
    """Give what a meter measures of progress told after so many seconds each, with so many MiB sent."""
    clock = SteeredClock()
    heard: list[Event] = []
    meter = Meter(heard.append, clock)
    for seconds, mib in steps:
        clock.sleep(seconds)
        meter(replace(PROGRESS, sent_bytes=mib * MIB))
    assert len(heard) == len(steps)
    return meter.measured.bytes_s / MIB if meter.measured else None


@pytest.mark.parametrize(
    ("steps", "rate"),
    [
        ([(5, 0), (2, 100)], 50),
        ([(5, 0), (2, 100), (2, 300)], 75),
        ([(5, 0), (2, 100), (60, 100), (60, 100)], 50),
        ([(5, 10), (2, 110)], 50),
        ([(5, 0), (2, 100), (1, 0), (1, 2)], 50),
        ([(5, 0), (100, 15)], None),
        ([(5, 0), (0.5, 100)], None),
        ([(5, 100)], None),
        ([], None),
    ],
    ids=[
        "from the first progress", "to the last", "not while copies are waited for", "what was sent before", "a round "
        "of a few parts again", "too little", "too short", "told once", "nothing sent",
    ],
)  # fmt: skip
def test_a_rate_is_what_was_sent_by_the_time_that_it_took(steps: list[tuple[float, int]], rate: float | None) -> None:
    """Where enough was sent to tell."""
    assert measure(*steps) == rate


def test_what_was_measured_is_recalled_by_the_endpoint(tmp_path: Path) -> None:
    """The last one counts, and nothing is told of another endpoint."""
    assert recall(tmp_path, HERE) is None
    remember(tmp_path, HERE, RATE, limit_bytes_s=None)
    remember(tmp_path, HERE, replace(RATE, bytes_s=7.0), limit_bytes_s=None)
    assert recall(tmp_path, HERE) == replace(RATE, bytes_s=7.0)
    assert recall(tmp_path, "https://oss-cn-hangzhou-internal.aliyuncs.com") is None


def test_a_limit_is_no_measure_of_the_line(tmp_path: Path) -> None:
    """Unless the line was slower than that."""
    remember(tmp_path, HERE, RATE, limit_bytes_s=RATE.bytes_s * 1.02)
    assert recall(tmp_path, HERE) is None
    remember(tmp_path, HERE, RATE, limit_bytes_s=RATE.bytes_s * 2)
    assert recall(tmp_path, HERE) == RATE


def test_the_newest_endpoints_are_kept(tmp_path: Path) -> None:
    """The file does not grow without end."""
    for number in range(KEPT + 3):
        remember(tmp_path, f"http://{number}", replace(RATE, at_s=float(number)), limit_bytes_s=None)
    assert [recall(tmp_path, f"http://{number}") is None for number in range(5)] == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"\xff\xfe",
        b"[]",
        b'{"schema": 2, "rates": {}}',
        b'{"schema": 1, "rates": []}',
        b'{"schema": 1, "rates": {"%s": {"bytes_s": 1}}}' % HERE.encode(),
        b'{"schema": 1, "rates": {"%s": {"bytes_s": "x", "at_s": 1}}}' % HERE.encode(),
        b'{"schema": 1, "rates": {"%s": {"bytes_s": -1, "at_s": 1}}}' % HERE.encode(),
    ],
)
def test_a_file_that_is_not_to_be_believed_is_no_file(tmp_path: Path, content: bytes) -> None:
    """It is passed over, and written anew."""
    (tmp_path / FILE).write_bytes(content)
    assert recall(tmp_path, HERE) is None
    remember(tmp_path, HERE, RATE, limit_bytes_s=None)
    assert recall(tmp_path, HERE) == RATE


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    """It is a courtesy."""
    remember(tmp_path / "nowhere", HERE, RATE, limit_bytes_s=None)
    assert recall(tmp_path / "nowhere", HERE) is None


def deliver_to(scene: Scene, *, oss_endpoint: str) -> None:
    """Upload the scene's disk as a push does."""
    store = scene.store
    run = PushContext(
        options=PushOptions(
            transfer=TransferOptions(jobs=1), state_dir=scene.directory, work_dir=scene.directory / "work"
        ),
        cloud=Cloud(
            identity=None,  # type: ignore[arg-type]
            store=lambda _: store,
            roles=ScriptedRoles(),
            images=ScriptedImages(),
            oss_endpoint=oss_endpoint,
        ),
        clock=scene.clock,
        emit=ignore,
        stop=threading.Event(),
    )
    request = ImportRequest(region="cn-hangzhou", disks=(DiskRequest(path=scene.path),), name="web")
    ready = AccountState(
        identity=CallerIdentity(account_id="1000000000000000", arn="", identity_type=""),
        bucket=store.bucket,
        bucket_info=None,
        bucket_is_ours=True,
        bucket_created=False,
        name_holder=None,
        objects=(None,),
    )
    with open_journal(scene.directory, {"name": "web"}) as journal:
        upload_all(run, request, ready, journal=journal)


@pytest.mark.parametrize(("endpoint", "fails"), [(HERE, False), (HERE, True), ("", False)])
def test_a_push_leaves_its_rate(tmp_path: Path, endpoint: str, *, fails: bool) -> None:
    """One that stops, too: what it sent took the time that it took. An endpoint without a name leaves none."""
    scene = Scene(tmp_path)
    scene.write_disk("abcde", unit=8 * MIB)

    def slowly(operation: str, count: int) -> None:
        scene.clock.sleep(1.0 if operation == "send_part" else 0.0)
        if fails and operation == "complete":
            raise Killed

    scene.store.before = slowly
    with pytest.raises(Killed) if fails else nullcontext():
        deliver_to(scene, oss_endpoint=endpoint)
    measured = recall(tmp_path, endpoint)
    if not endpoint:
        assert measured is None
        return
    assert measured is not None
    assert measured.bytes_s == pytest.approx(8 * MIB, rel=0.3)
