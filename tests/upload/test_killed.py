"""Tests of SIGKILL at random moments: the same command completes the object, and sends little twice.

`pytest -n 0 -s -m slow tests/upload/test_killed.py` kills one push twenty times, and prints what that cost.
"""

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from aliyun_import.limits import MIB
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.upload.plan import PartKind
from aliyun_import.upload.transfer.pool import TICK_S
from tests.upload.pusher import WORKERS
from tests.upload.scene import PART, Scene
from tests.upload.test_over_http import Cloud

pytestmark = pytest.mark.usefixtures("small_parts")

# So that a life of a second sends some parts and leaves others in flight.
RATE = 3 * MIB
SEED_OF_ZEROS = 1 * MIB


@pytest.fixture
def cloud(sandbox: Sandbox, scene: Scene) -> Cloud:
    """Return a bucket and an empty scene."""
    return Cloud(sandbox, scene)


@pytest.fixture
def pusher(cloud: Cloud) -> Iterator[Popen[str]]:
    """Return the program that pushes the scene's disk for each line it gets."""
    key = cloud.sandbox.access_key
    command = [sys.executable, "-m", "tests.upload.pusher", str(cloud.scene.path), str(cloud.scene.directory / "state")]
    root = Path(__file__).resolve().parents[2]
    with Popen(
        [*command, cloud.sandbox.url, key.id, key.secret], stdin=PIPE, stdout=PIPE, text=True, cwd=root
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == 0


def push(pusher: Popen[str], *, life_s: float | None) -> str | None:
    """Run the same command once; kill it after a time, or return the object's key.

    The time that counts is its own, by the progress that it tells ten times a second: kills come at all moments of a
    push on a busy machine, too.
    """
    assert pusher.stdin is not None
    assert pusher.stdout is not None
    print(0 if life_s is None else RATE, file=pusher.stdin, flush=True)
    child = int(pusher.stdout.readline())
    said: list[str] = []
    if life_s is not None:
        said += itertools.islice(pusher.stdout, int(life_s / TICK_S))
        time.sleep(life_s % TICK_S)
        os.kill(child, signal.SIGKILL)
    while not (line := pusher.stdout.readline()).startswith("ended"):
        assert line, "the program ended"
        said.append(line.strip())
    code = int(line.split()[1])
    assert code in (0, -signal.SIGKILL)
    return said[-1] if code == 0 else None


# `read` is for small ranges: it holds them in memory, 64 MiB at most.
PIECE_BYTES = 32 << 20


@pytest.mark.parametrize(
    ("kills", "units", "longest_s"), [(3, 8, 0.6), pytest.param(20, 64, 1.0, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_the_object_is_right_in_the_end(
    cloud: Cloud, pusher: Popen[str], kills: int, units: int, longest_s: float
) -> None:
    """What is sent is at most the plan's bytes and, for each kill, the parts that were in flight."""
    scene = cloud.scene
    content = scene.write_disk("".join(chr(0x100 + index) for index in range(units)) + "." * 40, unit=PART)
    plan = scene.preview(has_bucket=False).plan
    assert plan is not None
    longest = max(part.length for part in plan.parts if part.kind is PartKind.SEND)
    assert longest == PART
    rng = random.Random(11)
    for number in range(kills):
        assert push(pusher, life_s=rng.uniform(0.0, longest_s)) is None, f"done before kill {number + 1}"
    killed_bytes = cloud.sent_bytes()
    key = push(pusher, life_s=None)
    assert key
    pieces = (cloud.store.read(key, start=start, length=PIECE_BYTES) for start in range(0, len(content), PIECE_BYTES))
    assert b"".join(pieces) == content
    planned = plan.bytes_of(PartKind.SEND) + SEED_OF_ZEROS
    most = planned + kills * (WORKERS * longest)
    sent = cloud.sent_bytes()
    print(
        f"\n{kills} kills: the plan sends {planned / MIB:.1f} MiB, sent {sent / MIB:.1f} MiB ({killed_bytes / MIB:.1f} "
        f"before the last run), at most {most / MIB:.1f} MiB are allowed"
    )
    assert planned <= sent <= most
    assert killed_bytes > kills * PART // 8, "the lives were too short to send anything"
    assert [there.key for there in cloud.store.list_objects("")] == [key]
    assert cloud.store.list_uploads("") == ()
