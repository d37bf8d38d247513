"""Upload of a disk on this machine to an object in OSS that is proven to be the disk.

open · choose the key · does the object exist? · find the base · scan · plan · find the unfinished upload · zero object
     · transfer · did the disk change? · complete · prove · manifest
"""

import contextlib
import hashlib
import math
import secrets

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk
from aliyun_import.disk.fingerprint import Likeness
from aliyun_import.errors import AliyunImportError, ObjectCorrupted, UploadNotFound
from aliyun_import.events import Event, Noted, ObjectReady, UploadPlanned, UploadResumed, Warned
from aliyun_import.journal import Journal
from aliyun_import.model.objects import RemoteObject, UploadedObject
from aliyun_import.services.interface import ObjectStore
from aliyun_import.upload.complete import TAG_NAME, changed_while_sent, crc64_of_disk, crc64_of_source
from aliyun_import.upload.context import TransferOptions, UploadContext, UploadRequest
from aliyun_import.upload.manifest import SUFFIX, Manifest, encode_manifest, find_base
from aliyun_import.upload.plan import PartKind, Preview, UploadPlan, most_zeros_sent, plan_upload, without_copies
from aliyun_import.upload.resume import FoundUpload, Target, candidate_keys, choose_target, find_upload
from aliyun_import.upload.session import SessionLog, UploadRecord, UploadSession
from aliyun_import.upload.transfer.concurrency import jobs_for
from aliyun_import.upload.transfer.parts import PartSplitter
from aliyun_import.upload.transfer.scheduler import base_set_aside
from aliyun_import.upload.zero_object import StagedZeros, remove_all_zero_objects, shared_zero_stem, zero_stem
from aliyun_import.upload.zero_scan import BlockDigests, scan_zeros, unchanged_ranges


def upload_disk(
    disk: Disk,
    request: UploadRequest,
    context: Context,
    *,
    store: ObjectStore,
    journal: Journal,
    options: TransferOptions,
) -> UploadedObject:
    """Upload the disk, or use the object that is it already; resume where an earlier call stopped.

    Raises AliyunImportError, among them ObjectExists for another object under a key that the user named, DiskChanged
    when the disk changed since it was opened, and Interrupted, also when the run was cancelled during the last request.
    The remedy names what is kept in OSS, and how to resume or remove it. Events are emitted on the calling thread.
    """
    disk.refuse_changed()
    upload_context = UploadContext.of(context, source=disk.as_sent(), store=store)
    uploaded = _Upload(request, upload_context, SessionLog(journal, request.disk_index), options).run()
    context.check_cancelled()
    return uploaded


def preview_upload(
    disk: Disk,
    request: UploadRequest,
    context: Context,
    *,
    store: ObjectStore,
    journal: Journal,
    options: TransferOptions,
    has_bucket: bool = True,
) -> Preview:
    """Return what `upload_disk` would do with the same arguments, and raise what it would; change nothing in OSS.

    `journal` is a copy. `has_bucket` is False if the bucket does not exist yet.
    """
    upload_context = UploadContext.of(context, source=disk.as_sent(), store=store)
    upload = _Upload(request, upload_context, SessionLog(journal, request.disk_index), options)
    return upload.preview(has_bucket=has_bucket)


class _Upload:
    """One call of `upload_disk`."""

    def __init__(
        self, request: UploadRequest, context: UploadContext, log: SessionLog, options: TransferOptions
    ) -> None:
        self._request = request
        self._context = context
        self._store = context.store
        self._log = log
        self._options = options
        self._fingerprint = context.source.fingerprint()
        self._key = ""
        self._zeros = StagedZeros(context, zero_stem(request), region=request.region, intend=log.zeros_intended)
        self._resumed = False
        self._without_base = False
        self._digests: BlockDigests | None = None
        self._sent_bytes = 0
        self._saved_bytes: int | None = None  # None: nothing was planned, since the object was there

    def run(self) -> UploadedObject:
        """Do all of it; start over once where the server forgot the upload, or the base made another object."""
        record = self._log.read()
        if record.zero_stem or record.plan:
            sample = (record.fingerprint or self._fingerprint).sample
            stem = record.zero_stem or shared_zero_stem(self._request, sample=sample)
            self._zeros.resume(stem, may_exist=record.plan is None)
        if record.plan and (record.finished is None or record.finished.left_over):
            self._resumed = record.finished is None
            self._zeros.expect(record.plan, resumed=True)
        ready = self._find_object(record)
        if ready:
            return ready
        try:
            return self._upload(self._believed(record))
        except UploadNotFound:
            # Completed from elsewhere, where the same disk was pushed at the same time? Then the object exists now.
            ready = self._find_object(self._log.read())
            if ready:
                return ready
            self._context.emit(
                Warned(
                    code="upload-vanished",
                    message=f"OSS does not know the unfinished upload of {self._key} any more: it starts over.",
                    remedy="If nobody removed it, check the bucket's lifecycle rules: one of them aborts uploads.",
                )
            )
            self._log.dropped("upload-vanished")
            return self._upload(UploadRecord())

    def preview(self, *, has_bucket: bool) -> Preview:
        """Decide as `run` does; change nothing in OSS."""
        record = UploadRecord()
        if has_bucket:
            record = self._log.read()
            if self._choose_target(record).there is not None:
                return Preview(key=self._key, size_bytes=self._context.source.size_bytes, plan=None)
            record = self._believed(record, gives_up=False)
        else:
            self._key = next(candidate_keys(self._request, sample=self._fingerprint.sample))
            self._without_base = True
        plan = record.plan or self._plan()
        self._emit_plan(plan)
        found = None
        if has_bucket:
            with contextlib.suppress(UploadNotFound):
                found = find_upload(self._context, self._key, plan, record)
        kept_bytes = sum(part.length for part in found.done) if found else 0
        return Preview(key=self._key, size_bytes=plan.size_bytes, plan=plan, kept_bytes=kept_bytes)

    def _choose_target(self, record: UploadRecord) -> Target:
        target = choose_target(self._context, self._request, record, fingerprint=self._fingerprint)
        self._key = target.key
        return target

    def _find_object(self, record: UploadRecord) -> UploadedObject | None:
        """Choose the key, and use the object that exists there if it is the disk."""
        target = self._choose_target(record)
        if target.there is None:
            return None
        if record.upload_id and record.finished is None and not target.made_by_us:
            self._store.abort(record.key, record.upload_id)  # its parts cost storage, and nothing needs them
        return self._finished(
            target.there, crc64=target.crc64, proof=target.proof, made_by_us=target.made_by_us, fresh=False
        )

    def _believed(self, record: UploadRecord, *, gives_up: bool = True) -> UploadRecord:
        """Return the journal's record where it is about this disk as it is now.

        Where only the modification time or the location of the file changed (it was copied, or converted again), or
        the fingerprint can't decide whether the disk changed, the unfinished upload is kept, but the disk is scanned
        and each part proven anew.
        """
        before = record.fingerprint
        if before is None:
            return record
        likeness = self._fingerprint.likeness(before)
        same_key = record.key == self._key
        if likeness is Likeness.SAME and same_key:
            return record
        if record.finished:  # another build, pushed under the same name after the first one was done
            self._log.dropped("another disk")
            return UploadRecord()
        self._context.emit(self._not_believed(same_key=same_key, may_be_equal=likeness is Likeness.UNPROVEN))
        if not same_key and gives_up:
            self._give_up(record)
        self._log.dropped("disk-changed")
        return UploadRecord(key=record.key, tag=record.tag, upload_id=record.upload_id) if same_key else UploadRecord()

    def _not_believed(self, *, same_key: bool, may_be_equal: bool) -> Event:
        disk = self._context.disk
        if may_be_equal and same_key:
            return Noted(
                message=f"Only the content can show whether {disk} changed since its upload was begun: what is in OSS "
                "is compared with it."
            )
        return Warned(
            code="disk-changed",
            message=f"{disk} changed since its upload was begun: it starts over"
            + (", and keeps the parts in OSS that prove to be equal." if same_key else "."),
        )

    def _give_up(self, record: UploadRecord) -> None:
        """Remove what an earlier run left in OSS of a disk that does not exist any more."""
        if record.upload_id:
            self._store.abort(record.key, record.upload_id)
        if record.plan and record.plan.zero_source_bytes:
            remove_all_zero_objects(self._context, self._zeros.stem)
        self._zeros.stem = zero_stem(self._request)

    def _upload(self, record: UploadRecord) -> UploadedObject:
        session = self._session(record)
        try:
            completed = session.finish()
        finally:
            self._sent_bytes += session.sent_bytes
        try:
            proof = session.prove(completed.object)
        except ObjectCorrupted:
            base = session.plan.base
            if base is None:
                raise
            # Where OSS reports no CRC-64 of copied parts, a base that is not what its manifest claims is found here.
            self._context.emit(base_set_aside(base.key, cost_bytes=session.plan.bytes_of(PartKind.BASE)))
            self._without_base = True
            return self._upload(UploadRecord())
        return self._finished(
            completed.object,
            crc64=crc64_of_disk(session.done),
            proof=proof,
            made_by_us=completed.made_by_us,
            fresh=True,
        )

    def _session(self, record: UploadRecord) -> UploadSession:
        """Plan the upload and start it, or resume the unfinished one."""
        plan = record.plan or self._plan()
        self._emit_plan(plan)
        found = find_upload(self._context, self._key, plan, record)
        self._saved_bytes = plan.size_bytes - plan.bytes_of(PartKind.SEND)
        done = found.done if found else ()
        self._resumed = self._resumed or bool(done)
        self._zeros.expect(plan, resumed=self._resumed)
        most_bytes = math.inf if self._options.send_zeros else most_zeros_sent(plan)
        refused = self._zeros.make(plan, PartSplitter(plan).still_to_do(done)[0], most_bytes=most_bytes)
        if refused and not done:
            plan, refused, self._saved_bytes = without_copies(plan), frozenset(), 0
            self._emit_plan(plan)
        if done and found:
            self._emit_resumed(plan, found)
        try:
            upload_id, tag = self._started(plan, record, found)
        except AliyunImportError as error:
            raise self._zeros.named_in(error, key=self._key) from error
        # Parts that were proven against the disk, and that the journal does not know yet.
        self._log.done(part for part in done if record.parts.get(part.number) != part or plan is not record.plan)
        return UploadSession(
            context=self._context,
            log=self._log,
            fingerprint=self._fingerprint,
            key=self._key,
            region=self._request.region,
            upload_id=upload_id,
            tag=tag,
            plan=plan,
            zeros=self._zeros,
            zero_key=self._zeros.made.key if self._zeros.made else "",
            refused=refused,
            most_zeros_sent_bytes=most_bytes,
            jobs=jobs_for(self._options.jobs, self._context.source.most_readers),
            limit_rate_bytes_s=self._options.limit_rate_bytes_s,
            done=done,
        )

    def _plan(self) -> UploadPlan:
        """Scan the disk and plan its upload; keep the digests where a base needs them, or a manifest will."""
        request, source = self._request, self._context.source
        base = None
        if not self._without_base:
            base = find_base(
                self._context, base_key=request.base_key, key_stem=request.key_stem, known=self._log.read().manifests
            )
        data = scan_zeros(
            source,
            self._context,
            # What was digested in blocks of one size can't be compared in blocks of another.
            block_bytes=base.manifest.digests.block_bytes if base else None,
            with_digests=self._options.keep_object or base is not None,
        )
        self._digests = data.digests
        if base is None or data.digests is None:
            return plan_upload(source.size_bytes, data.data)
        unchanged = unchanged_ranges(data.digests, base.manifest.digests)
        return plan_upload(source.size_bytes, data.data, unchanged=unchanged, base=base.object)

    def _started(self, plan: UploadPlan, record: UploadRecord, found: FoundUpload | None) -> tuple[str, str]:
        """Return the upload's id and tag; start one where none was found. The intent is journalled first."""
        found_id = found.upload_id if found else ""
        if found_id == record.upload_id != "" and plan is record.plan:
            return found_id, record.tag
        # An upload that this journal intended carries the tag of that intent; that of another one is not known.
        ours = found is not None and (found_id == record.upload_id or not found.done)
        tag = record.tag if ours else secrets.token_hex(8)
        self._log.intend(key=self._key, tag=tag, fingerprint=self._fingerprint, plan=plan, zero_stem=self._zeros.stem)
        upload_id = found_id or self._store.start_upload(self._key, metadata={TAG_NAME: tag})
        self._log.started(upload_id)
        return upload_id, tag

    def _finished(
        self, there: RemoteObject, *, crc64: int, proof: str, made_by_us: bool, fresh: bool
    ) -> UploadedObject:
        # In this order: once the object is journalled, no later run has a reason to search for zeros.
        left_over = self._zeros.remove()
        uploaded = UploadedObject(
            bucket=self._store.bucket,
            key=self._key,
            size_bytes=there.size_bytes,
            crc64=crc64,
            etag=there.etag,
            proof=proof,
            made_by_us=made_by_us,
            sent_bytes=self._sent_bytes + self._zeros.sent_bytes,
            saved_bytes=there.size_bytes if self._saved_bytes is None else self._saved_bytes,
            left_over=left_over,
        )
        self._log.finished(uploaded, fingerprint=self._fingerprint)
        if self._options.keep_object:
            self._write_manifest(uploaded, fresh=fresh)
        self._context.emit(
            ObjectReady(
                disk=self._context.disk,
                bucket=uploaded.bucket,
                key=uploaded.key,
                size_bytes=uploaded.size_bytes,
                crc64=f"{crc64:016x}",
                proof=proof,
            )
        )
        return uploaded

    def _write_manifest(self, uploaded: UploadedObject, *, fresh: bool) -> None:
        """Make the object a base. It exists and is proven by now, so that a failure here is a warning."""
        key = uploaded.key + SUFFIX
        try:
            if not fresh and self._store.head(key) is not None:
                return
            digests = self._digests_of(uploaded)
            content = encode_manifest(Manifest(digests=digests, crc64=uploaded.crc64, etag=uploaded.etag))
            # The tag shows that it is ours, wherever it is.
            self._store.put(key, content, metadata={TAG_NAME: "manifest"})
            self._log.manifest_written(uploaded.key, sha256=hashlib.sha256(content).hexdigest())
        except AliyunImportError as error:
            self._context.emit(
                Warned(
                    code="manifest-missing",
                    message=f"The object has no manifest, and can't be a base. {error.summary}",
                    remedy="Push again with --keep-object to write it; the disk is not sent again.",
                )
            )

    def _digests_of(self, uploaded: UploadedObject) -> BlockDigests:
        """Return the digests of what the object holds; raises DiskChanged where the disk is another by now.

        Where the fingerprint can't decide, the digests are made after the object, and the CRC-64 of the disk is
        compared after the digests.
        """
        context = self._context
        digests = self._digests or self._scan_digests()
        if context.source.fingerprint().likeness(self._fingerprint) is Likeness.SAME:
            return digests
        digests = self._scan_digests()
        if crc64_of_source(context) != uploaded.crc64:
            raise changed_while_sent(context, "It is not what its object holds.")
        return digests

    def _scan_digests(self) -> BlockDigests:
        digests = scan_zeros(self._context.source, self._context, with_digests=True).digests
        if digests is None:
            raise AssertionError("a scan with digests has them")
        return digests

    def _emit_plan(self, plan: UploadPlan) -> None:
        self._context.emit(
            UploadPlanned(
                disk=self._context.disk,
                key=self._key,
                total_bytes=plan.size_bytes,
                send_bytes=plan.bytes_of(PartKind.SEND),
                zero_bytes=plan.bytes_of(PartKind.ZERO),
                base_bytes=plan.bytes_of(PartKind.BASE),
                parts=len(plan.parts),
                requests=plan.requests,
                gap_bytes=plan.gap_bytes,
            )
        )

    def _emit_resumed(self, plan: UploadPlan, found: FoundUpload) -> None:
        self._context.emit(
            UploadResumed(
                disk=self._context.disk,
                key=self._key,
                done_bytes=sum(part.length for part in found.done),
                done_parts=len(found.done),
                parts=len(plan.parts),
                how=found.how,
            )
        )
