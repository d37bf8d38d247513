"""Authentication of calls of ECS, RAM and STS: keys, tokens, timestamps, signatures, nonces.

There are two signatures: HMAC-SHA1 in the parameters (ECS API reference, "Request signatures"), and ACS3-HMAC-SHA256 in
headers ("V3 request body and signature mechanism"), the default of the vendor's current SDKs. This is implemented from
the documents, independent of the client, so that tests find a mistake in either.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from aliyun_import.sandbox.core.http_types import Request
from aliyun_import.sandbox.core.records import Table
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey, State

_SIGNING = ("Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce")
_ACS3_SIGNED = ("x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version")


class Nonces:
    """Used nonces with their keys, stored as long as the timestamp of a replay would be accepted."""

    def __init__(self, state: State) -> None:
        self._seen = state.table("nonces", Table[tuple[str, str], float])

    def use(self, key_id: str, nonce: str, *, now_s: float, keep_s: float) -> bool:
        """Record a nonce. Return False if the key used it before."""
        # A table is in the order of insertion, so the oldest nonces are first.
        while self._seen and self._seen[oldest := next(iter(self._seen))] <= now_s:
            del self._seen[oldest]
        if (key_id, nonce) in self._seen:
            return False
        self._seen[key_id, nonce] = now_s + keep_s
        return True


def call_parameters(request: Request) -> dict[str, str]:
    """Return the parameters of a call by their RPC names, from query, form and the headers of ACS3.

    Raises BodyTooLargeError.
    """
    parameters = dict(request.query) | dict(request.form)
    fields, headers = _acs3_fields(request), request.headers
    if not fields:
        # The current SDKs send anonymous calls with these headers. Clients that sign with HMAC-SHA1 send x-acs-action,
        # too.
        is_anonymous = "x-acs-action" in headers and "Signature" not in parameters
        return parameters | (_named_in_headers(request) if is_anonymous else {})
    parameters |= _named_in_headers(request) | {
        "AccessKeyId": fields.get("Credential", ""),
        "SecurityToken": headers.get("x-acs-security-token"),
        "Signature": fields.get("Signature", ""),
        "SignatureNonce": headers.get("x-acs-signature-nonce"),
        "Timestamp": headers.get("x-acs-date"),
    }
    return parameters


def _named_in_headers(request: Request) -> dict[str, str]:
    headers = request.headers
    return {
        "Action": headers.get("x-acs-action"),
        "Version": headers.get("x-acs-version"),
        "Format": "XML" if "xml" in headers.get("accept").lower() else "JSON",
    }


def authenticate(state: State, request: Request, parameters: Mapping[str, str]) -> AccessKey:
    """Return the key that signed a call. Refuses with the codes of the gateway of the services."""
    if not parameters.get("AccessKeyId"):
        raise Refusal("MissingParameter", "AccessKeyId")
    acs3 = bool(_acs3_fields(request))
    text = acs3_string_to_sign(request) if acs3 else _rpc_string_to_sign(request.method, parameters)
    _check_timestamp(state, parameters.get("Timestamp", ""))
    key = state.key(parameters["AccessKeyId"])
    if key is None:
        raise Refusal("InvalidAccessKeyId.NotFound")
    if not key.enabled:
        raise Refusal("Forbidden.AccessKeyDisabled")
    _check_token(state, key, parameters.get("SecurityToken", ""))
    expected = acs3_signature(key.secret, text) if acs3 else signature(key.secret, text)
    if not hmac.compare_digest(expected.encode(), parameters["Signature"].encode()):
        raise Refusal("SignatureDoesNotMatch", text)
    # Checked last, so that a call that is refused for another reason can be repeated unchanged.
    keep_s = 2 * state.settings.clock_tolerance_s
    nonces = state.part(Nonces)
    if not nonces.use(key.id, parameters["SignatureNonce"], now_s=state.clock.wall_s(), keep_s=keep_s):
        raise Refusal("SignatureNonceUsed")
    return key


def _check_timestamp(state: State, text: str) -> None:
    try:
        signed = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise Refusal("IllegalTimestamp") from error
    if abs(signed.timestamp() - state.clock.wall_s()) > state.settings.clock_tolerance_s:
        raise Refusal("IllegalTimestamp")


def _check_token(state: State, key: AccessKey, token: str) -> None:
    if key.token is None:
        if token:
            raise Refusal("InvalidSecurityToken.MismatchWithAccessKey")
        return
    if not token:
        raise Refusal("MissingSecurityToken")
    if token != key.token:
        raise Refusal("InvalidSecurityToken.Malformed")
    if key.expires_s is not None and state.clock.now_s() >= key.expires_s:
        raise Refusal("InvalidSecurityToken.Expired")


def percent_encode(text: str) -> str:
    """Return text with percent-encoding by RFC 3986: A-Z a-z 0-9 - _ . ~ are unchanged."""
    return quote(text, safe="-_.~")


def _canonical_query(parameters: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in sorted(parameters))


def _rpc_string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    if not all(parameters.get(name) for name in _SIGNING):
        raise Refusal("IncompleteSignature")
    if parameters["SignatureMethod"] != "HMAC-SHA1" or parameters["SignatureVersion"] != "1.0":
        raise Refusal("IncompleteSignature")
    return string_to_sign(method, parameters)


def string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """Return the string that HMAC-SHA1 signs: the method, and all parameters of query and form, sorted by name."""
    query = _canonical_query((name, value) for name, value in parameters.items() if name != "Signature")
    return f"{method}&%2F&{percent_encode(query)}"


def signature(secret: str, text: str) -> str:
    """Return the base64 encoding of HMAC-SHA1. The key is the secret followed by an ampersand."""
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def _acs3_fields(request: Request) -> dict[str, str]:
    """Return the fields of an Authorization header of ACS3; empty for another scheme."""
    scheme, _, fields = request.headers.get("authorization").partition(" ")
    if scheme != "ACS3-HMAC-SHA256":
        return {}
    # A header without any field is still ACS3, and incomplete.
    return {"Credential": ""} | dict(part.strip().partition("=")[::2] for part in fields.split(","))


def acs3_string_to_sign(request: Request) -> str:
    """Return the string that ACS3-HMAC-SHA256 signs. Refuses with IncompleteSignature.

    The hash is computed from the received body, so that the signature of another body does not match.
    """
    fields, headers = _acs3_fields(request), request.headers
    signed = fields.get("SignedHeaders", "").split(";")
    required = {"host", *_ACS3_SIGNED}
    required |= {name for name in headers.names() if name.startswith("x-acs-") or name == "content-type"}
    if not fields.get("Signature") or required - set(signed) or any(name not in headers for name in required):
        raise Refusal("IncompleteSignature")
    canonical = "\n".join([
        request.method,
        request.path,
        _canonical_query(request.query),
        "".join(f"{name}:{headers.get(name)}\n" for name in signed),
        ";".join(signed),
        hashlib.sha256(request.body.whole()).hexdigest(),
    ])  # fmt: skip
    return f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"


def acs3_signature(secret: str, text: str) -> str:
    """Return HMAC-SHA256 in hex. The key is the secret."""
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()
