"""Keys, the errors of their sources, and the cache that renews expiring keys."""

import time
from collections.abc import Callable
from typing import NamedTuple

from aliyun_import.cloud.transport.answer import Answer, document_of, seconds_of, text
from aliyun_import.errors import AccessError, AliyunImportError, ServiceUnreachable, TransientError
from aliyun_import.redact import redact

# Keys are renewed when a quarter of their lifetime is left, but at most this time before they expire. The margin is
# needed because a part that was signed with them may take minutes.
_MAX_MARGIN_S = 300.0
# After a failed renewal the present keys remain in use, and the next renewal follows after this time.
_RETRY_S = 20.0
# Temporary keys without a known expiry are read again after this time, which costs little: their reader has a cache.
# The same applies to keys that have already expired when they are read: the clock of this machine is wrong then.
_REREAD_S = 60.0


class Keys(NamedTuple):
    """One set of keys, and their expiry in seconds since the epoch; None if it is unknown or never."""

    key_id: str
    secret: str
    token: str | None = None
    expires_s: float | None = None


Read = Callable[[], Keys]


class KeyCache:
    """Cache of the keys of one source. Not thread-safe: the caller has a lock.

    The error of a failed renewal is raised only after the present keys have expired.
    """

    def __init__(self, read: Read, now_s: Callable[[], float] = time.time) -> None:
        self._read = read
        self._now_s = now_s
        self._keys: Keys | None = None
        self._renew_at_s: float | None = None

    def get(self) -> Keys:
        """Return valid keys; raises the error of the source if there are none."""
        keys, now_s = self._keys, self._now_s()
        if keys is not None and (self._renew_at_s is None or now_s < self._renew_at_s):
            return keys
        try:
            return self.fetch()
        except (AccessError, TransientError):
            # Keys without a known expiry are used until a service rejects them.
            if keys is None or (keys.expires_s is not None and keys.expires_s <= now_s):
                raise
            self._renew_at_s = now_s + _RETRY_S
            return keys

    def fetch(self) -> Keys:
        """Read the keys from the source and return them."""
        keys, now_s = self._read(), self._now_s()
        if keys.expires_s is not None and keys.expires_s <= now_s:
            keys = keys._replace(expires_s=None)
        self._keys = keys
        if keys.expires_s is not None:
            self._renew_at_s = keys.expires_s - min((keys.expires_s - now_s) / 4, _MAX_MARGIN_S)
        else:
            self._renew_at_s = now_s + _REREAD_S if keys.token else None
        return keys


def keys_of(answer: Answer, where: str) -> Keys:
    """Read the keys of an answer of the metadata service, of a URI or of STS.

    Raises TransientError and AccessError, without secrets of the answer.
    """
    document = document_of(answer)
    code, inner = text(document, "Code"), document.get("Credentials")
    fields = inner if isinstance(inner, dict) else document
    if answer.status == 200 and code in ("Success", ""):
        key_id, secret, token = (text(fields, name) for name in ("AccessKeyId", "AccessKeySecret", "SecurityToken"))
        if key_id and secret:
            return Keys(key_id, secret, token or None, seconds_of(text(fields, "Expiration")))
    raise _no_keys(answer, where, code, text(document, "Message"))


def _no_keys(answer: Answer, where: str, code: str, message: str) -> AliyunImportError:
    reason = redact(f"{code}: {message}" if message else code)[:400] if code not in ("Success", "") else ""
    cause = f"It answered with HTTP {answer.status}" + (f" and {reason}." if reason else " and without keys.")
    is_document = answer.body.lstrip().startswith(b"{")
    if is_temporary(answer.status, code) or (answer.status == 200 and not is_document):
        return unreachable(where, cause)
    return refused(where, cause)


def is_temporary(status: int, code: str) -> bool:
    """Return whether a source may return keys later: it throttles, or has an internal error."""
    return status >= 500 or status in (408, 429) or code.startswith(("Throttling", "InternalError", "ServiceUnavail"))


def unreachable(where: str, cause: str) -> ServiceUnreachable:
    """Return the error of a source that returns no keys at present."""
    return ServiceUnreachable(
        f"The credentials could not be fetched from {where}: it can't be reached or is unavailable.",
        code="credentials-unreachable",
        cause=cause,
        remedy="Check the network and run the same command again; it resumes where it stopped.",
        resumable=True,
    )


def refused(where: str, cause: str) -> AccessError:
    """Return the error of a source that returns no keys."""
    return AccessError(
        f"The credentials could not be read from {where}.",
        code="credentials-failed",
        cause=cause,
        remedy=f"Correct {where}, or set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.",
    )
