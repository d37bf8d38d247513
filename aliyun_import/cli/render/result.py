"""Result of a command, and tables of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict


class Result(TypedDict):
    """Common fields of the JSON documents of results."""

    type: Literal["result"]
    schema: Literal[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a command: the JSON document for scripts, and the text on stdout for people.

    `stderr_text` (a remark, e.g. that a list is empty) and `summary` (rows of a label and a text) go to stderr.
    `is_marked`: the lines of the text begin with marks of severities, by which a terminal colours them.
    """

    document: Mapping[str, Any]
    text: str
    stderr_text: str = ""
    summary: tuple[tuple[str, str], ...] = ()
    is_marked: bool = False
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Verbosity:
    """Amount of output: 0 is the default, negative is warnings and errors only, positive is notes too."""

    level: int

    @property
    def quiet(self) -> bool:
        """Whether only warnings and errors are wanted."""
        return self.level < 0

    @property
    def notes(self) -> bool:
        """Whether notes are wanted."""
        return self.level > 0


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows below a head, each column as wide as its widest text; the last column is not padded."""
    return "\n".join(columns([head, *rows]))


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows in columns, two spaces apart; an empty column is left out."""
    used = [row for row in zip(*rows, strict=True) if any(row)]
    padded = [[text.ljust(max(map(len, texts))) for text in texts] for texts in used]
    return ["  ".join(texts).rstrip() for texts in zip(*padded, strict=True)]
