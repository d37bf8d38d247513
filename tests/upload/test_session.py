"""Tests of the record of an upload in the journal."""

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


def test_a_decoded_plan_equals_the_encoded_one() -> None:
    """Runs of equal parts are counted, so that the text is short."""
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


def test_the_journal_lines_give_the_record_of_an_upload(tmp_path: Path) -> None:
    """The record covers several runs, and each disk has its own."""
    with open_journal(tmp_path, {}) as journal:
        log = SessionLog(journal, 0)
        assert log.read() == UploadRecord()
        log.intend(key="k", tag="t", fingerprint=FINGERPRINT, plan=PLAN, zero_stem="z")
        log.started("U")
        log.done([PART, replace(PART, number=9)])
        log.done([])
    with open_journal(tmp_path, {}) as journal:
        record = SessionLog(journal, 0).read()
        assert (record.key, record.tag, record.upload_id) == ("k", "t", "U")
        assert record.fingerprint == FINGERPRINT
        assert record.plan == PLAN
        assert record.parts == {1: PART, 9: replace(PART, number=9)}
        assert SessionLog(journal, 1).read() == UploadRecord()


def test_a_dropped_upload_is_not_in_the_record(tmp_path: Path) -> None:
    """Its parts are not, either."""
    with open_journal(tmp_path, {}) as journal:
        log = SessionLog(journal, 0)
        log.intend(key="k", tag="t", fingerprint=FINGERPRINT, plan=PLAN, zero_stem="z")
        log.started("U")
        log.done([PART])
        log.dropped("disk-changed")
        # The stem of the zero object remains, because the object may exist.
        assert log.read() == UploadRecord(zero_stem="z")


def test_a_finished_object_is_in_the_record(tmp_path: Path) -> None:
    """It equals the result of the first run."""
    uploaded = UploadedObject(
        bucket="b", key="k", size_bytes=1, crc64=(1 << 64) - 1, etag="E", proof="p", made_by_us=True, sent_bytes=1
    )
    with open_journal(tmp_path, {}) as journal:
        log = SessionLog(journal, 0)
        log.finished(uploaded, fingerprint=FINGERPRINT)
        assert log.read().finished == uploaded
        assert log.read().fingerprint == FINGERPRINT
