"""This file takes secrets out of texts that come from the SDKs and the services before anybody reads them."""

import re

# Parameters of a signed request, in a URL, in JSON or in XML; the secret key itself never travels.
_PARAMETERS = re.compile(
    r"(?i)((?:security-?token|x-oss-security-token|signature|x-oss-signature|accesskeysecret|password)"
    r"(?:[\"']?\s*[:=]\s*[\"']?|%3D|>))(?!\s)[^&\s\"'<,]+"
)
# The Authorization header of OSS, versions 1 and 4.
_AUTHORIZATION = re.compile(r"(?i)\b(OSS \S+?:|OSS4-HMAC-SHA256 )[^\s\"']\S*(?:,\s*\w+=\S+)*")
# What a signature was made over holds the token; the service repeats it to help with debugging.
_STRING_TO_SIGN = re.compile(
    r"(?is)(?:(string to sign is:?)\s*\S.*|(<(?:StringToSign|StringToSignBytes|CanonicalRequest)>)[^<]*)"
)
_USERINFO = re.compile(r"(https?://)[^/@\s]+@")


def redact(text: str) -> str:
    """Give the text without tokens, signatures and passwords; all else stays, key ids included."""
    text = _STRING_TO_SIGN.sub(r"\1\2***", text)
    text = _PARAMETERS.sub(r"\1***", text)
    text = _AUTHORIZATION.sub(r"\1***", text)
    return _USERINFO.sub(r"\1***@", text)
