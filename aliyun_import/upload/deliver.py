"""This file is the door of the room: from a disk on this machine to an object in OSS that was proven to be the disk.

open · name the key · is it there already? · survey · plan · find the unfinished upload · zero object
     · transfer · did the disk change? · complete · prove
"""

import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from aliyun_import.disk.source import Fingerprint, open_source
from aliyun_import.errors import AccessError, AliyunImportError, LocalStateError, RefusedError, TransientError
from aliyun_import.events import Emit, ObjectReady, UploadPlanned, UploadResumed, Warned
from aliyun_import.journal import Journal
from aliyun_import.model import RemoteObject, UploadedObject
from aliyun_import.ports import Clock, ObjectStore
from aliyun_import.upload.existing import find_upload, proven_crc64
from aliyun_import.upload.finish import TAG_NAME, agree, check_object, complete_upload, crc64_of_disk
from aliyun_import.upload.parts import DonePart, still_to_do
from aliyun_import.upload.plan import PartKind, PlannedPart, UploadPlan, plan_upload, without_copies
from aliyun_import.upload.record import RecordKeeper, UploadRecord
from aliyun_import.upload.setting import Setting
from aliyun_import.upload.survey import survey
from aliyun_import.upload.transfer import NO_RIGHT, Told, Transfer
from aliyun_import.upload.worker import Workplace
from aliyun_import.upload.zeros import ZeroObject, ensure_zero_object, remove_zero_object

# Enough of the content's digest that two disks of one name don't meet: 48 bits.
DIGEST_CHARS = 12
# How often parts that the server lists otherwise than they were sent are sent again, before it is an error.
ROUNDS = 3
COPIES = frozenset({PartKind.ZERO, PartKind.BASE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One disk and where it goes.

    `key` is what --key said, None to name it after `key_stem` ("aliyun-import/<image name>/system") and the content;
    `suffix` is ".raw", ".vhd" or ".qcow2"; `base_key` is what --base said.
    """

    path: Path
    disk_index: int
    key: str | None
    key_stem: str
    suffix: str
    base_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """How it travels. `jobs` None adapts; rates are bytes a second; `given_rate_bytes_s` is for estimates only."""

    jobs: int | None = None
    limit_rate_bytes_s: float | None = None
    keep_object: bool = False
    grain_bytes: int | None = None
    given_rate_bytes_s: float | None = None


def preview(
    delivery: Delivery, *, store: ObjectStore | None, options: TransferOptions, clock: Clock, emit: Emit
) -> UploadPlan:
    """Tell what `deliver` would do, and write nothing anywhere: for `push --dry-run`."""
    del store, clock
    with open_source(delivery.path) as source:
        key = object_key(delivery, source.fingerprint())
        seen = survey(source, stop=threading.Event(), grain_bytes=options.grain_bytes)
    plan = plan_upload(source.size_bytes, seen.data)
    emit(_plan_event(plan, disk=str(delivery.path), key=key))
    return plan


def deliver(
    delivery: Delivery,
    *,
    store: ObjectStore,
    journal: Journal,
    options: TransferOptions,
    clock: Clock,
    emit: Emit,
    stop: threading.Event,
) -> UploadedObject:
    """See to it that the object is there and is the disk; goes on where an earlier call stopped.

    Raises AliyunImportError: for one RefusedError "object-exists" for another object under a key that the user
    named, LocalStateError "disk-changed" when the disk changed while it was sent. What is safe in OSS by then, and
    how to go on or to remove it, stands in the remedy.
    """
    with open_source(delivery.path) as source:
        setting = Setting(source=source, store=store, clock=clock, emit=emit, stop=stop)
        return _Push(delivery, setting, RecordKeeper(journal, delivery.disk_index), options).run()


def object_key(delivery: Delivery, fingerprint: Fingerprint) -> str:
    """Name the object: as the user did, or after the disk's content, so that another machine finds it again."""
    return delivery.key or f"{delivery.key_stem}-{fingerprint.sample[:DIGEST_CHARS]}{delivery.suffix}"


def zero_stem(delivery: Delivery, fingerprint: Fingerprint) -> str:
    """Name where this push keeps its zero object: below the staging prefix, apart from the disks."""
    return f"{delivery.key_stem.partition('/')[0]}/zeros-{fingerprint.sample[:DIGEST_CHARS]}"


class _Push:
    """One disk on its way to one object; lives for one call of `deliver`."""

    def __init__(self, delivery: Delivery, setting: Setting, keeper: RecordKeeper, options: TransferOptions) -> None:
        self._delivery = delivery
        self._setting = setting
        self._store = setting.store
        self._keeper = keeper
        self._options = options
        self._fingerprint = setting.source.fingerprint()
        self._key = object_key(delivery, self._fingerprint)
        self._zero: ZeroObject | None = None
        self._sent_bytes = 0
        self._safe_bytes = 0

    def run(self) -> UploadedObject:
        """Do all of it; a server that forgot the upload is one fresh start."""
        record = self._believed(self._keeper.read())
        there = self._setting.ask(lambda: self._store.head(self._key))
        if there is not None:
            return self._use(there, record)
        try:
            return self._upload(record)
        except RefusedError as error:
            if error.code != "upload-vanished":
                raise
        there = self._setting.ask(lambda: self._store.head(self._key))
        if there is not None:  # the same disk was pushed from elsewhere, and that push was faster
            return self._use(there, self._keeper.read())
        self._setting.emit(
            Warned(
                code="upload-vanished",
                message=f"OSS does not know the unfinished upload of {self._key} any more: it begins afresh.",
                remedy="If nobody removed it, look at the bucket's lifecycle rules: one of them aborts uploads.",
            )
        )
        self._keeper.dropped("upload-vanished")
        return self._upload(UploadRecord())

    def _believed(self, record: UploadRecord) -> UploadRecord:
        """Take the journal's word where it speaks of this disk as it is now."""
        if record.fingerprint is None or (record.fingerprint == self._fingerprint and record.key == self._key):
            return record
        self._setting.emit(
            Warned(
                code="disk-changed",
                message=f"{self._setting.disk} changed since its upload was begun: it begins afresh.",
            )
        )
        if record.upload_id and record.finished is None:
            self._setting.ask(lambda: self._store.abort(record.key, record.upload_id))
        self._keeper.dropped("disk-changed")
        return UploadRecord()

    def _use(self, there: RemoteObject, record: UploadRecord) -> UploadedObject:
        """Use the object that is there if it is the disk; refuse to overwrite it if it is not."""
        before = record.finished
        if before and (there.etag, there.size_bytes) == (before.etag, before.size_bytes):
            return before
        crc = proven_crc64(self._setting, there)
        if crc is None:
            where = f"oss://{self._store.bucket}/{self._key}"
            raise RefusedError(
                f"There is another object at {where} already.",
                code="object-exists",
                cause=f"It has {there.size_bytes} bytes and CRC-64 {there.crc64}, and is not this disk.",
                remedy=f"Remove {where}, or name another key with --key.",
                details={"bucket": self._store.bucket, "key": self._key},
            )
        is_ours = bool(record.tag) and there.metadata.get(TAG_NAME) == record.tag
        return self._finished(there, crc64=crc, proof="CRC-64 of the object", made_by_us=is_ours)

    def _upload(self, record: UploadRecord) -> UploadedObject:
        plan = record.plan or self._plan()
        self._setting.emit(_plan_event(plan, disk=self._setting.disk, key=self._key))
        found = find_upload(self._setting, self._key, plan, record)
        done = found.done if found else ()
        left, _ = still_to_do(plan, done)
        refused = self._make_zeros(plan, left)
        if refused and not done:
            plan, refused = without_copies(plan), frozenset()
            left, _ = still_to_do(plan, ())
            record = UploadRecord()
        if found:
            self._say_resumed(plan, done, how=found.how)
        upload_id, tag = self._started(plan, record, found.upload_id if found else "")
        try:
            done = self._transfer(plan, upload_id, left=left, done=done, refused=refused)
            self._check_unchanged()
            there = complete_upload(self._store, self._key, upload_id, done, tag=tag, clock=self._setting.clock)
        except AliyunImportError as error:
            if error.code == "upload-vanished":
                raise
            raise self._with_rest(error) from error
        proof = self._checked(there, done)
        return self._finished(there, crc64=crc64_of_disk(done), proof=proof, made_by_us=True)

    def _plan(self) -> UploadPlan:
        seen = survey(self._setting.source, stop=self._setting.stop, grain_bytes=self._options.grain_bytes)
        return plan_upload(self._setting.source.size_bytes, seen.data)

    def _make_zeros(self, plan: UploadPlan, left: tuple[PlannedPart, ...]) -> frozenset[PartKind]:
        """Have the zero object ready if it is wanted; gives the kinds of parts that can't be copied."""
        if not any(part.kind is PartKind.ZERO for part in left):
            return frozenset()
        try:
            self._zero = ensure_zero_object(
                self._store,
                zero_stem(self._delivery, self._fingerprint),
                size_bytes=plan.zero_source_bytes,
                clock=self._setting.clock,
            )
        except (RefusedError, AccessError) as error:
            if isinstance(error, AccessError) and error.code not in NO_RIGHT:
                raise
            cost = sum(part.length for part in left if part.kind in COPIES)
            self._setting.emit(
                Warned(
                    code=error.code,
                    message=f"{error.summary} {cost} bytes that the server could have made are sent instead.",
                    remedy=error.remedy,
                )
            )
            return COPIES
        self._sent_bytes += self._zero.sent_bytes
        return frozenset()

    def _started(self, plan: UploadPlan, record: UploadRecord, found_id: str) -> tuple[str, str]:
        """Give the upload's id and tag; starts one where none was found. The intent is journalled first."""
        if found_id and found_id == record.upload_id:
            return found_id, record.tag
        tag = secrets.token_hex(8)
        self._keeper.intend(key=self._key, tag=tag, fingerprint=self._fingerprint, plan=plan)
        upload_id = found_id or self._setting.ask(lambda: self._store.start_upload(self._key, metadata={TAG_NAME: tag}))
        self._keeper.started(upload_id)
        return upload_id, tag

    def _transfer(
        self,
        plan: UploadPlan,
        upload_id: str,
        *,
        left: tuple[PlannedPart, ...],
        done: tuple[DonePart, ...],
        refused: frozenset[PartKind],
    ) -> tuple[DonePart, ...]:
        """Make all parts, until the server lists each of them as it should be."""
        bad: tuple[DonePart, ...] = ()
        for _ in range(ROUNDS):
            transfer = Transfer(
                plan,
                Workplace(
                    store=self._store,
                    source=self._setting.source,
                    key=self._key,
                    upload_id=upload_id,
                    zero=self._zero,
                    base=plan.base,
                    halt=threading.Event(),
                ),
                told=Told(disk=self._setting.disk, emit=self._setting.emit, journal=self._keeper.done),
                clock=self._setting.clock,
                stop=self._setting.stop,
                jobs=self._options.jobs,
                limit_rate_bytes_s=self._options.limit_rate_bytes_s,
                refused=refused,
            )
            try:
                done = transfer.run(left, before=done)
            finally:
                self._sent_bytes += transfer.sent_bytes
                self._safe_bytes = sum(part.length for part in transfer.done)
            listed = self._setting.ask(lambda: self._store.list_parts(self._key, upload_id))
            done, bad = agree(done, listed)
            if not bad:
                return done
            left, done = still_to_do(plan, done)
        raise TransientError(
            f"{len(bad)} parts are in OSS with other bytes than the disk has.",
            code="part-corrupted",
            cause=f"Part {bad[0].number}, at byte {bad[0].start}, is the first of them; it was sent {ROUNDS} times.",
            remedy="Run the same command again. If it comes back, test this machine's memory and network.",
            details={"part": str(bad[0].number), "offset": str(bad[0].start)},
            resumable=True,
        )

    def _check_unchanged(self) -> None:
        """See that the disk is the one that it was when the push began. A mix of two is never completed."""
        if self._setting.source.fingerprint() == self._fingerprint:
            return
        raise LocalStateError(
            f"{self._setting.disk} changed while it was sent.",
            code="disk-changed",
            cause="Its size, time of change or content is not what it was when the push began.",
            remedy="Stop what writes to it (shut the virtual machine down, or push a snapshot), and run the same "
            "command again.",
        )

    def _checked(self, there: RemoteObject, done: tuple[DonePart, ...]) -> str:
        """Prove the object; one that is not the disk is removed again, since this push made it."""
        if there.crc64 is None:
            there = self._setting.ask(lambda: self._store.head(self._key)) or there
        try:
            return check_object(there, done)
        except TransientError:
            self._setting.ask(lambda: self._store.delete(self._key))
            self._keeper.dropped("object-corrupted")
            raise

    def _finished(self, there: RemoteObject, *, crc64: int, proof: str, made_by_us: bool) -> UploadedObject:
        uploaded = UploadedObject(
            bucket=self._store.bucket,
            key=self._key,
            size_bytes=there.size_bytes,
            crc64=crc64,
            etag=there.etag,
            proof=proof,
            made_by_us=made_by_us,
            sent_bytes=self._sent_bytes,
        )
        self._keeper.finished(uploaded)
        if self._zero and not remove_zero_object(self._store, self._zero):
            self._setting.emit(
                Warned(
                    code="leftover",
                    message=f"The object of zeros oss://{self._store.bucket}/{self._zero.key} could not be removed.",
                    remedy="Run `aliyun-import leftovers` to see and remove it.",
                )
            )
        self._setting.emit(
            ObjectReady(
                disk=self._setting.disk,
                bucket=uploaded.bucket,
                key=uploaded.key,
                size_bytes=uploaded.size_bytes,
                crc64=f"{crc64:016x}",
                proof=proof,
            )
        )
        return uploaded

    def _say_resumed(self, plan: UploadPlan, done: tuple[DonePart, ...], *, how: str) -> None:
        self._safe_bytes = sum(part.length for part in done)
        self._setting.emit(
            UploadResumed(
                disk=self._setting.disk,
                key=self._key,
                done_bytes=self._safe_bytes,
                done_parts=len(done),
                parts=len(plan.parts),
                how=how,
            )
        )

    def _with_rest(self, error: AliyunImportError) -> AliyunImportError:
        """Say in the remedy what is safe, how to go on, and how to remove it."""
        rest = (
            f"{self._safe_bytes} bytes are safe in the unfinished upload of oss://{self._store.bucket}/{self._key}. "
            "The same command goes on from there; `aliyun-import leftovers` lists it and removes it."
        )
        return type(error)(
            error.summary,
            code=error.code,
            cause=error.cause,
            remedy=f"{error.remedy} {rest}" if error.remedy else rest,
            details=error.details,
            resumable=error.code != "disk-changed",
            retry_after_s=error.retry_after_s,
        )


def _plan_event(plan: UploadPlan, *, disk: str, key: str) -> UploadPlanned:
    return UploadPlanned(
        disk=disk,
        key=key,
        total_bytes=plan.size_bytes,
        send_bytes=plan.bytes_of(PartKind.SEND),
        zero_bytes=plan.bytes_of(PartKind.ZERO),
        base_bytes=plan.bytes_of(PartKind.BASE),
        parts=len(plan.parts),
        requests=plan.requests,
        gap_bytes=plan.gap_bytes,
    )
