"""Fetched keys, the errors of their sources, and the cache that renews keys which expire."""

import time
from collections.abc import Callable
from typing import NamedTuple

from aliyun_import.cloud.transport.answer import Answer, document_of, seconds_of, text
from aliyun_import.errors import AccessError, AliyunImportError, ServiceUnreachable, TransientError
from aliyun_import.redact import redact

# Keys are renewed when a quarter of their life is left, but not earlier than this before their end: a part that was
# signed with them may take minutes.
_LONGEST_REST_S = 300.0
# After a failed renewal the keys at hand are used, and the source is asked again after this time.
_RETRY_S = 20.0
# Temporary keys without a known end are read again after this time, which costs little: their reader has a cache. So
# are those that have expired when they arrive: the clock of this machine is wrong, and the service decides.
_REREAD_S = 60.0


class Keys(NamedTuple):
    """One set of keys, and the end of their life in seconds since the epoch; None if it is unknown or never."""

    key_id: str
    secret: str
    token: str | None = None
    expires_s: float | None = None


Read = Callable[[], Keys]


class KeyCache:
    """Keys from one source, kept for as long as they are good. Not thread-safe: the caller has a lock.

    A renewal that fails does not matter while the keys at hand are good; from then on its error is raised.
    """

    def __init__(self, read: Read, now_s: Callable[[], float] = time.time) -> None:
        self._read = read
        self._now_s = now_s
        self._keys: Keys | None = None
        self._renew_at_s: float | None = None

    def get(self) -> Keys:
        """Return good keys; raises what the source raises if there are none."""
        keys, now_s = self._keys, self._now_s()
        if keys is not None and (self._renew_at_s is None or now_s < self._renew_at_s):
            return keys
        try:
            return self.fetch()
        except (AccessError, TransientError):
            # Keys whose end is unknown are good until a service says that they are not.
            if keys is None or (keys.expires_s is not None and keys.expires_s <= now_s):
                raise
            self._renew_at_s = now_s + _RETRY_S
            return keys

    def fetch(self) -> Keys:
        """Return keys that were read from the source now."""
        keys, now_s = self._read(), self._now_s()
        if keys.expires_s is not None and keys.expires_s <= now_s:
            keys = keys._replace(expires_s=None)
        self._keys = keys
        if keys.expires_s is not None:
            self._renew_at_s = keys.expires_s - min((keys.expires_s - now_s) / 4, _LONGEST_REST_S)
        else:
            self._renew_at_s = now_s + _REREAD_S if keys.token else None
        return keys


def keys_of(answer: Answer, where: str) -> Keys:
    """Read the keys of an answer of the metadata service, of a URI or of STS.

    Raises TransientError and AccessError, which hold nothing secret of the answer.
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
    told = redact(f"{code}: {message}" if message else code)[:400] if code not in ("Success", "") else ""
    cause = f"It answered with HTTP {answer.status}" + (f" and {told}." if told else " and without keys.")
    is_document = answer.body.lstrip().startswith(b"{")
    if is_temporary(answer.status, code) or (answer.status == 200 and not is_document):
        return unreachable(where, cause)
    error: AccessError = refused(where, cause)
    return error


def is_temporary(status: int, code: str) -> bool:
    """Return whether a source that answered so may give keys a moment later: it is throttled or has an error."""
    return status >= 500 or status in (408, 429) or code.startswith(("Throttling", "InternalError", "ServiceUnavail"))


def unreachable(where: str, cause: str) -> ServiceUnreachable:
    """Return the error of a source that gives no keys at present."""
    return ServiceUnreachable(
        f"The credentials could not be fetched from {where}: it can't be reached or is out of order.",
        code="credentials-unreachable",
        cause=cause,
        remedy="Check the network and run the same command again; it resumes where it stopped.",
        resumable=True,
    )


def refused(where: str, cause: str) -> AccessError:
    """Return the error of a source that gives no keys."""
    return AccessError(
        f"The credentials could not be taken from {where}.",
        code="credentials-failed",
        cause=cause,
        remedy=f"Repair {where}, or set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET.",
    )
