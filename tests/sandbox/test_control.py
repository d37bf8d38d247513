"""This file tests the control plane: what a test in another process can do to the sandbox."""

import json
import urllib.error
import urllib.request
from typing import Any

import oss2
import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import refused


def _ask(sandbox: Sandbox, method: str, path: str, document: Any = None) -> Any:
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(f"{sandbox.url}/_sandbox{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_faults(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """A fault can be ordered, seen and lifted over HTTP."""
    fault = Fault(operation="GetBucketInfo", status=500, code="InternalError", count=None)
    _ask(sandbox, "POST", "/faults", fault.to_json())
    assert _ask(sandbox, "GET", "/faults") == [fault.to_json()]
    with refused() as answer:
        bucket.get_bucket_info()
    assert answer == (500, "InternalError")
    _ask(sandbox, "DELETE", "/faults")
    bucket.get_bucket_info()


def test_time(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The cloud's time and the skew can be moved; nothing else of the clock can."""
    before = _ask(sandbox, "GET", "/clock")["now_s"]
    assert _ask(sandbox, "POST", "/clock", {"advance_s": 3600})["now_s"] >= before + 3600
    bucket.get_bucket_info()
    _ask(sandbox, "POST", "/clock", {"skew_s": 1000})
    with refused() as answer:
        bucket.get_bucket_info()
    assert answer == (403, "RequestTimeTooSkewed")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _ask(sandbox, "POST", "/clock", {"tempo": 2})


def test_the_log(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The log tells operation, status and bytes; asking for it leaves no trace in it."""
    bucket.put_object("dir/k", b"12345")
    bucket.get_object("dir/k", byte_range=(0, 1)).read()
    entries = _ask(sandbox, "GET", "/requests")
    told = [
        (each["operation"], each["bucket"], each["key"], each["status"], each["body_bytes"], each["answer_bytes"])
        for each in entries
    ]
    assert told == [
        ("PutBucket", "disks", "", 200, 0, 0),
        ("PutObject", "disks", "dir/k", 200, 5, 0),
        ("GetObject", "disks", "dir/k", 206, 0, 2),
    ]
    _ask(sandbox, "DELETE", "/requests")
    assert _ask(sandbox, "GET", "/requests") == []


def test_settings(sandbox: Sandbox) -> None:
    """Settings can be changed by name; unknown ones are refused."""
    assert _ask(sandbox, "POST", "/settings", {"import_s": 7.5})["import_s"] == 7.5
    assert sandbox.state.settings.import_s == 7.5
    assert _ask(sandbox, "GET", "")["settings"]["import_s"] == 7.5
    with pytest.raises(urllib.error.HTTPError, match="400"):
        _ask(sandbox, "POST", "/settings", {"gravity": 0})


def test_what_there_is_not(sandbox: Sandbox) -> None:
    """An unknown path answers 404."""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        _ask(sandbox, "GET", "/weather")
