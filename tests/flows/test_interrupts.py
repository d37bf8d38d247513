"""Tests of pushes stopped by signals: what they report, leave, and do when run again."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands
from tests.flows.fork_server import Forked
from tests.steered import import_calls

PATIENCE_S = 60


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fails when it does not in a minute."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def ended(running: Forked) -> tuple[int, str, str]:
    """Wait for a command to end."""
    return running.communicate(limit_s=PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_upload_keeps_what_is_there(
    commands: Commands, sandbox: Sandbox, disk: Path, number: signal.Signals
) -> None:
    """It stops with 130, says how to go on and how to clean up, and the next run sends only the rest."""
    sandbox.faults.add(Fault(operation="UploadPart", effect="delay", delay_s=1.0, nth=2, count=None))
    running = commands.start("push", disk, "--jobs", "1")
    eventually(lambda: bool(sandbox.requests.entries("UploadPart")))
    running.kill(number)
    code, out, err = ended(running)
    assert (code, out) == (130, "")
    assert "aliyun-import push" in err or "same command" in err
    assert "cleanup" in err
    sandbox.faults.clear()
    (bucket,) = sandbox.state.part(OssState).buckets.values()
    assert len(bucket.uploads) == 1
    again = commands.run("push", disk)
    assert again.code == 0, again.err
    assert "in OSS already" in again.err


def test_a_signal_during_the_import_detaches(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The import goes on without us; 130 says by which task, and the same command finishes."""
    sandbox.state.configure(import_s=3600.0)
    running = commands.start("push", disk)
    eventually(lambda: bool(sandbox.requests.entries("DescribeTaskAttribute")))
    running.kill(signal.SIGINT)
    code, out, err = ended(running)
    assert (code, out) == (130, "")
    assert "continues as task t-sandbox" in err
    assert not sandbox.requests.entries("CancelTask")
    sandbox.clock.advance(7200)
    assert commands.run("push", disk).code == 0
    assert len(import_calls(sandbox)) == 1


def test_cancel_on_interrupt_cancels_the_task(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """With --cancel-on-interrupt the task is cancelled, and the next run imports without another upload."""
    sandbox.state.configure(import_s=3600.0)
    running = commands.start("push", disk, "--cancel-on-interrupt")
    eventually(lambda: bool(sandbox.requests.entries("DescribeTaskAttribute")))
    running.kill(signal.SIGTERM)
    code, _, err = ended(running)
    assert code == 130
    assert "was cancelled" in err
    sent = len(sandbox.requests.entries("UploadPart"))
    sandbox.state.configure(import_s=0.1)
    assert commands.run("push", disk).code == 0
    assert len(sandbox.requests.entries("UploadPart")) == sent


def test_a_second_signal_leaves_at_once(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Whoever does not want to wait for the first Ctrl-C leaves with the second."""
    sandbox.faults.add(Fault(operation="GetCallerIdentity", effect="delay", delay_s=20.0))
    running = commands.start("push", disk)
    eventually(lambda: not sandbox.faults.active())
    running.kill(signal.SIGINT)
    time.sleep(0.2)
    running.kill(signal.SIGINT)
    began = time.monotonic()
    code, _, _ = ended(running)
    assert code == 130
    assert time.monotonic() - began < 10


def test_a_task_can_be_listed_shown_and_cancelled(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """`task` works on any import of the account, without a journal of ours.

    The name of the image is that of ECS, or of the journal once a cancelled import has removed the image.
    """
    sandbox.state.configure(import_s=3600.0)
    task_id = commands.run("push", disk, "--no-wait", "--name", "golden").out.strip()

    def names(home: str | None = None) -> list[tuple[str, str]]:
        environment = {"XDG_STATE_HOME": home} if home else {}
        listed = commands.run("task", "list", "--output", "json", environment=environment).json["tasks"]
        return [(one["task_id"], one["image_name"]) for one in listed]

    assert names(home="/nonexistent") == [(task_id, "golden")]
    assert task_id in commands.run("task", "show", task_id).out
    assert "Deleted" in commands.run("task", "cancel", task_id).out
    assert (names(), names(home="/nonexistent")) == ([(task_id, "golden")], [(task_id, "")])
    assert "golden" in commands.run("task", "list").out
    unknown = commands.run("task", "show", "t-sandbox-nobody", "--output", "json")
    assert (unknown.code, unknown.json["code"]) == (5, "task-unknown")
    assert sandbox.state.part(Ecs).images == {}
