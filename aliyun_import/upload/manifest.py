"""This file makes an earlier object a base: the manifest beside it, and what a later disk has in common with it.

    <key>            the object
    <key>.manifest   one line of JSON: size, CRC-64 and ETag of the object, grain, where the grains that are not zero
                     are; then their digests, 20 bytes each; then the SHA-256 of all that

A manifest is believed when it is whole, of a schema that is known here, and of the object as it is now (ETag, size,
CRC-64). Anything else is set aside with a warning: the worst that a base may do is to save nothing.
"""

import hashlib
import json
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from aliyun_import.errors import AccessError, RefusedError
from aliyun_import.events import Noted, Warned
from aliyun_import.upload.context import UploadContext
from aliyun_import.upload.plan.plan import BaseObject, Range
from aliyun_import.upload.zero_scan import DIGEST_BYTES, MAX_GRAIN_BYTES, MIN_GRAIN_BYTES, BlockDigests

SCHEMA = 1
SUFFIX = ".manifest"
_SEAL_BYTES = 32
# The digests of 2 TiB without a zero are 40 MiB; what is larger is not one of ours, and would only fill the memory.
MAX_MANIFEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an object held when it was proven."""

    digests: BlockDigests
    crc64: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An object that is there, and its manifest."""

    object: BaseObject
    manifest: Manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Give the bytes of a manifest."""
    digests = manifest.digests
    header = {
        "manifest": "aliyun-import",
        "schema": SCHEMA,
        "size": digests.size_bytes,
        "crc64": f"{manifest.crc64:016x}",
        "etag": manifest.etag,
        "grain": digests.grain_bytes,
        "runs": _runs(digests),
    }
    content = json.dumps(header, separators=(",", ":")).encode() + b"\n" + digests.digests
    return content + hashlib.sha256(content).digest()


def decode_manifest(content: bytes) -> Manifest:
    """Read a manifest; raises ValueError with a sentence about what is wrong with it."""
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if hashlib.sha256(body).digest() != seal:
        raise ValueError("It is damaged: its checksum does not fit.")
    line, _, blob = body.partition(b"\n")
    try:
        header: dict[str, Any] = json.loads(line)
        if header["manifest"] != "aliyun-import" or header["schema"] != SCHEMA:
            raise ValueError(f"It is of schema {header['schema']!r}; this version reads {SCHEMA}.")
        size_bytes, grain = int(header["size"]), int(header["grain"])
        crc, etag, runs = int(header["crc64"], 16), str(header["etag"]), list(header["runs"])
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError("It is not a manifest of aliyun-import.") from error
    if grain % MIN_GRAIN_BYTES or not MIN_GRAIN_BYTES <= grain <= MAX_GRAIN_BYTES:
        raise ValueError(f"Its grain of {grain} bytes is none that this version compares.")
    index = array("i", [-1]) * -(-size_bytes // grain)
    place = 0
    for first, count in runs:
        if first < 0 or first + count > len(index):
            raise ValueError("It speaks of grains that its object does not have.")
        index[first : first + count] = array("i", range(place, place + count))
        place += count
    if place * DIGEST_BYTES != len(blob):
        raise ValueError("Digests are missing in it.")
    return Manifest(
        digests=BlockDigests(size_bytes=size_bytes, grain_bytes=grain, index=index, digests=blob),
        crc64=crc,
        etag=etag,
    )


def unchanged_ranges(digests: BlockDigests, base: BlockDigests) -> tuple[Range, ...]:
    """Give the ranges of the disk that the base holds at the same place, zeros included; ascending and apart.

    Both have the same grain. A grain that one of them does not have whole is not compared.
    """
    grain = digests.grain_bytes
    whole = min(digests.size_bytes, base.size_bytes) // grain
    if digests.size_bytes == base.size_bytes:
        whole = len(digests.index)
    ranges: list[Range] = []
    number = 0
    for is_same, run in groupby(range(whole), key=lambda at: digests.digest(at) == base.digest(at)):
        count = sum(1 for _ in run)
        if is_same:
            ranges.append((number * grain, min((number + count) * grain, digests.size_bytes)))
        number += count
    return tuple(ranges)


def find_base(context: UploadContext, *, base_key: str | None, key_stem: str) -> Base | None:
    """Find the base: what --base named, or the newest object of the same image name that has a manifest.

    What can't be used is named in a warning; then the answer is None, and all that is not zero is sent.
    """
    if base_key is not None:
        return _believe(context, base_key)
    pattern = re.compile(re.escape(key_stem) + r"-[0-9a-f]{12}(-\d+)?\.[a-z0-9]+" + re.escape(SUFFIX))
    manifests = [
        there
        for there in context.ask(lambda: context.store.list_objects(f"{key_stem}-"))
        if pattern.fullmatch(there.key)
    ]
    for there in sorted(manifests, key=lambda there: there.last_modified_s or 0.0, reverse=True):
        base = _believe(context, there.key.removesuffix(SUFFIX))
        if base:
            return base
    return None


def _believe(context: UploadContext, key: str) -> Base | None:
    """Give the base at a key, or say why it is set aside."""
    base = _read_base(context, key)
    where = f"oss://{context.store.bucket}/{key}"
    if isinstance(base, Base):
        context.emit(Noted(message=f"{where} is the base: what has not changed since is copied from it."))
        return base
    context.emit(
        Warned(
            code="base-set-aside",
            message=f"{where} can't be the base. {base}",
            remedy="Nothing is lost but the saving. Push with --keep-object to have a base for the next time.",
        )
    )
    return None


def _read_base(context: UploadContext, key: str) -> Base | str:
    """Read a manifest and hold it against its object; gives a sentence where it is not to be used."""
    store = context.store
    try:
        there = context.ask(lambda: store.head(key))
        beside = context.ask(lambda: store.head(key + SUFFIX))
        if there is None:
            return "There is no such object."
        if beside is None:
            return f"It has no manifest {key}{SUFFIX}."
        if beside.size_bytes > MAX_MANIFEST_BYTES:
            return f"Its manifest has {beside.size_bytes} bytes, more than a manifest can have."
        manifest = decode_manifest(context.ask(lambda: store.read(key + SUFFIX)))
    except ValueError as error:
        return f"Its manifest is not to be believed. {error}"
    except (RefusedError, AccessError) as error:
        return f"{error.summary} {error.cause or ''}".strip()
    if (there.etag, there.size_bytes) != (manifest.etag, manifest.digests.size_bytes):
        return "The object changed since its manifest was written."
    if there.crc64 not in (None, manifest.crc64):
        return "The object's CRC-64 is not the one in its manifest."
    return Base(object=BaseObject(key=key, etag=there.etag), manifest=manifest)


def _runs(digests: BlockDigests) -> list[tuple[int, int]]:
    return list(_walk_runs(digests.index))


def _walk_runs(index: "array[int]") -> Iterator[tuple[int, int]]:
    number = 0
    for is_data, run in groupby(index, key=lambda place: place >= 0):
        count = sum(1 for _ in run)
        if is_data:
            yield number, count
        number += count
