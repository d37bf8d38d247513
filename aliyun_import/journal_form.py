"""Form of each kind of line in a journal.

A journal may have been edited. Its lines are checked before they are interpreted, so that a missing field or a huge
number is reported as a damaged journal, and the code that reads the fields needs no checks.
"""

import re
from collections.abc import Callable, Mapping

from aliyun_import.limits import MAX_PARTS


def _is_whole(value: object) -> bool:
    """Return whether a value is an integer of at most 64 bits; times may be negative."""
    return type(value) is int and abs(value) < 1 << 64


def _is_text(value: object) -> bool:
    """Return whether a value is a string that can be encoded: JSON allows half of a surrogate pair."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def _is_time(value: object) -> bool:
    """Return whether a value is a time in UTC: 2026-11-24T10:45:00Z."""
    return isinstance(value, str) and bool(re.fullmatch(r"20[0-9]{2}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z", value))


def _is_identity(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(one) for one in value.values())


def _is_plan_parts(value: object) -> bool:
    """Return whether a value is a list of runs of parts ("s67108864*31 z1048576"), no more than OSS allows."""
    if not isinstance(value, str):
        return False
    runs = [re.fullmatch(r"[szb][0-9]{1,15}(?:\*([0-9]{1,5}))?", run) for run in value.split()]
    return all(runs) and sum(int(run[1] or 1) for run in runs if run) <= MAX_PARTS


def _is_part(value: object) -> bool:
    """Return whether a value is [number, start, length, CRC-64 in hexadecimal, ETag, proof]."""
    if not isinstance(value, list) or len(value) != 6:
        return False
    *numbers, crc, etag, proof = value
    are_texts = _is_text(etag) and _is_text(proof) and isinstance(crc, str)
    return are_texts and all(map(_is_whole, numbers)) and bool(re.fullmatch(r"[0-9a-f]{1,16}", crc))


def _is_base(value: object) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(_is_text, value)))


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole_or_none(value: object) -> bool:
    return value is None or _is_whole(value)


# The form of a value: a predicate, the fields of an object ("name?" is one that may be missing), or a list's items.
Form = Callable[[object], bool] | Mapping[str, "Form"] | list["Form"]
_FINGERPRINT: Form = {
    "size_bytes": _is_whole, "mtime_ns": _is_whole, "device": _is_whole, "inode": _is_whole, "sample": _is_text,
    "ctime_ns?": _is_whole_or_none, "is_block?": _is_flag,
}  # fmt: skip
_OBJECT: Form = {
    "bucket": _is_text, "key": _is_text, "size_bytes": _is_whole, "crc64": _is_whole, "etag": _is_text,
    "proof": _is_text, "made_by_us": _is_flag, "sent_bytes?": _is_whole,
    "saved_bytes?": _is_whole, "left_over?": [_is_text],
}  # fmt: skip
_PLAN: Form = {"parts": _is_plan_parts, "gap": _is_whole, "zero_source": _is_whole, "base": _is_base}
_INTENT: Mapping[str, Form] = {
    "disk": _is_whole, "key": _is_text, "tag": _is_text, "fingerprint": _FINGERPRINT, "plan": _PLAN,
    "zeros?": _is_text,
}  # fmt: skip
# The fields that are read of each kind of line. A line may have more fields, and a later version more kinds.
LINES: Mapping[str, Mapping[str, Form]] = {
    "opened": {"identity": _is_identity},
    "push-started": {"push_id": _is_text, "name": _is_text, "fingerprints": [_is_text]},
    "disks-seen": {"fingerprints": [_is_text]},
    "boot-tested": {"machine": _is_text, "verdict": _is_text},
    "instance-intended": {
        "image_id": _is_text,
        "instance_type": _is_text,
        "vswitch_id": _is_text,
        "security_group_id": _is_text,
        "disk_category": _is_text,
        "disk_gib": _is_whole,
        "released": _is_time,
        "client_token": _is_text,
    },
    "instance-started": {"instance_id": _is_text},
    "instance-judged": {
        "verdict": _is_text,
        "reason": _is_text,
        "stage": _is_text,
        "remedy": _is_text,
        "evidence": [_is_text],
        "stop_code": _is_text,
        "seconds": _is_whole,
        "timeout_s?": _is_whole,
    },
    "instance-ending": {},
    "instance-ended": {},
    "upload-intended": _INTENT,
    "zeros-intended": {"disk": _is_whole, "zero_stem": _is_text, "upload_id?": _is_text},
    "upload-started": {"disk": _is_whole, "upload_id": _is_text, "zero_stem?": _is_text},
    "parts": {"disk": _is_whole, "parts": [_is_part]},
    "upload-dropped": {"disk": _is_whole},
    "object": {"disk": _is_whole, "object": _OBJECT, "fingerprint?": _FINGERPRINT},
    "manifest": {"disk": _is_whole, "key": _is_text, "sha256": _is_text},
    "accepted": {"request": _is_text},
    "submitting": {"client_token": _is_text, "name": _is_text, "objects": [_OBJECT], "checked?": _is_flag},
    "image-judged": {"image_id": _is_text, "verdict": _is_text},
    "submitted": {"task_id": _is_text, "image_id": _is_text, "name?": _is_text},
    "import-failed": {"reason": _is_text},
    "object-removed": {"key": _is_text},
    "finished": {"image_id": _is_text},
}


def has_form(value: object, form: Form, *, exact: bool = True) -> bool:
    """Return whether a value has a form. `exact` allows no further fields in an object."""
    if callable(form):
        return form(value)
    if isinstance(form, list):
        return isinstance(value, list) and all(has_form(item, form[0]) for item in value)
    if not isinstance(value, dict) or (exact and value.keys() - {name.rstrip("?") for name in form}):
        return False
    return all(
        has_form(value[name.rstrip("?")], one) if name.rstrip("?") in value else name.endswith("?")
        for name, one in form.items()
    )
