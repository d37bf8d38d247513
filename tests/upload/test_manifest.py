"""Tests of bases: a later build sends what changed; with an invalid base all data is sent."""

import hashlib
import itertools
from array import array
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliyun_import.errors import ConnectionLost, PermissionDenied, TransientError
from aliyun_import.events import Noted, UploadPlanned, Warned
from aliyun_import.limits import KIB
from aliyun_import.model.objects import RemoteObject
from aliyun_import.upload.context import TransferOptions
from aliyun_import.upload.manifest import SUFFIX, Manifest, decode_manifest, encode_manifest
from aliyun_import.upload.zero_scan import DIGEST_BYTES, BlockDigests, unchanged_ranges
from tests.rows import each_row
from tests.upload.scripted_store import no_hook
from tests.upload.upload_setup import UploadSetup

BLOCK = 128 * KIB
OLD, NEW = "abcdefgh" + "." * 12 + "ijkl", "abcdEfgh" + "." * 12 + "iJkl"
UNIT = 256 * KIB


def digests_of(layout: str, *, tail: int = BLOCK) -> BlockDigests:
    """Return digests of a disk of blocks: "." is zeros, a letter its own digest; the last block is shorter."""
    index = array("i")
    blob = b""
    for letter in layout:
        index.append(-1 if letter == "." else len(blob) // DIGEST_BYTES)
        blob += b"" if letter == "." else letter.encode() * DIGEST_BYTES
    return BlockDigests(size_bytes=(len(layout) - 1) * BLOCK + tail, block_bytes=BLOCK, index=index, digests=blob)


def push_base(setup: UploadSetup, layout: str = OLD) -> str:
    """Push a build, keep it as a base and return its key; reset counts and events."""
    setup.options = TransferOptions(jobs=2, keep_object=True)
    setup.write_disk(layout, unit=UNIT)
    key = setup.push().key
    setup.store.received_bytes = 0
    setup.events.clear()
    return key


def test_a_later_build_sends_only_what_changed(setup: UploadSetup) -> None:
    """The base is found by the image name; unchanged ranges are copied, and the object equals the new disk."""
    base = push_base(setup)
    content = setup.write_disk(NEW, unit=UNIT)
    uploaded = setup.push()
    assert uploaded.key != base
    assert setup.store.content(uploaded.key) == content
    (planned,) = setup.events_of(UploadPlanned)
    assert planned.send_bytes == 2 * UNIT
    manifest = len(setup.store.content(uploaded.key + SUFFIX))
    assert setup.store.received_bytes == 2 * UNIT + manifest <= 1.2 * 2 * UNIT
    assert uploaded.proof.startswith("CRC-64 of the object")
    assert any("is the base" in noted.message for noted in setup.events_of(Noted))


def test_the_newest_base_is_used(setup: UploadSetup) -> None:
    """In a series of builds, each is compared with the one before."""
    push_base(setup)
    newest = push_base(setup, NEW)
    setup.write_disk(NEW[:-1] + "L", unit=UNIT)
    setup.push()
    assert any(newest in noted.message for noted in setup.events_of(Noted))
    assert setup.events_of(UploadPlanned)[0].send_bytes == UNIT


def test_a_named_base_is_used(setup: UploadSetup) -> None:
    """--base may name any object."""
    base = push_base(setup)
    for suffix in ("", SUFFIX):
        data = setup.store.content(base + suffix)
        setup.store.objects["images/old.raw" + suffix] = setup.store.objects.pop(base + suffix)
        assert data
    setup.base_key = "images/old.raw"
    setup.write_disk(NEW, unit=UNIT)
    assert setup.store.content(setup.push().key) == setup.path.read_bytes()
    assert setup.events_of(UploadPlanned)[0].base_bytes > 0


def test_without_keep_object_there_is_no_manifest(setup: UploadSetup) -> None:
    """Only the object is left, and nothing warns."""
    setup.write_disk(OLD, unit=UNIT)
    uploaded = setup.push()
    assert list(setup.store.objects) == [uploaded.key]
    assert setup.events_of(Warned) == []


def test_an_existing_object_gets_its_manifest(setup: UploadSetup) -> None:
    """A second push, with --keep-object, writes the manifest and does not send the disk again."""
    setup.write_disk(OLD, unit=UNIT)
    key = setup.push().key
    setup.store.received_bytes = 0
    setup.options = TransferOptions(jobs=2, keep_object=True)
    setup.push()
    assert setup.store.received_bytes == len(setup.store.content(key + SUFFIX))
    assert decode_manifest(setup.store.content(key + SUFFIX)).etag == setup.store.objects[key][1].etag


def _damaged(setup: UploadSetup, key: str) -> None:
    data = bytearray(setup.store.content(key + SUFFIX))
    data[len(data) // 2] ^= 1
    setup.store.put(key + SUFFIX, bytes(data))


def _not_a_manifest(setup: UploadSetup, key: str) -> None:
    setup.store.put(key + SUFFIX, b"not a manifest")


def _of_another_object(setup: UploadSetup, key: str) -> None:
    setup.store.put(key, setup.store.content(key)[:-1] + b"x")


def _of_another_schema(setup: UploadSetup, key: str) -> None:
    body = setup.store.content(key + SUFFIX)[:-32].replace(b'"schema":1', b'"schema":9')
    setup.store.put(key + SUFFIX, body + hashlib.sha256(body).digest())


@pytest.mark.parametrize("invalidate", [_damaged, _not_a_manifest, _of_another_object, _of_another_schema])
def test_an_invalid_base_is_not_used(setup: UploadSetup, invalidate: Callable[[UploadSetup, str], None]) -> None:
    """A warning states the reason; the whole disk is sent."""
    key = push_base(setup)
    invalidate(setup, key)
    content = setup.write_disk(NEW, unit=UNIT)
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    (warned,) = setup.events_of(Warned)
    assert warned.code == "base-set-aside"
    assert key in warned.message
    assert setup.events_of(UploadPlanned)[0].base_bytes == 0


@pytest.mark.parametrize("key", ["images/none.raw", "images/bare.raw"])
def test_a_named_base_that_is_missing_is_not_used(setup: UploadSetup, key: str) -> None:
    """The object is missing, or its manifest is."""
    setup.store.put("images/bare.raw", b"x")
    setup.base_key = key
    setup.write_disk(NEW, unit=UNIT)
    setup.push()
    assert [warned.code for warned in setup.events_of(Warned)] == ["base-set-aside"]


def test_a_base_that_changes_during_the_push_is_not_copied_from(setup: UploadSetup) -> None:
    """Each copy has if-match; ranges that can't be copied are sent, with a warning."""
    key = push_base(setup)
    content = setup.write_disk(NEW, unit=UNIT)

    def change(operation: str, count: int) -> None:
        if operation == "start_upload" and setup.store.calls["copy_part"] == copies:
            setup.store.objects[key] = (b"x" * len(content), replace(setup.store.objects[key][1], etag="changed"))

    copies = setup.store.calls["copy_part"]
    setup.store.before = change
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    (warned,) = setup.events_of(Warned)
    assert warned.code == "base-changed"


def test_a_resumed_push_continues_with_its_base(setup: UploadSetup) -> None:
    """The plan is in the journal; the base is not searched for again."""
    push_base(setup)
    content = setup.write_disk(NEW, unit=UNIT)
    setup.store.before = lambda operation, _: _fail_send_part(operation)
    with pytest.raises(TransientError):
        setup.push()
    listed = setup.store.calls["list_objects"]
    setup.store.before = no_hook
    uploaded = setup.push()
    assert setup.store.calls["list_objects"] == listed
    assert setup.store.content(uploaded.key) == content
    assert decode_manifest(setup.store.content(uploaded.key + SUFFIX)).crc64 == uploaded.crc64


def _fail_send_part(operation: str) -> None:
    if operation == "send_part":
        raise ConnectionLost("The connection is down.", code="connection-lost", remedy=None)


def test_a_manifest_that_cannot_be_written_is_a_warning(setup: UploadSetup) -> None:
    """The object is complete and proven, so the push succeeds."""
    setup.options = TransferOptions(jobs=2, keep_object=True)
    setup.write_disk("abcd")

    def refuse(operation: str, count: int) -> None:
        if operation == "put":
            raise PermissionDenied("No right to write.", code="no-right", remedy=None)

    setup.store.before = refuse
    assert setup.push().made_by_us
    assert [warned.code for warned in setup.events_of(Warned)] == ["manifest-missing"]


def test_bases_of_other_disks_are_not_used(setup: UploadSetup) -> None:
    """The other disk is the tenth data disk, or belongs to an image whose name begins with ours."""
    key = push_base(setup)
    for other in ("aliyun-import/web/system-extra-000000000000.raw", "aliyun-import/web/system-1.raw"):
        for suffix in ("", SUFFIX):
            data, stored = setup.store.objects[key + suffix]
            setup.store.objects[other + suffix] = (data, replace(stored, key=other + suffix))
    for suffix in ("", SUFFIX):
        del setup.store.objects[key + suffix]
    setup.write_disk(NEW, unit=UNIT)
    setup.push()
    assert setup.events_of(UploadPlanned)[0].base_bytes == 0
    assert setup.events_of(Warned) == []


def _change_bytes_only(setup: UploadSetup, key: str) -> None:
    """Give the object other bytes than its manifest, its ETag and its CRC-64 state."""
    content, stored = setup.store.objects[key]
    setup.store.objects[key] = (content.translate(bytes(value ^ 1 for value in range(256))), stored)


@pytest.mark.parametrize("copies_have_crc64", [True, False])
def test_a_base_with_other_bytes_than_its_manifest_states_is_not_used(
    setup: UploadSetup, *, copies_have_crc64: bool
) -> None:
    """The list of parts shows it, or the object if copies have no CRC-64; the same run sends the ranges."""
    _change_bytes_only(setup, push_base(setup))
    setup.options = TransferOptions(jobs=2)
    setup.store.copied_have_crc64 = copies_have_crc64
    content = setup.write_disk(NEW, unit=UNIT)
    uploaded = setup.push()
    assert setup.store.content(uploaded.key) == content
    assert uploaded.proof.startswith("CRC-64 of the object")
    assert [warned.code for warned in setup.events_of(Warned)] == ["base-set-aside"]


def test_a_manifest_that_this_machine_did_not_write_is_used_only_if_named(setup: UploadSetup) -> None:
    """The journal has the SHA-256 of the written manifest; another user of the bucket could replace it."""
    key = push_base(setup)
    manifest = decode_manifest(setup.store.content(key + SUFFIX))
    forged = replace(manifest, digests=replace(manifest.digests, digests=bytes(len(manifest.digests.digests))))
    setup.store.put(key + SUFFIX, encode_manifest(forged))
    setup.write_disk(NEW, unit=UNIT)
    setup.preview()
    setup.push()
    of_preview, of_push = setup.events_of(Warned)
    assert of_preview == of_push
    assert of_push.code == "base-set-aside"
    assert f"--base {key}" in of_push.message
    assert setup.events_of(UploadPlanned)[1].base_bytes == 0
    setup.base_key = key
    setup.write_disk(NEW[:-1] + "M", unit=UNIT)
    setup.push()
    assert any(f"{key} is the base" in noted.message for noted in setup.events_of(Noted)[-3:])


HEADER = '{"manifest":"aliyun-import","schema":1,"size":%s,"crc64":%s,"etag":"E","grain":131072,"runs":%s}'


@each_row(
    "header",
    [
        "[" * 100_000 + "]" * 100_000,
        "[]",
        "null",
        "\ud800",
        '{"manifest":"aliyun-import","schema":' + "9" * 5_000 + "}",
        HEADER % (10**15, '"0000000000000000"', "[]"),
        HEADER % (-1, '"0000000000000000"', "[]"),
        HEADER % ("Infinity", '"0000000000000000"', "[]"),
        HEADER % ("1.5", '"0000000000000000"', "[]"),
        HEADER % (10**6, "7", "[]"),
        HEADER % (10**6, '"no"', "[]"),
        HEADER % (10**6, '"0000000000000000"', '"text"'),
        HEADER % (10**6, '"0000000000000000"', "[1.5]"),
        HEADER % (10**6, '"0000000000000000"', "[[0,1.5]]"),
        HEADER % (10**6, '"0000000000000000"', '[["a","b"]]'),
        HEADER % (10**6, '"0000000000000000"', "[[0,-1]]"),
        HEADER % (10**6, '"0000000000000000"', "[[0,100]]"),
        HEADER % (10**6, '"0000000000000000"', "[[1,1],[0,1]]"),
        HEADER % (10**6, '"0000000000000000"', "[[0,1]]"),
        HEADER % (10**6, '"0000000000000000"', "null"),
    ],
)
def test_an_invalid_manifest_is_a_value_error(header: str) -> None:
    """An invalid manifest can't make the pushes of its name fail: the base is not used."""
    body = header.encode(errors="surrogatepass") + b"\n"
    with pytest.raises(ValueError, match=r"^(It|Its) "):
        decode_manifest(body + hashlib.sha256(body).digest())


# Encoding and comparison, without a store.


@given(st.text("ab.", min_size=1, max_size=40), st.integers(1, BLOCK))
def test_a_decoded_manifest_equals_the_encoded_one(layout: str, tail: int) -> None:
    """Any blocks may be zeros."""
    manifest = Manifest(digests=digests_of(layout, tail=tail), crc64=(1 << 64) - 1, etag="E")
    assert decode_manifest(encode_manifest(manifest)) == manifest


@given(st.binary(max_size=300))
def test_any_other_bytes_are_a_value_error(content: bytes) -> None:
    """Content that is not a manifest raises ValueError with a sentence."""
    with pytest.raises(ValueError, match="It is damaged"):
        decode_manifest(content)


@given(st.text("ab.", min_size=1, max_size=30), st.text("ab.", min_size=1, max_size=30))
def test_unchanged_blocks_are_equal_at_the_same_offset(new: str, old: str) -> None:
    """Zeros count too; blocks that one disk does not have are changed."""
    same = [at for at in range(min(len(new), len(old))) if new[at] == old[at]]
    ranges = unchanged_ranges(digests_of(new), digests_of(old))
    covered = [at for start, end in ranges for at in range(start // BLOCK, -(-end // BLOCK))]
    assert covered == same
    assert all(first[1] < second[0] for first, second in itertools.pairwise(ranges))


def test_a_last_block_of_another_length_is_changed() -> None:
    """Equal digests count only if the last blocks are equally long."""
    assert unchanged_ranges(digests_of("aa", tail=100), digests_of("aa", tail=200)) == ((0, BLOCK),)
    assert unchanged_ranges(digests_of("aa", tail=100), digests_of("aa", tail=100)) == ((0, BLOCK + 100),)


def test_an_object_without_a_crc_may_be_a_base(setup: UploadSetup) -> None:
    """Its ETag equals the one in the manifest, which was proven when the object was made."""
    push_base(setup)

    def without(stored: RemoteObject) -> RemoteObject:
        return replace(stored, crc64=None)

    setup.store.change_object = without
    content = setup.write_disk(NEW, unit=UNIT)
    assert setup.store.content(setup.push().key) == content
    assert setup.events_of(UploadPlanned)[0].base_bytes > 0
