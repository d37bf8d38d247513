"""This file tests that secrets are taken out of texts, and that the rest is left."""

import pytest

from aliyun_import.cloud.redact import redact


@pytest.mark.parametrize(
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
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    """Tokens, signatures, secrets and passwords do not stay, in any of the forms they travel in."""
    assert "HUSH" not in redact(text)


@pytest.mark.parametrize(
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
def test_sentences_stay_as_they_are(text: str) -> None:
    """What the services say in words about tokens and signatures is no secret."""
    assert redact(text) == text
