"""Tests that commands and options in the pages exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from aliyun_import.cli.main import app
from tests.docs.page import DOCS, ROOT
from tests.rows import each_row

PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path.name != "changelog.md")]
# Code in a page: spans and blocks.
_CODE = re.compile(r"`([^`\n]+)`|^(?: {4,}|\$ )(.+)$|^```\w*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# A call of the tool at a position of a command, up to the end of the command or a comment.
_CALL = re.compile(
    r"(?:^|[(;&|!] *|(?:until|do|run|timeout.*|--) )aliyun-import"
    r"((?: +(?:'[^']*'|\"[^\"]*\"|\$\([^)]*\)|[^\s|;&#><)\"'`]+))+)",
    re.MULTILINE,
)


def codes(page: Path) -> Iterator[str]:
    """Yield the code in a page, with continued lines joined."""
    for found in _CODE.finditer(page.read_text()):
        yield next(text for text in found.groups() if text is not None).replace("\\\n", " ")


def options(command: click.Command) -> set[str]:
    """Return the names of the options of a command."""
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}


def every_option() -> set[str]:
    """Return the names of the options of all commands."""
    found: set[str] = set()
    waiting: list[click.Command] = [app]
    while waiting:
        command = waiting.pop()
        found |= options(command)
        if isinstance(command, click.Group):
            context = click.Context(command)
            waiting += [one for name in command.list_commands(context) if (one := command.get_command(context, name))]
    return found


@each_row("page", PAGES)
def test_the_calls_of_a_page_have_commands_and_options_that_exist(page: Path) -> None:
    """In blocks and in code spans. Words after `--` belong to another program."""
    unknown = []
    for code in codes(page):
        for call in _CALL.findall(code):
            command: click.Command = app
            for word in shlex.split(call):
                if word == "--":
                    break
                if isinstance(command, click.Group) and not word.startswith("-"):
                    inner = command.get_command(click.Context(command), word)
                    if inner is None:
                        unknown.append(f"{call}: {word}") if word.islower() else None
                        break
                    command = inner
                elif word.startswith("--") and word.partition("=")[0] not in options(command):
                    unknown.append(f"{call}: {word}")
    assert unknown == []


def test_the_table_of_usage_has_every_command() -> None:
    """The row of a group names its commands."""
    lines = (DOCS / "usage.md").read_text().splitlines()
    rows = [line.partition(" | ")[0] for line in lines if line.startswith("| `")]
    missing = []
    for name in app.list_commands(context := click.Context(app)):
        command = app.get_command(context, name)
        inner = list(command.commands) if isinstance(command, click.Group) else []
        row = next((one for one in rows if re.match(rf"\| `{name}\b", one)), "")
        missing += [f"{name} {one}" for one in ("", *inner) if not re.search(rf"\b{one}\b", row)]
    assert missing == []


@each_row("page", PAGES)
def test_the_options_that_a_page_explains_exist(page: Path) -> None:
    """A code span that begins with an option names an option of this tool."""
    known = every_option()
    named = re.findall(r"(?<!`)`(--[a-z][a-z-]*)[^`\n]*`", page.read_text())
    assert [name for name in named if name not in known] == []
