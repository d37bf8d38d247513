"""This file knows the services' naming rules (images, buckets, objects, regions) and makes names that keep them."""

import re
import unicodedata
from pathlib import PurePath

from aliyun_import.limits import MAX_BUCKET_CHARS, MAX_KEY_BYTES, MAX_NAME_CHARS, MIN_BUCKET_CHARS, MIN_NAME_CHARS

RESERVED_PREFIXES = ("aliyun", "acs:")
WEB_ADDRESSES = ("http://", "https://")
# ECS takes an object by its suffix ("UnsupportedSuffix.OSSObject"); no document lists the ones that pass, so these
# are the formats' own.
KEY_SUFFIXES = (".raw", ".vhd", ".qcow2", ".vmdk")

# Every disk, archive or compression suffix that says nothing about what the image is.
_FILE_SUFFIXES = {
    ".bin", ".bz2", ".dd", ".disk", ".gz", ".img", ".iso", ".lz4", ".qcow2", ".raw", ".vdi", ".vhd", ".vhdx", ".vmdk",
    ".vpc", ".xz", ".zip", ".zst",
}  # fmt: skip
_OTHER_SIGNS = ".:_-"


def name_problem(name: str) -> str | None:
    """Say what is wrong with an image name, as a sentence; None when ECS takes it.

    The rules are those of ImportImage of 2025, and where its older page is wider (hiragana and katakana may come
    first) that one holds.
    """
    if not MIN_NAME_CHARS <= len(name) <= MAX_NAME_CHARS:
        return f"It has {_characters(len(name))}; {MIN_NAME_CHARS} to {MAX_NAME_CHARS} are allowed."
    if not name[0].isalpha():
        return f"It begins with {name[0]!r}; the first character must be a letter."
    for prefix in RESERVED_PREFIXES:
        if name.startswith(prefix):
            return f"It begins with {prefix!r}, which the service keeps for itself."
    for address in WEB_ADDRESSES:
        if address in name:
            return f"It contains {address!r}, which is not allowed."
    odd = next((sign for sign in name if not (sign.isalnum() or sign in _OTHER_SIGNS)), None)
    if odd is not None:
        return f"It contains {odd!r}; letters, digits, periods, colons, underscores and hyphens are allowed."
    return None


def name_doubt(name: str) -> str | None:
    """Say what no page of the service allows or refuses in an image name without a problem; None when all is known."""
    foreign = next((sign for sign in name if not _is_named_by_a_page(sign)), None)
    if foreign is not None:
        return f"It contains {foreign!r}; the service's pages name Latin and Chinese letters, and kana, only."
    reserved = next((prefix for prefix in RESERVED_PREFIXES if name.lower().startswith(prefix)), None)
    if reserved is not None:
        return f"It begins with {name[: len(reserved)]!r}, and {reserved!r} is the service's own."
    return None


def default_name(path: PurePath | str) -> str:
    """Make an image name from a file's name or an object's key: always the same one, always within the rules.

    Suffixes of disk formats go, accents too, what is not allowed becomes a hyphen, and a name that begins in a way that
    is not allowed gets "disk-" in front.
    """
    stem = PurePath(path).name
    while (suffix := PurePath(stem).suffix.lower()) in _FILE_SUFFIXES:
        stem = stem[: -len(suffix)]
    plain = "".join(_plain_sign(sign) for sign in unicodedata.normalize("NFC", stem))
    plain = re.sub(r"-{2,}", "-", plain).strip("-.:_")
    if (
        not plain
        or not plain[0].isalpha()
        or plain.lower().startswith(RESERVED_PREFIXES)
        or len(plain) < MIN_NAME_CHARS
    ):
        plain = f"disk-{plain}".rstrip("-")
    return plain[:MAX_NAME_CHARS].rstrip("-.:_")


def bucket_problem(bucket: str) -> str | None:
    """Say what is wrong with a bucket's name, as a sentence; None when OSS takes it."""
    if not MIN_BUCKET_CHARS <= len(bucket) <= MAX_BUCKET_CHARS:
        return f"It has {_characters(len(bucket))}; {MIN_BUCKET_CHARS} to {MAX_BUCKET_CHARS} are allowed."
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", bucket):
        return "Lower-case letters, digits and hyphens are allowed, the first and the last no hyphen."
    return None


def key_problem(key: str) -> str | None:
    """Say what is wrong with an object's key, as a sentence; None when OSS takes it."""
    size_bytes = len(key.encode("utf-8", errors="surrogatepass"))
    if not 1 <= size_bytes <= MAX_KEY_BYTES:
        return f"It has {size_bytes} bytes of UTF-8; 1 to {MAX_KEY_BYTES} are allowed."
    if key.startswith(("/", "\\")):
        return f"It begins with {key[0]!r}, which OSS refuses."
    if any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in key):
        return "It contains a control character, or bytes that are not UTF-8."
    return None


def region_problem(region: str) -> str | None:
    """Say what is wrong with the form of a region id, as a sentence; None when it could be one."""
    if not re.fullmatch(r"[a-z]{2,4}(?:-[a-z0-9]+)+", region):
        return "A region id is of the form cn-hangzhou or ap-southeast-1."
    return None


def _is_named_by_a_page(sign: str) -> bool:
    if sign.isascii():
        return sign.isalnum() or sign in _OTHER_SIGNS
    return unicodedata.name(sign, "").startswith(("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA"))


def _plain_sign(sign: str) -> str:
    if _is_named_by_a_page(sign):
        return sign
    base = unicodedata.normalize("NFKD", sign)[0]
    return base if base.isascii() and base.isalnum() else "-"


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"
