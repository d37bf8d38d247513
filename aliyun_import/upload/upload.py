"""Upload of a local disk to an object in OSS that is proven equal to the disk.

open · choose the key · does the object exist? · find the base · scan · plan · find the unfinished upload · zero object
     · transfer · did the disk change? · complete · prove · manifest
"""

import contextlib
import math
import secrets

from aliyun_import.context import Context
from aliyun_import.disk.disk import Disk
from aliyun_import.disk.fingerprint import Comparison
from aliyun_import.errors import AliyunImportError, ObjectCorrupted, UploadNotFound
from aliyun_import.events import Event, Noted, ObjectReady, UploadPlanned, UploadResumed, Warned
from aliyun_import.journal import Journal
from aliyun_import.model.objects import RemoteObject, UploadedObject
from aliyun_import.services import ObjectStore
from aliyun_import.upload.complete import TAG_NAME, crc64_of_disk
from aliyun_import.upload.context import TransferOptions, UploadContext, UploadRequest
from aliyun_import.upload.manifest import SUFFIX, find_base, write_manifest
from aliyun_import.upload.plan import PartKind, Preview, UploadPlan, max_zeros_sent, plan_upload, without_copies
from aliyun_import.upload.resume import FoundUpload, Target, candidate_keys, choose_target, find_upload
from aliyun_import.upload.session import SessionLog, UploadRecord, UploadSession
from aliyun_import.upload.transfer.concurrency import jobs_for, piece_bytes_for
from aliyun_import.upload.transfer.parts import PartSplitter, in_pieces
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
    """Upload the disk, or use an equal object in OSS; resume where an earlier call stopped.

    Raises AliyunImportError, among them ObjectExists for another object with a key that the user named, DiskChanged if
    the disk changed after it was opened, and Interrupted, also if the run was cancelled during the last request. The
    remedy names what is kept in OSS, and how to resume or remove it. Events are emitted on the calling thread.
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
    """Return what `upload_disk` would do with the same arguments, or raise its error; change nothing in OSS.

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
        self._saved_bytes: int | None = None  # None: nothing was planned, because the object existed

    def run(self) -> UploadedObject:
        """Upload the disk; start over once if the server has lost the upload, or if the base was wrong."""
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
            return self._upload(self._valid_record(record))
        except UploadNotFound:
            # Another machine may have pushed the same disk and completed the upload; then the object exists.
            ready = self._find_object(self._log.read())
            if ready:
                return ready
            self._context.emit(
                Warned(
                    code="upload-vanished",
                    message=f"OSS does not have the unfinished upload of {self._key} any more: it starts over.",
                    remedy="If it was not removed by hand, check the bucket's lifecycle rules: one may abort uploads.",
                )
            )
            self._log.dropped("upload-vanished")
            return self._upload(UploadRecord())

    def preview(self, *, has_bucket: bool) -> Preview:
        """Make the decisions of `run`, and change nothing in OSS."""
        record = UploadRecord()
        if has_bucket:
            record = self._log.read()
            if self._choose_target(record).existing is not None:
                return Preview(key=self._key, size_bytes=self._context.source.size_bytes, plan=None)
            record = self._valid_record(record, removes=False)
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
        """Choose the key, and use an object with this key that equals the disk."""
        target = self._choose_target(record)
        if target.existing is None:
            return None
        if record.upload_id and record.finished is None and not target.made_by_us:
            self._store.abort(record.key, record.upload_id)  # its parts are billed and not needed
        return self._finished(
            target.existing, crc64=target.crc64, proof=target.proof, made_by_us=target.made_by_us, fresh=False
        )

    def _valid_record(self, record: UploadRecord, *, removes: bool = True) -> UploadRecord:
        """Return the journal's record if it describes the present disk.

        If only the modification time or the location of the file changed (it was copied, or converted again), or if
        the fingerprint can't decide whether the disk changed, the unfinished upload is kept, but the disk is scanned
        and each part proven again.
        """
        before = record.fingerprint
        if before is None:
            return record
        comparison = self._fingerprint.comparison(before)
        same_key = record.key == self._key
        if comparison is Comparison.SAME and same_key:
            return record
        if record.finished:  # another build with the same name, pushed after the first one was done
            self._log.dropped("another disk")
            return UploadRecord()
        self._context.emit(self._change_event(same_key=same_key, may_be_equal=comparison is Comparison.UNPROVEN))
        if not same_key and removes:
            self._remove_earlier_upload(record)
        self._log.dropped("disk-changed")
        return UploadRecord(key=record.key, tag=record.tag, upload_id=record.upload_id) if same_key else UploadRecord()

    def _change_event(self, *, same_key: bool, may_be_equal: bool) -> Event:
        disk = self._context.disk
        if may_be_equal and same_key:
            return Noted(
                message=f"{disk} may have changed since its upload was started: its content is compared with the parts "
                "in OSS."
            )
        return Warned(
            code="disk-changed",
            message=f"{disk} changed since its upload was started: the upload starts over"
            + (", and keeps the parts in OSS that are proven equal." if same_key else "."),
        )

    def _remove_earlier_upload(self, record: UploadRecord) -> None:
        """Remove what an earlier run left in OSS of a previous state of the disk."""
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
            # If OSS reports no CRC-64 of copied parts, a base that differs from its manifest is detected here.
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
        max_bytes = math.inf if self._options.send_zeros else max_zeros_sent(plan)
        refused = self._zeros.make(plan, PartSplitter(plan).remaining(done)[0], max_bytes=max_bytes)
        if refused and not done:
            plan, refused, self._saved_bytes = without_copies(plan), frozenset(), 0
            self._emit_plan(plan)
        if done and found:
            self._emit_resumed(plan, found)
        try:
            upload_id, tag = self._started(plan, record, found)
        except AliyunImportError as error:
            raise self._zeros.named_in(error, key=self._key) from error
        # Parts that were proven against the disk, and are not in the journal yet.
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
            max_zeros_sent_bytes=max_bytes,
            jobs=jobs_for(self._options.jobs, self._context.source.max_readers),
            limit_rate_bytes_s=self._options.limit_rate_bytes_s,
            done=done,
        )

    def _plan(self) -> UploadPlan:
        """Scan the disk and plan its upload; keep the digests for a base or a manifest."""
        request, source = self._request, self._context.source
        base = None
        if not self._without_base:
            base = find_base(
                self._context, base_key=request.base_key, key_stem=request.key_stem, known=self._log.read().manifests
            )
        data = scan_zeros(
            source,
            self._context,
            # Digests can be compared only with the same block size.
            block_bytes=base.manifest.digests.block_bytes if base else None,
            with_digests=self._options.keep_object or base is not None,
        )
        self._digests = data.digests
        if base is None or data.digests is None:
            return plan_upload(source.size_bytes, data.data)
        unchanged = unchanged_ranges(data.digests, base.manifest.digests)
        return plan_upload(source.size_bytes, data.data, unchanged=unchanged, base=base.object)

    def _started(self, plan: UploadPlan, record: UploadRecord, found: FoundUpload | None) -> tuple[str, str]:
        """Return the upload's id and tag; start an upload if none was found. The intent is journalled first."""
        found_id = found.upload_id if found else ""
        if found_id == record.upload_id != "" and plan is record.plan:
            return found_id, record.tag
        # An upload that this journal intended has the tag of the intent; the tag of another one is unknown.
        ours = found is not None and (found_id == record.upload_id or not found.done)
        tag = record.tag if ours else secrets.token_hex(8)
        self._log.intend(key=self._key, tag=tag, fingerprint=self._fingerprint, plan=plan, zero_stem=self._zeros.stem)
        upload_id = found_id or self._store.start_upload(self._key, metadata={TAG_NAME: tag})
        self._log.started(upload_id)
        return upload_id, tag

    def _finished(
        self, existing: RemoteObject, *, crc64: int, proof: str, made_by_us: bool, fresh: bool
    ) -> UploadedObject:
        # Remove the zero object first: once the object is journalled, no later run searches for it.
        left_over = self._zeros.remove()
        uploaded = UploadedObject(
            bucket=self._store.bucket,
            key=self._key,
            size_bytes=existing.size_bytes,
            crc64=crc64,
            etag=existing.etag,
            proof=proof,
            made_by_us=made_by_us,
            sent_bytes=self._sent_bytes + self._zeros.sent_bytes,
            saved_bytes=existing.size_bytes if self._saved_bytes is None else self._saved_bytes,
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
        """Write the manifest. A failure is only a warning, because the object exists and is proven."""
        try:
            if not fresh and self._store.head(uploaded.key + SUFFIX) is not None:
                return
            sha256 = write_manifest(self._context, uploaded, fingerprint=self._fingerprint, digests=self._digests)
            self._log.manifest_written(uploaded.key, sha256=sha256)
        except AliyunImportError as error:
            self._context.emit(
                Warned(
                    code="manifest-missing",
                    message=f"The object has no manifest, so later pushes can't use it as the base. {error.summary}",
                    remedy="Push again with --keep-object to write it; the disk is not sent again.",
                )
            )

    def _emit_plan(self, plan: UploadPlan) -> None:
        plan = in_pieces(plan, max_bytes=piece_bytes_for(self._options.limit_rate_bytes_s))
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
