"""Tests of child processes: the parent death signal, their output and their environment."""

import os
import select
import signal
import subprocess
import sys

import pytest

from aliyun_import.disk.isolated import child_environment, last_line, with_parent_death_signal

_PARENT = """
import subprocess
from aliyun_import.disk.isolated import with_parent_death_signal
command = with_parent_death_signal(["sleep", "300"])
child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent death signal")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    """This includes SIGKILL, which the parent cannot handle."""
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        child = os.pidfd_open(number)
        try:
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            ended, _, _ = select.select([child], [], [], 30)
            assert ended
        finally:
            os.close(child)


def test_the_launcher_keeps_output_and_status_of_the_program() -> None:
    """The program replaces the launcher."""
    command = with_parent_death_signal(["sh", "-c", "echo out; exit 7"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("out\n", 7)


@pytest.mark.parametrize(
    ("output", "line"),
    [(b"a\nqemu-img: broken\n\n", "qemu-img: broken"), (b"", "it gave no reason"), (b"\xff", "\ufffd")],
)
def test_the_last_line_of_the_output_is_the_reason(output: bytes, line: str) -> None:
    """Empty output and invalid UTF-8 have a reason too."""
    assert last_line(output) == line


def test_a_child_gets_no_credentials() -> None:
    """The environment has only what the child needs to run."""
    secrets = (
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALICLOUD_SECURITY_TOKEN",
        "ALIYUN_X",
        "OSS_ACCESS_KEY_SECRET",
        "MY_TOKEN",
    )
    needed = {"PATH": "/bin", "HOME": "/root", "TMPDIR": "/t", "LANG": "C", "LC_ALL": "C", "PYTHONPATH": "/p"}
    assert child_environment(needed | dict.fromkeys(secrets, "secret")) == needed
