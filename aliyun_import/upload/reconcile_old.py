"""This file decides which parts of an earlier run count: the journal says what was intended, the server what is there.

Pure. A part counts when both agree. One that the server has and the journal does not know is to be proven: its CRC-64
against that of the local bytes. Everything else is sent again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aliyun_import.model.objects import RemotePart
from aliyun_import.upload.plan.plan import PlannedPart
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What is there: parts that count, and guesses (place on the disk, CRC-64 and ETag there) to be proven."""

    counted: tuple[DonePart, ...]
    to_prove: tuple[tuple[PlannedPart, RemotePart], ...]


def reconcile(cuts: PartSplitter, known: Mapping[int, DonePart], remote: Iterable[RemotePart]) -> Reconciled:
    """Hold the journal's parts against the server's."""
    counted: list[DonePart] = []
    to_prove: list[tuple[PlannedPart, RemotePart]] = []
    for there in remote:
        part = known.get(there.number)
        if part and _agrees(part, there):
            counted.append(part)
        elif there.crc64 is not None:
            to_prove.extend((place, there) for place in cuts.places(there.number, there.size_bytes))
    return Reconciled(counted=tuple(counted), to_prove=tuple(to_prove))


def _agrees(part: DonePart, there: RemotePart) -> bool:
    """Tell whether the server has what the journal says; without a CRC-64 there, the ETag must be the same."""
    if part.length != there.size_bytes:
        return False
    return there.crc64 == part.crc64 if there.crc64 is not None else there.etag == part.etag
