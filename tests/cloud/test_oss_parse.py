"""Tests of the parsing of OSS's answers, and of the lifecycle rule that is added to others."""

from collections.abc import Callable

import pytest

from aliyun_import.cloud.oss.parse import (
    all_pages,
    bucket_of,
    error_fields,
    list_of_objects,
    list_of_parts,
    object_of_headers,
    parse,
    part_of_headers,
    text_of,
    with_abort_rule,
)
from aliyun_import.cloud.transport.answer import Answer
from aliyun_import.errors import TransientError
from tests.rows import each_row

OTHER_RULE = (
    b'<?xml version="1.0"?>\n<LifecycleConfiguration><Rule><ID>%s</ID><Prefix>%s</Prefix><Status>%s</Status>'
    b"%s<Odd><Kept>yes</Kept></Odd></Rule></LifecycleConfiguration>\n"
)
ABORT = b"<AbortMultipartUpload><Days>7</Days></AbortMultipartUpload>"


def _other_rule(
    rule_id: bytes = b"other", prefix: bytes = b"", status: bytes = b"Enabled", action: bytes = ABORT
) -> bytes:
    return OTHER_RULE % (rule_id, prefix, status, action)


@each_row("prefix", [b"", b"aliyun", b"aliyun-import/"])
def test_a_sufficient_rule_is_kept(prefix: bytes) -> None:
    """It covers the prefix and aborts as early or earlier."""
    assert with_abort_rule(_other_rule(prefix=prefix), prefix="aliyun-import/", days=7) is None
    assert with_abort_rule(_other_rule(prefix=prefix), prefix="aliyun-import/", days=30) is None


@each_row(
    "there",
    [
        None,
        _other_rule(prefix=b"other/"),
        _other_rule(status=b"Disabled"),
        _other_rule(action=ABORT.replace(b"7", b"30")),  # later
        _other_rule(action=b"<Expiration><Days>1</Days></Expiration>"),  # another action
        _other_rule(action=ABORT + b"<Tag><Key>a</Key><Value>b</Value></Tag>"),  # narrowed
        _other_rule(action=b"<AbortMultipartUpload><CreatedBeforeDate>2020-01-01T00:00:00.000Z</CreatedBeforeDate>"
                b"</AbortMultipartUpload>"),  # by date
    ],
)  # fmt: skip
def test_without_a_sufficient_rule_one_is_added(there: bytes | None) -> None:
    """Existing rules are kept byte for byte, with unknown elements."""
    made = with_abort_rule(there, prefix="aliyun-import/", days=7)
    assert made is not None
    assert (there or b"").partition(b"</LifecycleConfiguration>")[0] in made
    added_rule = parse(made, "LifecycleConfiguration").findall("Rule")[-1]
    assert text_of(added_rule, "Prefix") == "aliyun-import/"
    assert text_of(added_rule, "Status") == "Enabled"
    assert text_of(added_rule, "AbortMultipartUpload/Days") == "7"
    assert with_abort_rule(made, prefix="aliyun-import/", days=7) is None


def test_an_added_rule_has_a_new_id() -> None:
    """An older rule may have the id already."""
    made = with_abort_rule(_other_rule(rule_id=b"aliyun-import-abort", prefix=b"old/"), prefix="new/", days=7)
    assert made is not None
    ids = [text_of(rule, "ID") for rule in parse(made, "LifecycleConfiguration").findall("Rule")]
    assert len(ids) == len(set(ids)) == 2


def test_a_prefix_with_special_characters_is_escaped() -> None:
    """It is the same when it is parsed."""
    made = with_abort_rule(None, prefix="a&b<c>/", days=1)
    assert made is not None
    assert text_of(parse(made, "LifecycleConfiguration"), "Rule/Prefix") == "a&b<c>/"


@each_row("answer", [b"", b"<html></html>", b"<LifecycleConfiguration/>"])
def test_unreadable_rules_are_not_replaced(answer: bytes) -> None:
    """An empty answer is unreadable: OSS has an error for a bucket without rules."""
    with pytest.raises(TransientError):
        with_abort_rule(answer, prefix="a/", days=7)


@each_row("invalid", ["", "-1", "1_0", "\u00b2", "9" * 5000, "x"])
def test_an_invalid_number_is_an_unreadable_answer(invalid: str) -> None:
    """It is a size, part number, length or CRC-64; int() accepts some of these strings."""
    part = "<ListPartsResult><Part><PartNumber>{}</PartNumber><Size>{}</Size></Part></ListPartsResult>"
    acts: list[Callable[[], object]] = [
        lambda: list_of_parts(part.format(invalid, 5).encode()),
        lambda: list_of_parts(part.format(1, invalid).encode()),
        lambda: object_of_headers("k", {"content-length": invalid}),
    ]
    if invalid:
        acts.append(lambda: part_of_headers(1, 5, {"x-oss-hash-crc64ecma": invalid}))
        listed = (
            f"<ListBucketResult><Contents><Key>k</Key><Size>{invalid}</Size></Contents></ListBucketResult>".encode()
        )
        acts.append(lambda: list_of_objects(listed))
    for act in acts:
        with pytest.raises(TransientError) as caught:
            act()
        assert caught.value.code == "answer-unreadable"


def test_a_missing_crc64_is_none() -> None:
    """The header is missing or empty."""
    assert part_of_headers(1, 5, {}).crc64 is None
    assert part_of_headers(1, 5, {"x-oss-hash-crc64ecma": ""}).crc64 is None


@each_row("body", [b"", b"\xff", b"<a", b"<?xml version='1.0' encoding='odd'?><a/>", b"<b/>"])
def test_a_body_that_is_no_document_is_unreadable(body: bytes) -> None:
    """It is empty, binary, incomplete, in another encoding, or another document."""
    with pytest.raises(TransientError):
        parse(body, "a")


def test_an_error_is_read_from_the_body_or_a_header() -> None:
    """HEAD has a header; an empty <Code/>, a web page and binary data have no code."""
    error = b"<Error><Code>NoSuchKey</Code><Message>m</Message></Error>"
    assert error_fields(Answer(404, {}, error)) == {"Code": "NoSuchKey", "Message": "m"}
    header = {"x-oss-err": "PEVycm9yPjxDb2RlPk5vU3VjaEtleTwvQ29kZT48L0Vycm9yPg=="}
    assert error_fields(Answer(404, header, b"")) == {"Code": "NoSuchKey"}
    assert error_fields(Answer(502, {}, b"<Error><Code/></Error>")) == {"Code": ""}
    for answer in (Answer(404, {"x-oss-err": "odd"}, b""), Answer(500, {}, b"\xff\xfe<"), Answer(200, {}, error)):
        assert error_fields(answer) == {}


@each_row(
    "markers",
    [
        ["a", "a"],  # same
        ["a", "b", "a"],  # circle
        [""],  # empty
    ],
)
def test_a_list_with_a_repeated_marker_is_unreadable(markers: list[str]) -> None:
    """Reading it would not end."""
    left = iter(markers)
    with pytest.raises(TransientError) as caught:
        all_pages(lambda _: (["entry"], {"marker": next(left)}))
    assert caught.value.code == "answer-unreadable"


def test_all_pages_are_read() -> None:
    """Each page is requested with the marker of the previous one."""
    pages = {"": (["a"], {"marker": "1"}), "1": (["b"], {"marker": "2"}), "2": (["c"], {})}
    assert all_pages(lambda marker: pages[marker.get("marker", "")]) == ["a", "b", "c"]


@each_row("name", ["Owner", "Location", "Name"])
def test_a_bucket_without_owner_location_or_name_is_unreadable(name: str) -> None:
    """It must not count as a bucket of this account and region."""
    fields = {"Name": "disks", "Location": "oss-cn-hangzhou", "Owner": "<ID>1</ID>"}
    fields.pop(name)
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in fields.items())
    with pytest.raises(TransientError) as caught:
        bucket_of(f"<BucketInfo><Bucket>{inner}</Bucket></BucketInfo>".encode())
    assert caught.value.code == "answer-unreadable"
    assert name in str(caught.value.cause)
