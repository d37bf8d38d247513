"""Tests of the command `docs`, which prints the pages of the installed package."""

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
    """One page per line."""
    lines = printed().output.splitlines()
    pages = [str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")]
    assert [line.split()[0] for line in lines] == sorted([*pages, "schema"])
    assert next(line.split("  ")[-1].strip() for line in lines if line.startswith("exit-codes")) == "Exit codes"


@each_row("name", ["how-to/nightly", "nightly", "docs/how-to/nightly.md", "nightly.md#cron"])
def test_a_page_is_found_by_path_name_and_link(name: str) -> None:
    """A user types the name; another page has the link."""
    assert printed(name).output.startswith("# Nightly builds with retention\n")


def test_a_page_at_the_top_has_precedence_over_one_in_a_folder() -> None:
    """`quickstart` is the English page."""
    assert printed("quickstart").output.startswith("# Quickstart\n")


def test_html_comments_are_not_printed() -> None:
    """Pages have comments for tests. Markdown does not show them either."""
    assert "<!--" in (DOCS / "quickstart.md").read_text()
    assert "<!--" not in printed("quickstart").output


def test_the_schema_is_printed_unchanged() -> None:
    """Scripts read it without the path of the package."""
    assert printed("schema").output == (PACKAGE / "schema.json").read_text()


def test_an_unknown_page_suggests_the_most_similar_name() -> None:
    """As for a mistyped command."""
    assert "There is no page 'quickstrat'. Did you mean quickstart?" in str(printed("quickstrat").output)


def _texts(path: Path) -> list[str]:
    """Return the strings of a module without docstrings, except those of decorated functions."""
    nodes = tuple(nodes_of(path))
    documented = {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and not getattr(node, "decorator_list", ())  # the docstring of a command is its help
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented
    ]


def test_messages_name_pages_by_the_command_docs() -> None:
    """A path in a checkout is of no use with an installed package."""
    texts = [text for path in FILES if "docs" in path.read_text() for text in _texts(path)]
    assert [text for text in texts if re.search(r"\bdocs/[\w/-]+\.md", text)] == []
    named = {name for text in texts for name in re.findall(r"`aliyun-import docs ([^`]+)`", text)}
    assert named == {"role", "sandbox"}
    assert named <= set(docs.pages())
