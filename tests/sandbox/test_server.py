"""This file tests starting, stopping, faults over the wire and the control plane."""

import http.client
import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from aliyun_import.sandbox.faults import Fault
from aliyun_import.sandbox.server import Sandbox


def _get(sandbox: Sandbox, target: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    try:
        connection.request(method, target, body=body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_an_unknown_operation_is_named(sandbox: Sandbox) -> None:
    """What the sandbox does not do answers 501 and says what was asked."""
    status, body = _get(sandbox, "/some-bucket/key?noSuchThing", method="PATCH")
    assert status == 501
    assert b"PATCH" in body


def test_stopping_drops_open_connections(tmp_path: Path) -> None:
    """A client that keeps its connection does not keep the sandbox."""
    with Sandbox.start(tmp_path) as sandbox:
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
        connection.request("GET", "/_sandbox")
        assert json.loads(connection.getresponse().read())["sandbox"] is True
    assert connection.sock.recv(1) == b""
    connection.close()


def test_faults_can_be_ordered_over_http(sandbox: Sandbox) -> None:
    """A fault posted to the control plane strikes as often as it says, and then is gone."""
    fault = json.dumps(Fault(status=500, code="InternalError", count=1).to_json()).encode()
    with urlopen(Request(f"{sandbox.url}/_sandbox/faults", data=fault, method="POST"), timeout=10) as response:
        assert json.load(response)["code"] == "InternalError"
    assert _get(sandbox, "/some-bucket/?acl")[0] == 500
    assert _get(sandbox, "/some-bucket/?acl")[0] != 500
    assert [entry.fault for entry in sandbox.requests.entries()] == ["answer", ""]


def test_a_cut_drops_the_connection_without_an_answer(sandbox: Sandbox) -> None:
    """With cut-body the service has read so many bytes and no more."""
    sandbox.faults.add(Fault(effect="cut-body", after_bytes=0))
    with pytest.raises((http.client.HTTPException, OSError)):
        _get(sandbox, "/b/k", method="PUT", body=b"x" * 100)
    assert sandbox.requests.entries()[0].status == 0
