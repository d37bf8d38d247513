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
from tests.upload.scene import Scene
from tests.upload.scripted_store import nothing

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


def kept(scene: Scene, layout: str = OLD) -> str:
    """Push a build, keep it as a base and return its key; reset counts and events."""
    scene.options = TransferOptions(jobs=2, keep_object=True)
    scene.write_disk(layout, unit=UNIT)
    key = scene.push().key
    scene.store.received_bytes = 0
    scene.events.clear()
    return key


def test_a_later_build_sends_only_what_changed(scene: Scene) -> None:
    """Found by the image name alone; what did not change is copied, and the object is the new disk."""
    base = kept(scene)
    content = scene.write_disk(NEW, unit=UNIT)
    uploaded = scene.push()
    assert uploaded.key != base
    assert scene.store.content(uploaded.key) == content
    (planned,) = scene.said(UploadPlanned)
    assert planned.send_bytes == 2 * UNIT
    manifest = len(scene.store.content(uploaded.key + SUFFIX))
    assert scene.store.received_bytes == 2 * UNIT + manifest <= 1.2 * 2 * UNIT
    assert uploaded.proof.startswith("CRC-64 of the object")
    assert any("is the base" in noted.message for noted in scene.said(Noted))


def test_the_newest_base_is_taken(scene: Scene) -> None:
    """A chain of builds: each compares with the one before."""
    kept(scene)
    newest = kept(scene, NEW)
    scene.write_disk(NEW[:-1] + "L", unit=UNIT)
    scene.push()
    assert any(newest in noted.message for noted in scene.said(Noted))
    assert scene.said(UploadPlanned)[0].send_bytes == UNIT


def test_a_named_base_is_taken(scene: Scene) -> None:
    """--base names an object of any name."""
    base = kept(scene)
    for suffix in ("", SUFFIX):
        data = scene.store.content(base + suffix)
        scene.store.objects["images/old.raw" + suffix] = scene.store.objects.pop(base + suffix)
        assert data
    scene.base_key = "images/old.raw"
    scene.write_disk(NEW, unit=UNIT)
    assert scene.store.content(scene.push().key) == scene.path.read_bytes()
    assert scene.said(UploadPlanned)[0].base_bytes > 0


def test_without_keep_object_there_is_no_manifest(scene: Scene) -> None:
    """Without a base nothing changes for the user."""
    scene.write_disk(OLD, unit=UNIT)
    uploaded = scene.push()
    assert list(scene.store.objects) == [uploaded.key]
    assert scene.said(Warned) == []


def test_an_object_that_is_there_gets_its_manifest(scene: Scene) -> None:
    """Pushed without --keep-object first: the second push writes it, and does not send the disk again."""
    scene.write_disk(OLD, unit=UNIT)
    key = scene.push().key
    scene.store.received_bytes = 0
    scene.options = TransferOptions(jobs=2, keep_object=True)
    scene.push()
    assert scene.store.received_bytes == len(scene.store.content(key + SUFFIX))
    assert decode_manifest(scene.store.content(key + SUFFIX)).etag == scene.store.objects[key][1].etag


def _damaged(scene: Scene, key: str) -> None:
    data = bytearray(scene.store.content(key + SUFFIX))
    data[len(data) // 2] ^= 1
    scene.store.put(key + SUFFIX, bytes(data))


def _foreign(scene: Scene, key: str) -> None:
    scene.store.put(key + SUFFIX, b"not a manifest")


def _of_another_object(scene: Scene, key: str) -> None:
    scene.store.put(key, scene.store.content(key)[:-1] + b"x")


def _of_another_schema(scene: Scene, key: str) -> None:
    body = scene.store.content(key + SUFFIX)[:-32].replace(b'"schema":1', b'"schema":9')
    scene.store.put(key + SUFFIX, body + hashlib.sha256(body).digest())


@pytest.mark.parametrize("spoil", [_damaged, _foreign, _of_another_object, _of_another_schema])
def test_an_invalid_base_is_not_used(scene: Scene, spoil: Callable[[Scene, str], None]) -> None:
    """A warning states the reason; the disk is sent, and the object is correct."""
    key = kept(scene)
    spoil(scene, key)
    content = scene.write_disk(NEW, unit=UNIT)
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    (warned,) = scene.said(Warned)
    assert warned.code == "base-set-aside"
    assert key in warned.message
    assert scene.said(UploadPlanned)[0].base_bytes == 0


@pytest.mark.parametrize("key", ["images/none.raw", "images/bare.raw"])
def test_a_named_base_that_is_not_there_is_set_aside(scene: Scene, key: str) -> None:
    """Missing altogether, or without a manifest."""
    scene.store.put("images/bare.raw", b"x")
    scene.base_key = key
    scene.write_disk(NEW, unit=UNIT)
    scene.push()
    assert [warned.code for warned in scene.said(Warned)] == ["base-set-aside"]


def test_a_base_that_changes_during_the_push_is_not_copied_from(scene: Scene) -> None:
    """Each copy is guarded by if-match; what can't be copied is sent, with a warning that names the cost."""
    key = kept(scene)
    content = scene.write_disk(NEW, unit=UNIT)

    def change(operation: str, count: int) -> None:
        if operation == "start_upload" and scene.store.calls["copy_part"] == copies:
            scene.store.objects[key] = (b"x" * len(content), replace(scene.store.objects[key][1], etag="changed"))

    copies = scene.store.calls["copy_part"]
    scene.store.before = change
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    (warned,) = scene.said(Warned)
    assert warned.code == "base-changed"


def test_a_resumed_push_continues_with_its_base(scene: Scene) -> None:
    """The plan is journalled; the base is not looked for again."""
    kept(scene)
    content = scene.write_disk(NEW, unit=UNIT)
    scene.store.before = lambda operation, _: _raise(operation)
    with pytest.raises(TransientError):
        scene.push()
    listed = scene.store.calls["list_objects"]
    scene.store.before = nothing
    uploaded = scene.push()
    assert scene.store.calls["list_objects"] == listed
    assert scene.store.content(uploaded.key) == content
    assert decode_manifest(scene.store.content(uploaded.key + SUFFIX)).crc64 == uploaded.crc64


def _raise(operation: str) -> None:
    if operation == "send_part":
        raise ConnectionLost("Down.", code="connection-lost", remedy=None)


def test_a_manifest_that_cannot_be_written_is_a_warning(scene: Scene) -> None:
    """The object exists and is proven, so it is kept."""
    scene.options = TransferOptions(jobs=2, keep_object=True)
    scene.write_disk("abcd")

    def refuse(operation: str, count: int) -> None:
        if operation == "put":
            raise PermissionDenied("No right to write.", code="no-right", remedy=None)

    scene.store.before = refuse
    assert scene.push().made_by_us
    assert [warned.code for warned in scene.said(Warned)] == ["manifest-missing"]


def test_bases_of_other_disks_are_not_looked_at(scene: Scene) -> None:
    """Neither of the tenth data disk for the first, nor of an image whose name begins with ours."""
    key = kept(scene)
    for other in ("aliyun-import/web/system-extra-000000000000.raw", "aliyun-import/web/system-1.raw"):
        for suffix in ("", SUFFIX):
            data, there = scene.store.objects[key + suffix]
            scene.store.objects[other + suffix] = (data, replace(there, key=other + suffix))
    for suffix in ("", SUFFIX):
        del scene.store.objects[key + suffix]
    scene.write_disk(NEW, unit=UNIT)
    scene.push()
    assert scene.said(UploadPlanned)[0].base_bytes == 0
    assert scene.said(Warned) == []


def _lying(scene: Scene, key: str) -> None:
    """Return the object other bytes than its manifest, its ETag and its CRC-64 claim."""
    content, there = scene.store.objects[key]
    scene.store.objects[key] = (content.translate(bytes(value ^ 1 for value in range(256))), there)


@pytest.mark.parametrize("copies_have_crc64", [True, False])
def test_a_base_with_other_bytes_than_its_manifest_claims_is_set_aside(
    scene: Scene, *, copies_have_crc64: bool
) -> None:
    """Found by the list of parts, or by the object where copies have no CRC-64: the same run sends its ranges."""
    _lying(scene, kept(scene))
    scene.options = TransferOptions(jobs=2)
    scene.store.copied_have_crc64 = copies_have_crc64
    content = scene.write_disk(NEW, unit=UNIT)
    uploaded = scene.push()
    assert scene.store.content(uploaded.key) == content
    assert uploaded.proof.startswith("CRC-64 of the object")
    assert [warned.code for warned in scene.said(Warned)] == ["base-set-aside"]


def test_a_manifest_that_this_machine_did_not_write_is_set_aside_unless_it_is_named(scene: Scene) -> None:
    """The journal has the SHA-256 of the written manifest; a user of the bucket could write another one."""
    key = kept(scene)
    manifest = decode_manifest(scene.store.content(key + SUFFIX))
    forged = replace(manifest, digests=replace(manifest.digests, digests=bytes(len(manifest.digests.digests))))
    scene.store.put(key + SUFFIX, encode_manifest(forged))
    scene.write_disk(NEW, unit=UNIT)
    scene.preview()
    scene.push()
    of_preview, of_push = scene.said(Warned)
    assert of_preview == of_push
    assert of_push.code == "base-set-aside"
    assert f"--base {key}" in of_push.message
    assert scene.said(UploadPlanned)[1].base_bytes == 0
    scene.base_key = key
    scene.write_disk(NEW[:-1] + "M", unit=UNIT)
    scene.push()
    assert any(f"{key} is the base" in noted.message for noted in scene.said(Noted)[-3:])


ODD = '{"manifest":"aliyun-import","schema":1,"size":%s,"crc64":%s,"etag":"E","grain":131072,"runs":%s}'


@each_row(
    "header",
    [
        "[" * 100_000 + "]" * 100_000,
        "[]",
        "null",
        "\ud800",
        '{"manifest":"aliyun-import","schema":' + "9" * 5_000 + "}",
        ODD % (10**15, '"0000000000000000"', "[]"),
        ODD % (-1, '"0000000000000000"', "[]"),
        ODD % ("Infinity", '"0000000000000000"', "[]"),
        ODD % ("1.5", '"0000000000000000"', "[]"),
        ODD % (10**6, "7", "[]"),
        ODD % (10**6, '"no"', "[]"),
        ODD % (10**6, '"0000000000000000"', '"text"'),
        ODD % (10**6, '"0000000000000000"', "[1.5]"),
        ODD % (10**6, '"0000000000000000"', "[[0,1.5]]"),
        ODD % (10**6, '"0000000000000000"', '[["a","b"]]'),
        ODD % (10**6, '"0000000000000000"', "[[0,-1]]"),
        ODD % (10**6, '"0000000000000000"', "[[0,100]]"),
        ODD % (10**6, '"0000000000000000"', "[[1,1],[0,1]]"),
        ODD % (10**6, '"0000000000000000"', "[[0,1]]"),
        ODD % (10**6, '"0000000000000000"', "null"),
    ],
)
def test_odd_content_is_a_value_error(header: str) -> None:
    """A manifest of another user can't stop the pushes of its name: the base is not used."""
    body = header.encode(errors="surrogatepass") + b"\n"
    with pytest.raises(ValueError, match=r"^(It|Its) "):
        decode_manifest(body + hashlib.sha256(body).digest())


# Pure.


@given(st.text("ab.", min_size=1, max_size=40), st.integers(1, BLOCK))
def test_a_manifest_comes_back_as_it_was(layout: str, tail: int) -> None:
    """With any zeros."""
    manifest = Manifest(digests=digests_of(layout, tail=tail), crc64=(1 << 64) - 1, etag="E")
    assert decode_manifest(encode_manifest(manifest)) == manifest


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_otherwise(content: bytes) -> None:
    """Any bytes that are not a manifest raise ValueError with a sentence."""
    with pytest.raises(ValueError, match="It is damaged"):
        decode_manifest(content)


@given(st.text("ab.", min_size=1, max_size=30), st.text("ab.", min_size=1, max_size=30))
def test_unchanged_is_what_is_equal_at_the_same_place(new: str, old: str) -> None:
    """Zeros too; blocks that one of them does not have are not."""
    same = [at for at in range(min(len(new), len(old))) if new[at] == old[at]]
    ranges = unchanged_ranges(digests_of(new), digests_of(old))
    covered = [at for start, end in ranges for at in range(start // BLOCK, -(-end // BLOCK))]
    assert covered == same
    assert all(first[1] < second[0] for first, second in itertools.pairwise(ranges))


def test_a_last_block_of_another_length_is_changed() -> None:
    """Its digest may be equal only for disks of the same size."""
    assert unchanged_ranges(digests_of("aa", tail=100), digests_of("aa", tail=200)) == ((0, BLOCK),)
    assert unchanged_ranges(digests_of("aa", tail=100), digests_of("aa", tail=100)) == ((0, BLOCK + 100),)


def test_an_object_without_a_crc_may_be_a_base(scene: Scene) -> None:
    """Its ETag is the one in the manifest: it is what was proven then."""
    kept(scene)

    def without(there: RemoteObject) -> RemoteObject:
        return replace(there, crc64=None)

    scene.store.change_object = without
    content = scene.write_disk(NEW, unit=UNIT)
    assert scene.store.content(scene.push().key) == content
    assert scene.said(UploadPlanned)[0].base_bytes > 0
