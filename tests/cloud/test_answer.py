"""Tests of the values that are read from answers: clock difference, wait before a retry, documents, fields."""

import time
from email.utils import formatdate
from typing import Any

from aliyun_import.cloud.transport.answer import (
    Answer,
    boolean,
    clock_difference,
    document_of,
    integer,
    objects,
    retry_after_s,
)
from tests.rows import each_row


@each_row(("offset_s", "direction"), [(1200, "behind"), (-1200, "ahead of")])
def test_a_clock_difference_is_described_with_its_direction(offset_s: int, direction: str) -> None:
    """It is computed from an HTTP date and from OSS's own format."""
    then_s = time.time() + offset_s
    for text in (formatdate(then_s, usegmt=True), time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(then_s))):
        difference = clock_difference(text)
        assert difference.startswith(("19 min", "20 min"))
        assert difference.endswith(direction)


@each_row("text", ["", "yesterday", "2026-13-45", "9" * 5000])
def test_without_a_valid_date_the_difference_is_empty(text: str) -> None:
    """A missing or invalid date has no result."""
    assert clock_difference(text) == ""


def test_a_small_difference_is_empty() -> None:
    """The date is the present time."""
    assert clock_difference(formatdate(usegmt=True)) == ""


@each_row(
    ("headers", "seconds"),
    [
        ({"x-oss-qos-delay-time": "2500"}, 2.5),
        ({"retry-after": "7"}, 7),
        ({"x-oss-qos-delay-time": "1", "retry-after": "7"}, 0.001),
        ({"retry-after": "1000000000"}, 300),
        ({"retry-after": "9" * 5000}, 300),
        ({"x-oss-qos-delay-time": "1" + "0" * 15}, 300),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "\u00b2"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_the_wait_before_a_retry_is_bounded(headers: dict[str, str], seconds: float | None) -> None:
    """OSS's header is in milliseconds, HTTP's in seconds; the maximum is five minutes; other values are ignored."""
    assert retry_after_s(headers) == seconds


@each_row(
    ("body", "document"),
    [
        (b'{"Code": "X"}', {"Code": "X"}),
        (
            b"<?xml?><Error><RequestId>R</RequestId><Code>X</Code><Message/></Error>",
            {"Code": "X", "RequestId": "R"},
        ),
        (b"[" * 200_000 + b"]" * 200_000, {}),
        (b'["X"]', {}),
        (b"<html>portal</html>", {}),
        (b"\xff\xfe", {}),
        (b"", {}),
    ],
)
def test_a_body_that_is_no_document_gives_an_empty_one(body: bytes, document: dict[str, str]) -> None:
    """It may be another type, a web page, binary, or empty."""
    assert document_of(Answer(400, {}, body)) == document


@each_row(
    "found",
    [
        {"Task": [{"TaskId": "t-1"}]},  # documented
        [{"TaskId": "t-1"}],  # bare list
        {"Task": {"TaskId": "t-1"}},  # single
        {"TaskId": "t-1"},  # bare single
    ],
)
def test_lists_are_read_in_every_published_form(found: Any) -> None:
    """One published sample of DescribeTasks has a list where the specification has an object."""
    assert objects({"TaskSet": found}, "TaskSet", "Task") == ({"TaskId": "t-1"},)


@each_row("found", [None, "", [], {}, {"Task": None}, {"Task": []}, "odd", 5, ["odd"]])
def test_a_missing_or_invalid_list_is_empty(found: Any) -> None:
    """Missing, empty and invalid values contain no objects."""
    assert objects({"TaskSet": found}, "TaskSet", "Task") == ()


def test_invalid_numbers_and_booleans_are_none() -> None:
    """Negative and very long numbers, exponents and other digits are invalid."""
    assert integer({"x": "-1"}, "x") is None
    assert integer({"x": "1e3"}, "x") is None
    assert boolean({"x": "yes"}, "x") is None
    assert integer({"x": "9" * 5000}, "x") is None
    assert integer({"x": "\u0664"}, "x") is None
