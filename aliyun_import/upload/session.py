"""Session of one multipart upload: its journal entries, its parts, and their completion to a proven object.

    zeros-intended    zero_stem                            before a zero object is created
    upload-intended   key, tag, fingerprint, plan, zeros   before the upload is started
    upload-started    upload_id                            after the server has returned it
    parts             [number, start, length, crc, etag, proof], ...
    upload-dropped    reason                               the entries before do not count any more
    object            the proven object, and the fingerprint of its disk
    manifest          key and SHA-256 of the manifest of the object

Parts are written in batches, because each entry costs an fsync. A part that a kill kept out of the journal is compared
with the local bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from aliyun_import.disk.fingerprint import Fingerprint
from aliyun_import.errors import (
    AliyunImportError,
    BucketMissing,
    DiskChanged,
    DiskTruncated,
    Interrupted,
    ObjectCorrupted,
    PartCorrupted,
    UploadNotFound,
)
from aliyun_import.events import Warned
from aliyun_import.journal import Journal
from aliyun_import.model.objects import RemoteObject, UploadedObject, object_url
from aliyun_import.sizes import size
from aliyun_import.upload.complete import (
    BY_SIZE,
    Completed,
    agree,
    check_object,
    check_unchanged,
    complete_upload,
    completion_of,
)
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.plan import BaseObject, PartKind, UploadPlan, number_parts
from aliyun_import.upload.removal import leftovers_command, remove_object
from aliyun_import.upload.transfer.concurrency import RateLimiter
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter
from aliyun_import.upload.transfer.pool import Transfer, WorkerPool
from aliyun_import.upload.transfer.scheduler import Scheduler, base_set_aside
from aliyun_import.upload.transfer.worker import PartMaker, ZeroSource

# How often parts that the server lists with other bytes are made before it is an error.
ROUNDS = 3
_LETTERS = {PartKind.SEND: "s", PartKind.ZERO: "z", PartKind.BASE: "b"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRecord:
    """The journal's entries about the upload of one disk. Empty if nothing was started, or if all was dropped.

    `zero_stem` is the beginning of the keys of its zero objects, "" in an entry of an earlier version. `manifests` are
    the SHA-256 of the written manifests, by the keys of their objects; a drop does not remove them.
    """

    key: str = ""
    tag: str = ""
    fingerprint: Fingerprint | None = None
    plan: UploadPlan | None = None
    zero_stem: str = ""
    upload_id: str = ""
    parts: Mapping[int, DonePart] = field(default_factory=dict)
    finished: UploadedObject | None = None
    manifests: Mapping[str, str] = field(default_factory=dict)


class SessionLog:
    """Journal entries about the upload of one disk. Not thread-safe."""

    def __init__(self, journal: Journal, disk_index: int) -> None:
        self._journal = journal
        self._disk = disk_index

    def read(self) -> UploadRecord:
        """Return the record of this disk."""
        known: dict[str, Any] = {}
        parts: dict[int, DonePart] = {}
        manifests: dict[str, str] = {}
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
                        "zero_stem": entry.get("zeros", ""),
                    }
                case "zeros-intended" | "upload-started":
                    known |= {name: entry[name] for name in ("zero_stem", "upload_id") if name in entry}
                case "parts":
                    parts.update((part.number, part) for part in _decode_parts(entry["parts"]))
                case "upload-dropped":  # the zero object of the dropped upload may exist
                    known = {name: value for name, value in known.items() if name == "zero_stem"}
                    parts.clear()
                case "object":
                    known["finished"] = UploadedObject(**entry["object"])
                    if "fingerprint" in entry:  # earlier versions wrote none; that of the intent counts
                        known["fingerprint"] = Fingerprint(**entry["fingerprint"])
                case "manifest":
                    manifests[entry["key"]] = entry["sha256"]
                case _:
                    pass  # an entry of another stage about the same disk
        return UploadRecord(**known, parts=parts, manifests=manifests)

    def intend(self, *, key: str, tag: str, fingerprint: Fingerprint, plan: UploadPlan, zero_stem: str) -> None:
        """Write the upload that is about to be started."""
        self._journal.write(
            "upload-intended",
            disk=self._disk,
            key=key,
            tag=tag,
            fingerprint=asdict(fingerprint),
            plan=encode_plan(plan),
            zeros=zero_stem,
        )

    def zeros_intended(self, stem: str) -> None:
        """Write the stem of the zero object that is about to be created."""
        self._journal.write("zeros-intended", disk=self._disk, zero_stem=stem)

    def started(self, upload_id: str) -> None:
        """Write the server's id of the upload."""
        self._journal.write("upload-started", disk=self._disk, upload_id=upload_id)

    def done(self, parts: Iterable[DonePart]) -> None:
        """Write parts that are in OSS and proven."""
        rows = [[part.number, part.start, part.length, f"{part.crc64:016x}", part.etag, part.proof] for part in parts]
        if rows:
            self._journal.write("parts", disk=self._disk, parts=rows)

    def dropped(self, reason: str) -> None:
        """Write that the upload does not count any more."""
        self._journal.write("upload-dropped", disk=self._disk, reason=reason)

    def finished(self, uploaded: UploadedObject, *, fingerprint: Fingerprint) -> None:
        """Write that the object is proven equal to the disk with this fingerprint."""
        self._journal.write("object", disk=self._disk, object=asdict(uploaded), fingerprint=asdict(fingerprint))

    def manifest_written(self, key: str, *, sha256: str) -> None:
        """Write the SHA-256 of the manifest of the object at a key."""
        self._journal.write("manifest", disk=self._disk, key=key, sha256=sha256)


def _decode_parts(rows: Iterable[list[Any]]) -> Iterator[DonePart]:
    for number, start, length, crc, etag, proof in rows:
        yield DonePart(number=number, start=start, length=length, crc64=int(crc, 16), etag=etag, proof=proof)


def encode_plan(plan: UploadPlan) -> dict[str, Any]:
    """Return a plan as JSON values; runs of equal parts are counted ("s67108864*31 z1048576")."""
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
    """Return the plan that encode_plan encoded."""
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


@dataclass(slots=True, kw_only=True)
class UploadSession:
    """A multipart upload in progress. Used on the thread that emits.

    `done` and `sent_bytes` are current also after an error. `tag` is in the object's metadata, `refused` are the kinds
    of copies to send instead, `zeros` is the source of ranges of zeros and `zero_key` its key ("" if there is none).
    """

    context: UploadContext
    log: SessionLog
    fingerprint: Fingerprint
    key: str
    region: str
    upload_id: str
    tag: str
    plan: UploadPlan
    zeros: ZeroSource
    zero_key: str
    refused: frozenset[PartKind]
    max_zeros_sent_bytes: float
    jobs: int | None
    limit_rate_bytes_s: float | None
    done: tuple[DonePart, ...] = ()
    sent_bytes: int = 0

    def finish(self) -> Completed:
        """Make the remaining parts, check that the disk did not change, and complete; `prove` follows.

        Raises UploadNotFound and BucketMissing unchanged; the remedy of any other error names what is kept in OSS.
        """
        try:
            self._make_parts()
            check_unchanged(self.context, self.fingerprint, self.done)
            completion = completion_of(self.key, self.upload_id, self.done, tag=self.tag)
            return complete_upload(self.context, completion)
        except (UploadNotFound, BucketMissing):  # nothing is kept
            raise
        except AliyunImportError as error:
            raise self._with_rest(error) from error

    def prove(self, existing: RemoteObject) -> str:
        """Prove the object and return the proof. An object that differs from the disk is removed."""
        context = self.context
        if existing.crc64 is None:
            existing = context.store.head(self.key) or existing
        try:
            proof = check_object(existing, self.done)
        except ObjectCorrupted:
            remove_object(context.store, self.key)
            self.log.dropped("object-corrupted")
            raise
        if proof == BY_SIZE:
            context.emit(
                Warned(
                    code="unproven",
                    message=f"{object_url(context.store.bucket, self.key)} has the right size, but OSS reports no "
                    "checksum to compare with the disk.",
                    remedy="Download a part of it and compare it, or use an endpoint of OSS itself.",
                )
            )
        unread = context.source.unread_bytes
        return f"{proof}; {size(unread)} of it are holes, which the file system reports as zeros" if unread else proof

    def _make_parts(self) -> None:
        """Make all parts, until the server lists all of them with the bytes of the disk."""
        splitter = PartSplitter(self.plan)
        bad: tuple[DonePart, ...] = ()
        for _ in range(ROUNDS):
            self._transfer()
            listed = self.context.store.list_parts(self.key, self.upload_id)
            self.done, bad = agree(self.done, listed)
            if not bad:
                return
            # The response to a copy has no CRC-64, so a base that differs from its manifest is detected here.
            of_base = [part for part in bad if splitter.kind_of(part.number) is PartKind.BASE]
            if of_base and self.plan.base and PartKind.BASE not in self.refused:
                self.refused |= {PartKind.BASE}
                self.context.emit(base_set_aside(self.plan.base.key, cost_bytes=sum(part.length for part in of_base)))
        raise PartCorrupted(
            f"{len(bad)} parts in OSS differ from the bytes of the disk.",
            code="part-corrupted",
            cause=f"Part {bad[0].number}, at byte {bad[0].start}, is the first of them; it was made {ROUNDS} times.",
            remedy="Run the same command again. If it happens again, test this machine's memory and network.",
            details={"part": str(bad[0].number), "offset": str(bad[0].start)},
            resumable=True,
        )

    def _transfer(self) -> None:
        """Make the remaining parts once."""
        context = self.context
        left, self.done = PartSplitter(self.plan).remaining(self.done)
        scheduler = Scheduler(
            self.plan,
            left,
            disk=context.disk,
            now_s=context.clock.monotonic_s(),
            done=self.done,
            refused=self.refused,
            max_zeros_sent_bytes=self.max_zeros_sent_bytes,
            jobs=self.jobs,
            limit_rate_bytes_s=self.limit_rate_bytes_s,
        )
        maker = PartMaker(
            store=context.store,
            source=context.source,
            key=self.key,
            upload_id=self.upload_id,
            zeros=self.zeros,
            base=self.plan.base,
        )
        pool = WorkerPool(maker, context, RateLimiter(self.limit_rate_bytes_s, context))
        try:
            Transfer(scheduler, pool, context, journal=self.log.done).run()
        finally:
            self.done = tuple(scheduler.done)
            self.refused = scheduler.refused
            self.sent_bytes += pool.sent_bytes

    def _with_rest(self, error: AliyunImportError) -> AliyunImportError:
        """Return the error with a remedy that names what is kept, how to resume, and how to remove it."""
        bucket = self.context.store.bucket
        upload = f"unfinished upload of {object_url(bucket, self.key)}"
        keys = [self.key, *([self.zero_key] if self.zero_key else [])]
        remove_command = leftovers_command(region=self.region, bucket=bucket, keys=keys)
        if isinstance(error, DiskChanged | DiskTruncated):
            return error.with_remedy(
                f"The {upload} can't be used any more: the same command starts over and removes it, as does "
                f"{remove_command}.",
                resumable=False,
            )
        kept_bytes = sum(part.length for part in self.done)
        kept = f"{size(kept_bytes)} are kept in the {upload}" if self.done else f"The {upload} has no parts yet"
        if isinstance(error, Interrupted):  # its remedy would repeat the next sentence
            error = Interrupted(error.summary, code=error.code, remedy=None)
        return error.with_remedy(
            f"{kept}: the same command resumes it. To discard it instead, run {remove_command}.", resumable=True
        )
