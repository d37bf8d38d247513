"""Tests that no damaged image does more to a reader than make it say so."""

import pytest

from tests.disk import build
from tests.fuzz.checksums import repaired_gpt, repaired_vhd
from tests.fuzz.mutate import Mutations, Repair
from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS
from tests.rows import each_row


@each_row("reader", sorted(TARGETS))
def test_a_few_damaged_images_are_read_or_refused(reader: str) -> None:
    """Only our own errors, within 2 s and 256 MiB each."""
    assert fuzz(reader, runs=12) == []


@pytest.mark.slow
@pytest.mark.parametrize("reader", sorted(TARGETS))
def test_many_damaged_images_are_read_or_refused(reader: str) -> None:
    """The same, 5,000 times."""
    assert fuzz(reader, runs=5000) == []


def test_a_mutation_can_be_repeated() -> None:
    """The same seed and number give the same damage, another number another one, whatever came before."""
    image = bytes(range(250)) * 4
    mutations = Mutations(image, ((0, 1000),), seed=1)
    third, fourth = (mutations.image(number).pread(0, 1000) for number in (3, 4))
    again = Mutations(image, ((0, 1000),), seed=1).image(3).pread(0, 1000)
    assert third == again
    assert len({image, third, fourth}) == 3


@pytest.mark.parametrize(
    ("image", "damaged_at", "repair", "healed"),
    [
        pytest.param(bytes(build.uefi_disk()), 512 + 56, repaired_gpt, (512 + 16, 512 + 20), id="gpt header"),
        pytest.param(bytes(build.uefi_disk()), 1024 + 40, repaired_gpt, (512 + 88, 512 + 92), id="gpt array"),
        pytest.param(build.vhd_fixed(bytes(4096)), 4096 + 48, repaired_vhd, (4096 + 64, 4096 + 68), id="vhd footer"),
    ],
)
def test_checksums_are_made_right(image: bytes, damaged_at: int, repair: Repair, healed: tuple[int, int]) -> None:
    """A sound image needs no repair; damage changes the checksum that covers it."""
    whole, damaged = bytearray(image), bytearray(image)
    assert all(whole[at : at + len(data)] == data for at, data in repair(whole))
    damaged[damaged_at] ^= 1
    for at, data in repair(damaged):
        damaged[at : at + len(data)] = data
    assert damaged[slice(*healed)] != whole[slice(*healed)]
