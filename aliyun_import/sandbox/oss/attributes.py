"""Attributes that an object gets with its upload: class, encryption, metadata, ACL and tags; and their rules."""

from collections.abc import Mapping
from re import fullmatch
from urllib.parse import unquote_plus

from aliyun_import.sandbox.core.http_types import Headers
from aliyun_import.sandbox.oss.protocol import OssCall, OssError, invalid_argument
from aliyun_import.sandbox.oss.state import STORAGE_CLASSES, Bucket, StoredObject

BUCKET_ACLS = ("private", "public-read", "public-read-write")
OBJECT_ACLS = (*BUCKET_ACLS, "default")
MAX_OBJECT_TAGS = 10
MAX_METADATA_BYTES = 8 * 1024  # "Limits": user metadata, names and values together
_KEPT = ("cache-control", "content-disposition", "content-encoding", "content-language", "expires")
_ENCRYPTIONS = ("AES256", "KMS", "SM4")
_TAG = r"[\w +\-=._:/]*"  # "PutObjectTagging": letters, digits, blanks and + - = . _ : /


def described(call: OssCall) -> StoredObject:
    """Return an object without content that has the attributes that a request sets."""
    headers = call.request.headers
    return StoredObject(
        key=call.key,
        headers=kept_headers(headers),
        storage_class=storage_class(headers, call.bucket.storage_class),
        encryption=encryption(headers, call.bucket),
        acl=object_acl(headers),
        tags=header_tags(headers),
    )


def kept_headers(headers: Headers) -> Mapping[str, str]:
    """Return the headers that an object keeps from its upload."""
    kept = {name: value for name, value in headers.items() if name in _KEPT}
    kept["content-type"] = headers.get("content-type") or "application/octet-stream"
    metadata = {name: value for name, value in headers.items() if name.startswith("x-oss-meta-")}
    size = sum(len(name) - len("x-oss-meta-") + len(value.encode(errors="replace")) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        raise invalid_argument("x-oss-meta-", str(size), "The user metadata exceeds 8 KB.")
    return kept | metadata


def storage_class(headers: Headers, default: str) -> str:
    """Return the requested storage class; raises InvalidArgument."""
    value = headers.get("x-oss-storage-class") or default
    if value not in STORAGE_CLASSES:
        raise invalid_argument("x-oss-storage-class", value, "No such bucket storage class exists.")
    return value


def encryption(headers: Headers, bucket: Bucket) -> str:
    """Return the requested encryption, or that of the bucket; raises InvalidEncryptionAlgorithmError."""
    value = headers.get("x-oss-server-side-encryption") or bucket.encryption
    if value and value not in _ENCRYPTIONS:
        raise OssError(400, "InvalidEncryptionAlgorithmError", "The encryption algorithm specified is not valid.")
    return value


def object_acl(headers: Headers) -> str:
    """Return the ACL of x-oss-object-acl, which is `default` without it; raises InvalidArgument."""
    acl = headers.get("x-oss-object-acl", "default")
    if acl not in OBJECT_ACLS:
        raise invalid_argument("x-oss-object-acl", acl)
    return acl


def header_tags(headers: Headers) -> dict[str, str]:
    """Return the tags of x-oss-tagging: key=value pairs, url-encoded, joined by &."""
    pairs = []
    for part in headers.get("x-oss-tagging").split("&"):
        if part.count("=") > 1:
            raise _invalid_tag("The tagging is not in the form of key=value.", ec="0010-00000219")
        if part:
            key, _, value = part.partition("=")
            pairs.append((unquote_plus(key), unquote_plus(value)))
    return checked_tags(pairs, most=MAX_OBJECT_TAGS, key_chars=128, value_chars=256)


def checked_tags(pairs: list[tuple[str, str]], *, most: int, key_chars: int, value_chars: int) -> dict[str, str]:
    """Return tags as a dict; raises InvalidTag."""
    if len(pairs) > most:
        raise _invalid_tag(f"There can not be more than {most} tags.", ec="0010-00000218")
    for key, value in pairs:
        if not 1 <= len(key) <= key_chars or len(value) > value_chars or not fullmatch(_TAG, key + value):
            raise _invalid_tag("The tag has an invalid key or value.", ec="0010-00000217")
    if len(dict(pairs)) < len(pairs):
        raise _invalid_tag("The tags have duplicate keys.", ec="0010-00000217")
    return dict(pairs)


def _invalid_tag(message: str, *, ec: str) -> OssError:
    return OssError(400, "InvalidTag", message, ec=ec)
