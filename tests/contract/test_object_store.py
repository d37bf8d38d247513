"""Contract of ObjectStore."""

import pytest
from fastcrc import crc64

from aliyun_import.errors import RefusedError
from aliyun_import.limits import KIB
from aliyun_import.services import ObjectStore
from tests.cloud.adapters import Body
from tests.contract.conftest import Cloud

PART = b"0123456789abcdef" * (8 * KIB)  # 128 KiB: larger than the minimum part
SPECIAL_KEY = "a b+c%2F&=ä中.raw"


def _send(store: ObjectStore, key: str, upload_id: str, number: int, data: bytes = PART) -> object:
    return store.send_part(key, upload_id, number=number, body=Body([data]))


def test_bucket_info_describes_the_bucket(cloud: Cloud) -> None:
    """It has region, owner and encryption."""
    info = cloud.store.bucket_info()
    assert info is not None
    assert (info.name, info.region, info.encryption) == (cloud.bucket, cloud.region, None)
    assert info.owner_id == cloud.identity.whoami().account_id
    assert cloud.store.bucket == cloud.bucket


def test_a_small_object_is_written_and_read(cloud: Cloud) -> None:
    """It is read whole and in ranges, with CRC-64, metadata and a key of special characters."""
    store, key = cloud.store, cloud.key(SPECIAL_KEY)
    assert store.head(key) is None
    put = store.put(key, b"hello", metadata={"push": "42"})
    stored = store.head(key)
    assert stored is not None
    assert (stored.key, stored.size_bytes, stored.crc64) == (key, 5, crc64.xz(b"hello"))
    assert (stored.etag, stored.crc64, stored.size_bytes) == (put.etag, put.crc64, put.size_bytes)
    assert stored.metadata["push"] == put.metadata["push"] == "42"
    assert stored.storage_class == "Standard"
    assert stored.last_modified_s
    assert store.read(key) == b"hello"
    assert store.read(key, start=1, length=3) == b"ell"
    assert store.read(key, start=3) == b"lo"
    assert store.read(key, start=2, length=0) == b""


def test_reading_a_missing_object_or_range_is_refused(cloud: Cloud) -> None:
    """It is never answered with other bytes."""
    store, key = cloud.store, cloud.key("small")
    with pytest.raises(RefusedError) as missing:
        store.read(key)
    assert missing.value.code == "object-missing"
    store.put(key, b"hello")
    with pytest.raises(RefusedError):
        store.read(key, start=10, length=5)


def test_an_existing_object_is_replaced(cloud: Cloud) -> None:
    """The new bytes of `put` replace the old ones."""
    store, key = cloud.store, cloud.key("small")
    store.put(key, b"one")
    store.put(key, b"two")
    assert store.read(key) == b"two"


def test_a_second_deletion_is_no_error(cloud: Cloud) -> None:
    """The object is missing afterwards."""
    store, key = cloud.store, cloud.key("small")
    store.put(key, b"x")
    store.delete(key)
    store.delete(key)
    assert store.head(key) is None


def test_objects_are_listed_in_the_order_of_keys(cloud: Cloud) -> None:
    """Only those below the prefix are listed, with size and ETag and unchanged keys."""
    store = cloud.store
    for name in ("list/b", "list/a", f"list/{SPECIAL_KEY}", "other"):
        store.put(cloud.key(name), b"four")
    found = store.list_objects(cloud.key("list/"))
    assert [one.key for one in found] == sorted(cloud.key(name) for name in ("list/b", "list/a", f"list/{SPECIAL_KEY}"))
    assert {one.size_bytes for one in found} == {4}
    assert {one.etag for one in found} == {store.put(cloud.key("other"), b"four").etag}
    assert store.list_objects(cloud.key("nothing/")) == ()


def test_parts_make_an_object(cloud: Cloud) -> None:
    """Sent and copied parts are listed with their CRCs, and the object has the CRC-64 and the size of their bytes."""
    store, key, source = cloud.store, cloud.key(SPECIAL_KEY), cloud.key("source")
    base = store.put(source, b"-" + PART + b"-")
    upload_id = store.start_upload(key, metadata={"push": "42"})
    sent = store.send_part(key, upload_id, number=1, body=Body([PART[:1000], PART[1000:]]))
    assert (sent.number, sent.size_bytes, sent.crc64) == (1, len(PART), crc64.xz(PART))
    copied = store.copy_part(key, upload_id, number=3, source_key=source, start=1, length=len(PART), if_match=base.etag)
    assert (copied.number, copied.size_bytes) == (3, len(PART))
    assert copied.etag
    last = store.send_part(key, upload_id, number=7, body=Body([b"end"]))
    listed = store.list_parts(key, upload_id)
    assert [(part.number, part.size_bytes, part.etag) for part in listed] == [
        (part.number, part.size_bytes, part.etag) for part in (sent, copied, last)
    ]
    assert listed[0].crc64 in (None, sent.crc64)
    made = store.complete(key, upload_id, listed)
    whole = PART + PART + b"end"
    assert made.size_bytes == len(whole)
    assert made.crc64 in (None, crc64.xz(whole))
    assert made.metadata["push"] == "42"
    assert store.head(key) == made
    assert store.read(key, start=len(PART) * 2 - 2, length=5) == whole[len(PART) * 2 - 2 :][:5]


def test_a_part_that_is_sent_again_counts_once(cloud: Cloud) -> None:
    """The later part with a number replaces the earlier one."""
    store, key = cloud.store, cloud.key("disk.raw")
    upload_id = store.start_upload(key)
    _send(store, key, upload_id, 1, b"first")
    second = store.send_part(key, upload_id, number=1, body=Body([b"second"]))
    assert [part.etag for part in store.list_parts(key, upload_id)] == [second.etag]


def test_unfinished_uploads_are_listed(cloud: Cloud) -> None:
    """They are listed below their prefix, with id and start time, until they are aborted."""
    store, key = cloud.store, cloud.key(SPECIAL_KEY)
    upload_id = store.start_upload(key)
    found = store.list_uploads(cloud.prefix)
    assert [(one.key, one.upload_id) for one in found] == [(key, upload_id)]
    assert found[0].initiated_s > 0
    assert store.list_uploads(cloud.key("nothing/")) == ()
    store.abort(key, upload_id)
    assert store.list_uploads(cloud.prefix) == ()


def test_a_missing_upload_is_the_same_error_for_every_call(cloud: Cloud) -> None:
    """It is "upload-vanished"; a second abort is no error."""
    store, key = cloud.store, cloud.key("disk.raw")
    source = store.put(cloud.key("source"), PART)
    upload_id = store.start_upload(key)
    part = store.send_part(key, upload_id, number=1, body=Body([PART]))
    store.abort(key, upload_id)
    store.abort(key, upload_id)
    copy = {"source_key": source.key, "start": 0, "length": len(PART), "if_match": source.etag}
    for act in (
        lambda: store.send_part(key, upload_id, number=1, body=Body([PART])),
        lambda: store.copy_part(key, upload_id, number=1, **copy),  # type: ignore[arg-type]
        lambda: store.list_parts(key, upload_id),
        lambda: store.complete(key, upload_id, (part,)),
    ):
        with pytest.raises(RefusedError) as caught:
            act()
        assert caught.value.code == "upload-vanished"


def test_a_base_that_changed_is_not_copied(cloud: Cloud) -> None:
    """A source with another ETag, and a missing one, are "base-changed"."""
    store, key, source = cloud.store, cloud.key("disk.raw"), cloud.key("source")
    old = store.put(source, PART)
    upload_id = store.start_upload(key)

    def copy() -> object:
        return store.copy_part(
            key, upload_id, number=1, source_key=source, start=0, length=len(PART), if_match=old.etag
        )

    store.put(source, PART[::-1])
    with pytest.raises(RefusedError) as changed:
        copy()
    store.delete(source)
    with pytest.raises(RefusedError) as gone:
        copy()
    assert changed.value.code == gone.value.code == "base-changed"


def test_complete_overwrites_only_if_requested(cloud: Cloud) -> None:
    """Otherwise an existing object is "object-exists", and is not changed."""
    store, key = cloud.store, cloud.key("disk.raw")
    store.put(key, b"there")
    upload_id = store.start_upload(key)
    part = store.send_part(key, upload_id, number=1, body=Body([PART]))
    with pytest.raises(RefusedError) as caught:
        store.complete(key, upload_id, (part,))
    assert caught.value.code == "object-exists"
    assert store.read(key) == b"there"
    assert store.complete(key, upload_id, (part,), overwrite=True).size_bytes == len(PART)


def test_a_part_with_another_etag_is_not_completed(cloud: Cloud) -> None:
    """Complete refuses parts with bytes that are not on the server."""
    store, key = cloud.store, cloud.key("disk.raw")
    upload_id = store.start_upload(key)
    store.send_part(key, upload_id, number=1, body=Body([PART]))
    other = store.send_part(key, upload_id, number=2, body=Body([b"other"]))
    forged = type(other)(number=1, size_bytes=other.size_bytes, etag=other.etag, crc64=other.crc64)
    with pytest.raises(RefusedError) as caught:
        store.complete(key, upload_id, (forged,))
    assert caught.value.code == "part-missing"


def test_the_abort_rule_is_added_once(cloud: Cloud) -> None:
    """A sufficient rule is kept. The test does not change the rules of a real bucket."""
    if cloud.is_real:
        pytest.skip("changes the rules of the bucket")
    assert cloud.store.ensure_abort_rule(prefix="aliyun-import/", days=7)
    assert not cloud.store.ensure_abort_rule(prefix="aliyun-import/", days=7)
    assert not cloud.store.ensure_abort_rule(prefix="aliyun-import/deeper/", days=30)
    assert cloud.store.ensure_abort_rule(prefix="aliyun-import/", days=3)
