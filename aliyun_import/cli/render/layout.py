"""Text wrapped to the width of a terminal, with commands on separate lines."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

# A text in backticks that has arguments is a command; a single word stays in its sentence.
_COMMAND = re.compile(r"`([^`\n]+ [^`\n]+)`")
# A line that is a command as a whole, such as a step for an administrator.
_WHOLE_COMMAND = re.compile(r"(?:aliyun|aliyun-import|ossutil|qemu-img) .+")
# The space between a number and its unit; lines are not broken there.
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:s|%|bytes|[KMGT]iB)(?!\w))")
_NO_BREAK = "\u00a0"
# Removed from the text that follows a command on its own line.
_AFTER_COMMAND = " .,;:"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output. A command is never broken, so that it can be pasted."""

    text: str
    is_command: bool = False


class _Wrapper(textwrap.TextWrapper):
    """Wrapper that breaks words only if they are longer than a line: after a slash, or else after a hyphen."""

    def _split(self, text: str) -> list[str]:
        """Return the pieces between which a line may be broken (a hook of the base class)."""
        self.break_on_hyphens = False
        most = self.width - len(self.subsequent_indent)
        pieces = super()._split(text)
        for end in "/-":
            pieces = [part for piece in pieces for part in (_after(end, piece) if len(piece) > most else [piece])]
        return pieces


def _after(end: str, word: str) -> list[str]:
    return [word] if word.startswith("http") else re.findall(f"[^{end}]*{end}+|[^{end}]+", word)


def wrapped(text: str, width: int | None, *, indent: str) -> list[str]:
    """Return lines of at most `width` characters (None: one line), broken between words.

    A path or an id that is longer than a line is broken after a slash or a hyphen; a web address stays whole, so that
    a terminal can open it. All lines but the first are indented.
    """
    if width is None or len(text) <= width:
        return [text]
    words = text.lstrip()
    initial = text[: len(text) - len(words)]
    wrapper = _Wrapper(width, initial_indent=initial, subsequent_indent=indent, break_long_words=False)
    return [line.replace(_NO_BREAK, " ") for line in wrapper.wrap(_BEFORE_UNIT.sub(_NO_BREAK, words))]


def laid_out(label: str, text: str, width: int) -> list[Line]:
    """Return a text beside its label; its commands are on separate lines, without backticks."""
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
        elif words := piece.lstrip(_AFTER_COMMAND if position else "").rstrip():
            yield from map(Line, wrapped(indent + words, width, indent=indent))
