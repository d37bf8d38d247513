"""Tests of the redaction of secrets in texts."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from aliyun_import import redact as redaction
from aliyun_import.errors import RefusedError
from aliyun_import.redact import redact, register_file, register_key_id, register_secret, register_url, remove_secrets
from tests.rows import each_row


@each_row(
    "text",
    [
        "url: /?SecurityToken=HUSH%2B%2F%3D&Action=ImportImage",
        "url: /?Action=ImportImage&Signature=HUSH%3D&Format=JSON",
        "/disks?x-oss-signature=HUSH&x-oss-security-token=HUSH",
        '{"SecurityToken": "HUSH", "Action": "ImportImage"}',
        "{'x-oss-security-token': 'HUSH', 'Action': 'ImportImage'}",
        "<SecurityToken>HUSH</SecurityToken> ImportImage",
        "Authorization: OSS LTAIfake:HUSH= ImportImage",
        "authorization: OSS4-HMAC-SHA256 Credential=LTAIfake/20261124/cn/oss/aliyun_v4_request, Signature=HUSH",
        "server string to sign is:POST&%2F&HUSH%3D1",
        "<StringToSign>PUT HUSH</StringToSign>",
        "AccessKeySecret=HUSH ImportImage",
        "https://user:HUSH@proxy.example.com:3128/",
        "url: /?Action=AssumeRoleWithOIDC&OIDCToken=HUSH.HUSH.HUSH&RoleArn=a (Caused by NewConnectionError)",
        "url: /keys?HUSH=HUSH (Caused by",
        '{"OIDCToken": "HUSH"}',
        '{\\"SAMLAssertion\\": \\"HUSH\\"}',
        "AccessKeyId=HUSH&Signature=HUSH",
        "{'x-acs-security-token': 'HUSH', 'X-aliyun-ecs-metadata-token': 'HUSH'}",
        "Authorization: Bearer HUSH",
        "'Authorization': 'ACS3-HMAC-SHA256 Credential=HUSH,SignedHeaders=host,Signature=HUSH'",
        "https://disks.example.com/a?Expires=1&OSSAccessKeyId=HUSH&Signature=HUSH",
        "helper --token HUSH exited with 1",
    ],
)
def test_secrets_are_removed(text: str) -> None:
    """Tokens, signatures, secrets and passwords are removed in every form in which they are sent."""
    assert "HUSH" not in redact(text)


@each_row(
    "text",
    [
        "The OSS Access Key Id you provided does not exist in our records.",
        "The request signature we calculated does not match the signature you provided.",
        "The security token you provided has expired.",
        "Specified SecurityToken is expired.",
        "The specified bucket does not exist.",
        'The specified parameter "BootMode" is malformed.',
    ],
)
def test_sentences_about_secrets_are_unchanged(text: str) -> None:
    """Messages of the services contain words such as "token" and "signature"."""
    assert redact(text) == text


SECRET = "s3+/cr-et==" * 4


@pytest.fixture(autouse=True)
def no_known_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without known secrets, and restore the previous ones."""
    for name, value in (("_secrets", set()), ("_ids", set()), ("_pattern", None)):
        monkeypatch.setattr(redaction, name, value)


@pytest.mark.parametrize("form", [SECRET, quote(SECRET), quote(quote(SECRET, safe=""), safe=""), json.dumps(SECRET)])
def test_a_known_secret_is_concealed_in_every_form(form: str) -> None:
    """The forms are plain, encoded, encoded twice, in JSON, and truncated."""
    register_secret(SECRET)
    for text in (form, form[:30]):
        assert remove_secrets(f"before {text} after").strip('"').startswith("before")
        assert SECRET[:8] not in remove_secrets(f"before {text} after")
        assert "cr" not in remove_secrets(f"{text}")


def test_an_error_conceals_known_secrets_in_all_its_texts() -> None:
    """Its creator calls nothing for that."""
    register_secret(SECRET)
    error = RefusedError(f"a {SECRET}", code="c", cause=f"b {SECRET}", remedy=f"c {SECRET}", details={"d": SECRET})
    assert (error.summary, str(error), error.cause, error.remedy) == ("a ***", "a ***", "b ***", "c ***")
    assert error.details == {"d": "***"}


def test_short_values_are_not_secrets() -> None:
    """A short value could be in any text; the end of a key id is kept, as in the vendor's CLI."""
    register_secret("disk", None, "")
    register_key_id("KEY")
    register_key_id("LTAI0123456789abcdef")
    assert remove_secrets("disk KEY LTAI0123456789abcdef") == "disk KEY ***def"


def test_secrets_are_learned_from_a_url_and_a_file(tmp_path: Path) -> None:
    """They are the password, long pieces of path and query, and the text of a small file. A missing file is ignored."""
    register_url("https://user:password1@host/keys/0123456789abcdef?name=fedcba9876543210")
    assert remove_secrets("password1 host keys 0123456789abcdef fedcba9876543210") == "*** host keys *** ***"
    (tmp_path / "token").write_text("token-of-a-file\n")
    register_file(str(tmp_path / "token"))
    register_file(str(tmp_path / "none"))
    assert remove_secrets("a token-of-a-file") == "a ***"
