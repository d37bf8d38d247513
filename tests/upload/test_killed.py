"""SIGKILL at random moments: the same command comes to the object, and sends little twice.

`pytest -n 0 -s -m slow tests/upload/test_killed.py` kills one push twenty times, and prints what that cost.
"""

import itertools
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aliyun_import.limits import MIB
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.upload.plan import PartKind
from aliyun_import.upload.transfer.pool import TICK_S
from tests.upload.pusher import WORKERS
from tests.upload.scene import Scene
from tests.upload.test_over_http import Cloud

PART_BYTES = 8 * MIB
# So that a life of a second sends some parts and leaves others in flight.
RATE = 24 * MIB
SEED_OF_ZEROS = 1 * MIB


def push(cloud: Cloud, *, life_s: float | None) -> str | None:
    """Run the same command once; it is killed when it has worked for so long, or gives the object's key.

    The time that counts is its own, by the progress that it tells ten times a second: kills come at all moments of a
    push on a busy machine, too.
    """
    key = cloud.sandbox.access_key
    command = [sys.executable, "-m", "tests.upload.pusher", str(cloud.scene.path), str(cloud.scene.directory / "state")]
    command += [cloud.sandbox.url, key.id, key.secret, "0" if life_s is None else str(RATE)]
    root = Path(__file__).resolve().parents[2]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        if life_s is not None:
            said += itertools.islice(process.stdout, int(life_s / TICK_S))
            time.sleep(life_s % TICK_S)
            process.kill()
        said += process.stdout.read().split()
    assert process.returncode in (0, -signal.SIGKILL)
    return said[-1] if process.returncode == 0 else None


# `read` is for small ranges: it holds them in memory, 64 MiB at most.
PIECE_BYTES = 32 << 20


@pytest.mark.parametrize(
    ("kills", "units", "longest_s"), [(3, 8, 0.6), pytest.param(20, 64, 1.2, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_the_object_is_right_in_the_end(
    sandbox: Sandbox, scene: Scene, kills: int, units: int, longest_s: float
) -> None:
    """What is sent is at most the plan's bytes and, for each kill, the parts that were in flight."""
    cloud = Cloud(sandbox, scene)
    content = scene.write_disk("".join(chr(0x100 + index) for index in range(units)) + ".....", unit=PART_BYTES)
    plan = scene.preview(has_bucket=False).plan
    assert plan is not None
    longest = max(part.length for part in plan.parts if part.kind is PartKind.SEND)
    assert longest == PART_BYTES
    rng = random.Random(11)
    for number in range(kills):
        assert push(cloud, life_s=rng.uniform(0.0, longest_s)) is None, f"done before kill {number + 1}"
    killed_bytes = cloud.sent_bytes()
    key = push(cloud, life_s=None)
    assert key
    pieces = (cloud.store.read(key, start=start, length=PIECE_BYTES) for start in range(0, len(content), PIECE_BYTES))
    assert b"".join(pieces) == content
    planned = plan.bytes_of(PartKind.SEND) + SEED_OF_ZEROS
    most = planned + kills * WORKERS * longest
    sent = cloud.sent_bytes()
    print(
        f"\n{kills} kills: the plan sends {planned / MIB:.1f} MiB, sent {sent / MIB:.1f} MiB ({killed_bytes / MIB:.1f} "
        f"before the last run), at most {most / MIB:.1f} MiB are allowed"
    )
    assert planned <= sent <= most
    assert killed_bytes > kills * MIB, "the lives were too short to send anything"
    assert [there.key for there in cloud.store.list_objects("")] == [key]
    assert cloud.store.list_uploads("") == ()
