"""Removal of secrets from every text that is shown or logged, by their values and by the names of their fields.

Code that reads a secret registers it with `register_secret`; from then on `remove_secrets` replaces the value in any
text. Errors call `remove_secrets` when they are created, and the streams of the command line for each write. `redact`
is for texts of an SDK or a service, which may contain secrets that were never registered, such as a signature.
Thread-safe.
"""

import re
import threading
from contextlib import suppress

# A shorter value could occur in any sentence; real secrets have 30 characters.
_MIN_SECRET_CHARS = 8
_MIN_ID_CHARS = 16
_MIN_URL_PIECE_CHARS = 16
# A truncated text can contain the beginning of a secret.
_BEGINNING_CHARS = 12
_MIN_TRUNCATED_CHARS = 24
# A larger file contains no token.
_MAX_FILE_BYTES = 64 << 10

_lock = threading.Lock()
_secrets: set[str] = set()
_ids: set[str] = set()
_pattern: re.Pattern[str] | None = None

# The patterns are compiled on first use, and some modules are imported in functions: each command imports this module.
# Fields of requests and answers, in a URL, in JSON or in XML. A ClientToken only makes a request idempotent.
_NAMES = (
    r"(?<!client)(?<!client[_-])token|saml[_-]?assertion|signature|access[_-]?key[_-]?(?:id|secret)"
    r"|x-oss-credential|pass(?:word|wd)|client[_-]?secret|sign[_-]?in[_-]?secret"
)
_FIELDS = rf"(?i)((?:{_NAMES})(?:\\*[\"']?\s*[:=]\s*\\*[\"']?|%3D|>))(?!\s)[^&\s\"'<,\\]+"
_ARGUMENTS = r"(?i)(--?[\w-]*(?:password|secret|token))\s+[^\s\"']+"
_QUERY = r"\?[^\s\"'<>()]*=[^\s\"'<>()]*"
_AUTHORIZATION_FIELD = r"(?i)(\bauthorization[\"']?\s*[:=]\s*)[^\r\n]*"
# The value of the Authorization header of OSS, versions 1 and 4, without its name.
_AUTHORIZATION = r"(?i)\b(OSS \S+?:|(?:OSS4|ACS3)-HMAC-SHA256 )[^\s\"']\S*(?:,\s*\w+=\S+)*"
# The signed text contains the token, and the service repeats it in errors.
_STRING_TO_SIGN = r"(?is)(?:(string to sign is:?)\s*\S.*|(<(?:StringToSign|StringToSignBytes|CanonicalRequest)>)[^<]*)"
_USERINFO = r"(https?://)[^/@\s]+@"


def register_secret(*secrets: str | None) -> None:
    """Register secrets, with their encoded forms. Values of fewer than 8 characters are ignored."""
    for secret in secrets:
        if secret and len(secret.strip()) >= _MIN_SECRET_CHARS:
            _add(secret.strip(), _secrets)


def register_key_id(key_id: str | None) -> None:
    """Register an access key id; its last three characters remain visible, as in `aliyun configure list`."""
    if key_id and len(key_id.strip()) >= _MIN_ID_CHARS:
        _add(key_id.strip(), _ids)


def register_url(url: str | None) -> None:
    """Register the possible secrets of a URL: password, query, and long parts of path and query."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url or "")
    except ValueError:
        return
    register_secret(parts.password)
    pieces = [parts.query, *re.split("[/]", parts.path), *re.split("[&=]", parts.query)]
    register_secret(*(piece for piece in pieces if len(piece) >= _MIN_URL_PIECE_CHARS))


def register_file(path: str) -> None:
    """Register the whole text of a file, such as an OIDC token. A file that can't be read is ignored."""
    from pathlib import Path

    with suppress(OSError, ValueError):
        if Path(path).stat().st_size <= _MAX_FILE_BYTES:
            register_secret(Path(path).read_text(encoding="utf-8"))


def remove_secrets(text: str) -> str:
    """Return the text without the registered values."""
    return _pattern.sub(_mark, text) if _pattern else text


def redact(text: str) -> str:
    """Return a text of an SDK or service without registered values, tokens, signatures, passwords and URL queries."""
    text = remove_secrets(text)
    text = re.sub(_STRING_TO_SIGN, r"\1\2***", text)
    text = re.sub(_QUERY, "?***", text)
    text = re.sub(_AUTHORIZATION_FIELD, r"\1***", text)
    text = re.sub(_FIELDS, r"\1***", text)
    text = re.sub(_ARGUMENTS, r"\1 ***", text)
    text = re.sub(_AUTHORIZATION, r"\1***", text)
    return re.sub(_USERINFO, r"\1***@", text)


def _add(value: str, known: set[str]) -> None:
    global _pattern
    if value in known:
        return
    with _lock:
        known.add(value)
        choices = {form for one in _secrets | _ids for form in _forms(one)}
        # The longest first, because one value may begin with another.
        exact = "|".join(re.escape(form) for form in sorted(choices, key=len, reverse=True))
        cut = {form[:_BEGINNING_CHARS] for one in _secrets if len(one) >= _MIN_TRUNCATED_CHARS for form in _forms(one)}
        begun = "".join(rf"|{re.escape(form)}[\w+/=.~%-]*" for form in sorted(cut))
        _pattern = re.compile(exact + begun)


def _forms(value: str) -> set[str]:
    """Return the forms of a value: plain, in a URL, in a signed text (encoded twice), in JSON."""
    import json
    from urllib.parse import quote, quote_plus

    encoded = {quote(value, safe=""), quote(value), quote_plus(value)}
    return {value, *encoded, *(quote(one, safe="") for one in encoded), json.dumps(value)[1:-1]}


def _mark(match: re.Match[str]) -> str:
    return f"***{match[0][-3:]}" if match[0] in _ids else "***"
