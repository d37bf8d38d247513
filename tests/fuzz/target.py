"""This file says what a fuzz target is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.fuzz.mutate import Region


class Fuzzed(Protocol):
    """A reader under test: an image, the places of it that are damaged, and what reads it."""

    @property
    def make(self) -> Callable[[], bytes]:
        """Give the function that makes the image."""
        ...

    @property
    def regions(self) -> tuple[Region, ...]:
        """Give the places that are damaged."""
        ...

    @property
    def read(self) -> Callable[[bytes], None]:
        """Give the function that reads; it may raise nothing at all: a ReadProblem that is allowed, it catches."""
        ...


@dataclass(frozen=True)
class Target:
    """A reader with its places written down."""

    make: Callable[[], bytes]
    regions: tuple[Region, ...]
    read: Callable[[bytes], None]
