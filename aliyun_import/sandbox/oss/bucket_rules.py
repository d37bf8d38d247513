"""This file does what OSS does with a bucket's settings: lifecycle, default encryption, versioning."""

import hashlib
from xml.etree import ElementTree

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.call import OssCall, xml_answer
from aliyun_import.sandbox.oss.errors import OssError, invalid_argument, malformed_xml
from aliyun_import.sandbox.oss.headers import content_md5, invalid_digest
from aliyun_import.sandbox.oss.state import AbortRule
from aliyun_import.sandbox.oss.xml import MAX_BODY_BYTES, parse, texts

MAX_RULES = 1000
_ACTIONS = frozenset({
    "Expiration", "Transition", "AbortMultipartUpload", "NoncurrentVersionExpiration", "NoncurrentVersionTransition",
})  # fmt: skip


def put_lifecycle(call: OssCall) -> Answer:
    """PutBucketLifecycle: replaces all rules; each needs a status and an action, and gets an id if it has none."""
    digest = content_md5(call.request.headers)
    body = call.request.body.whole(max_bytes=MAX_BODY_BYTES)
    if digest is not None and hashlib.md5(body, usedforsecurity=False).digest() != digest:
        raise invalid_digest()
    tree = parse(call.request, "LifecycleConfiguration")
    rules = tree.findall("Rule")
    if not rules or len(rules) > MAX_RULES:
        raise malformed_xml()
    ids = [_rule_id(rule) for rule in rules]
    if len(set(ids)) < len(ids):
        raise invalid_argument("ID", next(each for each in ids if ids.count(each) > 1), "Rule ID must be unique.")
    abort_rules = tuple(filter(None, map(_abort_rule, rules)))
    with call.state.lock:
        call.bucket.lifecycle_xml = ElementTree.tostring(tree, encoding="unicode")
        call.bucket.abort_rules = abort_rules
    return Answer(200)


def _rule_id(rule: ElementTree.Element) -> str:
    """Check a rule's form and give its id, making one where there is none."""
    (status,) = texts(rule, ["Status"])
    if status not in ("Enabled", "Disabled") or not _ACTIONS & {child.tag for child in rule}:
        raise malformed_xml()
    if rule.find("Prefix") is None:
        ElementTree.SubElement(rule, "Prefix")
    given = (rule.findtext("ID") or "").strip()
    if given:
        return given
    made = hashlib.sha256(ElementTree.tostring(rule)).hexdigest()[:32]
    element = rule.find("ID")
    if element is None:
        element = ElementTree.Element("ID")
        rule.insert(0, element)
    element.text = made
    return made


def _abort_rule(rule: ElementTree.Element) -> AbortRule | None:
    days = rule.findtext("AbortMultipartUpload/Days")
    if days is None or (rule.findtext("Status") or "").strip() != "Enabled":
        return None
    if not days.strip().isdecimal() or int(days) < 1:
        raise invalid_argument("Days", days)
    return AbortRule((rule.findtext("Prefix") or "").strip(), int(days))


def get_lifecycle(call: OssCall) -> Answer:
    """GetBucketLifecycle."""
    if not call.bucket.lifecycle_xml:
        raise OssError(404, "NoSuchLifecycle", "No Row found in Lifecycle Table.")
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{call.bucket.lifecycle_xml}\n'.encode()
    return Answer(200, (("Content-Type", "application/xml"),), body)


def delete_lifecycle(call: OssCall) -> Answer:
    """DeleteBucketLifecycle."""
    with call.state.lock:
        call.bucket.lifecycle_xml, call.bucket.abort_rules = "", ()
    return Answer(204)


def put_encryption(call: OssCall) -> Answer:
    """PutBucketEncryption."""
    tree = parse(call.request, "ServerSideEncryptionRule").find("ApplyServerSideEncryptionByDefault")
    if tree is None:
        raise malformed_xml()
    (algorithm,) = texts(tree, ["SSEAlgorithm"])
    if algorithm not in ("AES256", "KMS", "SM4"):
        raise OssError(400, "InvalidEncryptionAlgorithmError", "The encryption algorithm specified is not valid.")
    with call.state.lock:
        call.bucket.encryption = algorithm
        call.bucket.encryption_key_id = (tree.findtext("KMSMasterKeyID") or "").strip()
    return Answer(200)


def get_encryption(call: OssCall) -> Answer:
    """GetBucketEncryption."""
    if not call.bucket.encryption:
        message = "The server side encryption configuration is not found."
        raise OssError(404, "NoSuchServerSideEncryptionRule", message)
    default = {"SSEAlgorithm": call.bucket.encryption, "KMSMasterKeyID": call.bucket.encryption_key_id}
    return xml_answer("ServerSideEncryptionRule", {"ApplyServerSideEncryptionByDefault": default})


def delete_encryption(call: OssCall) -> Answer:
    """DeleteBucketEncryption."""
    with call.state.lock:
        call.bucket.encryption = call.bucket.encryption_key_id = ""
    return Answer(204)


def put_versioning(call: OssCall) -> Answer:
    """PutBucketVersioning: Enabled or Suspended; there is no way back to neither."""
    (status,) = texts(parse(call.request, "VersioningConfiguration"), ["Status"])
    if status not in ("Enabled", "Suspended"):
        raise malformed_xml()
    with call.state.lock:
        call.bucket.versioning = status
    return Answer(200)


def get_versioning(call: OssCall) -> Answer:
    """GetBucketVersioning."""
    return xml_answer("VersioningConfiguration", {"Status": call.bucket.versioning or None})
