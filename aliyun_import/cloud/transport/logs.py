"""This file shuts the logs of the vendor's libraries and of what they are built on.

They log signed URLs, whole requests (with DEBUG=sdk in the environment) and answers that hold keys, and three of them
write to stderr through handlers of their own. What is worth a line is logged by `request_log`.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

# The loggers at the root; those below them are shut as well, since some have handlers and levels of their own.
VENDORS = (
    "aliyunsdkcore",
    "alibabacloud-tea",
    "alibabacloud_credentials",
    "apscheduler",
    "aiohttp",
    "charset_normalizer",
    "credentials",
    "darabonba",
    "oss2",
    "requests",
    "tzlocal",
    "urllib3",
)
_OFF = logging.CRITICAL + 1


def shut_vendor_logs() -> None:
    """Shut them; call it after each import of such a library, which may open its own again."""
    known = list(logging.root.manager.loggerDict)
    below = [name for name in known if name.startswith(tuple(f"{vendor}." for vendor in VENDORS))]
    for name in (*VENDORS, *below):
        logger = logging.getLogger(name)
        logger.handlers[:] = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(_OFF)


_log = logging.getLogger("aliyun_import")


@dataclass(slots=True)
class Exchange:
    """What is known of a request once its answer is there."""

    status: int = 0
    request_id: str = ""


@contextmanager
def logged(service: str, operation: str, *, method: str, url: str) -> Iterator[Exchange]:
    """Log one request when it is over; whoever sends it fills in the answer. Of an exception its class is logged."""
    exchange = Exchange()
    begun_s = time.monotonic()
    try:
        yield exchange
    except BaseException as error:
        _write(f"{service} {operation}", method, url, type(error).__name__, begun_s)
        raise
    answer = f"{exchange.status}, request id {exchange.request_id}" if exchange.request_id else f"{exchange.status}"
    _write(f"{service} {operation}", method, url, answer, begun_s)


def log_fetch(where: str, outcome: str, seconds: float) -> None:
    """Log that keys were fetched; the vendor's library sends these requests, so no more is known of them."""
    _log.debug("credentials from %s: %s, %.3f s", where, outcome, seconds)


def _write(what: str, method: str, url: str, answer: str, begun_s: float) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        _log.debug("%s: %s %s: %s, %.3f s", what, method, place, answer, time.monotonic() - begun_s)
