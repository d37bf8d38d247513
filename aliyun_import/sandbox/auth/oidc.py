"""Tokens of OIDC providers: verification of their claims and signatures.

The codes and messages are from the error table of STS and from the troubleshooting page of RRSA (Container Service).
Tokens of GitHub and GitLab are signed with RS256; whether the service accepts other algorithms is not published. The
sandbox fetches nothing: the keys of an issuer (JWKS) are added through the control plane.
"""

import base64
import json
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from aliyun_import.sandbox.core.rpc_errors import Refusal

ALGORITHM = "RS256"
# Assumed: tolerance for the clock of an issuer that is ahead.
AHEAD_S = 60
_YEAR_9999_S = 253402300800
_UNREADABLE = "The Jwt content is invalid that cannot be recognized."


@dataclass(frozen=True, kw_only=True)
class Token:
    """Claims of a token, and its signature."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    issued_s: float
    begins_s: float
    expires_s: float
    key_id: str
    """kid of its header, or an empty string."""
    signed: bytes
    """Signed bytes: the encoded header and claims."""
    signature: bytes


def read_token(text: str) -> Token:
    """Parse a token without verification. Refuses with AuthenticationFail.OIDCToken.Invalid."""
    parts = text.split(".")
    if len(parts) != 3:
        raise _invalid("The number of Jwt field should be divided into 3 parts with '.' .")
    try:
        header, claims, signature = (_decoded(part) for part in parts)
    except ValueError as error:
        raise _invalid("Cannot decode base64 encoded response(format invalided).") from error
    fields, named = _document(claims), _document(header)
    if named.get("alg") != ALGORITHM:
        raise _invalid(f"The algorithm {named.get('alg')} that be specified in Jwt header is unknown.")
    issued_s = _time(fields.get("iat"))
    return Token(
        issuer=_text(fields.get("iss")),
        subject=_text(fields.get("sub")),
        audiences=_audiences(fields.get("aud")),
        issued_s=issued_s,
        begins_s=_time(fields.get("nbf", issued_s)),
        expires_s=_time(fields.get("exp")),
        key_id=_text(named.get("kid", "")),
        signed=".".join(parts[:2]).encode(),
        signature=signature,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _invalid(_UNREADABLE)
    return value


def _audiences(value: object) -> tuple[str, ...]:
    return tuple(_text(each) for each in (value if isinstance(value, list) else [value]))


def _time(value: object) -> float:
    """Return a time in seconds. The comparison refuses NaN, too, which the json module accepts."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _YEAR_9999_S:
        raise _invalid(_UNREADABLE)
    return float(value)


def verify(token: Token, jwks: str | None, *, now_s: float, max_age_s: float) -> None:
    """Refuse a token that is not signed by a key of its issuer, expired, not valid yet, or too old.

    `jwks` is the JWKS of the issuer, None if it is not known. `max_age_s` is the maximum age of a token.
    """
    if jwks is None:
        raise Refusal(
            "AuthenticationFail.OIDCToken.IssuerConfigurationBroken",
            f"{token.issuer}. The sandbox fetches nothing: POST its JWKS to /_sandbox/issuers",
        )
    keys = [key for key_id, key in public_keys(jwks) if token.key_id in ("", key_id)]
    if not any(_signed_by(key, token) for key in keys):
        raise Refusal("AuthenticationFail.OIDCToken.InvalidSignature")
    if now_s >= token.expires_s:
        raise Refusal("AuthenticationFail.OIDCToken.Expired")
    if max(token.issued_s, token.begins_s) > now_s + AHEAD_S:
        raise _invalid("The token is not valid yet.")
    if now_s - token.issued_s > max_age_s:
        raise _invalid("The token was issued longer ago than the OIDC Provider allows (IssuanceLimitTime).")


def public_keys(jwks: str) -> list[tuple[str, RSAPublicKey]]:
    """Return the RSA keys for signatures of a JWKS as (kid, key).

    Raises ValueError for a malformed JWKS and for a private key, which must not leave the issuer.
    """
    keys = json.loads(jwks)
    keys = keys.get("keys") if isinstance(keys, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError('a JWKS is an object with "keys", a list of objects')
    if any("d" in key or key.get("kty") == "oct" for key in keys):
        raise ValueError("it contains a private key: use only the public keys")
    found = [_public_key(key) for key in keys if key.get("kty") == "RSA" and key.get("use", "sig") == "sig"]
    if not found:
        raise ValueError("it contains no RSA key for signatures")
    return found


def _public_key(key: dict[str, Any]) -> tuple[str, RSAPublicKey]:
    n, e = (int.from_bytes(_decoded(str(key.get(name, ""))), "big") for name in ("n", "e"))
    return str(key.get("kid", "")), RSAPublicNumbers(e=e, n=n).public_key()


def _signed_by(key: RSAPublicKey, token: Token) -> bool:
    try:
        key.verify(token.signature, token.signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def _decoded(text: str) -> bytes:
    """Decode base64url without padding. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid(_UNREADABLE) from error
    if not isinstance(document, dict):
        raise _invalid(_UNREADABLE)
    return document


def _invalid(text: str) -> Refusal:
    return Refusal("AuthenticationFail.OIDCToken.Invalid", text)
