"""Naming rules of the services for images, tags, buckets, objects and regions, and default names."""

import re
import unicodedata
from difflib import get_close_matches
from pathlib import PurePath

from aliyun_import.disk.containers.registry import FORMATS
from aliyun_import.limits import (
    MAX_BUCKET_CHARS,
    MAX_KEY_BYTES,
    MAX_NAME_CHARS,
    MAX_TAG_KEY_CHARS,
    MAX_TAG_VALUE_CHARS,
    MAX_TAGS,
    MIN_BUCKET_CHARS,
    MIN_NAME_CHARS,
)
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG
from aliyun_import.model.request import DiskFormat

RESERVED_PREFIXES = ("aliyun", "acs:")
WEB_ADDRESSES = ("http://", "https://")
# ECS refuses objects with unknown suffixes ("UnsupportedSuffix.OSSObject"). No document lists the known ones: these are
# the names of the formats.
KEY_SUFFIXES = tuple(f".{one.lower()}" for one in DiskFormat)
# Regions with ECS in the service's product list of April 2026. It grows, so this list only serves to find typos.
REGIONS = (
    "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
    "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "cn-beijing", "cn-beijing-finance-1", "cn-chengdu",
    "cn-fuzhou", "cn-guangzhou", "cn-hangzhou", "cn-hangzhou-finance", "cn-heyuan", "cn-heyuan-acdr-1", "cn-hongkong",
    "cn-huhehaote", "cn-nanjing", "cn-north-2-gov-1", "cn-qingdao", "cn-shanghai", "cn-shanghai-finance-1",
    "cn-shenzhen", "cn-shenzhen-finance-1", "cn-wuhan-lr", "cn-wulanchabu", "cn-zhangjiakou", "cn-zhengzhou-jva",
    "cn-zhongwei", "eu-central-1", "eu-west-1", "me-central-1", "me-east-1", "na-south-1", "us-east-1",
    "us-southeast-1", "us-west-1",
)  # fmt: skip
OWN_TAGS = (PUSH_ID_TAG, DISK_DIGEST_TAG)
MAX_USER_TAGS = MAX_TAGS - len(OWN_TAGS)
# Suffixes of disks, archives and compressed files, which default_name removes.
_FILE_SUFFIXES = {suffix for known in FORMATS for suffix in known.suffixes}
_PUNCTUATION = ".:_-"


def name_problem(name: str) -> str | None:
    """Return a sentence that describes what is wrong with an image name, or None if ECS accepts it.

    The rules are from the ImportImage page of 2025, and from its older page where that allows more (a name may begin
    with hiragana or katakana).
    """
    if not MIN_NAME_CHARS <= len(name) <= MAX_NAME_CHARS:
        return f"It has {_characters(len(name))}; {MIN_NAME_CHARS} to {MAX_NAME_CHARS} are allowed."
    if not name[0].isalpha():
        return f"It begins with {name[0]!r}; the first character must be a letter."
    for prefix in RESERVED_PREFIXES:
        if name.startswith(prefix):
            return f"It begins with {prefix!r}, which the service reserves."
    for address in WEB_ADDRESSES:
        if address in name:
            return f"It contains {address!r}, which is not allowed."
    invalid = next((character for character in name if not (character.isalnum() or character in _PUNCTUATION)), None)
    if invalid is not None:
        return f"It contains {invalid!r}; letters, digits, periods, colons, underscores and hyphens are allowed."
    return None


def name_doubt(name: str) -> str | None:
    """Return a sentence about a part of a valid image name that no page allows or refuses, or None."""
    foreign = next((character for character in name if not _is_documented(character)), None)
    if foreign is not None:
        return f"It contains {foreign!r}; the service's pages mention Latin and Chinese letters, and kana, only."
    reserved = next((prefix for prefix in RESERVED_PREFIXES if name.lower().startswith(prefix)), None)
    if reserved is not None:
        return f"It begins with {name[: len(reserved)]!r}, and the service reserves {reserved!r}."
    return None


def default_name(path: PurePath | str) -> str:
    """Return a valid image name for a file name or an object key, always the same for the same argument.

    Suffixes of disk formats and accents are removed. Invalid characters become hyphens. A name with an invalid
    beginning gets the prefix "disk-".
    """
    stem = PurePath(path).name
    while (suffix := PurePath(stem).suffix.lower()) in _FILE_SUFFIXES:
        stem = stem[: -len(suffix)]
    plain = "".join(_plain_character(character) for character in unicodedata.normalize("NFC", stem))
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
    """Return a sentence that describes what is wrong with a bucket name, or None if OSS accepts it."""
    if not MIN_BUCKET_CHARS <= len(bucket) <= MAX_BUCKET_CHARS:
        return f"It has {_characters(len(bucket))}; {MIN_BUCKET_CHARS} to {MAX_BUCKET_CHARS} are allowed."
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", bucket):
        return "Lower-case letters, digits and hyphens are allowed, but no hyphen at the beginning or the end."
    return None


def key_problem(key: str) -> str | None:
    """Return a sentence that describes what is wrong with an object key, or None if OSS accepts it."""
    size_bytes = len(key.encode("utf-8", errors="surrogatepass"))
    if not 1 <= size_bytes <= MAX_KEY_BYTES:
        return f"It has {size_bytes} bytes of UTF-8; 1 to {MAX_KEY_BYTES} are allowed."
    if key.startswith(("/", "\\")):
        return f"It begins with {key[0]!r}, which OSS refuses."
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in key):
        return "It contains a control character, or bytes that are not UTF-8."
    return None


def region_problem(region: str) -> str | None:
    """Return a sentence that describes the form of a region id, or None if `region` has it."""
    if not re.fullmatch(r"[a-z]{2,4}(?:-[a-z0-9]+)+", region):
        return "A region id has the form cn-hangzhou or ap-southeast-1."
    return None


def tag_key_problem(key: str) -> str | None:
    """Return the predicate of a sentence about an invalid tag key, or None if the service accepts it."""
    if not key:
        return "is empty"
    if len(key) > MAX_TAG_KEY_CHARS:
        return f"is longer than {MAX_TAG_KEY_CHARS} characters"
    if key in OWN_TAGS:
        return "is used by this tool to identify its images"
    if key.lower().startswith(RESERVED_PREFIXES):
        return "begins with a prefix that the service reserves (aliyun, acs:)"
    return "contains a web address" if any(address in key for address in WEB_ADDRESSES) else None


def tag_value_problem(value: str) -> str | None:
    """Return the predicate of a sentence about an invalid tag value, or None if the service accepts it."""
    if len(value) > MAX_TAG_VALUE_CHARS:
        return f"is longer than {MAX_TAG_VALUE_CHARS} characters"
    if value.startswith("acs:"):
        return "begins with acs:, which the service reserves"
    return "contains a web address" if any(address in value for address in WEB_ADDRESSES) else None


def region_advice(region: str) -> str:
    """Return a sentence with regions similar to an unknown one."""
    near = get_close_matches(region.lower(), REGIONS, n=3)
    if not near:
        return "Pass --region with the id of a region, such as cn-hangzhou."
    others = f" (or {', '.join(near[1:])})" if len(near) > 1 else ""
    return f"Pass --region {near[0]}{others} if that is the intended one."


def _is_documented(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _PUNCTUATION
    # KATAKANA also begins the names of marks, such as the middle dot, which are neither letters nor digits.
    is_listed = unicodedata.name(character, "").startswith(("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA"))
    return is_listed and character.isalnum()


def _plain_character(character: str) -> str:
    if _is_documented(character):
        return character
    base = unicodedata.normalize("NFKD", character)[0]
    return base if base.isascii() and base.isalnum() else "-"


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"
