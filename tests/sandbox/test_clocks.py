"""Tests of the steered clock, in this process and through the control plane."""

import threading
import time

import pytest

from aliyun_import.context import Clock
from aliyun_import.errors import Interrupted
from aliyun_import.sandbox.server import Sandbox
from tests.clocks import SandboxClock, steered_context
from tests.sandbox.prepared import mapping, prepare
from tests.sandbox.vendor_sdk import call


def test_polling_an_import_of_hours_takes_no_time(sandbox: Sandbox) -> None:
    """The task is Waiting, Processing and Finished in turn, as in real time."""
    prepare(sandbox)
    sandbox.state.configure(import_s=7200.0, import_queue_s=600.0)
    clocks: tuple[Clock, ...] = (steered_context(sandbox).clock, SandboxClock.over_http(sandbox.url))
    for clock in clocks:
        began_s = time.monotonic()
        task = call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()])["TaskId"]
        statuses: list[str] = []
        while not statuses or statuses[-1] != "Finished":
            statuses.append(call(sandbox, "DescribeTaskAttribute", TaskId=task)["TaskStatus"])
            clock.sleep(500)
        assert list(dict.fromkeys(statuses)) == ["Waiting", "Processing", "Finished"]
        assert time.monotonic() - began_s < 20


def test_the_steered_clock_agrees_with_that_of_the_sandbox(sandbox: Sandbox) -> None:
    """A wait advances the time of the client and of the sandbox."""
    clock = steered_context(sandbox).clock
    before_s = clock.monotonic_s()
    clock.sleep(3600)
    assert abs(clock.now_s() - sandbox.clock.now_s()) < 5
    assert 3600 <= clock.monotonic_s() - before_s < 3605


def test_a_cancelled_run_does_not_wait(sandbox: Sandbox) -> None:
    """A wait raises Interrupted, as with the system clock."""
    cancel = threading.Event()
    context = steered_context(sandbox, cancel=cancel)
    cancel.set()
    with pytest.raises(Interrupted):
        context.sleep(1)
