"""Tests of lifecycle rules: accepted and refused ones."""

import oss2
import pytest

from tests.rows import each_row
from tests.sandbox.oss_sdk import do, refused

DAY = "2026-01-01T00:00:00.000Z"
OLD = "NoncurrentVersionExpiration"
EXPIRES = "<Expiration><Days>30</Days></Expiration>"


def _rule(action: str, *, name: str = "", prefix: str = "x/", more: str = "") -> str:
    head = f"<ID>{name}</ID>" if name else ""
    return f"<Rule>{head}<Prefix>{prefix}</Prefix><Status>Enabled</Status>{more}{action}</Rule>"


def _put(bucket: oss2.Bucket, *rules: str, **headers: str) -> None:
    body = f"<LifecycleConfiguration>{''.join(rules)}</LifecycleConfiguration>"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    do(bucket, "PUT", params={"lifecycle": ""}, data=body, headers=named)


@each_row(
    ("action", "code"),
    [
        ("<Expiration><Days>0</Days></Expiration>", "InvalidArgument"),
        ("<Expiration><Days>-1</Days></Expiration>", "InvalidArgument"),
        ("<Expiration><Days>soon</Days></Expiration>", "InvalidArgument"),
        ("<AbortMultipartUpload><Days>0</Days></AbortMultipartUpload>", "InvalidArgument"),
        ("<Expiration></Expiration>", "MalformedXML"),
        (f"<Expiration><Days>1</Days><CreatedBeforeDate>{DAY}</CreatedBeforeDate></Expiration>", "MalformedXML"),
        ("<Expiration><CreatedBeforeDate>2026-01-01T10:00:00.000Z</CreatedBeforeDate></Expiration>", "InvalidArgument"),
        ("<Expiration><ExpiredObjectDeleteMarker>maybe</ExpiredObjectDeleteMarker></Expiration>", "MalformedXML"),
        ("<Transition><Days>1</Days></Transition>", "InvalidArgument"),
        ("<Transition><Days>1</Days><StorageClass>Standard</StorageClass></Transition>", "InvalidArgument"),
        (f"<Transition><Days>30</Days><StorageClass>IA</StorageClass></Transition>{EXPIRES}", "InvalidArgument"),
        (f"<{OLD}><NoncurrentDays>0</NoncurrentDays></{OLD}>", "InvalidArgument"),
        (f"<{OLD}><Days>1</Days></{OLD}>", "MalformedXML"),
    ],
)  # fmt: skip
def test_an_invalid_rule_is_refused(bucket: oss2.Bucket, action: str, code: str) -> None:
    """No rule is stored."""
    with refused() as answer:
        _put(bucket, _rule(action))
    assert answer == (400, code)
    with refused() as answer:
        bucket.get_bucket_lifecycle()
    assert answer == (404, "NoSuchLifecycle")


@pytest.mark.parametrize(
    "action",
    [
        EXPIRES,
        "<Expiration><CreatedBeforeDate>2026-01-01T00:00:00.000Z</CreatedBeforeDate></Expiration>",
        "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        f"<Transition><Days>10</Days><StorageClass>IA</StorageClass></Transition>{EXPIRES}",
        "<NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration>",
    ],
)
def test_a_rule_of_each_form_is_stored(bucket: oss2.Bucket, action: str) -> None:
    """The forms are those of the reference."""
    _put(bucket, _rule(action, name="r"))
    assert b"<ID>r</ID>" in do(bucket, "GET", params={"lifecycle": ""}).body


def test_rules_that_overlap_are_refused(bucket: oss2.Bucket) -> None:
    """Two rules with a common action overlap if they match a common object, unless a header allows it."""
    outer, inner = _rule(EXPIRES, prefix=""), _rule(EXPIRES, prefix="x/y")
    for rules in ((outer, inner), (inner, outer)):
        with refused() as answer:
            _put(bucket, *rules)
        assert answer == (400, "InvalidArgument")
        assert "Expiration" in answer.details["Message"]
    tagged = _rule(EXPIRES, prefix="x/y", more="<Tag><Key>k</Key><Value>v</Value></Tag>")
    abort = _rule("<AbortMultipartUpload><Days>1</Days></AbortMultipartUpload>", prefix="")
    _put(bucket, outer, tagged, abort)
    _put(bucket, _rule(EXPIRES, prefix="a/"), _rule(EXPIRES, prefix="b/"))
    _put(bucket, outer, inner, x_oss_allow_same_action_overlap="true")


def test_ids_are_unique_and_of_bounded_length(bucket: oss2.Bucket) -> None:
    """Duplicate and long ids are refused."""
    for rules in (
        (_rule(EXPIRES, name="r", prefix="a/"), _rule(EXPIRES, name="r", prefix="b/")),
        (_rule(EXPIRES, name="r" * 256),),
    ):
        with refused() as answer:
            _put(bucket, *rules)
        assert answer == (400, "InvalidArgument")
