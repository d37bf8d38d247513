"""This file tests the rule that aborts unfinished uploads, and that other rules stay as they were."""

import pytest

from aliyun_import.cloud.oss.lifecycle import with_abort_rule
from aliyun_import.cloud.oss.parse import parse, text_of
from aliyun_import.errors import TransientError

THEIRS = (
    b'<?xml version="1.0"?>\n<LifecycleConfiguration><Rule><ID>%s</ID><Prefix>%s</Prefix><Status>%s</Status>'
    b"%s<Odd><Kept>yes</Kept></Odd></Rule></LifecycleConfiguration>\n"
)
ABORT = b"<AbortMultipartUpload><Days>7</Days></AbortMultipartUpload>"


def _theirs(
    rule_id: bytes = b"theirs", prefix: bytes = b"", status: bytes = b"Enabled", action: bytes = ABORT
) -> bytes:
    return THEIRS % (rule_id, prefix, status, action)


@pytest.mark.parametrize("prefix", [b"", b"aliyun", b"aliyun-import/"])
def test_a_rule_that_serves_is_enough(prefix: bytes) -> None:
    """One that covers the prefix and is as quick or quicker needs no other."""
    assert with_abort_rule(_theirs(prefix=prefix), prefix="aliyun-import/", days=7) is None
    assert with_abort_rule(_theirs(prefix=prefix), prefix="aliyun-import/", days=30) is None


@pytest.mark.parametrize(
    "there",
    [
        b"",
        _theirs(prefix=b"other/"),
        _theirs(status=b"Disabled"),
        _theirs(action=ABORT.replace(b"7", b"30")),
        _theirs(action=b"<Expiration><Days>1</Days></Expiration>"),
        _theirs(action=ABORT + b"<Tag><Key>a</Key><Value>b</Value></Tag>"),
        _theirs(action=b"<AbortMultipartUpload><CreatedBeforeDate>2020-01-01T00:00:00.000Z</CreatedBeforeDate>"
                b"</AbortMultipartUpload>"),
    ],
    ids=["none", "elsewhere", "disabled", "later", "another action", "narrowed", "by date"],
)  # fmt: skip
def test_otherwise_one_is_added_and_the_rest_is_kept(there: bytes) -> None:
    """What was there stays byte for byte, with elements that nobody here knows."""
    made = with_abort_rule(there, prefix="aliyun-import/", days=7)
    assert made is not None
    assert there.partition(b"</LifecycleConfiguration>")[0] in made
    ours = parse(made, "LifecycleConfiguration").findall("Rule")[-1]
    assert text_of(ours, "Prefix") == "aliyun-import/"
    assert text_of(ours, "Status") == "Enabled"
    assert text_of(ours, "AbortMultipartUpload/Days") == "7"
    assert with_abort_rule(made, prefix="aliyun-import/", days=7) is None


def test_our_rule_gets_an_id_of_its_own() -> None:
    """An id that is taken, by an older rule of ours, is not used twice."""
    made = with_abort_rule(_theirs(rule_id=b"aliyun-import-abort", prefix=b"old/"), prefix="new/", days=7)
    assert made is not None
    ids = [text_of(rule, "ID") for rule in parse(made, "LifecycleConfiguration").findall("Rule")]
    assert len(ids) == len(set(ids)) == 2


def test_a_prefix_with_odd_characters() -> None:
    """It is written so that it is read again as it was."""
    made = with_abort_rule(b"", prefix="a&b<c>/", days=1)
    assert made is not None
    assert text_of(parse(made, "LifecycleConfiguration"), "Rule/Prefix") == "a&b<c>/"


def test_rules_that_cannot_be_read_are_not_replaced() -> None:
    """Whatever is no lifecycle configuration stops the change."""
    with pytest.raises(TransientError):
        with_abort_rule(b"<html></html>", prefix="a/", days=7)
