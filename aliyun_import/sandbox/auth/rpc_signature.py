"""This file does the arithmetic of RPC signatures (HMAC-SHA1), the way ECS, RAM and STS check them.

Source: ECS API reference, "Request signatures". Written apart from any client, so that a wrong belief in one can't
agree with itself in the other.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

# Takes part in no signature, because it is the signature.
_UNSIGNED = "Signature"


def percent_encode(text: str) -> str:
    """Encode as RFC 3986 has it: only A-Z a-z 0-9 - _ . ~ stay, a space is %20, an asterisk %2A."""
    return quote(text, safe="-_.~")


def string_to_sign(method: str, parameters: Mapping[str, str]) -> str:
    """Give the text that is signed: the method as it was sent, and all parameters of query and form, by name."""
    canonical = "&".join(
        f"{percent_encode(name)}={percent_encode(value)}"
        for name, value in sorted(parameters.items())
        if name != _UNSIGNED
    )
    return f"{method}&%2F&{percent_encode(canonical)}"


def signature(secret: str, text: str) -> str:
    """Sign the text: base64 of HMAC-SHA1, the key being the secret and an ampersand."""
    digest = hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode("ascii")


def matches(secret: str, text: str, *, given: str) -> bool:
    """Tell whether `given` is the signature of the text; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(signature(secret, text).encode(), given.encode())
