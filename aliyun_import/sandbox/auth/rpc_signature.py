"""Authentication of RPC calls as ECS, RAM and STS do it: keys, tokens, timestamps, signatures (HMAC-SHA1), nonces.

Source: ECS API reference, "Request signatures". Written independently of every client, so that a wrong belief in one
cannot agree with itself in the other.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey, State

_SIGNING = ("Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce")


class Nonces:
    """The used nonces with their keys, kept as long as a replayed timestamp could pass."""

    def __init__(self, _state: State) -> None:
        self._seen: dict[tuple[str, str], float] = {}

    def use(self, key_id: str, nonce: str, *, now_s: float, keep_s: float) -> bool:
        """Record a nonce; returns False if the key has used it before."""
        # A dict keeps the order of insertion, which is that of time: the oldest come first.
        while self._seen and self._seen[oldest := next(iter(self._seen))] <= now_s:
            del self._seen[oldest]
        if (key_id, nonce) in self._seen:
            return False
        self._seen[key_id, nonce] = now_s + keep_s
        return True


def authenticate(state: State, method: str, parameters: Mapping[str, str]) -> AccessKey:
    """Return the key that signed a call; refuses as the gateway of the services does."""
    if not parameters.get("AccessKeyId"):
        raise Refusal("MissingParameter", "AccessKeyId")
    if not all(parameters.get(name) for name in _SIGNING):
        raise Refusal("IncompleteSignature")
    if parameters["SignatureMethod"] != "HMAC-SHA1" or parameters["SignatureVersion"] != "1.0":
        raise Refusal("IncompleteSignature")
    _check_timestamp(state, parameters.get("Timestamp", ""))
    key = state.key(parameters["AccessKeyId"])
    if key is None:
        raise Refusal("InvalidAccessKeyId.NotFound")
    if not key.enabled:
        raise Refusal("Forbidden.AccessKeyDisabled")
    _check_token(state, key, parameters.get("SecurityToken", ""))
    text = string_to_sign(method, parameters)
    if not matches(key.secret, text, given=parameters["Signature"]):
        raise Refusal("SignatureDoesNotMatch", text)
    # Last, so that a call refused for another reason may be repeated unchanged.
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


# Not signed: it is the signature.
_UNSIGNED = "Signature"


def percent_encode(text: str) -> str:
    """Return text encoded by RFC 3986: A-Z a-z 0-9 - _ . ~ stay, a space is %20, an asterisk %2A."""
    return quote(text, safe="-_.~")


def string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """Return the text that is signed: the method as sent, and all parameters of query and form, by name."""
    canonical = "&".join(
        f"{percent_encode(name)}={percent_encode(value)}"
        for name, value in sorted(parameters.items())
        if name != _UNSIGNED
    )
    return f"{method}&%2F&{percent_encode(canonical)}"


def signature(secret: str, text: str) -> str:
    """Return the signature of a text: base64 of HMAC-SHA1 with the secret and an ampersand as the key."""
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def matches(secret: str, text: str, *, given: str) -> bool:
    """Return whether `given` is the signature of the text, in constant time."""
    return hmac.compare_digest(signature(secret, text).encode(), given.encode())
