"""Answers of the services, and defensive readers of their headers and JSON fields."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from typing import Any

# Upper limit of the wait that a service may request; more is an error or an attack.
MAX_RETRY_AFTER_S = 300.0
# A smaller difference may be the age of the answer.
_MIN_DIFFERENCE_S = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with any status: names of headers in lower case, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        """Return the service's id of the request, empty if no header has it."""
        return (self.headers.get("x-oss-request-id") or self.headers.get("x-acs-request-id") or "")[:100]


def status_text(status: int) -> str:
    """Return the status and its name in HTTP, for an answer without a message."""
    return f"HTTP {status} {responses.get(status, 'without a message')}"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait before a retry that the service requests, at most 300 s; None if it requests none.

    The header of OSS is in milliseconds, that of HTTP in seconds.
    """
    for name, unit_s in (("x-oss-qos-delay-time", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]+", value):
            # The length is checked first, because int() fails for 5,000 digits.
            return MAX_RETRY_AFTER_S if len(value) > 9 else min(int(value) * unit_s, MAX_RETRY_AFTER_S)
    return None


def clock_difference(server_time: str) -> str:
    """Return the difference of this machine's clock, e.g. "20 min 3 s ahead of"; empty if small or unknown.

    `server_time` is a Date header, or the ServerTime of OSS's RequestTimeTooSkewed (2026-11-24T04:42:33.000Z).
    """
    there_s = seconds_of(server_time)
    ahead_s = round(time.time() - there_s) if there_s is not None else 0
    if abs(ahead_s) < _MIN_DIFFERENCE_S:
        return ""
    minutes, seconds = divmod(abs(ahead_s), 60)
    return f"{minutes} min {seconds} s {'ahead of' if ahead_s > 0 else 'behind'}"


def seconds_of(text: str) -> float | None:
    """Return the seconds since the epoch of an HTTP date or an ISO 8601 time (without a zone: UTC), else None."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = read(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError, OSError):  # the latter three: years and zones out of range
            continue
    return None


Fields = Mapping[str, Any]


def document_of(answer: Answer) -> Fields:
    """Return the JSON object of a body, or the flat fields of an XML error; empty if it is neither."""
    body = answer.body.decode("utf-8", "replace")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # the latter: thousands of levels
        return fields_of_xml(body)
    return document if isinstance(document, dict) else {}


def fields_of_xml(body: str) -> dict[str, str]:
    """Return Code, Message and RequestId of an <Error>, well-formed or not; empty for any other text."""
    if "<Error>" not in body:
        return {}
    names = ("Code", "Message", "RequestId")
    found = {name: re.search(rf"<{name}>([^<]*)</{name}>", body) for name in names}
    return {name: match[1] for name, match in found.items() if match}


def text(fields: Fields, name: str) -> str:
    """Return a field as text; empty if it is missing or null."""
    value = fields.get(name)
    return "" if value is None else str(value)


def single_word(fields: Fields, name: str) -> str:
    """Return a field that is one word, such as an id, without spaces, line ends and control characters."""
    return "".join(one for one in text(fields, name)[:200] if one.isprintable() and one != " ")


def objects(fields: Fields, outer: str, inner: str) -> tuple[Fields, ...]:
    """Return the objects of a list that is wrapped as {outer: {inner: [...]}}.

    Some published samples omit the inner wrapper, or the list around a single object; both are read as well.
    """
    found = fields.get(outer)
    if isinstance(found, Mapping) and inner in found:
        found = found[inner]
    if isinstance(found, Mapping):
        found = [found] if found else []
    return tuple(one for one in found if isinstance(one, Mapping)) if isinstance(found, list) else ()


def integer(fields: Fields, name: str) -> int | None:
    """Return a field as a whole number ("40%", "60", 60); None if it is not one."""
    match = re.fullmatch(r"\s*([0-9]{1,18})(?:\.[0-9]+)?\s*%?\s*", text(fields, name))
    return int(match[1]) if match else None


def boolean(fields: Fields, name: str) -> bool | None:
    """Return a field as a truth value (true, "True", "false"); None if it is not one."""
    return {"true": True, "false": False}.get(text(fields, name).strip().lower())
