"""Protocol of OSS: calls, errors, headers, conditions and XML bodies.

XML bodies have no `xmlns`, unlike in the documents: oss2 cannot parse bodies with a namespace, so the service cannot
send one.
"""

import base64
import binascii
import calendar
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate
from http import HTTPStatus
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aliyun_import.sandbox.auth.policies import may, oss_resource
from aliyun_import.sandbox.core.http_types import Answer, BodyTooLargeError, Headers, Request, xml_element
from aliyun_import.sandbox.core.state import AccessKey, State
from aliyun_import.sandbox.oss.state import Bucket, OssState, StoredObject

DELETE_MARKER = ("x-oss-delete-marker", "true")
MAX_BODY_BYTES = 4 << 20  # a Complete body of 10,000 parts has about 1 MB

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Caller:
    """Key that signed a request, and region of the signature (None for V1, which does not contain one)."""

    key: AccessKey
    region: str | None


class OssError(Exception):
    """Refusal with HTTP status, code, message, EC, and further elements of the body."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        ec: str = "",
        extra: Iterable[tuple[str, str]] = (),
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.extra = tuple(extra)
        self.headers = tuple(headers)


def invalid_argument(name: str, value: str, message: str = "Invalid Argument.", *, ec: str = "") -> OssError:
    """Return InvalidArgument with the name and the value of the argument."""
    return OssError(400, "InvalidArgument", message, ec=ec, extra=[("ArgumentName", name), ("ArgumentValue", value)])


# Elements of an error that the log of requests contains: none with a key, a token or a signature of the client.
_LOGGED_ELEMENTS = frozenset({
    "Action", "ArgumentName", "BucketName", "Endpoint", "Header", "Key", "MinSizeAllowed", "PartNumber", "ProposedSize",
    "RangeRequested", "UploadId",
})  # fmt: skip


def no_such_bucket(name: str) -> OssError:
    """Return NoSuchBucket."""
    return OssError(404, "NoSuchBucket", "The specified bucket does not exist.", extra=[("BucketName", name)])


def no_such_key(key: str, *, headers: Iterable[tuple[str, str]] = ()) -> OssError:
    """Return NoSuchKey."""
    return OssError(404, "NoSuchKey", "The specified key does not exist.", extra=[("Key", key)], headers=headers)


def not_implemented(feature: str, *, header: str = "") -> OssError:
    """Return the error for a feature of OSS that the sandbox does not have."""
    extra = [("Header", header)] if header else []
    return OssError(501, "NotImplemented", f"The sandbox does not support {feature}.", extra=extra)


def malformed_xml() -> OssError:
    """Return the error for a body that is not XML, or without a required element."""
    return OssError(
        400,
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema.",
    )


def refusal(request: Request, error: OssError, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return the answer of an error. For HEAD, the body is in the header x-oss-err, as in the real service."""
    fields = [
        ("Code", error.code),
        ("Message", error.message),
        ("RequestId", request.id),
        ("HostId", request.headers.get("host")),
        *error.extra,
        *([("EC", error.ec)] if error.ec else []),
    ]
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields)
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>\n'.encode(errors="replace")
    common = [("Content-Type", "application/xml"), *error.headers, *headers]
    if error.ec:
        common.append(("x-oss-ec", error.ec))
    logged = [f"{name}: {value}." for name, value in error.extra if name in _LOGGED_ELEMENTS]
    reason = " ".join((error.message, *logged))
    if error.status == HTTPStatus.NOT_MODIFIED:
        return Answer(error.status, code=error.code, reason=reason)
    if request.method == "HEAD":
        common.append(("x-oss-err", base64.b64encode(body).decode()))
        return Answer(error.status, tuple(common), b"", code=error.code, reason=reason)
    return Answer(error.status, tuple(common), body, code=error.code, reason=reason)


def refuse(
    request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Return the answer of a fault."""
    return refusal(request, OssError(status, code, message), headers=[("x-oss-request-id", request.id), *headers])


@dataclass(frozen=True, eq=False)
class OssCall:
    """Request after the checks of its signature, bucket and permissions."""

    state: State
    oss: OssState
    request: Request
    caller: Caller
    region: str
    bucket_name: str = ""
    key: str = ""
    found: Bucket | None = None

    @property
    def bucket(self) -> Bucket:
        """Return the bucket. Raises LookupError for an operation without an existing bucket."""
        if self.found is None:
            raise LookupError(f"the bucket {self.bucket_name} was not checked")
        return self.found

    @property
    def account_id(self) -> str:
        """Return the account of the caller."""
        return self.caller.key.account_id

    @property
    def now_s(self) -> float:
        """Return the time of the sandbox."""
        return self.state.clock.now_s()

    def change_bucket(self, **settings: object) -> None:
        """Change settings of the bucket."""
        self.oss.change(self.bucket_name, **settings)

    def number(self, name: str, *, default: int, low: int, high: int) -> int:
        """Return a number of the query string. Raises InvalidArgument if it is malformed or out of range."""
        text = self.request.param(name)
        if not text:
            return default
        if not text.isdecimal() or not low <= int(text) <= high:
            raise invalid_argument(name, text)
        return int(text)

    def has_fault(self, effect: str) -> bool:
        """Return whether a fault with this effect applies to the call."""
        return self.request.fault is not None and self.request.fault.effect == effect

    def require(self, action: str, *, bucket: str | None = None, key: str | None = None) -> None:
        """Raise AccessDenied unless the caller may do an action, by default on the object of the request."""
        name = self.bucket_name if bucket is None else bucket
        found = self.oss.buckets.get(name)
        owner_id, region = (found.owner_id, found.region) if found else (self.account_id, self.region)
        resource = oss_resource(region, owner_id, name, self.key if key is None else key)
        if not may(self.caller.key, action, (resource,)):
            message = "You have no right to access this object."
            raise OssError(403, "AccessDenied", message, ec="0003-00000001", extra=[("Action", action)])


def xml_answer(root: str, tree: Tree | str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Return an answer with status 200 and an XML body."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{xml_element(root, tree)}\n'.encode()
    return Answer(200, (("Content-Type", "application/xml"), *headers), body)


def quoted(etag: str) -> str:
    """Return an ETag in quotes."""
    return f'"{etag}"'


def crc_header(crc64: int | None) -> tuple[tuple[str, str], ...]:
    """Return the header with a CRC-64, or no header for None."""
    return () if crc64 is None else (("x-oss-hash-crc64ecma", str(crc64)),)


def version_header(bucket: Bucket, stored: StoredObject) -> tuple[tuple[str, str], ...]:
    """Return the header with the version id, or no header if versioning was never enabled."""
    return (("x-oss-version-id", stored.version_id),) if bucket.versioning else ()


def owner(account_id: str) -> Tree:
    """Return the Owner element of an account."""
    return {"ID": account_id, "DisplayName": account_id}


def stamp(at_s: float) -> str:
    """Return a time as in XML bodies."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at_s))


def http_date(at_s: float) -> str:
    """Return a time as in headers, independent of the locale."""
    return formatdate(int(at_s), usegmt=True)


class KeyEncoder:
    """Encoder of keys by the `encoding-type` of a request: URL encoding, or none."""

    def __init__(self, request: Request) -> None:
        self.type = request.param("encoding-type") or None
        if self.type not in (None, "url"):
            message = "Invalid Encoding Method specified in Request"
            raise invalid_argument("encoding-type", self.type or "", message)

    def __call__(self, key: str) -> str:
        """Return a key, encoded if the request asks for it."""
        return quote(key, safe="-_.~") if self.type else key


def parse(request: Request, root: str) -> ElementTree.Element:
    """Return the root of an XML body, without namespaces. Raises MalformedXML if its name is not `root`."""
    try:
        tree = ElementTree.fromstring(request.body.whole(max_bytes=MAX_BODY_BYTES))  # noqa: S314 - expat limits the expansion of entities
    except (ElementTree.ParseError, BodyTooLargeError) as error:
        raise malformed_xml() from error
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    if tree.tag != root:
        raise malformed_xml()
    return tree


def required_texts(parent: ElementTree.Element, names: Iterable[str]) -> tuple[str, ...]:
    """Return the stripped texts of required children. Raises MalformedXML."""
    found = []
    for name in names:
        child = parent.find(name)
        if child is None or not (child.text or "").strip():
            raise malformed_xml()
        found.append((child.text or "").strip())
    return tuple(found)


def find(bucket: Bucket, key: str, version_id: str = "") -> StoredObject:
    """Return an object or a version of it. Raises NoSuchKey, NoSuchVersion, MethodNotAllowed (delete marker)."""
    check_version_id(version_id)
    stored = bucket.version(key, version_id)
    if stored is None and version_id:
        raise OssError(404, "NoSuchVersion", "The specified version does not exist.", extra=[("Key", key)])
    if stored is None:
        latest = bucket.versions.get(key, ())[-1:]  # a delete marker, if there is any version
        headers = [pair for each in latest for pair in (*version_header(bucket, each), DELETE_MARKER)]
        raise no_such_key(key, headers=headers)
    if stored.delete_marker:
        message = "The specified method is not allowed against this resource."
        raise OssError(405, "MethodNotAllowed", message, headers=[*version_header(bucket, stored), DELETE_MARKER])
    return stored


def check_version_id(version_id: str) -> None:
    """Raise InvalidArgument for a malformed version id."""
    if version_id and not re.fullmatch(r"[\w.-]+", version_id):
        raise invalid_argument("versionId", version_id, "Invalid version id specified")


def refuse_overwriting(request: Request, bucket: Bucket, key: str) -> None:
    """Raise FileAlreadyExists by x-oss-forbid-overwrite, which has no effect once versioning was enabled."""
    forbidden = request.headers.get("x-oss-forbid-overwrite").lower()
    if forbidden not in ("", "true", "false"):
        raise invalid_argument("x-oss-forbid-overwrite", forbidden)
    if forbidden == "true" and not bucket.versioning and bucket.current(key) is not None:
        message = "The object you specified already exists and can not be overwritten."
        raise OssError(409, "FileAlreadyExists", message, extra=[("Key", key)])


def content_md5(headers: Headers) -> bytes | None:
    """Return Content-MD5, or None. Raises InvalidDigest unless it is the base64 encoding of 16 bytes."""
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
    """Return the error for a wrong or malformed Content-MD5."""
    return OssError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")


def check_conditions(headers: Headers, stored: StoredObject, *, prefix: str = "") -> None:
    """Raise 412 or 304 by the conditional headers. `prefix` selects the headers for the source of a copy."""
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
    """Return the range of a header as (first, last), inclusive, or None if it is malformed.

    Both may be beyond the size, for which operations have different rules.
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
