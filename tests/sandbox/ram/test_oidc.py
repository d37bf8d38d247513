"""Tests of OIDC providers and AssumeRoleWithOIDC."""

import json
import os
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.cloud.config import CloudConfig
from aliyun_import.cloud.connect import connect
from aliyun_import.cloud.credentials.source import load_credentials
from aliyun_import.errors import AccessError
from aliyun_import.sandbox.control import account
from aliyun_import.sandbox.control.account import Issuer, save_issuer
from aliyun_import.sandbox.core.router import OPERATIONS
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.cloud.credentials.test_source import configure, profile
from tests.rows import each_row
from tests.sandbox.ram.oidc import ISSUER, PROVIDER, ROLE, SUBJECT, Token, assume, ims, jwks, prepare_oidc, trust
from tests.sandbox.vendor_sdk import RawAnswer, call, refusal, send

TOKEN_CODE = "AuthenticationFail.OIDCToken"


@pytest.fixture
def prepared(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox with the provider, the role and the keys of the issuer."""
    prepare_oidc(sandbox)
    return sandbox


def _code(answer: RawAnswer) -> str:
    return str(json.loads(answer.text).get("Code", ""))


def test_a_role_is_assumed_with_a_token(sandbox: Sandbox) -> None:
    """The key has the permissions of the role for the requested time. The call has no signature."""
    prepare_oidc(sandbox)
    answer = json.loads(assume(sandbox, Token().text(sandbox), DurationSeconds="900").text)
    info, credentials = answer["OIDCTokenInfo"], answer["Credentials"]
    assert (info["Subject"], info["Issuer"], info["ClientIds"]) == (SUBJECT, ISSUER, "sts.aliyuncs.com")
    session = AccessKey(
        id=credentials["AccessKeyId"], secret=credentials["AccessKeySecret"], token=credentials["SecurityToken"]
    )
    identity = call(sandbox, "GetCallerIdentity", key=session)
    assert identity["Arn"] == f"acs:ram::{sandbox.account_id}:assumed-role/Builder/run-7"
    call(sandbox, "DescribeImages", key=session)
    assert refusal(sandbox, "DeleteImage", key=session, ImageId="m-1") == (403, "Forbidden.RAM")
    sandbox.clock.advance(901)
    assert refusal(sandbox, "DescribeImages", key=session) == (400, "InvalidSecurityToken.Expired")


@each_row(
    ("issued", "code"),
    [
        (Token(claims={"aud": ["elsewhere", "other"]}), ""),
        (Token(header={"kid": "key-1"}), f"{TOKEN_CODE}.InvalidSignature"),
        (Token(number=1), f"{TOKEN_CODE}.InvalidSignature"),
        (Token(header={"alg": "none"}), f"{TOKEN_CODE}.Invalid"),
        (Token(header={"alg": "HS256"}), f"{TOKEN_CODE}.Invalid"),
        (Token(claims={"iss": f"{ISSUER}/"}), f"{TOKEN_CODE}.IssuerNotMatch"),
        (Token(claims={"aud": "elsewhere"}), f"{TOKEN_CODE}.AudienceNotMatch"),
        (Token(claims={"aud": []}), f"{TOKEN_CODE}.AudienceNotMatch"),
        (Token(claims={"exp": 1}), f"{TOKEN_CODE}.Expired"),
        (Token(claims={"exp": float("nan")}), f"{TOKEN_CODE}.Invalid"),
        (Token(claims={"exp": None}), f"{TOKEN_CODE}.Invalid"),
        (Token(claims={"exp": True}), f"{TOKEN_CODE}.Invalid"),
        (Token(claims={"iat": 1}), f"{TOKEN_CODE}.Invalid"),
        (Token(claims={"nbf": 9e9}), f"{TOKEN_CODE}.Invalid"),
        (Token(claims={"sub": 7}), f"{TOKEN_CODE}.Invalid"),
        (Token(claims={"sub": "user:example"}), "AuthenticationFail.NoPermission"),
    ],
)
def test_a_token_is_verified(prepared: Sandbox, issued: Token, code: str) -> None:
    """Signature, issuer, audience, dates and conditions of the role have their codes. Unsigned tokens are refused."""
    trusted = trust(StringLike={"oidc:sub": "repo:*"}, StringEquals={"oidc:iss": ISSUER})
    call(prepared, "UpdateRole", RoleName="Builder", NewAssumeRolePolicyDocument=trusted)
    answer = assume(prepared, issued.text(prepared))
    assert (answer.status, _code(answer)) == ((401, code) if code else (200, ""))


@each_row("token", ["abcd", "a.b.c.d", "!.!.!", "e30.e30.e30", "W10.W10.W10", "W1tb.e30.e30", "é.é.é"])
def test_a_malformed_token_is_refused(prepared: Sandbox, token: str) -> None:
    """A malformed token, and one without a signature, is refused as invalid."""
    assert _code(assume(prepared, token)) == f"{TOKEN_CODE}.Invalid"
    unsigned = Token().text(prepared).rpartition(".")[0]
    assert _code(assume(prepared, f"{unsigned}.")) == f"{TOKEN_CODE}.InvalidSignature"


@each_row(
    ("condition", "expected"),
    [
        ({}, 200),
        ({"StringEquals": {"oidc:sub": SUBJECT}}, 200),
        ({"StringEquals": {"OIDC:sub": ["other", SUBJECT]}}, 200),
        ({"StringEqualsIgnoreCase": {"oidc:sub": SUBJECT.upper()}}, 200),
        ({"StringLike": {"oidc:sub": "repo:example/*:ref:refs/heads/mai?"}}, 200),
        ({"StringNotEquals": {"oidc:sub": SUBJECT}}, 401),
        ({"StringNotLike": {"oidc:sub": "repo:other/*"}}, 200),
        ({"StringEquals": {"oidc:sub": "repo:*"}}, 401),
        ({"StringLike": {"oidc:sub": "repo:[e]xample/*"}}, 401),
        ({"StringEquals": {"oidc:aud": "other"}}, 401),
        ({"StringEquals": {"oidc:iss": "https://other.example.invalid"}}, 401),
        ({"NumericEquals": {"oidc:sub": "1"}}, 501),
    ],
)
def test_conditions_of_the_role_are_compared(prepared: Sandbox, condition: dict[str, Any], expected: int) -> None:
    """All string operators are supported. Another operator is answered 501 by name."""
    call(prepared, "UpdateRole", RoleName="Builder", NewAssumeRolePolicyDocument=trust(**condition))
    assert assume(prepared, Token().text(prepared)).status == expected


@each_row(
    ("fields", "expected"),
    [
        ({"OIDCProviderArn": f"{PROVIDER}-2"}, (401, "AuthenticationFail.NoPermission")),
        ({"RoleArn": f"{ROLE}2"}, (404, "EntityNotExist.Role")),
        ({"RoleSessionName": "a b"}, (400, "InvalidParameter.RoleSessionName")),
        ({"DurationSeconds": "3601"}, (400, "InvalidParameter.DurationSeconds")),
        ({"OIDCToken": ""}, (400, "MissingParameter")),
        ({"SourceIdentity": "x"}, (501, "NotImplementedBySandbox")),
    ],
)
def test_other_invalid_parameters_are_refused(
    prepared: Sandbox, fields: dict[str, str], expected: tuple[int, str]
) -> None:
    """Providers, roles, names, durations, and unsupported parameters are checked."""
    answer = assume(prepared, **{"token": Token().text(prepared), **fields})
    assert (answer.status, _code(answer)) == expected


def test_a_role_that_trusts_only_ecs_is_refused(sandbox: Sandbox) -> None:
    """Such a role cannot be assumed with a token."""
    ecs = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": ["ecs.aliyuncs.com"]}}
    prepare_oidc(sandbox, json.dumps({"Version": "1", "Statement": [ecs]}))
    assert _code(assume(sandbox, Token().text(sandbox))) == "AuthenticationFail.NoPermission"


def test_the_refusal_for_an_issuer_without_keys_has_how_to_add_them(sandbox: Sandbox) -> None:
    """Keys are not downloaded, and no token is accepted unverified. The control plane lists the known issuers."""
    prepare_oidc(sandbox)
    del sandbox.state.tables["oidc-issuers"][ISSUER]
    answer = assume(sandbox, Token().text(sandbox))
    assert _code(answer) == f"{TOKEN_CODE}.IssuerConfigurationBroken"
    assert "POST its JWKS to /_sandbox/issuers" in answer.text
    document = json.dumps({"url": ISSUER, "jwks": jwks()}).encode()
    request = urllib.request.Request(f"{sandbox.url}/_sandbox/issuers", data=document)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        assert json.load(response) == [{"url": ISSUER, "keys": ["key-0"]}]
    assert assume(sandbox, Token().text(sandbox)).status == 200


@each_row(
    ("issuer", "message"),
    [
        ({"url": "token.example.invalid", "jwks": jwks()}, r"issuers\[0\].url takes the URL"),
        ({"url": ISSUER, "jwks": {}}, r'issuers\[0\].jwks: a JWKS is an object with "keys"'),
        ({"url": ISSUER, "jwks": {"keys": []}}, "no RSA key"),
        ({"url": ISSUER, "jwks": jwks(d="AQAB")}, "private key"),
        ({"url": ISSUER, "jwks": jwks(n="!")}, r"issuers\[0\].jwks"),
        ({"url": ISSUER}, "jwks"),
    ],
)
def test_keys_of_an_issuer_are_checked(sandbox: Sandbox, issuer: dict[str, Any], message: str) -> None:
    """A mistake is refused with its path when keys are added. Private keys are refused too."""
    with pytest.raises(ValueError, match=message):
        account.apply(sandbox.state, {"issuers": [issuer]}, operations=OPERATIONS)


def test_an_issuer_can_replace_its_keys(sandbox: Sandbox) -> None:
    """Tokens that the old key signed are refused after the change."""
    prepare_oidc(sandbox)
    save_issuer(sandbox.state, Issuer(url=ISSUER, jwks=jwks(1)))
    assert _code(assume(sandbox, Token().text(sandbox))) == f"{TOKEN_CODE}.InvalidSignature"
    assert assume(sandbox, replace(Token(), header={"kid": "key-1"}, number=1).text(sandbox)).status == 200


def test_a_session_policy_restricts_the_permissions(sandbox: Sandbox) -> None:
    """The policy has the same effect as with AssumeRole."""
    prepare_oidc(sandbox)
    nothing = json.dumps({"Version": "1", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
    credentials = json.loads(assume(sandbox, Token().text(sandbox), Policy=nothing).text)["Credentials"]
    session = AccessKey(
        id=credentials["AccessKeyId"], secret=credentials["AccessKeySecret"], token=credentials["SecurityToken"]
    )
    assert refusal(sandbox, "DescribeImages", key=session) == (403, "Forbidden.RAM")


def test_the_action_can_be_in_the_headers(sandbox: Sandbox) -> None:
    """The vendor's current SDKs send anonymous calls in this form."""
    prepare_oidc(sandbox)
    form = {"RoleArn": ROLE, "RoleSessionName": "run", "OIDCProviderArn": PROVIDER}
    body = "&".join(f"{name}={value}" for name, value in {**form, "OIDCToken": Token().text(sandbox)}.items())
    headers = {"x-acs-action": "AssumeRoleWithOIDC", "x-acs-version": "2015-04-01", "accept": "application/json"}
    request = urllib.request.Request(f"{sandbox.url}/", data=body.encode(), headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as response:
        assert json.load(response)["Credentials"]["SecurityToken"]


def test_a_token_in_a_query_is_redacted_in_the_log(sandbox: Sandbox) -> None:
    """The vendor's library sends it in the query."""
    prepare_oidc(sandbox)
    token = Token().text(sandbox)
    send(sandbox, {"Action": "AssumeRoleWithOIDC", "Version": "2015-04-01", "OIDCToken": token}, method="POST")
    (entry,) = sandbox.requests.entries("AssumeRoleWithOIDC")
    assert "OIDCToken=***" in entry.target
    assert token not in entry.target


def test_the_tool_uses_a_token(sandbox: Sandbox, tmp_path: Path) -> None:
    """It uses the variables of a CI job and the given endpoint. The error for an expired token is that of STS."""
    prepare_oidc(sandbox)
    token = tmp_path / "token"
    token.write_text(Token().text(sandbox))
    environment = {
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": PROVIDER,
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token),
        "ALIBABA_CLOUD_ROLE_ARN": ROLE,
        "ALIBABA_CLOUD_ROLE_SESSION_NAME": "job-7",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
    }
    source = load_credentials(environment=environment, home=tmp_path, sts_url=sandbox.url)
    keys = source.get()
    session = AccessKey(id=keys.key_id, secret=keys.secret, token=keys.token)
    assert call(sandbox, "GetCallerIdentity", key=session)["Arn"].endswith("assumed-role/Builder/job-7")
    token.write_text(Token(claims={"exp": 1}).text(sandbox))
    with pytest.raises(AccessError, match=r"could not be read from the OIDC token file") as caught:
        source.renew(keys)
    assert f"{TOKEN_CODE}.Expired" in str(caught.value.cause)


@pytest.mark.parametrize("mode", ["environment", "profile", "ini", "role"])
def test_a_token_is_sent_only_to_the_given_endpoint(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """--endpoint-url applies to STS for every source of the role."""
    prepare_oidc(sandbox)
    token = tmp_path / "token"
    token.write_text(Token().text(sandbox))
    for name in [name for name in os.environ if name.startswith(("ALIBABA", "ALICLOUD"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    oidc = {"oidc_provider_arn": PROVIDER, "oidc_token_file": str(token), "ram_role_arn": ROLE}
    if mode == "environment":
        for name, value in (("OIDC_PROVIDER_ARN", PROVIDER), ("OIDC_TOKEN_FILE", str(token)), ("ROLE_ARN", ROLE)):
            monkeypatch.setenv(f"ALIBABA_CLOUD_{name}", value)
    elif mode == "profile":
        configure(tmp_path, profile(mode="OIDC", ram_session_name="run", **oidc))
    elif mode == "ini":
        lines = f"oidc_provider_arn={PROVIDER}\noidc_token_file_path={token}\nrole_arn={ROLE}\n"
        (tmp_path / "credentials.ini").write_text(f"[default]\ntype=oidc_role_arn\n{lines}")
        monkeypatch.setenv("ALIBABA_CLOUD_CREDENTIALS_FILE", str(tmp_path / "credentials.ini"))
    else:
        keys = {"access_key_id": "SANDBOX-KEY", "access_key_secret": "SANDBOX-SECRET"}
        configure(tmp_path, profile(mode="RamRoleArn", ram_role_arn=ROLE, ram_session_name="run", **keys))
    with connect(CloudConfig(region="cn-hangzhou", endpoint_url=sandbox.url)) as client:
        if mode == "role":
            with pytest.raises(AccessError, match="could not be read"):
                client.credentials.get()
            assert [entry.code for entry in sandbox.requests.entries("AssumeRole")] == ["NoPermission"]
        else:
            assert client.services().identity.whoami().account_id == sandbox.account_id


def test_providers_are_created_listed_and_deleted(sandbox: Sandbox) -> None:
    """The fields are those of the creation. A deleted provider is not trusted."""
    prepare_oidc(sandbox)
    more = {"Fingerprints": "a" * 40, "IssuanceLimitTime": "6", "Description": "for tests"}
    other: dict[str, Any] = {"OIDCProviderName": "other", "IssuerUrl": "https://other.example.invalid/x", **more}
    _, created = ims(sandbox, "CreateOIDCProvider", **other)
    _, got = ims(sandbox, "GetOIDCProvider", OIDCProviderName="other")
    assert got["OIDCProvider"] == created["OIDCProvider"]
    assert (created["OIDCProvider"]["IssuanceLimitTime"], created["OIDCProvider"]["Fingerprints"]) == (6, "a" * 40)
    _, listed = ims(sandbox, "ListOIDCProviders")
    assert [each["OIDCProviderName"] for each in listed["OIDCProviders"]["OIDCProvider"]] == ["ci", "other"]
    ims(sandbox, "DeleteOIDCProvider", OIDCProviderName="ci")
    assert ims(sandbox, "GetOIDCProvider", OIDCProviderName="ci")[1]["Code"] == "EntityNotExist.OIDCProvider"
    assert _code(assume(sandbox, Token().text(sandbox))) == "AuthenticationFail.NoPermission"


def test_providers_and_keys_are_persistent(tmp_path: Path) -> None:
    """The next sandbox of the directory accepts a token."""
    with Sandbox.start(tmp_path / "kept", keep=True) as sandbox:
        prepare_oidc(sandbox)
        sandbox.state.commit()
    with Sandbox.start(tmp_path / "kept", keep=True) as sandbox:
        assert assume(sandbox, Token().text(sandbox)).status == 200


@each_row(
    ("fields", "expected"),
    [
        ({"OIDCProviderName": "ci"}, (409, "EntityAlreadyExists.OIDCProvider")),
        ({"IssuerUrl": ISSUER}, (409, "EntityAlreadyExists.OIDCProvider.Url")),
        ({"OIDCProviderName": "-x"}, (400, "InvalidParameter.OIDCProviderName.InvalidChars")),
        ({"OIDCProviderName": "x" * 129}, (400, "InvalidParameter.OIDCProviderName.Length")),
        ({"IssuerUrl": "http://plain.example.invalid"}, (400, "InvalidParameter.IssuerUrl")),
        ({"IssuerUrl": "https://a@b.example.invalid"}, (400, "InvalidParameter.IssuerUrl")),
        ({"IssuerUrl": "https://b.example.invalid?x"}, (400, "InvalidParameter.IssuerUrl")),
        ({"IssuerUrl": "https://[b"}, (400, "InvalidParameter.IssuerUrl")),
        ({"ClientIds": ",".join(f"c{number}" for number in range(51))}, (400, "InvalidParameter")),
        ({"ClientIds": "-x"}, (400, "InvalidParameter")),
        ({"Fingerprints": "a,b,c,d,e,f"}, (400, "InvalidParameter")),
        ({"IssuanceLimitTime": "169"}, (400, "InvalidParameter")),
        ({"Description": "x" * 257}, (400, "InvalidParameter.Description.Length")),
    ],
)
def test_an_invalid_provider_is_refused(prepared: Sandbox, fields: dict[str, str], expected: tuple[int, str]) -> None:
    """Names, URLs, numbers and duplicates are checked."""
    parameters: dict[str, Any] = {"OIDCProviderName": "new", "IssuerUrl": "https://new.example.invalid", **fields}
    status, answer = ims(prepared, "CreateOIDCProvider", **parameters)
    assert (status, answer["Code"]) == expected


def test_providers_need_permissions_of_ram(sandbox: Sandbox) -> None:
    """Like roles, they need permissions and belong to one account."""
    prepare_oidc(sandbox)
    sandbox.state.deny("ram:CreateOIDCProvider")
    status, answer = ims(sandbox, "CreateOIDCProvider", OIDCProviderName="x", IssuerUrl="https://x.example.invalid")
    assert (status, answer["Code"]) == (403, "NoPermission")
    other = sandbox.state.add_key(AccessKey(id="B", secret="b", account_id="2000000000000000"))
    assert ims(sandbox, "ListOIDCProviders", key=other)[1]["OIDCProviders"] == {"OIDCProvider": []}
