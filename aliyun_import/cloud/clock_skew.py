"""This file says how far this machine's clock is from a service's."""

import time
from email.utils import parsedate_to_datetime

# Less than this is the age of the answer and no explanation for anything.
_FAR_S = 60


def clock_difference(server_date: str) -> str:
    """Say how far this clock is from the service, by the Date header of its answer; empty where that says nothing."""
    try:
        there_s = parsedate_to_datetime(server_date).timestamp()
    except ValueError:
        return ""
    ahead_s = round(time.time() - there_s)
    if abs(ahead_s) < _FAR_S:
        return ""
    minutes, seconds = divmod(abs(ahead_s), 60)
    return f"{minutes} min {seconds} s {'ahead of' if ahead_s > 0 else 'behind'}"
