"""Tests of the command group and of what no command catches."""

import subprocess
import sys

import pytest

from aliyun_import import __version__

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


def aliyun_import(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program."""
    return subprocess.run(
        [sys.executable, "-m", "aliyun_import", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_the_name_alone_prints_the_help() -> None:
    """Whoever types the name wants to know what it is; that is no error."""
    ended = aliyun_import()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == aliyun_import("--help").stdout == aliyun_import("help").stdout
    assert "push disk.raw" in ended.stdout


def test_help_of_a_command_has_two_spellings() -> None:
    """`help task wait` is `task wait --help`."""
    assert aliyun_import("help", "task", "wait").stdout == aliyun_import("task", "wait", "--help").stdout


def test_the_version_has_a_short_option() -> None:
    """-V, as in most programs."""
    assert aliyun_import("-V").stdout == aliyun_import("--version").stdout == f"aliyun-import {__version__}\n"


def test_a_mistyped_command_is_guessed() -> None:
    """The error names the command that was probably meant."""
    ended = aliyun_import("psuh", "disk.raw")
    assert ended.returncode == 2
    assert "Did you mean push?" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("push", "disk.raw", "--region"), "aliyun-import push --help"),
        (("push", "disk.raw", "--no-such-option"), "aliyun-import push --help"),
        (("task", "wait"), "aliyun-import task wait --help"),
        (("--no-such-option",), "aliyun-import --help"),
    ],
)
def test_a_usage_error_names_the_help_of_its_command(arguments: tuple[str, ...], command: str) -> None:
    """And not that of the group."""
    ended = aliyun_import(*arguments)
    assert ended.returncode == 2
    assert f"`{command}`" in ended.stderr


def test_leftovers_is_an_alias_of_cleanup() -> None:
    """The former name works and is not listed."""
    assert "leftovers" not in aliyun_import("--help").stdout
    assert aliyun_import("leftovers", "--help").stdout == aliyun_import("cleanup", "--help").stdout.replace(
        "Usage: aliyun-import cleanup", "Usage: aliyun-import leftovers"
    )
