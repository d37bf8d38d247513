"""This file reads the headers that several operations share: metadata, class, encryption, conditions, ranges."""

import base64
import binascii
import calendar
import re
from collections.abc import Mapping
from email.utils import parsedate

from aliyun_import.sandbox.core.http_types import Headers, Request
from aliyun_import.sandbox.oss.errors import OssError, invalid_argument
from aliyun_import.sandbox.oss.state import STORAGE_CLASSES, Bucket, StoredObject

MAX_METADATA_BYTES = 8 * 1024  # "Limits": user metadata, names and values together
_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
_ENCRYPTIONS = ("AES256", "KMS", "SM4")


def kept_headers(headers: Headers) -> Mapping[str, str]:
    """Give what an object keeps of the headers that it was made with."""
    kept = {name: value for name, value in headers.items() if name in _KEPT}
    kept["content-type"] = headers.get("content-type") or "application/octet-stream"
    metadata = {name: value for name, value in headers.items() if name.startswith("x-oss-meta-")}
    size = sum(len(name) - len("x-oss-meta-") + len(value.encode(errors="replace")) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise invalid_argument("x-oss-meta-", str(size), "The user metadata exceeds 8 KB.")
    return kept | metadata


def storage_class(headers: Headers, default: str) -> str:
    """Read the storage class that is asked for."""
    value = headers.get("x-oss-storage-class") or default
    if value not in STORAGE_CLASSES:
        raise invalid_argument("x-oss-storage-class", value, "No such bucket storage class exists.")
    return value


def encryption(headers: Headers, bucket: Bucket) -> str:
    """Read the encryption that is asked for, or the bucket's own."""
    value = headers.get("x-oss-server-side-encryption") or bucket.encryption
    if value and value not in _ENCRYPTIONS:
        raise OssError(400, "InvalidEncryptionAlgorithmError", "The encryption algorithm specified is not valid.")
    return value


def refuse_overwriting(request: Request, bucket: Bucket, key: str) -> None:
    """Carry out x-oss-forbid-overwrite; it has no effect where versions are or were kept."""
    wanted = request.headers.get("x-oss-forbid-overwrite").lower()
    if wanted not in ("", "true", "false"):
        raise invalid_argument("x-oss-forbid-overwrite", wanted)
    if wanted == "true" and not bucket.versioning and bucket.current(key) is not None:
        message = "The object you specified already exists and can not be overwritten."
        raise OssError(409, "FileAlreadyExists", message, extra=[("Key", key)])


def content_md5(headers: Headers) -> bytes | None:
    """Read Content-MD5; InvalidDigest when it is not the base64 of 16 bytes."""
    text = headers.get("content-md5")
    if not text:
        return None
    try:
        digest = base64.b64decode(text, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 16:
        raise invalid_digest()
    return digest


def invalid_digest() -> OssError:
    """Make the refusal of a body whose MD5 is another."""
    return OssError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")


def check_conditions(headers: Headers, stored: StoredObject, *, prefix: str = "") -> None:
    """Carry out If-Match and its kin, or with a prefix those of a copy's source: 412 or 304."""
    match, none_match = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    modified_s = int(stored.modified_s)
    unmodified_since = _seconds(headers.get(f"{prefix}if-unmodified-since"))
    modified_since = _seconds(headers.get(f"{prefix}if-modified-since"))
    if (match and not _matches(match, stored)) or (
        unmodified_since is not None and not match and modified_s > unmodified_since
    ):
        message = "At least one of the pre-conditions you specified did not hold."
        raise OssError(412, "PreconditionFailed", message, extra=[("Condition", "If-Match")])
    if (none_match and _matches(none_match, stored)) or (
        modified_since is not None and not none_match and modified_s <= modified_since
    ):
        raise OssError(304, "NotModified", "The object was not modified.")


def _matches(given: str, stored: StoredObject) -> bool:
    return given.strip('"').upper() == stored.etag or given == "*"


def _seconds(text: str) -> int | None:
    parsed = parsedate(text) if text else None
    return calendar.timegm(parsed) if parsed else None


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """Read one range of a header as (first, last), inclusive; None when the form is wrong.

    `last` may lie beyond the size, and `first`, too: what that means differs between operations.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", text.strip())
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    if last and int(last) < int(first):
        return None
    return int(first), int(last) if last else size - 1
