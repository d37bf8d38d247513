"""OIDC providers: their operations in IMS, and the verification of their tokens.

A provider is the trust of an account in an issuer of tokens, such as a CI system. The codes and messages for tokens are
from the error table of STS and from the troubleshooting page of RRSA (Container Service). Tokens of GitHub and GitLab
are signed with RS256; whether the service accepts other algorithms is not published. The sandbox fetches nothing: the
keys of an issuer (JWKS) are added through the control plane.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ram.fields import name_of, paged
from aliyun_import.sandbox.ram.state import OidcProvider, Ram, by_name

# "CreateOIDCProvider" of March 2026.
MAX_PROVIDERS = 100
MAX_CLIENT_IDS = 50
MAX_FINGERPRINTS = 5
MAX_URL_CHARS = 255
MAX_DESCRIPTION_CHARS = 256
MAX_ISSUANCE_HOURS = 168
_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_FINGERPRINT = re.compile(r"[A-Za-z0-9]{1,128}")
# Tokens
ALGORITHM = "RS256"
# Assumed: tolerance for the clock of an issuer that is ahead.
AHEAD_S = 60
_YEAR_9999_S = 253402300800
_UNREADABLE = "The Jwt content is invalid that cannot be recognized."


def create_oidc_provider(call: RpcCall) -> dict[str, Value]:
    """CreateOIDCProvider: create the provider of an issuer. An issuer has one provider per account."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = name_of(call, "OIDCProviderName", pattern=r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", max_chars=128)
    url = _issuer_url(call)
    client_ids = _several(call, "ClientIds", _CLIENT_ID, most=MAX_CLIENT_IDS)
    fingerprints = _several(call, "Fingerprints", _FINGERPRINT, most=MAX_FINGERPRINTS)
    hours = call.number("IssuanceLimitTime", default=12, high=MAX_ISSUANCE_HOURS)
    if len(call.get("Description")) > MAX_DESCRIPTION_CHARS:
        raise Refusal("InvalidParameter.Description.Length")
    providers = by_name(ram.providers, account_id)
    if any(each.name == name for each in providers):
        raise Refusal("EntityAlreadyExists.OIDCProvider")
    if any(each.issuer_url == url for each in providers):
        raise Refusal("EntityAlreadyExists.OIDCProvider.Url")
    if len(providers) >= MAX_PROVIDERS:
        raise Refusal("LimitExceeded.OIDCProvider")
    provider = OidcProvider(
        name=name,
        arn=f"acs:ram::{account_id}:oidc-provider/{name}",
        issuer_url=url,
        client_ids=client_ids,
        fingerprints=fingerprints,
        issuance_hours=hours,
        description=call.get("Description"),
        created_s=call.state.clock.now_s(),
    )
    ram.providers[account_id, provider.name] = provider
    return {"OIDCProvider": _fields(provider)}


def get_oidc_provider(call: RpcCall) -> dict[str, Value]:
    """GetOIDCProvider."""
    return {"OIDCProvider": _fields(_provider(call))}


def list_oidc_providers(call: RpcCall) -> dict[str, Value]:
    """ListOIDCProviders."""
    providers = by_name(call.state.part(Ram).providers, call.account_id)
    return paged(call, "OIDCProviders", "OIDCProvider", providers, _fields)


def delete_oidc_provider(call: RpcCall) -> dict[str, Value]:
    """DeleteOIDCProvider. Roles that trust it stay, but cannot be assumed with its tokens."""
    del call.state.part(Ram).providers[call.account_id, _provider(call).name]
    return {}


def _provider(call: RpcCall) -> OidcProvider:
    found = call.state.part(Ram).providers.get((call.account_id, call.required("OIDCProviderName")))
    if found is None:
        raise Refusal("EntityNotExist.OIDCProvider")
    return found


def _issuer_url(call: RpcCall) -> str:
    url = call.required("IssuerUrl")
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and parts.hostname and "@" not in parts.netloc
    except ValueError:
        is_good = False
    if not is_good or set("?#") & set(url) or len(url) > MAX_URL_CHARS:
        raise Refusal("InvalidParameter.IssuerUrl")
    return url


def _several(call: RpcCall, parameter: str, form: re.Pattern[str], *, most: int) -> tuple[str, ...]:
    """Return the values of a comma-separated parameter. Refuses malformed values, and more than `most`."""
    values = call.listed(parameter)
    if len(values) > most or not all(form.fullmatch(each) for each in values):
        raise Refusal("InvalidParameter", parameter)
    return values


def _fields(provider: OidcProvider) -> dict[str, Value]:
    date, stamp = utc_seconds(provider.created_s), str(int(provider.created_s * 1000))
    return {
        "OIDCProviderName": provider.name,
        "Arn": provider.arn,
        "IssuerUrl": provider.issuer_url,
        "ClientIds": ",".join(provider.client_ids),
        "Fingerprints": ",".join(provider.fingerprints),
        "IssuanceLimitTime": provider.issuance_hours,
        "Description": provider.description,
        "CreateDate": date,
        "UpdateDate": date,
        "GmtCreate": stamp,
        "GmtModified": stamp,
    }


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
