"""Tests of the upload's journal entries: they are read as they were written."""

import random
from dataclasses import replace
from pathlib import Path

from aliyun_import.disk.fingerprint import Fingerprint
from aliyun_import.journal import open_journal
from aliyun_import.limits import GIB, KIB, MIB
from aliyun_import.model.objects import UploadedObject
from aliyun_import.upload.plan import BaseObject, plan_upload
from aliyun_import.upload.session import SessionLog, UploadRecord, decode_plan, encode_plan
from aliyun_import.upload.transfer.parts import DonePart

FINGERPRINT = Fingerprint(size_bytes=1 * GIB, mtime_ns=1, device=2, inode=3, sample="ab" * 32)
PLAN = plan_upload(1 * GIB, [(0, 512 * MIB)])
PART = DonePart(number=1, start=0, length=8 * MIB, crc64=(1 << 64) - 1, etag="E", proof="crc64")


def test_a_plan_comes_back_as_it_was() -> None:
    """With its base and its numbers, and in few bytes: runs of equal parts are counted."""
    rng = random.Random(1)
    cuts = sorted(rng.sample(range(4000), 600))
    data = [(first * 128 * KIB, end * 128 * KIB) for first, end in zip(cuts[::2], cuts[1::2], strict=True)]
    for plan in (
        PLAN,
        plan_upload(500 * MIB, data),
        plan_upload(500 * MIB, [], unchanged=data, base=BaseObject(key="k", etag="E")),
    ):
        assert decode_plan(encode_plan(plan)) == plan
    assert len(str(encode_plan(plan_upload(500 * GIB, [(0, 500 * GIB)])))) < 100


def test_the_lines_fold_to_what_was_done(tmp_path: Path) -> None:
    """Across runs, and for each disk by itself."""
    with open_journal(tmp_path, {}) as journal:
        keeper = SessionLog(journal, 0)
        assert keeper.read() == UploadRecord()
        keeper.intend(key="k", tag="t", fingerprint=FINGERPRINT, plan=PLAN, zero_stem="z")
        keeper.started("U")
        keeper.done([PART, replace(PART, number=9)])
        keeper.done([])
    with open_journal(tmp_path, {}) as journal:
        record = SessionLog(journal, 0).read()
        assert (record.key, record.tag, record.upload_id) == ("k", "t", "U")
        assert record.fingerprint == FINGERPRINT
        assert record.plan == PLAN
        assert record.parts == {1: PART, 9: replace(PART, number=9)}
        assert SessionLog(journal, 1).read() == UploadRecord()


def test_what_was_dropped_does_not_come_back(tmp_path: Path) -> None:
    """Neither the upload nor its parts."""
    with open_journal(tmp_path, {}) as journal:
        keeper = SessionLog(journal, 0)
        keeper.intend(key="k", tag="t", fingerprint=FINGERPRINT, plan=PLAN, zero_stem="z")
        keeper.started("U")
        keeper.done([PART])
        keeper.dropped("disk-changed")
        # But for the stem of the object of zeros, which may exist.
        assert keeper.read() == UploadRecord(zero_stem="z")


def test_the_object_comes_back(tmp_path: Path) -> None:
    """As the result that the first run gave."""
    uploaded = UploadedObject(
        bucket="b", key="k", size_bytes=1, crc64=(1 << 64) - 1, etag="E", proof="p", made_by_us=True, sent_bytes=1
    )
    with open_journal(tmp_path, {}) as journal:
        keeper = SessionLog(journal, 0)
        keeper.finished(uploaded, fingerprint=FINGERPRINT)
        assert keeper.read().finished == uploaded
        assert keeper.read().fingerprint == FINGERPRINT
