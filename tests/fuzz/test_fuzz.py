"""Tests that no damaged image does more to a reader than make it say so."""

import pytest

from tests.fuzz.mutate import mutated
from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("reader", sorted(TARGETS))
def test_a_few_damaged_images_are_read_or_refused(reader: str) -> None:
    """Only our own errors, within 2 s and 256 MiB each."""
    assert fuzz(reader, runs=30) == []


@pytest.mark.slow
@pytest.mark.parametrize("reader", sorted(TARGETS))
def test_many_damaged_images_are_read_or_refused(reader: str) -> None:
    """The same, 5,000 times."""
    assert fuzz(reader, runs=5000) == []


def test_a_mutation_can_be_repeated() -> None:
    """The same seed and number give the same damage, another number another one."""
    image, regions = bytes(1000), ((0, 1000),)
    assert mutated(image, regions, seed=1, number=3) == mutated(image, regions, seed=1, number=3)
    assert mutated(image, regions, seed=1, number=3) != mutated(image, regions, seed=1, number=4)
