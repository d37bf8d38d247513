"""This file holds the rules for tags on images: Tag.N.Key and Tag.N.Value."""

from aliyun_import.sandbox.rpc_call import RpcCall
from aliyun_import.sandbox.rpc_errors import Refusal

MAX_TAGS = 20
MAX_CHARS = 128


def tags_of(call: RpcCall, *, duplicate: str) -> dict[str, str]:
    """Give the tags of a call; `duplicate` is the code for keys that are equal but for the case of letters."""
    groups = call.groups("Tag")
    if any(number > MAX_TAGS for number in groups):
        raise Refusal("NumberExceed.Tags")
    tags: dict[str, str] = {}
    for group in groups.values():
        key, value = group.get("Key", ""), group.get("Value", "")
        _check_key(key)
        if len(value) > MAX_CHARS or value.startswith("acs:") or _has_url(value):
            raise Refusal("InvalidTagValue.Malformed")
        if key.lower() in (taken.lower() for taken in tags):
            raise Refusal(duplicate)
        tags[key] = value
    return tags


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= MAX_CHARS or key.startswith(("aliyun", "acs:")) or _has_url(key):
        raise Refusal("InvalidTagKey.Malformed")


def _has_url(text: str) -> bool:
    return "http://" in text or "https://" in text
