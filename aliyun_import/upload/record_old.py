"""This file is what the journal remembers of one disk's upload: how it is written, and how it is read back.

    upload-intended   key, tag, fingerprint, plan        before the upload is started
    upload-started    upload_id                          as soon as the server gave it
    parts             [number, start, length, crc, etag, proof], ...
    upload-dropped    reason                             what was before does not count any more
    object            the proven object, and the fingerprint of the disk that it was proven to be

Parts are written in batches: each line costs an fsync, and a part that a kill kept out of the journal is proven
against the local bytes anyway.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from aliyun_import.disk.fingerprint import Fingerprint
from aliyun_import.journal import Journal
from aliyun_import.model.objects import UploadedObject
from aliyun_import.upload.plan.plan import BaseObject, PartKind, UploadPlan, number_parts
from aliyun_import.upload.transfer.parts import DonePart

_LETTERS = {PartKind.SEND: "s", PartKind.ZERO: "z", PartKind.BASE: "b"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRecord:
    """What is known of the upload of one disk. Empty when nothing was begun, or what was begun was dropped."""

    key: str = ""
    tag: str = ""
    fingerprint: Fingerprint | None = None
    plan: UploadPlan | None = None
    upload_id: str = ""
    parts: Mapping[int, DonePart] = field(default_factory=dict)
    finished: UploadedObject | None = None


class RecordKeeper:
    """Reads and writes one disk's lines of the journal."""

    def __init__(self, journal: Journal, disk_index: int) -> None:
        self._journal = journal
        self._disk = disk_index

    def read(self) -> UploadRecord:
        """Fold the journal's lines about this disk."""
        known: dict[str, Any] = {}
        parts: dict[int, DonePart] = {}
        for entry in self._journal.entries:
            if entry.get("disk") != self._disk:
                continue
            match entry["kind"]:
                case "upload-intended":
                    parts.clear()
                    known = {
                        "key": entry["key"],
                        "tag": entry["tag"],
                        "fingerprint": Fingerprint(**entry["fingerprint"]),
                        "plan": decode_plan(entry["plan"]),
                    }
                case "upload-started":
                    known["upload_id"] = entry["upload_id"]
                case "parts":
                    parts.update((number, part) for number, part in _decode_parts(entry["parts"]))
                case "upload-dropped":
                    known = {}
                    parts.clear()
                case "object":
                    known["finished"] = UploadedObject(**entry["object"])
                    if "fingerprint" in entry:  # earlier versions wrote none, and the intent's counts
                        known["fingerprint"] = Fingerprint(**entry["fingerprint"])
                case _:
                    pass  # a line of another room about the same disk
        return UploadRecord(**known, parts=parts)

    def intend(self, *, key: str, tag: str, fingerprint: Fingerprint, plan: UploadPlan) -> None:
        """Write what is about to be started."""
        self._journal.write(
            "upload-intended",
            disk=self._disk,
            key=key,
            tag=tag,
            fingerprint=asdict(fingerprint),
            plan=encode_plan(plan),
        )

    def started(self, upload_id: str) -> None:
        """Write the server's id of the upload."""
        self._journal.write("upload-started", disk=self._disk, upload_id=upload_id)

    def done(self, parts: Iterable[DonePart]) -> None:
        """Write parts that are in OSS and proven."""
        rows = [[part.number, part.start, part.length, f"{part.crc64:016x}", part.etag, part.proof] for part in parts]
        if rows:
            self._journal.write("parts", disk=self._disk, parts=rows)

    def dropped(self, reason: str) -> None:
        """Write that what was begun does not count any more."""
        self._journal.write("upload-dropped", disk=self._disk, reason=reason)

    def finished(self, uploaded: UploadedObject, *, fingerprint: Fingerprint) -> None:
        """Write that the object is there and proven to be the disk that has this fingerprint."""
        self._journal.write("object", disk=self._disk, object=asdict(uploaded), fingerprint=asdict(fingerprint))


def _decode_parts(rows: Iterable[list[Any]]) -> Iterator[tuple[int, DonePart]]:
    for number, start, length, crc, etag, proof in rows:
        yield number, DonePart(number=number, start=start, length=length, crc64=int(crc, 16), etag=etag, proof=proof)


def encode_plan(plan: UploadPlan) -> dict[str, Any]:
    """Give a plan as JSON values; runs of equal parts are counted ("s67108864*31 z1048576")."""
    words: list[str] = []
    for (kind, length), run in groupby(plan.parts, key=lambda part: (part.kind, part.length)):
        count = sum(1 for _ in run)
        words.append(f"{_LETTERS[kind]}{length}" + (f"*{count}" if count > 1 else ""))
    return {
        "parts": " ".join(words),
        "gap": plan.gap_bytes,
        "zero_source": plan.zero_source_bytes,
        "base": [plan.base.key, plan.base.etag] if plan.base else None,
    }


def decode_plan(value: Mapping[str, Any]) -> UploadPlan:
    """Give the plan that encode_plan wrote."""
    ranges: list[tuple[PartKind, int, int]] = []
    position = 0
    for word in value["parts"].split():
        length, _, count = word[1:].partition("*")
        for _ in range(int(count or 1)):
            ranges.append((_KINDS[word[0]], position, int(length)))
            position += int(length)
    return UploadPlan(
        size_bytes=position,
        parts=number_parts(ranges),
        gap_bytes=value["gap"],
        zero_source_bytes=value["zero_source"],
        base=BaseObject(key=value["base"][0], etag=value["base"][1]) if value["base"] else None,
    )
