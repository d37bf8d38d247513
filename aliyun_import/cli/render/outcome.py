"""This file holds what a command came to, and how much of the way there is to be said."""

from collections.abc import Mapping
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
