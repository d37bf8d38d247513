"""Operations of IMS on OIDC providers: the trust of an account in an issuer of tokens, such as a CI system."""

import re
from urllib.parse import urlsplit

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
