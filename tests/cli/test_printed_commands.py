"""Tests that the command line accepts every command in a message."""

import ast
import contextlib
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from aliyun_import.cli.main import app
from aliyun_import.cloud.errors.mapping import fill
from aliyun_import.cloud.errors.translate import TABLE
from tests.house.source import FILES, nodes_of

# Placeholder that is valid as a name, a path, a region and a number.
VALUE = "1"
VALUES = dict.fromkeys(
    ("operation", "action", "bucket", "key", "region", "name", "role", "policy", "task", "image"), VALUE
)
COMMAND = re.compile(r"`(aliyun-import [^`]+)`")
# Texts for docs/errors.md. The printed messages are in the code that raises the errors.
DOCUMENTED_ONLY = {"error_codes.py", "errors.py"}


def _with_value(text: str, piece: ast.expr) -> str:
    """Append a piece of an f-string to a text. An expression directly after a word adds options, so it adds nothing."""
    if isinstance(piece, ast.Constant):
        return text + str(piece.value)
    return text + VALUE if text.endswith((" ", "=")) else text


def texts_of(path: Path) -> Iterator[str]:
    """Yield the strings of a module without docstrings, with a placeholder for each expression."""
    nodes = tuple(nodes_of(path))
    documented = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield functools.reduce(_with_value, node.values, "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


@pytest.fixture(scope="module")
def printed() -> set[str]:
    """Return every command in backticks in the modules and in the tables of errors."""
    texts = [fill(row.remedy or "", VALUES) for row in TABLE]
    for path in FILES:
        if path.name not in DOCUMENTED_ONLY and "errors" not in path.parts and "aliyun-import" in path.read_text():
            texts += texts_of(path)
    return {command for text in texts for command in COMMAND.findall(text)}


def _accept(command: str) -> None:
    _, *arguments = shlex.split(command)
    group: click.Command = app
    context = click.Context(app)
    while isinstance(group, click.Group):
        found = group.get_command(context, arguments.pop(0))
        assert found is not None, command
        group = found
    with contextlib.suppress(click.exceptions.Exit):  # --help
        group.make_context("command", arguments, parent=context)


def test_a_printed_command_is_accepted(printed: set[str]) -> None:
    """Its options exist, and no required argument is missing."""
    refused = {}
    for command in printed:
        try:
            _accept(command)
        except click.UsageError as error:
            refused[command] = error.format_message()
    assert not refused


def test_commands_are_found(printed: set[str]) -> None:
    """The fixture finds commands in tables and in f-strings."""
    assert any(command.startswith("aliyun-import task wait") for command in printed)
    assert any(command.startswith("aliyun-import role policy") for command in printed)
