"""Tests of SIGKILL at random moments: the same command completes the upload, and sends few bytes twice.

`pytest -n 0 -s -m slow tests/upload/test_killed.py` kills one push twenty times, and prints the sent bytes.
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
from tests.upload.test_over_http import Cloud
from tests.upload.upload_program import WORKERS
from tests.upload.upload_setup import PART, UploadSetup

pytestmark = pytest.mark.usefixtures("small_parts")

# At this rate a run of one second sends some parts and leaves others in flight.
RATE = 3 * MIB
SEED_OF_ZEROS = 1 * MIB


@pytest.fixture
def cloud(sandbox: Sandbox, setup: UploadSetup) -> Cloud:
    """Return a bucket and an upload whose disk is not written yet."""
    return Cloud(sandbox, setup)


@pytest.fixture
def program(cloud: Cloud) -> Iterator[Popen[str]]:
    """Start the program that uploads the disk for each line of its stdin."""
    key = cloud.sandbox.access_key
    command = [
        sys.executable,
        "-m",
        "tests.upload.upload_program",
        str(cloud.setup.path),
        str(cloud.setup.directory / "state"),
    ]
    root = Path(__file__).resolve().parents[2]
    with Popen(
        [*command, cloud.sandbox.url, key.id, key.secret], stdin=PIPE, stdout=PIPE, text=True, cwd=root
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == 0


def push(program: Popen[str], *, kill_after_s: float | None) -> str | None:
    """Upload once and return the object's key, or kill the upload after a time and return None.

    The time is counted by the progress lines, ten per second, so that kills are spread over the whole push on a busy
    machine, too.
    """
    assert program.stdin is not None
    assert program.stdout is not None
    print(0 if kill_after_s is None else RATE, file=program.stdin, flush=True)
    child = int(program.stdout.readline())
    lines: list[str] = []
    if kill_after_s is not None:
        lines += itertools.islice(program.stdout, int(kill_after_s / TICK_S))
        time.sleep(kill_after_s % TICK_S)
        os.kill(child, signal.SIGKILL)
    while not (line := program.stdout.readline()).startswith("ended"):
        assert line, "the program ended"
        lines.append(line.strip())
    code = int(line.split()[1])
    assert code in (0, -signal.SIGKILL)
    return lines[-1] if code == 0 else None


@pytest.mark.parametrize(
    ("kills", "units", "longest_s"), [(3, 8, 0.6), pytest.param(20, 64, 1.0, marks=pytest.mark.slow)]
)
def test_a_push_killed_at_random_moments_ends_in_the_right_object(
    cloud: Cloud, program: Popen[str], kills: int, units: int, longest_s: float
) -> None:
    """At most the planned bytes are sent and, for each kill, the parts that were in flight."""
    setup = cloud.setup
    setup.write_disk("".join(chr(0x100 + index) for index in range(units)) + "." * 40, unit=PART)
    plan = setup.preview(has_bucket=False).plan
    assert plan is not None
    longest = max(part.length for part in plan.parts if part.kind is PartKind.SEND)
    assert longest == PART
    rng = random.Random(11)
    for number in range(kills):
        assert push(program, kill_after_s=rng.uniform(0.0, longest_s)) is None, f"done before kill {number + 1}"
    killed_bytes = cloud.sent_bytes()
    key = push(program, kill_after_s=None)
    assert key
    cloud.assert_equals_disk(key)
    planned = plan.bytes_of(PartKind.SEND) + SEED_OF_ZEROS
    allowed = planned + kills * (WORKERS * longest)
    sent = cloud.sent_bytes()
    print(
        f"\n{kills} kills: the plan sends {planned / MIB:.1f} MiB, sent {sent / MIB:.1f} MiB ({killed_bytes / MIB:.1f} "
        f"before the last run), at most {allowed / MIB:.1f} MiB are allowed"
    )
    assert planned <= sent <= allowed
    assert killed_bytes > kills * PART // 8, "the pushes were killed before they sent anything"
    assert [stored.key for stored in cloud.store.list_objects("")] == [key]
    assert cloud.store.list_uploads("") == ()
