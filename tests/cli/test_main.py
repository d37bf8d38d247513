"""The last resort: what no command caught."""

import subprocess
import sys

PROGRAM = """
import click
from aliyun_import.cli import main

@click.command()
def push():
    raise {error}

main.LazyGroup.get_command = lambda self, ctx, name: push
main.run()
"""


def run(error: str) -> subprocess.CompletedProcess[str]:
    """Run a command that raises."""
    program = PROGRAM.format(error=error)
    return subprocess.run(
        [sys.executable, "-c", program, "push"], capture_output=True, text=True, timeout=30, check=False
    )


def test_an_end_of_file_within_is_a_bug() -> None:
    """Click makes it what Ctrl-C is; it must not look like that."""
    ended = run("EOFError('no more')")
    assert ended.returncode == 1
    assert "EOFError in push" in ended.stderr
    assert "Stopped." not in ended.stderr


def test_ctrl_c_is_not_a_bug() -> None:
    """Before a command listens to signals, too."""
    ended = run("KeyboardInterrupt")
    assert ended.returncode == 130
    assert "Stopped." in ended.stderr
