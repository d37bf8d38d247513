"""Verification of OSS signatures: V4 and V1, in the Authorization header.

A second reading of the published rules ("V4 signature", "Add signatures to the header"), independent of the client.
Signatures in the query string (presigned URLs) are refused by name, with 501.
"""

import base64
import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Iterable
from email.utils import parsedate_tz
from urllib.parse import quote, unquote_to_bytes

from aliyun_import.sandbox.core.http_types import Request
from aliyun_import.sandbox.core.state import AccessKey, State
from aliyun_import.sandbox.oss.protocol import Caller, OssError, invalid_argument, not_done, stamp

# The parameters that V1 signs, where the request has them ("Add signatures to the header", and what oss2 signs).
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
# Parameters of a presigned URL; such a request is recognised and refused by name.
PRESIGNING_PARAMS = frozenset({
    "OSSAccessKeyId", "Expires", "Signature", "security-token", "x-oss-signature-version", "x-oss-credential",
    "x-oss-date", "x-oss-expires", "x-oss-signature", "x-oss-security-token", "x-oss-additional-headers",
})  # fmt: skip
V4_PAYLOAD = "UNSIGNED-PAYLOAD"


def authenticate(state: State, request: Request, resource: str) -> Caller:
    """Return the caller of a request; raises OssError. `resource` is `/bucket/key`, percent-encoded as on the wire."""
    authorization = request.headers.get("authorization")
    if authorization.startswith("OSS4-HMAC-SHA256 "):
        return _check_v4(state, request, resource, authorization)
    if authorization.startswith("OSS "):
        return _check_v1(state, request, resource, authorization)
    if authorization.startswith("AWS"):
        raise not_done("signatures of Amazon S3")
    if authorization:
        raise invalid_argument("Authorization", authorization.partition(" ")[0])
    if request.has("x-oss-signature") or request.has("Signature"):
        raise not_done("presigned URLs")
    raise OssError(403, "AccessDenied", "Anonymous access is forbidden for this operation.")


def _check_v1(state: State, request: Request, resource: str, authorization: str) -> Caller:
    if not state.settings.v1_signatures:
        raise OssError(403, "AccessDenied", "The V1 signature is not allowed for this account; use the V4 signature.")
    key_id, _, given = authorization.removeprefix("OSS ").strip().partition(":")
    key = _find_key(state, request, key_id)
    date = request.headers.get("x-oss-date") or request.headers.get("date")
    parsed = parsedate_tz(date)
    if parsed is None:
        raise OssError(400, "InvalidArgument", "OSS authentication requires a valid Date.")
    _check_time(state, calendar.timegm((*parsed[:6], 0, 0, 0)) - (parsed[9] or 0))
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
    if not hmac.compare_digest(base64.b64encode(digest), given.encode()):
        raise _mismatch(key_id, given, string)
    return Caller(key, None)


def _check_v4(state: State, request: Request, resource: str, authorization: str) -> Caller:
    fields = dict(
        part.strip().partition("=")[::2] for part in authorization.removeprefix("OSS4-HMAC-SHA256 ").split(",")
    )
    scope = re.fullmatch(r"([^/]+)/(\d{8})/([^/]+)/oss/aliyun_v4_request", fields.get("Credential", ""))
    if scope is None or "Signature" not in fields:
        raise invalid_argument("Authorization", "Credential")
    if fields.get("AdditionalHeaders") == "":
        raise OssError(400, "InvalidArgument", "Invalid AdditionalHeaders in Authorization.", ec="0002-00000209")
    key_id, day, region = scope.groups()
    key = _find_key(state, request, key_id)
    date, at_s = _v4_date(request)
    if request.headers.get("x-oss-content-sha256") != V4_PAYLOAD:
        raise invalid_argument("x-oss-content-sha256", request.headers.get("x-oss-content-sha256"))
    if time.strftime("%Y%m%d", time.gmtime(at_s)) != day:
        raise invalid_argument("Authorization", "Credential")
    _check_time(state, at_s)
    canonical = _canonical_request(request, resource, fields.get("AdditionalHeaders", ""))
    string = "\n".join([
        "OSS4-HMAC-SHA256",
        date,
        f"{day}/{region}/oss/aliyun_v4_request",
        hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest(),
    ])  # fmt: skip
    secret = b"aliyun_v4" + key.secret.encode()
    for step in (day, region, "oss", "aliyun_v4_request", string):
        secret = hmac.digest(secret, step.encode(), "sha256")
    if not hmac.compare_digest(secret.hex().encode(), fields["Signature"].encode()):
        raise _mismatch(key_id, fields["Signature"], string, canonical)
    return Caller(key, region)


def _v4_date(request: Request) -> tuple[str, int]:
    """Return the signed date as sent, and in seconds: x-oss-date, or Date, which the Go SDK signs instead."""
    date = request.headers.get("x-oss-date")
    try:
        if date:
            return date, calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
        date = request.headers.get("date")
        return date, calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))
    except ValueError as error:
        raise OssError(400, "InvalidArgument", "OSS authentication requires a valid Date.") from error


def _canonical_request(request: Request, resource: str, additional: str) -> str:
    """Return the canonical request of V4: every parameter, the headers that V4 always signs, the additional ones."""
    query = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.query)
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


def _find_key(state: State, request: Request, key_id: str) -> AccessKey:
    """Return a key whose security token is that of the request."""
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
    token = request.headers.get("x-oss-security-token")
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
