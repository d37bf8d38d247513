"""Lines of text in the width of a terminal: broken between words, with commands on lines of their own."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

# What stands in backticks and has arguments is a command; a single word stays in its sentence.
_COMMAND = re.compile(r"`([^`\n]+ [^`\n]+)`")
# A line of several that is a command as a whole, such as the steps for an administrator.
_WHOLE_COMMAND = re.compile(r"(?:aliyun|aliyun-import|ossutil|qemu-img) .+")
# Where the text goes on after a command that stands on a line of its own.
_JOINTS = " .,;:"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output. A command is never broken, so that it can be pasted."""

    text: str
    is_command: bool = False


def wrapped(text: str, width: int | None, *, indent: str) -> list[str]:
    """Return lines of at most `width` characters (None: one line), broken between words.

    Paths, ids and URLs stay whole, so that they can be copied, and may be longer. All lines but the first are indented.
    """
    if width is None or len(text) <= width:
        return [text]
    words = text.lstrip()
    return textwrap.wrap(
        words,
        width,
        initial_indent=text[: len(text) - len(words)],
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def laid_out(label: str, text: str, width: int) -> list[Line]:
    """Return a text below and beside its label; its commands stand on lines of their own, without backticks."""
    indent = " " * len(label)
    lines = [line for paragraph in text.split("\n") for line in _paragraph(paragraph, indent, width)]
    if not lines or lines[0].is_command:
        return [Line(label.rstrip()), *lines]
    return [Line(label + lines[0].text[len(label) :]), *lines[1:]]


def _paragraph(text: str, indent: str, width: int) -> Iterator[Line]:
    if _WHOLE_COMMAND.fullmatch(text):
        yield Line(f"{indent}  {text}", is_command=True)
        return
    for position, piece in enumerate(_COMMAND.split(text)):
        if position % 2:
            yield Line(f"{indent}  {piece}", is_command=True)
        elif words := piece.lstrip(_JOINTS if position else "").rstrip():
            yield from map(Line, wrapped(indent + words, width, indent=indent))
