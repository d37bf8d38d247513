"""Operations on the lifecycle rules of a bucket, and their checks.

Only the action AbortMultipartUpload is carried out. The checks are those of "PutBucketLifecycle": a number of days is
positive, a date is midnight, objects move to a colder class before they expire, and two rules with overlapping prefixes
and the same tags have no common action (unless x-oss-allow-same-action-overlap allows it).
"""

import hashlib
import re
from itertools import combinations
from xml.etree import ElementTree

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.protocol import (
    MAX_BODY_BYTES,
    OssCall,
    OssError,
    content_md5,
    invalid_argument,
    invalid_digest,
    malformed_xml,
    parse,
    required_texts,
)
from aliyun_import.sandbox.oss.state import ARCHIVED, AbortRule

MAX_RULES = 1000
MAX_ID_CHARS = 255
_ACTIONS = frozenset({
    "Expiration", "Transition", "AbortMultipartUpload", "NoncurrentVersionExpiration", "NoncurrentVersionTransition",
})  # fmt: skip
_CLASSES = ARCHIVED | {"IA"}
_MIDNIGHT = re.compile(r"\d{4}-\d\d-\d\dT00:00:00(?:\.000)?Z")
Rule = ElementTree.Element


def put_lifecycle(call: OssCall) -> Answer:
    """PutBucketLifecycle: replace all rules, and assign missing ids."""
    digest = content_md5(call.request.headers)
    body = call.request.body.whole(max_bytes=MAX_BODY_BYTES)
    if digest is not None and hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise invalid_digest()
    tree = parse(call.request, "LifecycleConfiguration")
    rules = tree.findall("Rule")
    if not rules or len(rules) > MAX_RULES:
        raise malformed_xml()
    for rule in rules:
        _check_rule(rule)
    ids = [_rule_id(rule) for rule in rules]
    if len(set(ids)) < len(ids):
        raise invalid_argument("ID", next(each for each in ids if ids.count(each) > 1), "Rule ID must be unique.")
    if call.request.headers.get("x-oss-allow-same-action-overlap").lower() != "true":
        _refuse_overlap(rules)
    abort_rules = tuple(filter(None, map(_abort_rule, rules)))
    call.change_bucket(lifecycle_xml=ElementTree.tostring(tree, encoding="unicode"), abort_rules=abort_rules)
    return Answer(200)


def _check_rule(rule: Rule) -> None:
    """Check a rule and its actions. Raises OssError."""
    (status,) = required_texts(rule, ["Status"])
    actions = [child for child in rule if child.tag in _ACTIONS]
    if status not in ("Enabled", "Disabled") or not actions:
        raise malformed_xml()
    if rule.find("Prefix") is None:
        ElementTree.SubElement(rule, "Prefix")
    for action in actions:
        _check_when(action)
        storage_class = action.findtext("StorageClass")
        if action.tag.endswith("Transition") and (storage_class or "").strip() not in _CLASSES:
            raise invalid_argument("StorageClass", storage_class or "")
    _check_order(rule)


def _check_when(action: Rule) -> None:
    """Check that an action has exactly one valid condition."""
    if action.tag.startswith("Noncurrent"):
        names = ["NoncurrentDays"]
    else:
        names = ["Days", "CreatedBeforeDate", "Date"]
        names += ["ExpiredObjectDeleteMarker"] if action.tag == "Expiration" else []
    given = [child for child in action if child.tag in names]
    if len(given) != 1:
        raise malformed_xml()
    text = (given[0].text or "").strip()
    if given[0].tag in ("Days", "NoncurrentDays") and (not text.isdecimal() or int(text) < 1):
        raise invalid_argument(given[0].tag, text)
    if given[0].tag in ("CreatedBeforeDate", "Date") and not _MIDNIGHT.fullmatch(text):
        raise invalid_argument(given[0].tag, text)
    if given[0].tag == "ExpiredObjectDeleteMarker" and text not in ("true", "false"):
        raise malformed_xml()


def _check_order(rule: Rule) -> None:
    """Check that objects move before they expire."""
    moved = [int(days.text or 0) for days in rule.findall("Transition/Days")]
    expires = rule.findtext("Expiration/Days")
    if expires is not None and any(int(expires) <= days for days in moved):
        raise invalid_argument("Days", expires, "Expiration must be later than Transition.")


def _rule_id(rule: Rule) -> str:
    """Return the id of a rule, and assign one if it is missing."""
    given = (rule.findtext("ID") or "").strip()
    if len(given) > MAX_ID_CHARS:
        raise invalid_argument("ID", given)
    if given:
        return given
    made = hashlib.sha256(ElementTree.tostring(rule)).hexdigest()[:32]
    element = rule.find("ID")
    if element is None:
        element = ElementTree.Element("ID")
        rule.insert(0, element)
    element.text = made
    return made


def _refuse_overlap(rules: list[Rule]) -> None:
    for first, second in combinations(rules, 2):
        prefixes = sorted(((rule.findtext("Prefix") or "") for rule in (first, second)), key=len)
        shared = _ACTIONS & {child.tag for child in first} & {child.tag for child in second}
        if shared and prefixes[1].startswith(prefixes[0]) and _tags(first) == _tags(second):
            raise invalid_argument("Prefix", prefixes[0], f"Overlap for same action type {min(shared)}.")


def _tags(rule: Rule) -> frozenset[tuple[str | None, str | None]]:
    return frozenset((tag.findtext("Key"), tag.findtext("Value")) for tag in rule.findall("Tag"))


def _abort_rule(rule: Rule) -> AbortRule | None:
    days = rule.findtext("AbortMultipartUpload/Days")
    if days is None or (rule.findtext("Status") or "").strip() != "Enabled":
        return None
    return AbortRule((rule.findtext("Prefix") or "").strip(), int(days))


def get_lifecycle(call: OssCall) -> Answer:
    """GetBucketLifecycle."""
    if not call.bucket.lifecycle_xml:
        raise OssError(404, "NoSuchLifecycle", "No Row found in Lifecycle Table.")
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{call.bucket.lifecycle_xml}\n'.encode()
    return Answer(200, (("Content-Type", "application/xml"),), body)


def delete_lifecycle(call: OssCall) -> Answer:
    """DeleteBucketLifecycle."""
    call.change_bucket(lifecycle_xml="", abort_rules=())
    return Answer(204)
