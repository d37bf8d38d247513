"""This file adds one rule to a bucket's lifecycle rules: what was there before stays as it was, byte for byte."""

from xml.sax.saxutils import escape

from aliyun_import.cloud.oss.parse import parse, text_of

_ID = "aliyun-import-abort"
_END = b"</LifecycleConfiguration>"


def with_abort_rule(document: bytes, *, prefix: str, days: int) -> bytes | None:
    """Give the rules with one more that aborts unfinished uploads below prefix; None when one serves already.

    `document` is the bucket's LifecycleConfiguration, empty where it has none. A rule serves when it is enabled, covers
    the prefix and aborts after so many days or sooner.
    """
    ids = set()
    if document:
        for rule in parse(document, "LifecycleConfiguration").iterfind("{*}Rule"):
            ids.add(text_of(rule, "ID"))
            after = text_of(rule, "AbortMultipartUpload/Days")
            covers = text_of(rule, "Status") == "Enabled" and prefix.startswith(text_of(rule, "Prefix"))
            narrowed = any(rule.find(f"{{*}}{name}") is not None for name in ("Tag", "Filter"))
            if covers and not narrowed and after.isdigit() and int(after) <= days:
                return None
    name = next(one for one in (_ID, *(f"{_ID}-{number}" for number in range(2, len(ids) + 3))) if one not in ids)
    ours = (
        f"<Rule><ID>{name}</ID><Prefix>{escape(prefix)}</Prefix><Status>Enabled</Status>"
        f"<AbortMultipartUpload><Days>{days}</Days></AbortMultipartUpload></Rule>"
    ).encode()
    if not document:
        return b"<LifecycleConfiguration>" + ours + _END
    before, _, after_end = document.rpartition(_END)
    return before + ours + _END + after_end
