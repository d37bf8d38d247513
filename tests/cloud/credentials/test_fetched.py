"""Tests of keys from a credentials URI and from the metadata service, over HTTP on this machine."""

import json
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from aliyun_import.cloud import instance_metadata
from aliyun_import.cloud.credentials import fetched
from aliyun_import.cloud.credentials.keys import Keys
from aliyun_import.errors import AccessError, AliyunImportError, ServiceUnreachable, UsageError
from tests.cloud import servers
from tests.rows import each_row

FIELDS = {"AccessKeyId": "STS.fake", "AccessKeySecret": "fake-secret", "SecurityToken": "fake-token"}
GOOD = {"Code": "Success", **FIELDS, "Expiration": "2099-01-01T00:00:00Z"}
ON: dict[str, str] = {}


def answering(status: int, body: bytes, *, length: int | None = None) -> AbstractContextManager[int]:
    """Answer every request in the same way, and return the context manager that yields the port."""

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length or len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return servers.serve(handle)


def keys_from(status: int, body: bytes, *, length: int | None = None) -> object:
    """Return the keys of a URI, or the error."""
    with answering(status, body, length=length) as port:
        try:
            return fetched.uri(f"http://127.0.0.1:{port}/keys")()
        except AliyunImportError as error:
            return error


def test_keys_are_read_from_a_uri() -> None:
    """The token, the expiration and the code are optional."""
    found = Keys("STS.fake", "fake-secret", "fake-token", 4070908800.0)
    assert keys_from(200, json.dumps(GOOD).encode()) == found
    assert keys_from(200, json.dumps(FIELDS).encode()) == found._replace(expires_s=None)
    bare = {**GOOD, "SecurityToken": "", "Expiration": "soon"}
    assert keys_from(200, json.dumps(bare).encode()) == found._replace(token=None, expires_s=None)


@each_row(
    ("status", "body"),
    [
        (500, b"busy"),
        (502, b"<html>Bad Gateway</html>"),
        (503, b""),
        (429, b"{}"),
        (408, b""),
        (400, b'{"Code":"Throttling.User","Message":"slow down"}'),
        (200, b'{"Code":"InternalError"}'),
        (200, b"<html>wait</html>"),
        (200, b"<Keys><AccessKeyId>a</AccessKeyId></Keys>"),
        (200, b""),
    ],
)
def test_an_unavailable_source_is_a_transient_failure(status: int, body: bytes) -> None:
    """Server errors, throttling, web pages and empty answers may not occur at a later attempt."""
    error = keys_from(status, body)
    assert isinstance(error, ServiceUnreachable)
    assert error.code == "credentials-unreachable"
    assert f"HTTP {status}" in str(error.cause)


@each_row(
    ("status", "body", "expected"),
    [
        (404, b"", "HTTP 404"),
        (403, b"<html>no</html>", "HTTP 403"),
        (400, b'{"Code":"EntityNotExist.Role","Message":"no such role"}', "no such role"),
        (200, b'{"Code":"Failed"}', "Failed"),
        (200, b'{"Code":"Success","AccessKeyId":"STS.fake"}', "without keys"),
        (200, b'{"Code":"Success","AccessKeyId":"","AccessKeySecret":""}', "without keys"),
        (200, b"{}", "without keys"),
    ],
)
def test_a_source_without_keys_is_an_access_error(status: int, body: bytes, expected: str) -> None:
    """The cause has the answer's status, code and message, and none of its values."""
    error = keys_from(status, body)
    assert isinstance(error, AccessError)
    assert error.code == "credentials-failed"
    assert expected in str(error.cause)
    assert "STS.fake" not in str(error.cause)


@each_row("length", [10, 1 << 40])
def test_an_incomplete_or_unbounded_answer_is_a_transient_failure(length: int) -> None:
    """The client does not wait for the announced length."""
    error = keys_from(200, b"{", length=length)
    assert isinstance(error, ServiceUnreachable)
    assert error.code == "credentials-unreachable"


def test_a_source_without_a_server_is_a_transient_failure() -> None:
    """The cause states the failure of the connection."""
    with answering(200, b"") as port:
        pass
    with pytest.raises(ServiceUnreachable) as caught:
        fetched.uri(f"http://127.0.0.1:{port}/keys")()
    assert "refused the connection" in str(caught.value.cause)


@each_row("address", ["", "ftp://host/keys", "http://", "http://h:port/", "http://h/a b", "http://h/a\nb"])
def test_an_invalid_uri_is_a_usage_error(address: str) -> None:
    """The error does not repeat the value."""
    with pytest.raises(UsageError) as caught:
        fetched.uri(address)
    assert caught.value.code == "credentials-uri-invalid"
    assert "keys" not in f"{caught.value} {caught.value.cause} {caught.value.remedy}"


def test_neither_path_nor_query_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """They may contain a secret, however short."""
    caplog.set_level(logging.DEBUG, logger="aliyun_import")
    with answering(200, json.dumps(GOOD).encode()) as port:
        fetched.uri(f"http://127.0.0.1:{port}/hush?hush=hush")()
    assert len(caplog.records) == 1
    assert "hush" not in caplog.text


@pytest.mark.parametrize("variables", [("HTTP_PROXY",), ("http_proxy",), ("ALL_PROXY",), ("all_proxy", "HTTP_PROXY")])
def test_keys_of_this_machine_are_not_read_through_a_proxy(
    variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URI on this machine and the metadata service are accessed directly."""
    seen: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        seen.append(servers.read_head(connection))

    def metadata(connection: socket.socket) -> None:
        head = servers.read_head(connection)
        body = b"TOKEN" if head.startswith(b"PUT") else json.dumps(GOOD).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with servers.serve(proxy) as proxy_port, servers.serve(metadata) as port:
        for name in variables:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy_port}")
        assert fetched.uri(f"http://localhost:{port}/keys")().key_id == "STS.fake"
        answer = instance_metadata.keys_of_role("r", ON, host="127.0.0.1", port=port)
        assert json.loads(answer.body) == GOOD
    assert seen == []


def metadata_service(answers: Callable[[bytes], tuple[str, bytes]]) -> AbstractContextManager[int]:
    """Serve as the metadata service; `answers` returns status and body for the head of a request."""

    def handle(connection: socket.socket) -> None:
        status, body = answers(servers.read_head(connection))
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return servers.serve(handle)


def test_metadata_version_1_is_used_if_there_are_no_tokens() -> None:
    """Unless the environment forbids that version: then no request without a token is sent."""
    heads: list[bytes] = []

    def answers(head: bytes) -> tuple[str, bytes]:
        heads.append(head)
        return ("404 Not Found", b"") if head.startswith(b"PUT") else ("200 OK", json.dumps(GOOD).encode())

    with metadata_service(answers) as port:
        assert instance_metadata.keys_of_role("r", ON, host="127.0.0.1", port=port).status == 200
        heads.clear()
        with pytest.raises(AccessError):
            instance_metadata.keys_of_role("r", {"ALIBABA_CLOUD_IMDSV1_DISABLED": "true"}, host="127.0.0.1", port=port)
    assert [head.split(b" ")[0] for head in heads] == [b"PUT"]


def test_a_web_page_is_no_role_name() -> None:
    """A portal may answer in place of the metadata service."""
    with metadata_service(lambda _: ("200 OK", b"<html>Sign in</html>")) as port:
        assert instance_metadata.role_here(ON, host="127.0.0.1", port=port) is None


def test_a_disabled_metadata_service_is_an_access_error() -> None:
    """A profile of the mode EcsRamRole names the variable."""
    with pytest.raises(AccessError) as caught:
        fetched.ecs_role("r", environment={"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"})()
    assert "ALIBABA_CLOUD_ECS_METADATA_DISABLED" in str(caught.value.cause)
