"""This file keeps a push's object of zeros: made when parts want it, named when it stays, removed at the end."""

from collections.abc import Iterable

from aliyun_import.cleanup import leftovers_command
from aliyun_import.errors import AccessError, AliyunImportError, RefusedError
from aliyun_import.events import Warned
from aliyun_import.sizes import size
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.plan.plan import PartKind, PlannedPart, UploadPlan
from aliyun_import.upload.transfer.transfer import NO_RIGHT
from aliyun_import.upload.zero_object import ZeroObject, ensure_zero_object, remove_all_zero_objects, remove_zero_object

COPIES = frozenset({PartKind.ZERO, PartKind.BASE})


class StagedZeros:
    """The zeros of one disk's push; lives as long as it. `stem` is how their key begins.

    `made` is the object once it is there, `sent_bytes` what went over the wire for it.
    """

    def __init__(self, context: UploadContext, stem: str, *, region: str) -> None:
        self._setting = context
        self._store = context.store
        self._stem = stem
        self._region = region
        self._may_be_there = False
        self._resumed = False
        self.made: ZeroObject | None = None
        self.sent_bytes = 0

    def expect(self, plan: UploadPlan, *, resumed: bool) -> None:
        """Take note of a plan that this run, or an earlier one (`resumed`), goes by."""
        self._may_be_there = self._may_be_there or plan.zero_source_bytes > 0
        self._resumed = self._resumed or resumed

    def make(self, plan: UploadPlan, left: Iterable[PlannedPart]) -> frozenset[PartKind]:
        """Have the object ready if a part that is left wants it; gives the kinds of parts that can't be copied."""
        wanted = [part for part in left if part.kind in COPIES]
        if not any(part.kind is PartKind.ZERO for part in wanted):
            return frozenset()
        try:
            self.made = ensure_zero_object(
                self._store, self._stem, size_bytes=plan.zero_source_bytes, clock=self._setting.clock
            )
        except (RefusedError, AccessError) as error:
            if isinstance(error, AccessError) and error.code not in NO_RIGHT:
                raise
            cost = sum(part.length for part in wanted)
            self._setting.emit(
                Warned(
                    code=error.code,
                    message=f"{error.summary} {size(cost)} that the server could have made are sent instead.",
                    remedy=error.remedy,
                )
            )
            return COPIES
        self.sent_bytes += self.made.sent_bytes
        return frozenset()

    def named_in(self, error: AliyunImportError, *, key: str) -> AliyunImportError:
        """Name the object that stays for the next run, where the upload itself hardly began."""
        if self.made is None:
            return error
        removes = leftovers_command(region=self._region, bucket=self._store.bucket, keys=[key, self.made.key])
        return error.advised(f"An object of zeros stays in OSS until then; {removes} gives up.")

    def remove(self) -> None:
        """Remove the object, and those that an earlier run of this push may have left."""
        if self.made and not self._resumed:
            is_gone = remove_zero_object(self._store, self.made)
        elif self._may_be_there:
            is_gone = remove_all_zero_objects(self._store, self._stem)
        else:
            return
        if not is_gone:
            self._setting.emit(
                Warned(
                    code="zeros-left",
                    message=f"The object of zeros oss://{self._store.bucket}/{self._stem}-* could not be removed.",
                    remedy="See and remove it with "
                    f"{leftovers_command(region=self._region, bucket=self._store.bucket)}.",
                )
            )
