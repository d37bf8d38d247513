"""This file says how far this machine's clock is from a service's."""

import time
from datetime import datetime
from email.utils import parsedate_to_datetime

# Less than this is the age of the answer and no explanation for anything.
_FAR_S = 60


def clock_difference(server_time: str) -> str:
    """Say how far this clock is from the service's ("20 min 3 s ahead of"); empty where they agree or it is unknown.

    `server_time` is a Date header, or the ServerTime of OSS's RequestTimeTooSkewed (2026-11-24T04:42:33.000Z).
    """
    there_s = _seconds(server_time)
    ahead_s = round(time.time() - there_s) if there_s is not None else 0
    if abs(ahead_s) < _FAR_S:
        return ""
    minutes, seconds = divmod(abs(ahead_s), 60)
    return f"{minutes} min {seconds} s {'ahead of' if ahead_s > 0 else 'behind'}"


def _seconds(text: str) -> float | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return read(text).timestamp()
        except ValueError:
            continue
    return None
