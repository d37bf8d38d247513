"""Tests of the help, the pages generated from it, and completion."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import click
import click.testing
import pytest

from aliyun_import.cli.main import app
from aliyun_import.cli.params import COMMON, RARE, Command
from aliyun_import.cli.settings import EnvironmentOption
from tests.flows.fork_server import ForkServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = runpy.run_path(str(ROOT / "docs" / "generate_commands.py"))
COMMANDS = PAGES["commands"]()
LEAVES = [(path, one) for path, one in COMMANDS if isinstance(one, Command)]


def test_the_pages_on_commands_are_current() -> None:
    """They follow the declarations of the options."""
    stale = "run `python docs/generate.py`"
    assert (ROOT / "docs" / "commands.md").read_text() == PAGES["commands_page"](), stale
    pages = {path.name: path.read_text() for path in (ROOT / "docs" / "man").iterdir()}
    assert pages == PAGES["man_pages"](), stale


def test_the_man_pages_are_in_the_wheel() -> None:
    """`man aliyun-import` works where the package is installed."""
    assert '"docs/man" = "share/man/man1"' in (ROOT / "pyproject.toml").read_text()


def help_of(path: str) -> str:
    """Return the help of a command in 80 columns."""
    words = path.split()[1:]
    return click.testing.CliRunner().invoke(app, [*words, "--help"], terminal_width=80).output


@pytest.mark.parametrize(("path", "command"), LEAVES, ids=[path for path, _ in LEAVES])
def test_each_option_shows_its_default_and_its_variable(path: str, command: Command) -> None:
    """They follow the description in brackets. No line has more than 80 columns."""
    text = help_of(path)
    words = " ".join(text.split())
    assert max(len(line) for line in text.splitlines() if "aliyun-import" not in line) <= 80
    for one in command.params:
        if isinstance(one, EnvironmentOption):
            default = f"default: {' '.join(one.default_text().split())}, " if one.default_text() else ""
            assert f"[{default}env: {one.envvar}]".replace("- ", "-") in words.replace("- ", "-"), one.name


def test_the_help_of_push_begins_with_examples_and_ends_with_rare_options() -> None:
    """It has three examples; the region is the first option."""
    text = help_of("aliyun-import push")
    heads = re.findall(r"^(\w[\w ]*):$", text, re.MULTILINE)
    assert heads == ["Examples", COMMON, "Image", "Upload", "Waiting", "Boot test", "Cloud", "Output", RARE, "Help"]
    assert text.index("--region") < text.index("--name") < text.index("--client-token")
    assert len(re.findall(r"^  aliyun-import push ", text, re.MULTILINE)) == 3


def test_the_help_of_the_program_has_the_first_sentence_of_each_command() -> None:
    """The list of the program, which imports no command, equals what the commands say."""
    context = click.Context(app)
    found = [(name, app.get_command(context, name)) for name in app.list_commands(context)]
    assert app.summaries(context) == [(name, one.get_short_help_str(1000)) for name, one in found if one]


def test_the_list_of_commands_has_whole_sentences() -> None:
    """No description is truncated at 80 columns."""
    for path in ("aliyun-import", "aliyun-import task", "aliyun-import role"):
        text = help_of(path)
        assert "..." not in text.partition("Commands:")[2]


@pytest.mark.parametrize("words", [[], ["task"], ["role"], ["sandbox"]])
def test_a_group_alone_prints_its_help(words: list[str]) -> None:
    """Exit code 0, as with --help."""
    ran = click.testing.CliRunner().invoke(app, words, prog_name="aliyun-import")
    assert (ran.exit_code, ran.output) == (
        0,
        click.testing.CliRunner().invoke(app, [*words, "--help"]).output.replace("Usage: app", "Usage: aliyun-import"),
    )


@pytest.mark.parametrize(
    ("typed", "suggestion"), [(["pusj"], "push"), (["task", "lst"], "list"), (["role", "enshure"], "ensure")]
)
def test_a_mistyped_command_has_a_suggestion(typed: list[str], suggestion: str) -> None:
    """Also within a group."""
    ran = click.testing.CliRunner().invoke(app, typed)
    assert f"Did you mean {suggestion}?" in ran.output


def completions(forks: ForkServer, line: str, *, home: Path) -> list[str]:
    """Return the completions of the last word of a line, in the format for bash."""
    request = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_ALIYUN_IMPORT_COMPLETE": "bash_complete"}
    code, out, err = forks.start([], environment={"HOME": str(home), **request}, cwd=home).communicate(limit_s=30)
    assert code == 0, err
    return out.splitlines()


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("aliyun-import ro", ["plain,role"]),
        ("aliyun-import push --region cn-hangz", ["plain,cn-hangzhou"]),
        ("aliyun-import push --platform ubun", ["plain,Ubuntu"]),
        ("aliyun-import check --explain no-part", ["plain,no-partition-table", "plain,no-partitions"]),
        ("aliyun-import cleanup --profile pr", ["plain,prod"]),
        ("aliyun-import push dis", ["file,dis"]),
        ("aliyun-import check a.raw dis", ["file,dis"]),
        ("aliyun-import completion z", ["plain,zsh"]),
    ],
)
def test_completion_offers_words_and_files(forks: ForkServer, line: str, completed: list[str], tmp_path: Path) -> None:
    """Commands, regions, platforms, checks, profiles and disks."""
    (tmp_path / ".aliyun").mkdir()
    (tmp_path / ".aliyun" / "config.json").write_text('{"profiles": [{"name": "prod"}, {"name": "test"}]}')
    assert completions(forks, line, home=tmp_path) == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(shell: str) -> None:
    """The script calls the program for completions."""
    ran = click.testing.CliRunner().invoke(app, ["completion", shell])
    assert ran.exit_code == 0
    assert f"_ALIYUN_IMPORT_COMPLETE={shell}_complete" in ran.output


def test_the_completion_of_bash_works_in_bash(tmp_path: Path) -> None:
    """The sourced script completes a command."""
    script = click.testing.CliRunner().invoke(app, ["completion", "bash"]).output
    program = tmp_path / "aliyun-import"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m aliyun_import "$@"\n')
    program.chmod(0o755)
    typed = "COMP_WORDS=(aliyun-import clea); COMP_CWORD=1"
    shown = f'_aliyun_import_completion {program}; echo "${{COMPREPLY[@]}}"'
    ran = subprocess.run(
        ["bash", "-c", f"{script}\n{typed}\n{shown}"], capture_output=True, text=True, timeout=30, check=True, cwd=ROOT
    )
    assert ran.stdout.split() == ["cleanup"]
