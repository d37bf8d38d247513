"""This file holds what a command came to, and how much of the way there is to be said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command came to: the JSON document for scripts, the text for people (stdout in human and plain).

    `aside` is for people, too, and goes to stderr: that a list is empty, say.
    """

    document: Mapping[str, Any]
    text: str
    aside: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Verbosity:
    """How much to say: 0 is the usual, below it only warnings and errors, above it the notes as well."""

    level: int

    @property
    def quiet(self) -> bool:
        """Only warnings and errors are wanted."""
        return self.level < 0

    @property
    def notes(self) -> bool:
        """The notes are wanted."""
        return self.level > 0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set rows below a head, columns as wide as their widest text; the last column is not padded."""
    return "\n".join(columns([head, *rows]))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set rows in columns, two spaces apart; a column with nothing in it takes no place."""
    used = [row for row in zip(*rows, strict=True) if any(row)]
    padded = [[text.ljust(max(map(len, texts))) for text in texts] for texts in used]
    return ["  ".join(texts).rstrip() for texts in zip(*padded, strict=True)]
