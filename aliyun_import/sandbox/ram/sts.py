"""Operations of STS: the identity of a caller, and temporary keys of a role."""

import re
import secrets

from aliyun_import.sandbox.auth.policies import check_policy, trusts_caller, trusts_provider
from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.ram import oidc
from aliyun_import.sandbox.ram.fields import derived_id
from aliyun_import.sandbox.ram.state import Ram, Role, by_name

_ARN = re.compile(r"acs:ram::([0-9]+):role/([A-Za-z0-9.@-]+)", re.IGNORECASE)
_SESSION = re.compile(r"[A-Za-z0-9.@_-]{2,64}")
MIN_SESSION_S = 900
MAX_SESSION_POLICY_CHARS = 2048  # "AssumeRole"
MIN_TOKEN_CHARS, MAX_TOKEN_CHARS = 4, 20_000  # "AssumeRoleWithOIDC"


def get_caller_identity(call: RpcCall) -> dict[str, Value]:
    """GetCallerIdentity: the principal of the key. It has no parameters and needs no permission."""
    account_id, principal = call.account_id, call.key.principal
    kind, _, name = principal.partition("/")
    answer: dict[str, Value] = {"AccountId": account_id, "Arn": f"acs:ram::{account_id}:{principal}"}
    if kind == "user":
        known = (account_id, name) in call.state.part(Ram).users
        user_id = call.state.part(Ram).user(account_id, name).id if known else derived_id(account_id, principal)
        return answer | {"IdentityType": "RAMUser", "UserId": user_id, "PrincipalId": user_id}
    if kind == "assumed-role":
        role, _, session = name.partition("/")
        found = call.state.part(Ram).find_role(account_id, role)
        role_id = derived_id(account_id, "role", role) if found is None else found.id
        return answer | {"IdentityType": "AssumedRoleUser", "RoleId": role_id, "PrincipalId": f"{role_id}:{session}"}
    return answer | {"IdentityType": "Account", "UserId": account_id, "PrincipalId": account_id}


def assume_role(call: RpcCall) -> dict[str, Value]:
    """AssumeRole: a temporary key with the present permissions of the role.

    Users and roles can assume a role. The account itself is refused, as by the service.
    """
    account_id, name, session = _requested_role(call)
    if call.key.principal == "root":
        raise Refusal("NoPermission", " Roles may not be assumed by root accounts.")
    role = _role(call, account_id, name)
    claims = {"sts:ExternalId": (call.get("ExternalId"),)} if call.get("ExternalId") else {}
    if not trusts_caller(role.trust, account_id=call.account_id, principal=call.key.principal, claims=claims):
        raise Refusal("NoPermission", " You should be authorized by RAM.")
    return _session(call, role, account_id, session)


def assume_role_with_oidc(call: RpcCall) -> dict[str, Value]:
    """AssumeRoleWithOIDC: a temporary key for a token of an OIDC provider that the role trusts. It needs no key."""
    account_id, name, session = _requested_role(call)
    arn, text = call.required("OIDCProviderArn"), call.required("OIDCToken")
    ram = call.state.part(Ram)
    provider = ram.provider_of(arn)
    if provider is None:
        raise Refusal("AuthenticationFail.NoPermission", "No such OIDC Provider registered.")
    if not MIN_TOKEN_CHARS <= len(text) <= MAX_TOKEN_CHARS:
        raise Refusal("AuthenticationFail.OIDCToken.Invalid", "The length of the OIDCToken is not valid.")
    token = oidc.read_token(text)
    if token.issuer != provider.issuer_url:
        raise Refusal("AuthenticationFail.OIDCToken.IssuerNotMatch")
    if not set(token.audiences) & set(provider.client_ids):
        raise Refusal("AuthenticationFail.OIDCToken.AudienceNotMatch")
    # Another machine signed its dates, like the dates of requests, so `advance` does not apply to them.
    now_s, max_age_s = call.state.clock.wall_s(), provider.issuance_hours * 3600.0
    oidc.verify(token, ram.issuers.get(token.issuer), now_s=now_s, max_age_s=max_age_s)
    role = _role(call, account_id, name)
    claims = {"oidc:iss": (token.issuer,), "oidc:aud": token.audiences, "oidc:sub": (token.subject,)}
    if not trusts_provider(role.trust, provider.arn, claims=claims):
        raise Refusal("AuthenticationFail.NoPermission", "There is no permission")
    return _session(call, role, account_id, session) | {
        "OIDCTokenInfo": {
            "Subject": token.subject,
            "Issuer": token.issuer,
            "ClientIds": ",".join(token.audiences),
            "IssuanceTime": utc_seconds(token.issued_s),
            "ExpirationTime": utc_seconds(token.expires_s),
            "VerificationInfo": "Success",
        }
    }


def _requested_role(call: RpcCall) -> tuple[str, str, str]:
    """Return the account and the name of the requested role, and the name of the session."""
    arn, session = call.required("RoleArn"), call.required("RoleSessionName")
    named = _ARN.fullmatch(arn)
    if named is None:
        raise Refusal("InvalidParameter.RoleArn")
    if not _SESSION.fullmatch(session):
        raise Refusal("InvalidParameter.RoleSessionName")
    return named[1], named[2], session


def _role(call: RpcCall, account_id: str, name: str) -> Role:
    """Return a role by its name, which is case-insensitive in an ARN. Refuses with EntityNotExist.Role."""
    roles = by_name(call.state.part(Ram).roles, account_id)
    role = next((each for each in roles if each.name.lower() == name.lower()), None)
    if role is None:
        raise Refusal("EntityNotExist.Role", call.get("RoleArn"))
    return role


def _session(call: RpcCall, role: Role, account_id: str, session: str) -> dict[str, Value]:
    """Create the temporary key of a session, and return it with its identity."""
    text = call.get("DurationSeconds", "3600")
    if not text.isdecimal() or not MIN_SESSION_S <= int(text) <= role.max_session_s:
        raise Refusal("InvalidParameter.DurationSeconds", f"{MIN_SESSION_S} to {role.max_session_s} seconds")
    expires_s = call.state.clock.now_s() + int(text)
    key = AccessKey(
        id=f"STS.SANDBOX{secrets.token_hex(8).upper()}",
        secret=secrets.token_hex(20),
        account_id=account_id,
        principal=f"assumed-role/{role.name}/{session}",
        token=f"SANDBOX-TOKEN-{secrets.token_hex(24)}",
        expires_s=expires_s,
        policies=call.state.part(Ram).documents(account_id, role.attached),
        session_policy=_session_policy(call),
    )
    call.state.add_key(key)
    return {
        "AssumedRoleUser": {
            "Arn": f"acs:ram::{account_id}:{key.principal}",
            "AssumedRoleId": f"{role.id}:{session}",
        },
        "Credentials": {
            "AccessKeyId": key.id,
            "AccessKeySecret": key.secret,
            "SecurityToken": key.token or "",
            "Expiration": utc_seconds(expires_s),
        },
    }


def _session_policy(call: RpcCall) -> str | None:
    """Return the policy that restricts a session, or None. Refuses an invalid one."""
    text = call.get("Policy")
    if len(text) > MAX_SESSION_POLICY_CHARS:
        raise Refusal("InvalidParameter.PolicySize", f"{MAX_SESSION_POLICY_CHARS} characters")
    try:
        if text:
            check_policy(text)
    except Refusal as refusal:
        raise Refusal("InvalidParameter.PolicyGrammar") from refusal
    return text or None
