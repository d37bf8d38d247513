"""This file is the door of the room: from a disk on this machine to an object in OSS that was proven to be the disk.

open · name the key · is it there already? · base · survey · plan · find the unfinished upload · zero object
     · transfer · did the disk change? · complete · prove · manifest
"""

import secrets
import threading

from aliyun_import.context import Clock
from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.fingerprint import Likeness
from aliyun_import.errors import AliyunImportError, RefusedError
from aliyun_import.events import Emit, Event, Noted, ObjectReady, UploadResumed, Warned
from aliyun_import.journal import Journal
from aliyun_import.model.objects import RemoteObject, UploadedObject
from aliyun_import.services.interface import ObjectStore
from aliyun_import.upload.complete import TAG_NAME, crc64_of_disk
from aliyun_import.upload.context import TransferOptions, UploadContext, UploadRequest
from aliyun_import.upload.manifest import SUFFIX, Manifest, encode_manifest, find_base
from aliyun_import.upload.plan.disk_plan import digests_of, plan_disk, plan_event
from aliyun_import.upload.plan.plan import UploadPlan, without_copies
from aliyun_import.upload.resume.find import (
    FoundUpload,
    candidate_keys,
    choose_target,
    crc64_of_source,
    find_upload,
    zero_stem,
)
from aliyun_import.upload.resume.record import RecordKeeper, UploadRecord
from aliyun_import.upload.session import Assembly, changed_while_sent
from aliyun_import.upload.staged_zeros import StagedZeros
from aliyun_import.upload.transfer.concurrency import jobs_for
from aliyun_import.upload.transfer.parts import PartSplitter
from aliyun_import.upload.zero_object import remove_all_zero_objects
from aliyun_import.upload.zero_scan import BlockDigests


def upload_disk(
    delivery: UploadRequest,
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
    with open_disk(delivery.path) as source:
        context = UploadContext(source=source, store=store, clock=clock, emit=emit, stop=stop)
        return _Push(delivery, context, RecordKeeper(journal, delivery.disk_index), options).run()


class _Push:
    """One disk on its way to one object; lives for one call of `deliver`."""

    def __init__(
        self, delivery: UploadRequest, context: UploadContext, keeper: RecordKeeper, options: TransferOptions
    ) -> None:
        self._delivery = delivery
        self._setting = context
        self._store = context.store
        self._keeper = keeper
        self._options = options
        self._fingerprint = context.source.fingerprint()
        self._key = ""
        stem = zero_stem(delivery.key_stem, sample=self._fingerprint.sample)
        self._zeros = StagedZeros(context, stem, region=delivery.region)
        self._resumed = False
        self._digests: BlockDigests | None = None
        self._sent_bytes = 0

    def run(self) -> UploadedObject:
        """Do all of it; a server that forgot the upload is one fresh start."""
        record = self._keeper.read()
        if record.plan and record.finished is None:
            self._resumed = True
            self._zeros.expect(record.plan, resumed=True)
        ready = self._look(record)
        if ready:
            return ready
        try:
            return self._upload(self._believed(record))
        except RefusedError as error:
            if error.code != "upload-vanished":
                raise
        # Completed from elsewhere, where the same disk was pushed at the same time? Then it is there now.
        ready = self._look(self._keeper.read())
        if ready:
            return ready
        self._setting.emit(
            Warned(
                code="upload-vanished",
                message=f"OSS does not know the unfinished upload of {self._key} any more: it begins afresh.",
                remedy="If nobody removed it, look at the bucket's lifecycle rules: one of them aborts uploads.",
            )
        )
        self._keeper.dropped("upload-vanished")
        return self._upload(UploadRecord())

    def _look(self, record: UploadRecord) -> UploadedObject | None:
        """Choose the key, and use the object that is there if it is the disk."""
        target = choose_target(
            self._setting,
            record,
            fingerprint=self._fingerprint,
            named=self._delivery.key,
            candidates=candidate_keys(
                self._delivery.key_stem, sample=self._fingerprint.sample, suffix=self._delivery.suffix
            ),
        )
        self._key = target.key
        if target.there is None:
            return None
        return self._finished(
            target.there, crc64=target.crc64, proof=target.proof, made_by_us=target.made_by_us, fresh=False
        )

    def _believed(self, record: UploadRecord) -> UploadRecord:
        """Take the journal's word where it speaks of this disk as it is now.

        Where the time or the place of the file alone changed (it was copied, or converted again), or the fingerprint
        can't tell whether the disk changed, the unfinished upload is kept, but the disk is surveyed and each part is
        proven anew against it.
        """
        before = record.fingerprint
        if before is None:
            return record
        likeness = self._fingerprint.likeness(before)
        if likeness is Likeness.SAME and record.key == self._key:
            return record
        if record.finished:  # another build, pushed under the same name after the first one was done
            self._keeper.dropped("another disk")
            return UploadRecord()
        same_name = record.key == self._key
        self._setting.emit(self._not_believed(same_name=same_name, may_be_equal=likeness is Likeness.UNPROVEN))
        if not same_name:
            self._give_up(record, sample=before.sample)
        self._keeper.dropped("disk-changed")
        return UploadRecord(key=record.key, tag=record.tag, upload_id=record.upload_id) if same_name else UploadRecord()

    def _not_believed(self, *, same_name: bool, may_be_equal: bool) -> Event:
        disk = self._setting.disk
        if may_be_equal and same_name:
            return Noted(
                message=f"Whether {disk} changed since its upload was begun, its content alone tells: what is in OSS "
                "is compared with it."
            )
        return Warned(
            code="disk-changed",
            message=f"{disk} changed since its upload was begun: it begins afresh"
            + (", and keeps of what is in OSS what proves to be equal." if same_name else "."),
        )

    def _give_up(self, record: UploadRecord, *, sample: str) -> None:
        """Remove what an earlier run left in OSS of a disk that is not there any more."""
        if record.upload_id:
            self._setting.ask(lambda: self._store.abort(record.key, record.upload_id))
        if record.plan and record.plan.zero_source_bytes:
            remove_all_zero_objects(self._store, zero_stem(self._delivery.key_stem, sample=sample))

    def _upload(self, record: UploadRecord) -> UploadedObject:
        plan = record.plan or self._plan()
        self._setting.emit(plan_event(plan, disk=self._setting.disk, key=self._key))
        found = find_upload(self._setting, self._key, plan, record)
        done = found.done if found else ()
        self._resumed = self._resumed or bool(done)
        self._zeros.expect(plan, resumed=self._resumed)
        refused = self._zeros.make(plan, PartSplitter(plan).still_to_do(done)[0])
        if refused and not done:
            plan, refused = without_copies(plan), frozenset()
            self._setting.emit(plan_event(plan, disk=self._setting.disk, key=self._key))
        if done and found:
            self._say_resumed(plan, found)
        try:
            upload_id, tag = self._started(plan, record, found)
        except AliyunImportError as error:
            raise self._zeros.named_in(error, key=self._key) from error
        assembly = Assembly(
            key=self._key,
            region=self._delivery.region,
            upload_id=upload_id,
            tag=tag,
            plan=plan,
            zero=self._zeros.made,
            refused=refused,
            jobs=jobs_for(self._options.jobs, self._setting.source.most_readers),
            limit_rate_bytes_s=self._options.limit_rate_bytes_s,
            done=done,
        )
        try:
            completed = assembly.finish(self._setting, self._keeper, self._fingerprint)
        finally:
            self._sent_bytes += assembly.sent_bytes
        proof = assembly.check(self._setting, self._keeper, completed.object)
        return self._finished(
            completed.object,
            crc64=crc64_of_disk(assembly.done),
            proof=proof,
            made_by_us=completed.made_by_us,
            fresh=True,
        )

    def _plan(self) -> UploadPlan:
        base = find_base(self._setting, base_key=self._delivery.base_key, key_stem=self._delivery.key_stem)
        plan, self._digests = plan_disk(
            self._setting.source,
            base,
            grain_bytes=self._options.grain_bytes,
            stop=self._setting.stop,
            clock=self._setting.clock,
            emit=self._setting.emit,
            with_digests=self._options.keep_object,
        )
        return plan

    def _started(self, plan: UploadPlan, record: UploadRecord, found: FoundUpload | None) -> tuple[str, str]:
        """Give the upload's id and tag; starts one where none was found. The intent is journalled first."""
        found_id = found.upload_id if found else ""
        if found_id == record.upload_id != "" and plan is record.plan:
            return found_id, record.tag
        # One that this journal intended carries the tag of that intent; a stranger's is not known.
        ours = found is not None and (found_id == record.upload_id or not found.done)
        tag = record.tag if ours else secrets.token_hex(8)
        self._keeper.intend(key=self._key, tag=tag, fingerprint=self._fingerprint, plan=plan)
        upload_id = found_id or self._setting.ask(lambda: self._store.start_upload(self._key, metadata={TAG_NAME: tag}))
        self._keeper.started(upload_id)
        return upload_id, tag

    def _finished(
        self, there: RemoteObject, *, crc64: int, proof: str, made_by_us: bool, fresh: bool
    ) -> UploadedObject:
        uploaded = UploadedObject(
            bucket=self._store.bucket,
            key=self._key,
            size_bytes=there.size_bytes,
            crc64=crc64,
            etag=there.etag,
            proof=proof,
            made_by_us=made_by_us,
            sent_bytes=self._sent_bytes + self._zeros.sent_bytes,
        )
        # In this order: once the object is written down, no later run has a reason to look for zeros.
        self._zeros.remove()
        self._keeper.finished(uploaded, fingerprint=self._fingerprint)
        if self._options.keep_object:
            self._write_manifest(uploaded, fresh=fresh)
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

    def _write_manifest(self, uploaded: UploadedObject, *, fresh: bool) -> None:
        """Make the object a base. It is there and proven by now, so that a failure here is a warning."""
        key = uploaded.key + SUFFIX
        try:
            if not fresh and self._setting.ask(lambda: self._store.head(key)) is not None:
                return
            digests = self._digests_for(uploaded)
            content = encode_manifest(Manifest(digests=digests, crc64=uploaded.crc64, etag=uploaded.etag))
            # The tag tells that it is ours, wherever it lies.
            self._setting.ask(lambda: self._store.put(key, content, metadata={TAG_NAME: "manifest"}))
        except AliyunImportError as error:
            self._setting.emit(
                Warned(
                    code="manifest-missing",
                    message=f"The object has no manifest, and can't be a base. {error.summary}",
                    remedy="Push again with --keep-object to write it; the disk is not sent again.",
                )
            )

    def _digests_for(self, uploaded: UploadedObject) -> BlockDigests:
        """Give the digests of what the object holds. Raises LocalStateError "disk-changed" where the disk is another.

        Where the fingerprint can't tell, the digests are made after the object, and the CRC-64 of the disk is made
        after the digests.
        """
        context = self._setting
        digests = self._digests or self._digests_now()
        if context.source.fingerprint().likeness(self._fingerprint) is Likeness.SAME:
            return digests
        digests = self._digests_now()
        if crc64_of_source(context) != uploaded.crc64:
            raise changed_while_sent(context, "It is not what its object holds.")
        return digests

    def _digests_now(self) -> BlockDigests:
        return digests_of(self._setting.source, grain_bytes=self._options.grain_bytes, stop=self._setting.stop)

    def _say_resumed(self, plan: UploadPlan, found: FoundUpload) -> None:
        self._setting.emit(
            UploadResumed(
                disk=self._setting.disk,
                key=self._key,
                done_bytes=sum(part.length for part in found.done),
                done_parts=len(found.done),
                parts=len(plan.parts),
                how=found.how,
            )
        )
