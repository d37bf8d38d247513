"""Formatting of a page of the documentation for a terminal."""

import re

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Markdown
from rich.text import Text

_MAX_COLUMNS = 110  # longer lines are hard to read
_PICTURES = re.compile(r"^!\[[^]]*\]\([^)]*\)\n+", re.MULTILINE)


class _WholeLines(CodeBlock):
    """Block of code whose lines are never broken, so that they can be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console, options
        yield Text(str(self.text).rstrip(), style="cyan", no_wrap=True, overflow="ignore")


class _Page(Markdown):
    elements = {**Markdown.elements, "fence": _WholeLines, "code_block": _WholeLines}  # noqa: RUF012 -- rich's own


def lay_out(text: str, *, columns: int) -> str:
    """Return Markdown as text for a terminal, without its pictures."""
    console = Console(width=min(columns, _MAX_COLUMNS))
    with console.capture() as captured:
        console.print(_Page(_PICTURES.sub("", text), hyperlinks=False), crop=False)
    return captured.get()
