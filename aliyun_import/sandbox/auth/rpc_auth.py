"""This file lets RPC calls in or refuses them: keys, security tokens, timestamps, signatures, nonces."""

from collections.abc import Mapping
from datetime import UTC, datetime

from aliyun_import.sandbox.auth import rpc_signature as sign_rpc
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey, State

_SIGNING = ("Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce")


class Nonces:
    """The nonces seen, each with its key, for as long as a replayed timestamp could still pass."""

    def __init__(self, _state: State) -> None:
        self._seen: dict[tuple[str, str], float] = {}

    def use(self, key_id: str, nonce: str, *, now_s: float, keep_s: float) -> bool:
        """Note a nonce; False when the key has used it already."""
        # A dict keeps the order of insertion, which is that of time: the oldest stand in front.
        while self._seen and self._seen[oldest := next(iter(self._seen))] <= now_s:
            del self._seen[oldest]
        if (key_id, nonce) in self._seen:
            return False
        self._seen[key_id, nonce] = now_s + keep_s
        return True


def authenticate(state: State, method: str, parameters: Mapping[str, str]) -> AccessKey:
    """Give the key that signed the call, or refuse as the services' gateway does."""
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
    text = sign_rpc.string_to_sign(method, parameters)
    if not sign_rpc.matches(key.secret, text, given=parameters["Signature"]):
        raise Refusal("SignatureDoesNotMatch", text)
    # Last, so that a call which was refused for another reason may come again as it is.
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
