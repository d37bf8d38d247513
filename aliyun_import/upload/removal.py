"""Removal of objects, and the command with which a user removes them later."""

import glob
import shlex
from collections.abc import Iterable

from aliyun_import.services import ObjectStore


def remove_object(store: ObjectStore, key: str) -> None:
    """Remove an object and its bytes; succeeds if it does not exist.

    In a bucket with versioning, only a deletion by version id removes the bytes, so the id is queried.
    """
    existing = store.head(key)
    if existing:
        store.delete(key, version_id=existing.version_id)


def leftovers_command(*, region: str, bucket: str, keys: Iterable[str] = ()) -> str:
    """Return the command that lists the leftovers of a bucket, or removes exactly these keys; for remedies.

    --remove takes patterns, so keys are escaped: a key with brackets could match another key.
    """
    words = ["aliyun-import", "cleanup", "--region", region, "--bucket", bucket]
    return f"`{shlex.join([*words, *(word for key in keys for word in ('--remove', glob.escape(key)))])}`"
