"""Manifest of a kept object, which makes the object the base of a later push.

    <key>            the object
    <key>.manifest   one line of JSON: size, CRC-64 and ETag of the object, block size ("grain"), runs of blocks that
                     are not zero; then their digests, 20 bytes each; then the SHA-256 of all that

A manifest is used if it is undamaged, has a known schema, and matches the present object (ETag, size, CRC-64). If the
journal of this push has the SHA-256 of the manifest that it wrote, it must be that one. Any other base is rejected with
a warning, and the data is sent.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from aliyun_import.disk.fingerprint import Comparison, Fingerprint
from aliyun_import.errors import AccessError, RefusedError
from aliyun_import.events import Noted, Warned
from aliyun_import.limits import GIB, MAX_DISK_GIB, MIB
from aliyun_import.model.objects import UploadedObject, object_url
from aliyun_import.upload.complete import TAG_NAME, changed_while_sent, crc64_of_source
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.plan import BaseObject
from aliyun_import.upload.resume import key_pattern
from aliyun_import.upload.zero_scan import DIGEST_BYTES, MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, BlockDigests, scan_zeros

SCHEMA = 1
SUFFIX = ".manifest"
_SEAL_BYTES = 32
# The digests of 2 TiB without zeros are 40 MiB. A larger manifest is not from this tool and would fill the memory.
MAX_MANIFEST_BYTES = 64 * MIB
# Twice the largest disk, for its container. The index of a larger object would fill the memory.
MAX_OBJECT_BYTES = 2 * MAX_DISK_GIB * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Digests, CRC-64 and ETag of an object when it was proven."""

    digests: BlockDigests
    crc64: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An existing object and its manifest."""

    object: BaseObject
    manifest: Manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest."""
    digests = manifest.digests
    header = {
        "manifest": "aliyun-import",
        "schema": SCHEMA,
        "size": digests.size_bytes,
        "crc64": f"{manifest.crc64:016x}",
        "etag": manifest.etag,
        "grain": digests.block_bytes,
        "runs": list(_runs(digests.index)),
    }
    content = json.dumps(header, separators=(",", ":")).encode() + b"\n" + digests.digests
    return content + hashlib.sha256(content).digest()


def decode_manifest(content: bytes) -> Manifest:
    """Return the manifest of an encoded one. Raises ValueError with a sentence on what is wrong."""
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if hashlib.sha256(body).digest() != seal:
        raise ValueError("It is damaged: its checksum does not match.")
    line, _, digests = body.partition(b"\n")
    header = _header(line)
    size_bytes, block = _number(header, "size", MAX_OBJECT_BYTES), _number(header, "grain", MAX_BLOCK_BYTES)
    if block % MIN_BLOCK_BYTES or not block:
        raise ValueError(f"This version does not compare blocks of {block} bytes.")
    return Manifest(
        digests=BlockDigests(
            size_bytes=size_bytes,
            block_bytes=block,
            index=_index(header.get("runs"), blocks=-(-size_bytes // block), digests=len(digests) / DIGEST_BYTES),
            digests=digests,
        ),
        crc64=_crc64(header.get("crc64")),
        etag=str(header.get("etag")),
    )


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):  # also for invalid UTF-8 and numbers of thousands of digits
        header = None
    if not isinstance(header, dict) or header.get("manifest") != "aliyun-import":
        raise ValueError("It is not a manifest of aliyun-import.")
    if header.get("schema") != SCHEMA:
        raise ValueError(f"Its schema is {str(header.get('schema'))[:20]!r}; this version reads {SCHEMA}.")
    return header


def _number(header: Mapping[str, Any], name: str, maximum: int) -> int:
    value = header.get(name)
    if type(value) is not int or not 0 <= value <= maximum:
        raise ValueError(f'Its "{name}" is not a number from 0 to {maximum}.')
    return value


def _crc64(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{16}", value):
        raise ValueError('Its "crc64" is not 16 hexadecimal digits.')
    return int(value, 16)


def _index(runs: object, *, blocks: int, digests: float) -> "array[int]":
    """Return the position of each block's digest, from runs of [first block, count]."""
    index = array("i", [-1]) * blocks
    position = end = 0
    for run in runs if isinstance(runs, list) else [None]:
        if not isinstance(run, list) or len(run) != 2 or any(type(number) is not int for number in run):
            raise ValueError('Its "runs" are not pairs of numbers.')
        first, count = run
        if first < end or count < 1 or first + count > blocks:
            raise ValueError("It has blocks that its object does not have.")
        end = first + count
        index[first:end] = array("i", range(position, position + count))
        position += count
    if position != digests:
        raise ValueError("Its digests are incomplete.")
    return index


def find_base(
    context: UploadContext, *, base_key: str | None, key_stem: str, known: Mapping[str, str] | None = None
) -> Base | None:
    """Return the base: the value of --base, or the newest object of the same image name that has a manifest.

    `known` maps keys of objects to the SHA-256 of the manifests that earlier runs wrote; a base without --base must
    have that manifest. Emits a warning for a base that can't be used. Returns None if there is none; all data is then
    sent.
    """
    if base_key is not None:
        return _usable(context, base_key, sha256=None)
    known = known or {}
    pattern = key_pattern(key_stem, ending=SUFFIX)
    try:
        manifests = [
            existing for existing in context.store.list_objects(f"{key_stem}-") if pattern.fullmatch(existing.key)
        ]
    except AccessError as error:
        context.emit(Noted(message=f"A base could not be searched. {error.summary}"))
        return None
    for existing in sorted(manifests, key=lambda existing: existing.last_modified_s or 0.0, reverse=True):
        key = existing.key.removesuffix(SUFFIX)
        base = _usable(context, key, sha256=known.get(key))
        if base:
            return base
    return None


def _usable(context: UploadContext, key: str, *, sha256: str | None) -> Base | None:
    """Return the base at a key; emit a warning and return None if it can't be used."""
    base = _read_base(context, key, sha256=sha256)
    url = object_url(context.store.bucket, key)
    if isinstance(base, Base):
        context.emit(Noted(message=f"{url} is the base: unchanged ranges are copied from it."))
        return base
    context.emit(
        Warned(
            code="base-set-aside",
            message=f"{url} can't be the base. {base}",
            remedy="All data is sent. Push with --keep-object to have a base for the next push.",
        )
    )
    return None


def _read_base(context: UploadContext, key: str, *, sha256: str | None) -> Base | str:
    """Read a manifest and compare it with its object; return a sentence if it can't be used."""
    store = context.store
    try:
        existing = store.head(key)
        beside = store.head(key + SUFFIX)
        if existing is None:
            return "There is no such object."
        if beside is None:
            return f"It has no manifest {key}{SUFFIX}."
        if beside.size_bytes > MAX_MANIFEST_BYTES:
            return f"Its manifest has {beside.size_bytes} bytes, more than a manifest can have."
        content = store.read(key + SUFFIX)
        manifest = decode_manifest(content)
    except ValueError as error:
        return f"Its manifest can't be used. {error}"
    except (RefusedError, AccessError) as error:
        return f"{error.summary} {error.cause or ''}".strip()
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        return f"Its manifest is not the one that this machine wrote; pass --base {key} to use it."
    if (existing.etag, existing.size_bytes) != (manifest.etag, manifest.digests.size_bytes):
        return "The object changed since its manifest was written."
    if existing.crc64 not in (None, manifest.crc64):
        return "The object's CRC-64 differs from that in its manifest."
    return Base(object=BaseObject(key=key, etag=existing.etag), manifest=manifest)


def write_manifest(
    context: UploadContext, uploaded: UploadedObject, *, fingerprint: Fingerprint, digests: BlockDigests | None
) -> str:
    """Write the manifest of an object, and return its SHA-256. Raises DiskChanged if the disk is no longer the object.

    `fingerprint` is that of the disk before the upload, `digests` those of its scan, if there are any.
    """
    present = _digests_of(context, uploaded, fingerprint, digests or _scan_digests(context))
    content = encode_manifest(Manifest(digests=present, crc64=uploaded.crc64, etag=uploaded.etag))
    # The tag marks it as ours, also outside the staging prefix.
    context.store.put(uploaded.key + SUFFIX, content, metadata={TAG_NAME: "manifest"})
    return hashlib.sha256(content).hexdigest()


def _digests_of(
    context: UploadContext, uploaded: UploadedObject, fingerprint: Fingerprint, digests: BlockDigests
) -> BlockDigests:
    """Return the digests of the object's content. Raises DiskChanged if the disk has changed.

    If the fingerprint can't decide, the digests are made after the object, and the CRC-64 of the disk is compared
    after that.
    """
    if context.source.fingerprint().comparison(fingerprint) is Comparison.SAME:
        return digests
    digests = _scan_digests(context)
    if crc64_of_source(context) != uploaded.crc64:
        raise changed_while_sent(context, "Its content differs from the object.")
    return digests


def _scan_digests(context: UploadContext) -> BlockDigests:
    digests = scan_zeros(context.source, context, with_digests=True).digests
    assert digests is not None  # noqa: S101 -- a scan with digests has them
    return digests


def _runs(index: "array[int]") -> Iterator[tuple[int, int]]:
    """Yield (first block, count) of each run of blocks that are not zero."""
    number = 0
    for is_data, run in groupby(index, key=lambda position: position >= 0):
        count = sum(1 for _ in run)
        if is_data:
            yield number, count
        number += count
