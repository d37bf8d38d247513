"""Tests that readers of damaged images return a result or raise their own errors."""

import pytest

from tests.disk import build
from tests.fuzz.checksums import repaired_gpt, repaired_vhd
from tests.fuzz.mutate import Mutations, Repair
from tests.fuzz.run import TARGETS, fuzz
from tests.rows import each_row


@each_row("reader", sorted(TARGETS))
def test_a_few_damaged_images_are_read_or_refused(reader: str) -> None:
    """No image raises an unexpected error or exceeds 2 s or 256 MiB."""
    assert fuzz(reader, runs=12) == []


@pytest.mark.slow
@pytest.mark.parametrize("reader", sorted(TARGETS))
def test_many_damaged_images_are_read_or_refused(reader: str) -> None:
    """The same holds for 5,000 images of each reader."""
    assert fuzz(reader, runs=5000) == []


def test_a_mutation_is_reproducible() -> None:
    """The seed and the number determine the damage, independent of earlier mutations."""
    image = bytes(range(250)) * 4
    mutations = Mutations(image, ((0, 1000),), seed=1)
    third, fourth = (mutations.image(number).pread(0, 1000) for number in (3, 4))
    again = Mutations(image, ((0, 1000),), seed=1).image(3).pread(0, 1000)
    assert third == again
    assert len({image, third, fourth}) == 3


@pytest.mark.parametrize(
    ("image", "damaged_at", "repair", "checksum_range"),
    [
        pytest.param(bytes(build.uefi_disk()), 512 + 56, repaired_gpt, (512 + 16, 512 + 20), id="gpt header"),
        pytest.param(bytes(build.uefi_disk()), 1024 + 40, repaired_gpt, (512 + 88, 512 + 92), id="gpt array"),
        pytest.param(build.vhd_fixed(bytes(4096)), 4096 + 48, repaired_vhd, (4096 + 64, 4096 + 68), id="vhd footer"),
    ],
)
def test_repair_recomputes_the_checksums(
    image: bytes, damaged_at: int, repair: Repair, checksum_range: tuple[int, int]
) -> None:
    """Repair changes nothing in an intact image, and updates the checksum that covers a damaged byte."""
    intact, damaged = bytearray(image), bytearray(image)
    assert all(intact[at : at + len(data)] == data for at, data in repair(intact))
    damaged[damaged_at] ^= 1
    for at, data in repair(damaged):
        damaged[at : at + len(data)] = data
    assert damaged[slice(*checksum_range)] != intact[slice(*checksum_range)]
