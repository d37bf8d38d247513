"""Contract of ObjectStore."""

import pytest
from fastcrc import crc64

from aliyun_import.errors import RefusedError
from aliyun_import.limits import KIB
from aliyun_import.services import ObjectStore
from tests.cloud.adapters import Body
from tests.contract.conftest import Cloud

PART = b"0123456789abcdef" * (8 * KIB)  # 128 KiB: more than the least that a part may have
ODD = "a b+c%2F&=ä中.raw"


def _send(store: ObjectStore, key: str, upload_id: str, number: int, data: bytes = PART) -> object:
    return store.send_part(key, upload_id, number=number, body=Body([data]))


def test_the_bucket_tells_what_it_is(cloud: Cloud) -> None:
    """Region, owner, class and encryption are those of the bucket."""
    info = cloud.store.bucket_info()
    assert info is not None
    assert (info.name, info.region, info.encryption) == (cloud.bucket, cloud.region, None)
    assert info.owner_id == cloud.identity.whoami().account_id
    assert cloud.store.bucket == cloud.bucket


def test_a_small_object_goes_there_and_back(cloud: Cloud) -> None:
    """What was put is read again, whole and in ranges, with its CRC-64, its metadata and an odd key."""
    store, key = cloud.store, cloud.key(ODD)
    assert store.head(key) is None
    put = store.put(key, b"hello", metadata={"push": "42"})
    there = store.head(key)
    assert there is not None
    assert (there.key, there.size_bytes, there.crc64) == (key, 5, crc64.xz(b"hello"))
    assert (there.etag, there.crc64, there.size_bytes) == (put.etag, put.crc64, put.size_bytes)
    assert there.metadata["push"] == put.metadata["push"] == "42"
    assert there.storage_class == "Standard"
    assert there.last_modified_s
    assert store.read(key) == b"hello"
    assert store.read(key, start=1, length=3) == b"ell"
    assert store.read(key, start=3) == b"lo"
    assert store.read(key, start=2, length=0) == b""


def test_reading_what_does_not_exist(cloud: Cloud) -> None:
    """A missing object and a range beyond the end are refused, never answered with other bytes."""
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


def test_an_object_is_removed_once_or_twice(cloud: Cloud) -> None:
    """Removing what is not there is fine."""
    store, key = cloud.store, cloud.key("small")
    store.put(key, b"x")
    store.delete(key)
    store.delete(key)
    assert store.head(key) is None


def test_objects_are_listed_by_key(cloud: Cloud) -> None:
    """Those below the prefix, and no others, with size and ETag, odd keys as they are."""
    store = cloud.store
    for name in ("list/b", "list/a", f"list/{ODD}", "other"):
        store.put(cloud.key(name), b"four")
    found = store.list_objects(cloud.key("list/"))
    assert [one.key for one in found] == sorted(cloud.key(name) for name in ("list/b", "list/a", f"list/{ODD}"))
    assert {one.size_bytes for one in found} == {4}
    assert {one.etag for one in found} == {store.put(cloud.key("other"), b"four").etag}
    assert store.list_objects(cloud.key("nothing/")) == ()


def test_parts_make_an_object(cloud: Cloud) -> None:
    """Sent and copied parts, listed with their CRCs, become an object whose CRC-64 and size are those of the bytes."""
    store, key, source = cloud.store, cloud.key(ODD), cloud.key("source")
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
    """The later bytes of a number replace the earlier ones."""
    store, key = cloud.store, cloud.key("disk.raw")
    upload_id = store.start_upload(key)
    _send(store, key, upload_id, 1, b"first")
    second = store.send_part(key, upload_id, number=1, body=Body([b"second"]))
    assert [part.etag for part in store.list_parts(key, upload_id)] == [second.etag]


def test_unfinished_uploads_are_found(cloud: Cloud) -> None:
    """They are listed below their prefix with their id and their beginning, until they are aborted."""
    store, key = cloud.store, cloud.key(ODD)
    upload_id = store.start_upload(key)
    found = store.list_uploads(cloud.prefix)
    assert [(one.key, one.upload_id) for one in found] == [(key, upload_id)]
    assert found[0].initiated_s > 0
    assert store.list_uploads(cloud.key("nothing/")) == ()
    store.abort(key, upload_id)
    assert store.list_uploads(cloud.prefix) == ()


def test_an_upload_that_is_gone_is_named_so_by_every_call(cloud: Cloud) -> None:
    """Sending, copying, listing and completing say "upload-vanished"; aborting once more is fine."""
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
    """A source with another ETag, and one that is gone, are refused as "base-changed"."""
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


def test_completing_overwrites_only_if_requested(cloud: Cloud) -> None:
    """An existing object refuses the complete unless `overwrite` is set."""
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
    """A complete that names bytes which are not there is refused."""
    store, key = cloud.store, cloud.key("disk.raw")
    upload_id = store.start_upload(key)
    store.send_part(key, upload_id, number=1, body=Body([PART]))
    other = store.send_part(key, upload_id, number=2, body=Body([b"other"]))
    lie = type(other)(number=1, size_bytes=other.size_bytes, etag=other.etag, crc64=other.crc64)
    with pytest.raises(RefusedError) as caught:
        store.complete(key, upload_id, (lie,))
    assert caught.value.code == "part-missing"


def test_the_abort_rule_is_added_once(cloud: Cloud) -> None:
    """A rule that serves is left alone. (Not in an account: a real bucket's rules are its owner's.)"""
    if cloud.is_real:
        pytest.skip("changes the rules of the bucket")
    assert cloud.store.ensure_abort_rule(prefix="aliyun-import/", days=7)
    assert not cloud.store.ensure_abort_rule(prefix="aliyun-import/", days=7)
    assert not cloud.store.ensure_abort_rule(prefix="aliyun-import/deeper/", days=30)
    assert cloud.store.ensure_abort_rule(prefix="aliyun-import/", days=3)
