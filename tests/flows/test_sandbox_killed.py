"""Tests of a kept sandbox that is killed during pushes: each push ends in its own image.

The default run has two pushes. `pytest -m slow tests/flows/test_sandbox_killed.py` has eight and more kills, and checks
the memory of the sandbox.
"""

import json
import shlex
import signal
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.blob_store import crc64_update
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands
from tests.flows.disks import MIB, write_disk
from tests.flows.fork_server import Forked

MAX_RUNS = 20  # of one push: each kill may cost one
MAX_SANDBOX_KIB = 150 << 10
LIMIT_S = 120.0


class SandboxProcess:
    """Kept sandbox in a process of its own."""

    def __init__(self, commands: Commands, directory: Path, *, port: int) -> None:
        self._forked = commands.start(
            "sandbox", "serve", "--dir", directory, "--port", str(port), "--import-time", "1s"
        )
        self.environment: dict[str, str] = {}
        while (line := self._forked.stdout.readline()).startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            self.environment[name] = shlex.split(value)[0]
        self._url = self.environment["ALIYUN_IMPORT_ENDPOINT_URL"]

    def operations(self) -> set[str]:
        """Return the operations requested from this process."""
        with urllib.request.urlopen(f"{self._url}/_sandbox/requests", timeout=30) as answer:
            return {each["operation"] for each in json.load(answer)}

    def peak_kib(self) -> int:
        """Return the peak memory of the process."""
        status = Path(f"/proc/{self._forked.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))

    def end(self, number: signal.Signals) -> None:
        """Send a signal to the process, and wait for its end."""
        self._forked.kill(number)
        with self._forked.stdout, self._forked.stderr:
            self._forked.wait()


class Push:
    """Push that is repeated until it succeeds."""

    def __init__(self, commands: Commands, environment: dict[str, str], disk: Path) -> None:
        self._commands = commands
        self._environment = environment
        self.disk = disk
        self._runs = 0
        self.image_id = ""
        self._forked = self._start()

    def _start(self) -> Forked:
        self._runs += 1
        assert self._runs <= MAX_RUNS
        options = ("--name", self.disk.stem, "--output", "json", "--jobs", "2")
        return self._commands.start("push", self.disk, *options, environment=self._environment)

    def complete(self) -> None:
        """Repeat the push until it has an image."""
        while not self.image_id:
            with self._forked.stdout, self._forked.stderr:
                result = json.load(self._forked.stdout)
                code = self._forked.wait()
            assert code in (0, 6), result
            if code == 0:
                self.image_id = result["image_id"]
            else:
                self._forked = self._start()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def push_while_killing(commands: Commands, tmp_path: Path, *, pushes: int, kill_at: tuple[str, ...]) -> int:
    """Kill and restart the sandbox at the first request of each operation; return its peak memory in KiB."""
    port, directory, peak_kib = _free_port(), tmp_path / "kept", 0
    process = SandboxProcess(commands, directory, port=port)
    disks = [
        write_disk(tmp_path / f"disk-{number}.raw", size_bytes=128 * MIB, data_at=(1, 40, 80), seed=number)
        for number in range(pushes)
    ]
    running = [Push(commands, process.environment, disk) for disk in disks]
    ends_s = time.monotonic() + LIMIT_S
    for operation in kill_at:
        while operation not in process.operations():
            assert time.monotonic() < ends_s, operation
            time.sleep(0.02)
        peak_kib = max(peak_kib, process.peak_kib())
        process.end(signal.SIGKILL)
        process = SandboxProcess(commands, directory, port=port)
    for push in running:
        push.complete()
    peak_kib = max(peak_kib, process.peak_kib())
    process.end(signal.SIGTERM)
    with Sandbox.start(directory, keep=True) as sandbox:
        images = sandbox.state.part(Ecs).images
        assert {image.name: image.id for image in images.values()} == {
            push.disk.stem: push.image_id for push in running
        }
        for push in running:
            content = images[push.image_id].disks[0].content
            assert (content.size, content.crc64) == (128 * MIB, crc64_update(push.disk.read_bytes()))
        buckets = sandbox.state.part(OssState).buckets
        assert [list(bucket.uploads) for bucket in buckets.values()] == [[]]
    return peak_kib


def test_two_pushes_survive_kills_of_the_sandbox(commands: Commands, tmp_path: Path) -> None:
    """The sandbox is killed once during the uploads and once during the imports."""
    push_while_killing(commands, tmp_path, pushes=2, kill_at=("UploadPart", "ImportImage"))


@pytest.mark.slow
def test_eight_pushes_survive_kills_of_the_sandbox_within_its_memory(commands: Commands, tmp_path: Path) -> None:
    """The sandbox is killed at the first request of each operation, whatever the other pushes are doing."""
    operations = (
        "PutBucket",
        "UploadPart",
        "UploadPartCopy",
        "CompleteMultipartUpload",
        "ImportImage",
        "DescribeImages",
    )
    assert push_while_killing(commands, tmp_path, pushes=8, kill_at=operations) < MAX_SANDBOX_KIB
