"""Verification of OSS signatures: V4 and V1, in the Authorization header or in the query of a presigned URL.

Implemented from the documents ("V4 signature", "Add signatures to the header", "Add signatures to a URL"), independent
of the client.
"""

import base64
import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_tz
from urllib.parse import quote, unquote_to_bytes

from aliyun_import.sandbox.core.http_types import Request
from aliyun_import.sandbox.core.state import AccessKey, State
from aliyun_import.sandbox.oss.protocol import Caller, OssError, invalid_argument, not_implemented, stamp

# Parameters that V1 signs ("Add signatures to the header", and those that oss2 signs).
V1_SUBRESOURCES = frozenset("""
    acl append asyncFetch bucketArchiveDirectRead bucketInfo callback callback-var cname comp continuation-token cors
    delete encryption endTime group httpsConfig inventory inventoryId lifecycle link live location logging metaQuery
    objectInfo objectMeta partNumber policy accessPoint accessPointPolicy position publicAccessBlock qos qosInfo
    qosRequester redundancyTransition referer regionList replication replicationLocation replicationProgress
    requestPayment requesterQosInfo resourceGroup resourcePool resourcePoolBuckets resourcePoolInfo
    response-cache-control response-content-disposition response-content-encoding response-content-language
    response-content-type response-expires restore security-token sequential startTime stat status style styleName
    symlink tagging transferAcceleration uploadId uploads versionId versioning versions vod website worm wormExtend
    wormId x-oss-ac-forward-allow x-oss-ac-source-ip x-oss-ac-subnet-mask x-oss-ac-vpc-id x-oss-access-point-name
    x-oss-async-process x-oss-process x-oss-redundancy-transition-taskid x-oss-request-payer
    x-oss-target-redundancy-type x-oss-traffic-limit x-oss-write-get-object-response
""".split())  # noqa: SIM905  # fmt: skip
# Parameters of a presigned URL, which every operation accepts.
PRESIGNING_PARAMS = frozenset({
    "OSSAccessKeyId", "Expires", "Signature", "security-token", "x-oss-signature-version", "x-oss-credential",
    "x-oss-date", "x-oss-expires", "x-oss-signature", "x-oss-security-token", "x-oss-additional-headers",
})  # fmt: skip
# Caller of a request without a signature. Its permissions are those of the ACLs.
ANONYMOUS = AccessKey(id="", secret="", account_id="anonymous", principal="anonymous")
V4_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_VALIDITY_S = 604_800  # "V4 signature in a URL": seven days


def authenticate(state: State, request: Request, resource: str) -> Caller:
    """Return the caller of a request, ANONYMOUS for a request without a signature. Raises OssError.

    `resource` is `/bucket/key`, percent-encoded as in the request.
    """
    authorization = request.headers.get("authorization")
    if authorization.startswith("OSS4-HMAC-SHA256 "):
        return _check_v4(state, request, resource, _header_fields(authorization))
    if authorization.startswith("OSS "):
        key_id, _, signature = authorization.removeprefix("OSS ").strip().partition(":")
        date = request.headers.get("x-oss-date") or request.headers.get("date")
        _check_time(state, _v1_seconds(date))
        token = request.headers.get("x-oss-security-token")
        return _check_v1(state, request, resource, key_id=key_id, signature=signature, date=date, token=token)
    if authorization.startswith("AWS"):
        raise not_implemented("signatures of Amazon S3")
    if authorization:
        raise invalid_argument("Authorization", authorization.partition(" ")[0])
    if request.has("x-oss-signature"):
        return _check_v4(state, request, resource, _query_fields(request))
    if request.has("Signature"):
        date = request.param("Expires")
        if not date.isdecimal():
            raise invalid_argument("Expires", date)
        _check_expiry(state, int(date))
        key_id, signature = request.param("OSSAccessKeyId"), request.param("Signature")
        token = request.param("security-token")
        return _check_v1(state, request, resource, key_id=key_id, signature=signature, date=date, token=token)
    return Caller(ANONYMOUS, None)


def _v1_seconds(date: str) -> int:
    parsed = parsedate_tz(date)
    if parsed is None:
        raise OssError(400, "InvalidArgument", "OSS authentication requires a valid Date.")
    return calendar.timegm((*parsed[:6], 0, 0, 0)) - (parsed[9] or 0)


def _check_v1(
    state: State, request: Request, resource: str, *, key_id: str, signature: str, date: str, token: str
) -> Caller:
    """Verify a V1 signature. `date` is the signed date or, in a presigned URL, Expires."""
    if not state.settings.v1_signatures:
        raise OssError(403, "AccessDenied", "The V1 signature is not allowed for this account; use the V4 signature.")
    key = _find_key(state, request, key_id, token=token)
    signed = sorted({(name, value) for name, value in request.query if name in V1_SUBRESOURCES})
    query = "&".join(f"{name}={value}" if value else name for name, value in signed)
    headers = sorted((name, value) for name, value in request.headers.items() if name.startswith("x-oss-"))
    string = "\n".join([
        request.method,
        request.headers.get("content-md5"),
        request.headers.get("content-type"),
        date,
        "".join(f"{name}:{value}\n" for name, value in headers)
        + unquote_to_bytes(resource).decode("utf-8", "surrogateescape")
        + (f"?{query}" if query else ""),
    ])  # fmt: skip
    digest = hmac.new(key.secret.encode(), string.encode("utf-8", "surrogateescape"), hashlib.sha1).digest()
    if not hmac.compare_digest(base64.b64encode(digest), signature.encode("utf-8", "surrogateescape")):
        raise _mismatch(key_id, signature, string)
    return Caller(key, None)


@dataclass(frozen=True, kw_only=True)
class _V4Fields:
    """Fields of a V4 signature, from the Authorization header or the query of a presigned URL."""

    credential: str
    signature: str | None
    additional: str | None
    presigned: bool = False


def _header_fields(authorization: str) -> _V4Fields:
    fields = dict(
        part.strip().partition("=")[::2] for part in authorization.removeprefix("OSS4-HMAC-SHA256 ").split(",")
    )
    return _V4Fields(
        credential=fields.get("Credential", ""),
        signature=fields.get("Signature"),
        additional=fields.get("AdditionalHeaders"),
    )


def _query_fields(request: Request) -> _V4Fields:
    version = request.param("x-oss-signature-version")
    if version != "OSS4-HMAC-SHA256":
        raise invalid_argument("x-oss-signature-version", version)
    return _V4Fields(
        credential=request.param("x-oss-credential"),
        signature=request.param("x-oss-signature"),
        additional=request.param("x-oss-additional-headers") if request.has("x-oss-additional-headers") else None,
        presigned=True,
    )


def _check_v4(state: State, request: Request, resource: str, fields: _V4Fields) -> Caller:
    scope = re.fullmatch(r"([^/]+)/(\d{8})/([^/]+)/oss/aliyun_v4_request", fields.credential)
    if scope is None or fields.signature is None:
        raise invalid_argument("Authorization", "Credential")
    if fields.additional == "":
        raise OssError(400, "InvalidArgument", "Invalid AdditionalHeaders in Authorization.", ec="0002-00000209")
    key_id, day, region = scope.groups()
    token = request.param("x-oss-security-token") if fields.presigned else request.headers.get("x-oss-security-token")
    key = _find_key(state, request, key_id, token=token)
    date, at_s = _v4_date(request, presigned=fields.presigned)
    if not fields.presigned and request.headers.get("x-oss-content-sha256") != V4_PAYLOAD:
        raise invalid_argument("x-oss-content-sha256", request.headers.get("x-oss-content-sha256"))
    if time.strftime("%Y%m%d", time.gmtime(at_s)) != day:
        raise invalid_argument("Authorization", "Credential")
    if fields.presigned:
        _check_validity(state, request, at_s)
    else:
        _check_time(state, at_s)
    canonical = _canonical_request(request, resource, fields.additional or "")
    string = "\n".join([
        "OSS4-HMAC-SHA256",
        date,
        f"{day}/{region}/oss/aliyun_v4_request",
        hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest(),
    ])  # fmt: skip
    secret = b"aliyun_v4" + key.secret.encode()
    for step in (day, region, "oss", "aliyun_v4_request", string):
        secret = hmac.digest(secret, step.encode(), "sha256")
    if not hmac.compare_digest(secret.hex().encode(), fields.signature.encode("utf-8", "surrogateescape")):
        raise _mismatch(key_id, fields.signature, string, canonical)
    return Caller(key, region)


def _v4_date(request: Request, *, presigned: bool) -> tuple[str, int]:
    """Return the signed date, as sent and in seconds: x-oss-date or, from the Go SDK, Date. Raises OssError."""
    date = request.param("x-oss-date") if presigned else request.headers.get("x-oss-date")
    try:
        if date or presigned:
            return date, calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        date = request.headers.get("date")
        return date, calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))
    except ValueError as error:
        raise OssError(400, "InvalidArgument", "OSS authentication requires a valid Date.") from error


def _check_validity(state: State, request: Request, at_s: int) -> None:
    """Check that a URL presigned with V4 is valid now. Raises OssError."""
    text = request.param("x-oss-expires")
    if not text.isdecimal() or not 1 <= int(text) <= MAX_VALIDITY_S:
        raise invalid_argument("x-oss-expires", text)
    if at_s > state.clock.wall_s() + state.settings.clock_tolerance_s:
        _check_time(state, at_s)
    _check_expiry(state, at_s + int(text))


def _check_expiry(state: State, expires_s: int) -> None:
    now_s = state.clock.wall_s()
    if now_s > expires_s:
        times = [("Expires", stamp(expires_s)), ("ServerTime", stamp(now_s))]
        raise OssError(403, "AccessDenied", "Request has expired.", extra=times)


def _canonical_request(request: Request, resource: str, additional: str) -> str:
    """Return the canonical request of V4: all parameters, the headers that V4 always signs, and additional headers."""
    query = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in request.query
        if name != "x-oss-signature"
    )
    extra = {name.strip().lower() for name in additional.split(";")} - {""}
    headers = sorted(
        (name, value)
        for name, value in request.headers.items()
        if name in {"content-type", "content-md5"} or name.startswith("x-oss-") or name in extra
    )
    return "\n".join([
        request.method,
        quote(unquote_to_bytes(resource), safe="/-_.~"),
        "&".join(f"{name}={value}" if value else name for name, value in query),
        "".join(f"{name}:{value}\n" for name, value in headers),
        ";".join(sorted(extra)),
        V4_PAYLOAD,
    ])  # fmt: skip


def _find_key(state: State, request: Request, key_id: str, *, token: str) -> AccessKey:
    """Return a key after the checks of its state and of the security token of the request. Raises OssError."""
    if request.fault is not None and request.fault.effect == "expire-token":
        state.expire_token(key_id)
    key = state.key(key_id)
    if key is None:
        raise OssError(
            403,
            "InvalidAccessKeyId",
            "The OSS Access Key Id you provided does not exist in our records.",
            extra=[("OSSAccessKeyId", key_id)],
        )
    if not key.enabled:
        raise OssError(403, "InvalidAccessKeyId", "The OSS Access Key Id you provided is disabled.")
    if key.token is None and token:
        raise OssError(
            403,
            "AccessKeyIdAndSecurityTokenNotMatch",
            "The OSS access key id and security token you provided does not match.",
        )
    if key.token is not None and token != key.token:
        raise OssError(403, "InvalidSecurityToken", "The security token you provided is invalid.")
    if key.expires_s is not None and state.clock.now_s() >= key.expires_s:
        raise OssError(403, "SecurityTokenExpired", "The security token you provided has expired.")
    return key


def _check_time(state: State, at_s: float) -> None:
    now_s = state.clock.wall_s()
    if abs(now_s - at_s) > state.settings.clock_tolerance_s:
        raise OssError(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            extra=[
                ("MaxAllowedSkewMilliseconds", str(round(state.settings.clock_tolerance_s * 1000))),
                ("RequestTime", stamp(at_s)),
                ("ServerTime", stamp(now_s)),
            ],
        )


def _mismatch(key_id: str, given: str, string: str, canonical: str | None = None) -> OssError:
    extra = [
        ("OSSAccessKeyId", key_id),
        ("SignatureProvided", given),
        ("StringToSign", string),
        ("StringToSignBytes", _hex_bytes(string.encode("utf-8", "surrogateescape"))),
    ]
    if canonical is not None:
        extra += [
            ("CanonicalRequest", canonical),
            ("CanonicalRequestBytes", _hex_bytes(canonical.encode("utf-8", "surrogateescape"))),
        ]
    return OssError(
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
        extra=extra,
    )


def _hex_bytes(data: Iterable[int]) -> str:
    return " ".join(f"{byte:02X}" for byte in data)
