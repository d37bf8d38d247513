"""Tests of the start and stop of a sandbox, and of its public attributes."""

import http.client
import json
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox


def _get(sandbox: Sandbox, target: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    try:
        connection.request(method, target, body=body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_an_unknown_operation_is_501_with_its_name(sandbox: Sandbox) -> None:
    """The message has the method."""
    status, body = _get(sandbox, "/some-bucket/key?noSuchThing", method="PATCH")
    assert status == 501
    assert b"PATCH" in body


def test_stopping_closes_open_connections(tmp_path: Path) -> None:
    """An open connection does not delay the end of the sandbox."""
    with Sandbox.start(tmp_path) as sandbox:
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
        connection.request("GET", "/_sandbox")
        assert json.loads(connection.getresponse().read())["sandbox"] is True
    assert connection.sock.recv(1) == b""
    connection.close()


def test_the_environment_selects_the_sandbox(sandbox: Sandbox) -> None:
    """The variables contain the endpoint, the region and a key that is recognisably not real."""
    environment = sandbox.environment()
    assert environment["ALIYUN_IMPORT_ENDPOINT_URL"] == sandbox.url == f"http://127.0.0.1:{sandbox.port}"
    assert environment["ALIYUN_IMPORT_REGION"] == "cn-hangzhou"
    assert environment["ALIBABA_CLOUD_ACCESS_KEY_ID"] == "SANDBOX-KEY"
    assert "ALIBABA_CLOUD_SECURITY_TOKEN" not in environment
    temporary = AccessKey(id="STS.SANDBOX", secret="S", token="T")
    assert sandbox.environment(temporary)["ALIBABA_CLOUD_SECURITY_TOKEN"] == "T"


def test_a_port_in_use_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """Starting on a port that is in use raises OSError."""
    with pytest.raises(OSError, match="in use"):
        Sandbox.start(tmp_path / "other", port=sandbox.port)


def test_ids_and_headers_differ_from_those_of_the_real_service(sandbox: Sandbox) -> None:
    """An answer is recognisably from the sandbox."""
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.request("GET", "/bucket/key")
    response = connection.getresponse()
    assert response.headers["Server"] == "AliyunImportSandbox"
    assert response.headers["x-oss-request-id"].startswith("SANDBOX-")
    response.read()
    connection.close()


def test_secrets_are_not_in_repr_and_log(sandbox: Sandbox) -> None:
    """Neither the repr of a key nor the log of requests has a secret, a token or a signature."""
    assert "SECRET" not in repr(sandbox.access_key)
    _get(sandbox, "/?Action=GetCallerIdentity&SecurityToken=T0KEN&Signature=S1GN&AccessKeyId=A")
    logged = repr(sandbox.requests.entries())
    assert "GetCallerIdentity" in logged
    assert "T0KEN" not in logged
    assert "S1GN" not in logged


def test_a_directory_can_be_reused(tmp_path: Path) -> None:
    """A sandbox in the directory of an earlier one starts empty, and keeps the existing files."""
    contents = []
    for _ in range(2):
        with Sandbox.start(tmp_path) as sandbox:
            oss = sandbox.state.part(OssState)
            assert oss.buckets == {}
            contents.append(oss.blobs.receive([b"bytes"]).content)
    assert [content.pread(0, 9) for content in contents] == [b"bytes", b"bytes"]
    assert len(list((tmp_path / "objects").iterdir())) == 2
