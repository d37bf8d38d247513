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


def source(status: int, body: bytes, *, length: int | None = None) -> AbstractContextManager[int]:
    """Serve one answer to every request."""

    def handle(connection: socket.socket) -> None:
        servers.read_head(connection)
        head = f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length or len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return servers.serve(handle)


def keys_from(status: int, body: bytes, *, length: int | None = None) -> object:
    """Return the keys of a URI, or the error."""
    with source(status, body, length=length) as port:
        try:
            return fetched.uri(f"http://127.0.0.1:{port}/keys")()
        except AliyunImportError as error:
            return error


def test_the_keys_of_a_uri() -> None:
    """With and without a token, an end, and the code."""
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
def test_a_source_that_is_out_of_order_is_a_transient_failure(status: int, body: bytes) -> None:
    """Server errors, throttling, web pages and empty answers: a later attempt may succeed."""
    error = keys_from(status, body)
    assert isinstance(error, ServiceUnreachable)
    assert error.code == "credentials-unreachable"
    assert f"HTTP {status}" in str(error.cause)


@each_row(
    ("status", "body", "told"),
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
def test_a_source_that_gives_no_keys_is_to_be_repaired(status: int, body: bytes, told: str) -> None:
    """The cause has the answer's status, code and message, and none of its values."""
    error = keys_from(status, body)
    assert isinstance(error, AccessError)
    assert error.code == "credentials-failed"
    assert told in str(error.cause)
    assert "STS.fake" not in str(error.cause)


@each_row("length", [10, 1 << 40])
def test_an_answer_that_breaks_off_or_has_no_bounds(length: int) -> None:
    """Neither is waited for nor taken."""
    error = keys_from(200, b"{", length=length)
    assert isinstance(error, ServiceUnreachable)
    assert error.code == "credentials-unreachable"


def test_a_source_that_is_not_there() -> None:
    """The cause describes the failure of the connection."""
    with source(200, b"") as port:
        pass
    with pytest.raises(ServiceUnreachable) as caught:
        fetched.uri(f"http://127.0.0.1:{port}/keys")()
    assert "refused the connection" in str(caught.value.cause)


@each_row("address", ["", "ftp://host/keys", "http://", "http://h:port/", "http://h/a b", "http://h/a\nb"])
def test_an_address_that_can_not_be_asked(address: str) -> None:
    """It is a setting to correct, and its value is not repeated."""
    with pytest.raises(UsageError) as caught:
        fetched.uri(address)
    assert caught.value.code == "credentials-uri-invalid"
    assert "keys" not in f"{caught.value} {caught.value.cause} {caught.value.remedy}"


def test_neither_path_nor_query_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """They may hold a secret, however short."""
    caplog.set_level(logging.DEBUG, logger="aliyun_import")
    with source(200, json.dumps(GOOD).encode()) as port:
        fetched.uri(f"http://127.0.0.1:{port}/hush?hush=hush")()
    assert len(caplog.records) == 1
    assert "hush" not in caplog.text


@pytest.mark.parametrize("variables", [("HTTP_PROXY",), ("http_proxy",), ("ALL_PROXY",), ("all_proxy", "HTTP_PROXY")])
def test_no_proxy_sees_keys_of_this_machine(variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A URI on this machine and the metadata service are asked directly."""
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


def instance(answers: Callable[[bytes], tuple[str, bytes]]) -> AbstractContextManager[int]:
    """Serve as the metadata service; `answers` returns status and body for the head of a request."""

    def handle(connection: socket.socket) -> None:
        status, body = answers(servers.read_head(connection))
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return servers.serve(handle)


def test_a_role_without_tokens_is_asked_by_version_1() -> None:
    """Unless the environment forbids that version: then no request goes out without a token."""
    asked: list[bytes] = []

    def answers(head: bytes) -> tuple[str, bytes]:
        asked.append(head)
        return ("404 Not Found", b"") if head.startswith(b"PUT") else ("200 OK", json.dumps(GOOD).encode())

    with instance(answers) as port:
        assert instance_metadata.keys_of_role("r", ON, host="127.0.0.1", port=port).status == 200
        asked.clear()
        with pytest.raises(AccessError):
            instance_metadata.keys_of_role("r", {"ALIBABA_CLOUD_IMDSV1_DISABLED": "true"}, host="127.0.0.1", port=port)
    assert [head.split(b" ")[0] for head in asked] == [b"PUT"]


def test_the_name_of_a_role_is_no_page() -> None:
    """A portal that answers in the place of the metadata service is no role."""
    with instance(lambda _: ("200 OK", b"<html>Sign in</html>")) as port:
        assert instance_metadata.role_here(ON, host="127.0.0.1", port=port) is None


def test_a_disabled_metadata_service_gives_no_keys() -> None:
    """The error of a profile with the mode EcsRamRole has the reason."""
    with pytest.raises(AccessError) as caught:
        fetched.ecs_role("r", environment={"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"})()
    assert "ALIBABA_CLOUD_ECS_METADATA_DISABLED" in str(caught.value.cause)
