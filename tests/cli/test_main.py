"""Tests of the command group, and of exceptions that no command catches."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_import import __version__
from tests.flows.commands import Ran
from tests.flows.fork_server import ForkServer

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


def test_an_eof_error_in_a_command_is_a_bug() -> None:
    """Click handles EOFError like Ctrl-C; the tool does not."""
    ended = run("EOFError('no more')")
    assert ended.returncode == 1
    assert "EOFError in push" in ended.stderr
    assert "Stopped." not in ended.stderr


def test_ctrl_c_is_not_a_bug() -> None:
    """Also before the command has installed its signal handlers."""
    ended = run("KeyboardInterrupt")
    assert ended.returncode == 130
    assert "Stopped." in ended.stderr


Program = Callable[..., Ran]


@pytest.fixture
def program(forks: ForkServer, tmp_path: Path) -> Program:
    """Return a function that runs the program with arguments, in a forked process."""

    def run_with(*arguments: str) -> Ran:
        return Ran(*forks.start(arguments, environment={"HOME": str(tmp_path)}, cwd=tmp_path).communicate(limit_s=30))

    return run_with


def test_the_program_without_arguments_prints_the_help(program: Program) -> None:
    """Exit code 0, as with --help."""
    ended = program()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == program("--help").out == program("help").out
    assert "push disk.raw" in ended.out


def test_help_of_a_command_has_two_spellings(program: Program) -> None:
    """`help task wait` is `task wait --help`."""
    assert program("help", "task", "wait").out == program("task", "wait", "--help").out


def test_the_version_has_a_short_option(program: Program) -> None:
    """It is -V. `python -m aliyun_import` runs the same program."""
    command = [sys.executable, "-m", "aliyun_import", "-V"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == program("-V").out == program("--version").out == f"aliyun-import {__version__}\n"


def test_a_mistyped_command_has_a_suggestion(program: Program) -> None:
    """The error names the command with the most similar name."""
    ended = program("psuh", "disk.raw")
    assert ended.code == 2
    assert "Did you mean push?" in ended.err


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("push", "disk.raw", "--region"), "aliyun-import push --help"),
        (("push", "disk.raw", "--no-such-option"), "aliyun-import push --help"),
        (("task", "wait"), "aliyun-import task wait --help"),
        (("--no-such-option",), "aliyun-import --help"),
    ],
)
def test_a_usage_error_names_the_help_of_its_command(
    program: Program, arguments: tuple[str, ...], command: str
) -> None:
    """It does not name the help of the group."""
    ended = program(*arguments)
    assert ended.code == 2
    assert f"`{command}`" in ended.err


def test_leftovers_is_an_alias_of_cleanup(program: Program) -> None:
    """The former name works, and the help does not list it."""
    assert "leftovers" not in program("--help").out
    assert program("leftovers", "--help").out == program("cleanup", "--help").out.replace(
        "Usage: aliyun-import cleanup", "Usage: aliyun-import leftovers"
    )
