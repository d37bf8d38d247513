"""Tests of the command `docs`: the pages that an installed tool has."""

import ast
import re
from pathlib import Path

import click.testing

from aliyun_import.cli.commands import docs
from aliyun_import.cli.main import app
from tests.house.source import FILES, PACKAGE, nodes_of
from tests.rows import each_row

DOCS = PACKAGE.parent / "docs"


def printed(*words: str) -> click.testing.Result:
    """Run the command."""
    return click.testing.CliRunner().invoke(app, ["docs", *words], prog_name="aliyun-import")


def test_the_list_names_every_page_with_its_title() -> None:
    """One page a line."""
    lines = printed().output.splitlines()
    pages = [str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")]
    assert [line.split()[0] for line in lines] == sorted([*pages, "schema"])
    assert next(line.split("  ")[-1].strip() for line in lines if line.startswith("exit-codes")) == "Exit codes"


@each_row("name", ["how-to/nightly", "nightly", "docs/how-to/nightly.md", "nightly.md#cron"])
def test_a_page_is_found_by_its_name_its_last_part_and_its_link(name: str) -> None:
    """As a person types it, and as another page writes it."""
    assert printed(name).output.startswith("# Nightly builds with retention\n")


def test_a_page_of_the_first_folder_precedes_one_of_the_same_name_below() -> None:
    """`quickstart` is the English page."""
    assert printed("quickstart").output.startswith("# Quickstart\n")


def test_a_page_has_no_remarks_for_tests() -> None:
    """They are comments of HTML, which Markdown does not show either."""
    assert "<!--" in (DOCS / "quickstart.md").read_text()
    assert "<!--" not in printed("quickstart").output


def test_the_schema_is_printed_as_it_is() -> None:
    """For scripts, which can't ask where the package is."""
    assert printed("schema").output == (PACKAGE / "schema.json").read_text()


def test_an_unknown_page_is_answered_with_the_nearest() -> None:
    """As a mistyped command is."""
    assert "There is no page 'quickstrat'. Did you mean quickstart?" in str(printed("quickstrat").output)


def _texts(path: Path) -> list[str]:
    """Return the strings of a module that are no docstrings of functions without a decorator."""
    nodes = tuple(nodes_of(path))
    documented = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and not getattr(node, "decorator_list", ())  # those of commands are their help
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented
    ]


def test_messages_name_pages_that_whoever_has_only_the_package_can_read() -> None:
    """By the command that prints them, and never by a path in a checkout."""
    texts = [text for path in FILES if "docs" in path.read_text() for text in _texts(path)]
    assert [text for text in texts if re.search(r"\bdocs/[\w/-]+\.md", text)] == []
    named = {name for text in texts for name in re.findall(r"`aliyun-import docs ([^`]+)`", text)}
    assert named == {"role", "sandbox"}
    assert named <= set(docs.pages())
