"""Tests that programs started for a push end with it."""

import os
import select
import signal
import subprocess
import sys

import pytest

from aliyun_import.disk.isolated import child_environment, last_line, with_parent_death_signal

_HOLDER = """
import subprocess
from aliyun_import.disk.isolated import with_parent_death_signal
command = with_parent_death_signal(["sleep", "300"])
child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_child_ends_when_its_parent_is_killed() -> None:
    """Also by SIGKILL, which the parent cannot handle."""
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        number = int(holder.stdout.readline())
        child = os.pidfd_open(number)
        try:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            ended, _, _ = select.select([child], [], [], 30)
            assert ended
        finally:
            os.close(child)


def test_a_program_keeps_its_output_and_status() -> None:
    """The program replaces the launcher."""
    command = with_parent_death_signal(["sh", "-c", "echo out; exit 7"])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("out\n", 7)


@pytest.mark.parametrize(
    ("noise", "line"),
    [(b"a\nqemu-img: broken\n\n", "qemu-img: broken"), (b"", "it gave no reason"), (b"\xff", "\ufffd")],
)
def test_the_last_line_is_the_reason(noise: bytes, line: str) -> None:
    """For any output of a program."""
    assert last_line(noise) == line


def test_a_child_gets_no_credentials() -> None:
    """It gets the variables that it needs, and no others."""
    secrets = (
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALICLOUD_SECURITY_TOKEN",
        "ALIYUN_X",
        "OSS_ACCESS_KEY_SECRET",
        "MY_TOKEN",
    )
    needed = {"PATH": "/bin", "HOME": "/root", "TMPDIR": "/t", "LANG": "C", "LC_ALL": "C", "PYTHONPATH": "/p"}
    assert child_environment(needed | dict.fromkeys(secrets, "hush")) == needed
