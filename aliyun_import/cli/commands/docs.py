"""Command `docs`."""

import re
import shutil
import sys
from difflib import get_close_matches
from pathlib import Path

import click

import aliyun_import
from aliyun_import.cli.params import Command, complete_from

_REMARKS = re.compile(r"^ *<!--.*?-->\n?", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, Path]:
    """Return the pages by name: those in the package, or in a checkout those of its folder docs."""
    package = Path(aliyun_import.__file__).resolve().parent
    folder = next(one for one in (package / "docs", package.parent / "docs") if one.is_dir())
    found = {str(path.relative_to(folder).with_suffix("")): path for path in folder.rglob("*.md")}
    return dict(sorted({**found, "schema": package / "schema.json"}.items()))


@click.command(
    cls=Command,
    examples=(
        ("docs", "list the pages"),
        ("docs quickstart", "print a page"),
        ("docs nightly > nightly.md", "write its Markdown"),
    ),
)
@click.argument("page", required=False, shell_complete=complete_from("pages"))
def docs(page: str | None) -> None:
    """Print a page of the documentation, or list the pages.

    The pages are part of the package and are read offline. PAGE is a name of the list, or its last part. `schema` is
    the JSON Schema of every document and event.
    """
    known = pages()
    if page is None:
        width = max(map(len, known))
        click.echo("\n".join(f"{name:{width}}  {_title(path)}" for name, path in known.items()))
        return
    name = page.partition("#")[0].removeprefix("docs/").removesuffix(".md").removesuffix(".json")
    found = known.get(name) or next((path for one, path in known.items() if one.rpartition("/")[2] == name), None)
    if found is None:
        near = get_close_matches(name, known, n=1)
        raise click.BadParameter(f"There is no page {page!r}.{f' Did you mean {near[0]}?' if near else ''}")
    _print(_REMARKS.sub("", found.read_text(encoding="utf-8")))


def _title(path: Path) -> str:
    if path.suffix == ".json":
        return "JSON Schema of every document and event"
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _print(text: str) -> None:
    """Write Markdown unchanged, or formatted for a terminal, through a pager if it is longer than the screen."""
    columns, lines = shutil.get_terminal_size()
    if not sys.stdout.isatty() or not text.startswith("#"):
        click.echo(text, nl=False)
        return
    from aliyun_import.cli.render.page import lay_out

    shown = lay_out(text, columns=columns)
    if shown.count("\n") < lines:
        click.echo(shown, nl=False)
    else:
        click.echo_via_pager(shown)
