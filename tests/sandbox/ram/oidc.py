"""Issuer of OIDC tokens, such as a CI system, with the provider and the role that trust it."""

import base64
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from aliyun_import.sandbox.control import account
from aliyun_import.sandbox.core.router import OPERATIONS
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.vendor_sdk import RawAnswer, call, send, signed

ISSUER = "https://token.example.invalid"
PROVIDER = "acs:ram::1000000000000000:oidc-provider/ci"
ROLE = "acs:ram::1000000000000000:role/Builder"
SUBJECT = "repo:example/disks:ref:refs/heads/main"


@cache
def private_key(number: int = 0) -> rsa.RSAPrivateKey:
    """Return a key that signs tokens, generated once per number."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def jwks(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Return a JWKS with the public part of a key."""
    numbers = private_key(number).public_key().public_numbers()
    n, e = (_encoded(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (numbers.n, numbers.e))
    return {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": f"key-{number}", "n": n, "e": e, **fields}]}


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token to issue: its claims in addition to the usual ones, and the number of its key."""

    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    number: int = 0

    def text(self, sandbox: Sandbox) -> str:
        """Return the encoded token, issued now."""
        now_s = int(sandbox.clock.wall_s())
        usual = {"iss": ISSUER, "sub": SUBJECT, "aud": "sts.aliyuncs.com", "iat": now_s, "exp": now_s + 300}
        header = {"alg": "RS256", "typ": "JWT", "kid": "key-0", **self.header}
        parts = [_encoded(json.dumps(each).encode()) for each in (header, {**usual, **self.claims})]
        signature = private_key(self.number).sign(".".join(parts).encode(), PKCS1v15(), SHA256())
        return ".".join([*parts, _encoded(signature)])


def ims(sandbox: Sandbox, action: str, *, key: AccessKey | None = None, **fields: str) -> tuple[int, dict[str, Any]]:
    """Call IMS, for which the project has no SDK; return the HTTP status and the answer."""
    answer = send(sandbox, signed(sandbox, action, {"Version": "2019-08-15", **fields}, key=key))
    return answer.status, json.loads(answer.text)


def trust(**condition: dict[str, Any]) -> str:
    """Return a trust policy of the provider with a condition."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Federated": [PROVIDER]}}
    return json.dumps({"Version": "1", "Statement": [{**statement, "Condition": condition}]})


def prepare_oidc(sandbox: Sandbox, trusted: str | None = None) -> None:
    """Create the provider and the role with a policy, and add the keys of the issuer to the sandbox."""
    fields: dict[str, Any] = {"OIDCProviderName": "ci", "IssuerUrl": ISSUER, "ClientIds": "sts.aliyuncs.com,other"}
    status, answer = ims(sandbox, "CreateOIDCProvider", **fields)
    assert (status, answer["OIDCProvider"]["Arn"]) == (200, PROVIDER)
    own = trust(StringEquals={"oidc:iss": [ISSUER], "oidc:aud": "sts.aliyuncs.com"}, StringLike={"oidc:sub": "repo:*"})
    call(sandbox, "CreateRole", RoleName="Builder", AssumeRolePolicyDocument=trusted or own)
    policy: dict[str, Any] = {"PolicyType": "System", "PolicyName": "AliyunECSReadOnlyAccess"}
    call(sandbox, "AttachPolicyToRole", RoleName="Builder", **policy)
    account.apply(sandbox.state, {"issuers": [{"url": ISSUER, "jwks": jwks()}]}, operations=OPERATIONS)


def assume(sandbox: Sandbox, token: str, **fields: str) -> RawAnswer:
    """Assume the role with a token and without a key."""
    form = {"RoleArn": ROLE, "RoleSessionName": "run-7", "OIDCProviderArn": PROVIDER, "OIDCToken": token, **fields}
    query = {"Action": "AssumeRoleWithOIDC", "Version": "2015-04-01", "Format": "JSON"}
    return send(sandbox, query, method="POST", form=form)
