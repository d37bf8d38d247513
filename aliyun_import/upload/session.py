"""This file takes a started upload to the proven object: rounds of transfer, complete, proof."""

import threading
from dataclasses import dataclass, field

from aliyun_import.cleanup import leftovers_command, remove_object
from aliyun_import.disk.fingerprint import Fingerprint, Likeness
from aliyun_import.errors import (
    AliyunImportError,
    DiskChanged,
    Interrupted,
    LocalStateError,
    PartCorrupted,
    TransientError,
)
from aliyun_import.events import Noted, Warned
from aliyun_import.model.objects import RemoteObject
from aliyun_import.sizes import size
from aliyun_import.upload.complete import BY_SIZE, Completed, agree, check_object, complete_upload, completion_of
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.plan.plan import PartKind, UploadPlan
from aliyun_import.upload.resume.find import first_changed
from aliyun_import.upload.resume.record import RecordKeeper
from aliyun_import.upload.transfer.parts import DonePart, PartSplitter
from aliyun_import.upload.transfer.transfer import Reporter, Transfer
from aliyun_import.upload.transfer.worker import WorkerContext
from aliyun_import.upload.zero_object import ZeroObject

# How often parts that the server lists otherwise than they were made are made again, before it is an error.
ROUNDS = 3


@dataclass(slots=True, kw_only=True)
class Assembly:
    """An upload under way. `done` and `sent_bytes` grow, also where the transfer ends with an error."""

    key: str
    region: str
    upload_id: str
    tag: str
    plan: UploadPlan
    zero: ZeroObject | None
    refused: frozenset[PartKind]
    jobs: int | None
    limit_rate_bytes_s: float | None
    done: tuple[DonePart, ...] = ()
    sent_bytes: int = 0
    _bad: tuple[DonePart, ...] = field(default=(), repr=False)

    @property
    def safe_bytes(self) -> int:
        """What is in OSS."""
        return sum(part.length for part in self.done)

    def finish(self, context: UploadContext, keeper: RecordKeeper, fingerprint: Fingerprint) -> Completed:
        """Make what is left, see that the disk did not change, and complete; the object is not proven yet.

        Raises RefusedError "upload-vanished" or "bucket-missing" as it is; any other error says in its remedy
        what is safe.
        """
        try:
            self._make_parts(context, keeper)
            check_unchanged(context, fingerprint, self.done)
            completion = completion_of(self.key, self.upload_id, self.done, tag=self.tag)
            return complete_upload(context.store, completion, clock=context.clock)
        except AliyunImportError as error:
            if error.code in ("upload-vanished", "bucket-missing"):  # nothing is left there
                raise
            raise self._with_rest(error, bucket=context.store.bucket) from error

    def check(self, context: UploadContext, keeper: RecordKeeper, there: RemoteObject) -> str:
        """Prove the object and say how; one that is not the disk is removed again, since this push made it."""
        if there.crc64 is None:
            there = context.ask(lambda: context.store.head(self.key)) or there
        try:
            proof = check_object(there, self.done)
        except TransientError:
            context.ask(lambda: remove_object(context.store, self.key))
            keeper.dropped("object-corrupted")
            raise
        if proof == BY_SIZE:
            context.emit(
                Warned(
                    code="unproven",
                    message=f"oss://{context.store.bucket}/{self.key} has the right size, but nothing that OSS tells "
                    "of it can be compared with the disk's content.",
                    remedy="Download a part of it and compare, or use an endpoint of OSS itself.",
                )
            )
        return proof

    def _make_parts(self, context: UploadContext, keeper: RecordKeeper) -> None:
        """Make all parts, until the server lists each of them as it should be."""
        for _ in range(ROUNDS):
            left, self.done = PartSplitter(self.plan).still_to_do(self.done)
            transfer = self._transfer(context, keeper)
            try:
                transfer.run(left, before=self.done)
            finally:
                self.done = transfer.done
                self.sent_bytes += transfer.sent_bytes
            listed = context.ask(lambda: context.store.list_parts(self.key, self.upload_id))
            self.done, self._bad = agree(self.done, listed)
            if not self._bad:
                return
        first = self._bad[0]
        raise PartCorrupted(
            f"{len(self._bad)} parts are in OSS with other bytes than the disk has.",
            code="part-corrupted",
            cause=f"Part {first.number}, at byte {first.start}, is the first of them; it was made {ROUNDS} times.",
            remedy="Run the same command again. If it comes back, test this machine's memory and network.",
            details={"part": str(first.number), "offset": str(first.start)},
            resumable=True,
        )

    def _transfer(self, context: UploadContext, keeper: RecordKeeper) -> Transfer:
        return Transfer(
            self.plan,
            WorkerContext(
                store=context.store,
                source=context.source,
                key=self.key,
                upload_id=self.upload_id,
                zero=self.zero,
                base=self.plan.base,
                halt=threading.Event(),
            ),
            told=Reporter(disk=context.disk, emit=context.emit, journal=keeper.done),
            clock=context.clock,
            stop=context.stop,
            jobs=self.jobs,
            limit_rate_bytes_s=self.limit_rate_bytes_s,
            refused=self.refused,
        )

    def _with_rest(self, error: AliyunImportError, *, bucket: str) -> AliyunImportError:
        """Say in the remedy what is safe, how to go on, and how to remove it."""
        where = f"unfinished upload of oss://{bucket}/{self.key}"
        keys = [self.key, *([self.zero.key] if self.zero else [])]
        removes = leftovers_command(region=self.region, bucket=bucket, keys=keys)
        safe = f"{size(self.safe_bytes)} are safe in the {where}" if self.done else f"The {where} holds nothing yet"
        rest = f"{safe}: the same command goes on from there. {removes} gives up."
        if isinstance(error, Interrupted):  # whose advice is to run it again
            error = Interrupted(error.summary, code=error.code, remedy=None)
        is_of_use = error.code not in ("disk-changed", "disk-truncated")
        if not is_of_use:
            rest = (
                f"The {where} is of no use any more: the same command begins afresh and removes it, as does {removes}."
            )
        return error.advised(rest, resumable=is_of_use)


def check_unchanged(context: UploadContext, fingerprint: Fingerprint, done: tuple[DonePart, ...]) -> None:
    """See that the disk is the one that it was when the push began. A mix of two is never completed.

    Where the fingerprint can't tell, as for every block device, the disk is read once more and compared with what was
    sent. Raises LocalStateError "disk-changed".
    """
    match context.source.fingerprint().likeness(fingerprint):
        case Likeness.OTHER:
            raise changed_while_sent(
                context, "Its size, its time of change or its content is not what it was when the push began."
            )
        case Likeness.UNPROVEN:
            context.emit(Noted(message=f"{context.disk} is read once more, to see that it did not change meanwhile."))
            part = first_changed(context, done)
            if part:
                raise changed_while_sent(
                    context, f"The bytes from {part.start} to {part.start + part.length} are not those that were sent."
                )
        case Likeness.SAME:
            pass


def changed_while_sent(context: UploadContext, cause: str) -> LocalStateError:
    """Give the error of a disk that did not stay as it was."""
    return DiskChanged(
        f"{context.disk} changed while it was sent.",
        code="disk-changed",
        cause=cause,
        remedy="Stop what writes to it (shut the virtual machine down, or push a snapshot of its disk), and run "
        "the same command again.",
    )
