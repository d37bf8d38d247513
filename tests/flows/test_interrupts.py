"""Tests of pushes interrupted by signals: their message, what is kept, and the next run."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.clocks import import_calls
from tests.flows.commands import Commands
from tests.flows.fork_server import Forked

LIMIT_S = 60


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true, for a minute at most."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.02)


def ended(running: Forked) -> tuple[int, str, str]:
    """Wait for a command to end."""
    return running.communicate(limit_s=LIMIT_S)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_upload_keeps_the_parts(
    commands: Commands, sandbox: Sandbox, disk: Path, number: signal.Signals
) -> None:
    """Exit code 130; the message has the commands to resume and to clean up, and the next run sends the rest."""
    sandbox.faults.add(Fault(operation="UploadPart", effect="delay", delay_s=1.0, nth=2, count=None))
    running = commands.start("push", disk, "--jobs", "1")
    wait_until(lambda: bool(sandbox.requests.entries("UploadPart")))
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


def test_a_signal_during_the_import_leaves_it_running(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Exit code 130 with the task of the import; the same command waits for its end."""
    sandbox.state.configure(import_s=3600.0)
    running = commands.start("push", disk)
    wait_until(lambda: bool(sandbox.requests.entries("DescribeTaskAttribute")))
    running.kill(signal.SIGINT)
    code, out, err = ended(running)
    assert (code, out) == (130, "")
    assert "continues as task t-sandbox" in err
    assert not sandbox.requests.entries("CancelTask")
    sandbox.clock.advance(7200)
    assert commands.run("push", disk).code == 0
    assert len(import_calls(sandbox)) == 1


def test_cancel_on_interrupt_cancels_the_task(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The next run imports without another upload."""
    sandbox.state.configure(import_s=3600.0)
    running = commands.start("push", disk, "--cancel-on-interrupt")
    wait_until(lambda: bool(sandbox.requests.entries("DescribeTaskAttribute")))
    running.kill(signal.SIGTERM)
    code, _, err = ended(running)
    assert code == 130
    assert "was cancelled" in err
    sent = len(sandbox.requests.entries("UploadPart"))
    sandbox.state.configure(import_s=0.1)
    assert commands.run("push", disk).code == 0
    assert len(sandbox.requests.entries("UploadPart")) == sent


def test_a_second_signal_ends_the_command_at_once(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """The command does not wait for the response to its request."""
    sandbox.faults.add(Fault(operation="GetCallerIdentity", effect="delay", delay_s=20.0))
    running = commands.start("push", disk)
    wait_until(lambda: not sandbox.faults.active())
    running.kill(signal.SIGINT)
    time.sleep(0.2)
    running.kill(signal.SIGINT)
    started = time.monotonic()
    code, _, _ = ended(running)
    assert code == 130
    assert time.monotonic() - started < 10


def test_a_task_can_be_listed_shown_and_cancelled(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """`task` works on any import of the account, also without a journal.

    The image name comes from ECS, or from the journal after a cancelled import has removed the image.
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
    unknown = commands.run("task", "show", "t-sandbox-unknown", "--output", "json")
    assert (unknown.code, unknown.json["code"]) == (5, "task-unknown")
    assert sandbox.state.part(Ecs).images == {}
