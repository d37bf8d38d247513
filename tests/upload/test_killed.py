"""SIGKILL at random moments: the same command comes to the object, and sends little twice."""

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aliyun_import.limits import MIB
from aliyun_import.sandbox.server import Sandbox
from tests.upload.pusher import WORKERS
from tests.upload.scene import Scene
from tests.upload.test_over_http import Cloud

PART_BYTES = 8 * MIB
RATE = 24 * MIB


def push(cloud: Cloud, *, life_s: float | None) -> str | None:
    """Run the same command once; it is killed after so many seconds, or gives the object's key."""
    key = cloud.sandbox.access_key
    command = [sys.executable, "-m", "tests.upload.pusher", str(cloud.scene.path), str(cloud.scene.directory / "state")]
    command += [cloud.sandbox.url, key.id, key.secret, str(RATE)]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        killer = threading.Timer(life_s or 0, process.kill)
        if life_s is not None:
            killer.start()
        said = process.stdout.read().strip()
        killer.cancel()
    assert process.returncode in (0, -signal.SIGKILL)
    return said if process.returncode == 0 else None


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_object_is_right_in_the_end(sandbox: Sandbox, scene: Scene, kills: int) -> None:
    """What goes twice is at most what was in flight at each kill."""
    cloud = Cloud(sandbox, scene)
    units = 4 if kills == 3 else 24
    content = scene.write_disk("".join(chr(97 + index) for index in range(units)) + ".....", unit=PART_BYTES)
    rng = random.Random(11)
    killed = 0
    key = None
    while killed < kills and key is None:
        key = push(cloud, life_s=rng.uniform(0.05, 0.7))
        killed += key is None
    key = key or push(cloud, life_s=None)
    assert key
    assert cloud.store.read(key) == content
    assert killed >= kills // 2
    sent = cloud.sent_bytes()
    data = units * PART_BYTES
    assert data <= sent <= data + (killed + 1) * MIB + killed * WORKERS * PART_BYTES
    assert [there.key for there in cloud.store.list_objects("")] == [key]
    assert cloud.store.list_uploads("") == ()
