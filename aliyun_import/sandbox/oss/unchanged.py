"""Operations that the sandbox only refuses, for the documented reasons: append, symbolic links, restore.

What the service refuses is refused with its code; what it would carry out is answered 501 by name, so that nobody takes
it for done.
"""

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.objects import find
from aliyun_import.sandbox.oss.protocol import OssCall, OssError, invalid_argument, not_done
from aliyun_import.sandbox.oss.state import ARCHIVED


def append_object(call: OssCall) -> Answer:
    """AppendObject: an object made by an upload is not appendable."""
    position = call.request.param("position")
    if not position.isdecimal():
        raise invalid_argument("position", position)
    with call.state.lock:
        existing = call.bucket.current(call.key)
    if existing is not None:
        raise OssError(409, "ObjectNotAppendable", "The object is not appendable.", extra=[("Key", call.key)])
    raise not_done("AppendObject")


def put_symlink(call: OssCall) -> Answer:
    """PutSymlink: its target is required."""
    if not call.request.headers.get("x-oss-symlink-target"):
        raise invalid_argument("x-oss-symlink-target", "")
    raise not_done("PutSymlink")


def get_symlink(call: OssCall) -> Answer:
    """GetSymlink: no object is a symbolic link."""
    with call.state.lock:
        find(call.bucket, call.key, call.request.param("versionId"))
    raise OssError(400, "NotSymlinkObject", "The object is not a symlink object.", extra=[("Key", call.key)])


def restore_object(call: OssCall) -> Answer:
    """RestoreObject: an object that is not archived has nothing to restore."""
    with call.state.lock:
        stored = find(call.bucket, call.key, call.request.param("versionId"))
    if stored.storage_class not in ARCHIVED:
        raise OssError(400, "OperationNotSupported", "The operation is not supported for this resource.")
    raise not_done("RestoreObject")
