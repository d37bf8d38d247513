"""Tests of every operation against unexpected answers: each has the right error, and none is a bug.

Something else answers (a portal, a filter, a proxy, a gateway, another server), or the service's answer is damaged.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.context import Context
from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError, Exit
from aliyun_import.model.objects import RemotePart
from aliyun_import.model.roles import Policy
from aliyun_import.retry import add_retries
from aliyun_import.services import Services
from tests.clocks import SteeredClock
from tests.cloud import adapters, servers
from tests.rows import each_row

PAGE = b"<!DOCTYPE html><html><head><title>Blocked</title></head><body>Blocked by \x1b[31mpolicy {host}</body></html>"
CODES = frozenset(ErrorCode)
PLACEHOLDER = re.compile(r"\{\w*\}|\b(?:MESSAGE|ACTION|None)\b|NotTheService|  |\(\)")


def answer(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return an answer as bytes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


XML = b"<?xml version='1.0'?>"
OSS_ID, RPC_ID = "x-oss-request-id: R-1", "x-acs-request-id: R-1"
# Name -> the answer to every operation, and the exit codes that may come of it (DONE: it may count as a success).
UNEXPECTED: dict[str, tuple[bytes, set[Exit]]] = {
    "portal 200": (answer(200, PAGE, "Content-Type: text/html"), {Exit.TRANSIENT}),
    "portal 200, json": (answer(200, b'{"status":"sign in"}'), {Exit.TRANSIENT}),
    "portal 302": (answer(302, b"", "Location: https://portal.invalid/"), {Exit.ACCESS}),
    "portal 302 without a location": (answer(302, PAGE), {Exit.ACCESS}),
    "portal 511": (answer(511, PAGE), {Exit.TRANSIENT}),
    "filter 403": (answer(403, PAGE), {Exit.ACCESS}),
    "filter 403, empty": (answer(403), {Exit.ACCESS}),
    "filter 403, text": (answer(403, b"no"), {Exit.ACCESS}),
    "filter 403, json": (answer(403, b'{"error":"forbidden"}'), {Exit.ACCESS}),
    "filter 401": (answer(401, PAGE), {Exit.ACCESS}),
    "filter 404": (answer(404, PAGE), {Exit.ACCESS, Exit.DONE}),  # for HEAD: no such object
    "filter 451": (answer(451, PAGE), {Exit.ACCESS}),
    "proxy 407": (answer(407, PAGE, 'Proxy-Authenticate: Basic realm="p"'), {Exit.ACCESS}),
    "gateway 400, needs TLS": (
        answer(400, b"<html>The plain HTTP request was sent to HTTPS port</html>"),
        {Exit.USAGE, Exit.ACCESS},  # HEAD has no body
    ),
    "gateway 413": (answer(413, PAGE), {Exit.REFUSED}),
    "gateway 408": (answer(408), {Exit.TRANSIENT}),
    "gateway 429": (answer(429, PAGE, "Retry-After: 1"), {Exit.TRANSIENT}),
    "gateway 500": (answer(500, PAGE), {Exit.TRANSIENT}),
    "gateway 502": (answer(502, PAGE), {Exit.TRANSIENT}),
    "gateway 503": (answer(503, PAGE, "Retry-After: 2"), {Exit.TRANSIENT}),
    "gateway 504, empty": (answer(504), {Exit.TRANSIENT}),
    "an error with an empty code": (answer(403, b"<Error><Code/><Message/></Error>"), {Exit.ACCESS}),
    "closed": (b"", {Exit.TRANSIENT}),
    "not http": (b"SSH-2.0-OpenSSH_9.2\r\n", {Exit.TRANSIENT}),
    "tls alert": (b"\x15\x03\x01\x00\x02\x02\x46", {Exit.USAGE}),
    "incomplete head": (b"HTTP/1.1 200 OK\r\nContent-Le", {Exit.TRANSIENT}),
    "cut body": (answer(200, b"{", OSS_ID, RPC_ID, length=100), {Exit.TRANSIENT, Exit.DONE}),  # HEAD: no body
    "endless length": (answer(200, b"{", OSS_ID, RPC_ID, length=10**14), {Exit.TRANSIENT, Exit.DONE}),
    "no length": (answer(200, b"{", OSS_ID, RPC_ID).replace(b"Length: 1", b"Length: x"), {Exit.TRANSIENT}),
    "status 99": (b"HTTP/1.1 099 X\r\n\r\n", {Exit.TRANSIENT}),
    "status 999": (answer(999, PAGE), {Exit.TRANSIENT}),
    "service, 200 and a page": (answer(200, PAGE, OSS_ID, RPC_ID), {Exit.TRANSIENT, Exit.DONE}),
    "service, 200 and nothing": (answer(200, b"", OSS_ID, RPC_ID), {Exit.TRANSIENT, Exit.DONE}),
    "service, 204": (answer(204, b"", OSS_ID, RPC_ID), {Exit.TRANSIENT, Exit.DONE}),
    "service, json for xml": (answer(200, b'{"RequestId":"R-1"}', OSS_ID), {Exit.TRANSIENT, Exit.DONE}),
    "service, xml for json": (
        answer(200, XML + b"<R><RequestId>R-1</RequestId></R>", RPC_ID), {Exit.TRANSIENT, Exit.DONE},
    ),
    "service, another xml": (answer(200, XML + b"<Other/>", OSS_ID, RPC_ID), {Exit.TRANSIENT, Exit.DONE}),
    "service, a json list": (answer(200, b"[1]", OSS_ID, RPC_ID), {Exit.TRANSIENT, Exit.DONE}),
    "service, deep json": (answer(200, b"[" * 100_000, OSS_ID, RPC_ID), {Exit.TRANSIENT, Exit.DONE}),
    "service, json of other types": (
        answer(200, b'{"RequestId":7,"AccountId":[],"Images":7,"TaskSet":"x","Role":[],"TotalCount":"many"}', RPC_ID),
        {Exit.TRANSIENT, Exit.DONE},
    ),
    "service, 403 without a code": (answer(403, b"", OSS_ID, RPC_ID), {Exit.ACCESS, Exit.REFUSED}),
    "service, 400 without a code": (answer(400, b"{}", OSS_ID, RPC_ID), {Exit.REFUSED}),
    "service, 503 without a code": (answer(503, b"", OSS_ID, RPC_ID), {Exit.TRANSIENT}),
    "service, 500 and a page": (answer(500, PAGE, OSS_ID, RPC_ID), {Exit.TRANSIENT}),
    "service, xml error for json": (
        answer(403, XML + b"<Error><Code>Forbidden.RAM</Code><Message/></Error>", OSS_ID), {Exit.ACCESS, Exit.REFUSED},
    ),
    "service, json error for xml": (
        answer(403, b'{"Code":"AccessDenied","Message":"no","RequestId":"R-1"}'), {Exit.ACCESS, Exit.REFUSED},
    ),
    "service, another language": (
        answer(400, XML.replace(b"?>", b" encoding='utf-7'?>") + b"<Error/>", OSS_ID, RPC_ID), {Exit.REFUSED},
    ),
    "service, not utf-8": (answer(403, b"<Error><Code>\xff\xfe</Code></Error>", OSS_ID), {Exit.ACCESS, Exit.REFUSED}),
    "service, an unknown code": (
        answer(418, b'{"Code":"A{0}{host}","Message":"\\u202e\\u0007","RequestId":"R"}'), {Exit.REFUSED, Exit.ACCESS},
    ),
}  # fmt: skip


class UnexpectedServer:
    """A server in place of all services that answers every request with the set answer."""

    def __init__(self) -> None:
        self._rpc = self._oss = b""

    def set_answer(self, rpc: bytes, oss: bytes | None = None) -> None:
        """Set the answer to RPC requests, and to OSS requests unless `oss` is passed."""
        self._rpc, self._oss = rpc, rpc if oss is None else oss

    def handle(self, connection: socket.socket) -> None:
        """Answer one request, and close the connection."""
        is_rpc = b"Action=" in servers.read_head(connection)
        connection.sendall(self._rpc if is_rpc else self._oss)
        connection.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def responder() -> UnexpectedServer:
    """Return the server in place of all services."""
    return UnexpectedServer()


@pytest.fixture(scope="module")
def services(responder: UnexpectedServer) -> Iterator[Services]:
    """Yield services whose requests are answered by the unexpected server."""
    with servers.serve(responder.handle) as port:
        found = resolve_endpoints("cn-hangzhou", endpoint_url=f"http://127.0.0.1:{port}")
        yield adapters.services(found, adapters.any_credentials(), adapters.TIMEOUTS)


def _operations(services: Services) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every operation of every service, with its name."""
    oss, ecs, ram, sts = services.store(adapters.BUCKET), services.images, services.roles, services.identity
    part = RemotePart(number=1, size_bytes=1, etag="E", crc64=None)
    policy = Policy(name="p", type="Custom")
    yield "whoami", sts.whoami
    yield "bucket_info", oss.bucket_info
    yield "create_bucket", oss.create_bucket
    yield "ensure_abort_rule", lambda: oss.ensure_abort_rule(prefix="p", days=7)
    yield "head", lambda: oss.head("k")
    yield "read", lambda: oss.read("k", length=1 << 20)
    yield "put", lambda: oss.put("k", b"x")
    yield "delete", lambda: oss.delete("k")
    yield "list_objects", lambda: oss.list_objects("p")
    yield "start_upload", lambda: oss.start_upload("k")
    yield "send_part", lambda: oss.send_part("k", "u", number=1, body=adapters.Body([b"x"]))
    yield (
        "copy_part",
        lambda: oss.copy_part("k", "u", number=1, source_key="s", start=0, length=1, if_match="E"),
    )
    yield "list_parts", lambda: oss.list_parts("k", "u")
    yield "list_uploads", lambda: oss.list_uploads("p")
    yield "complete", lambda: oss.complete("k", "u", (part,))
    yield "abort", lambda: oss.abort("k", "u")
    yield "role", lambda: ram.role("r")
    yield "create_role", lambda: ram.create_role("r", trust_policy="{}", description="d")
    yield "update_trust_policy", lambda: ram.update_trust_policy("r", trust_policy="{}")
    yield "attached_policies", lambda: ram.attached_policies("r")
    yield "attach_policy", lambda: ram.attach_policy(policy, role_name="r")
    yield "policy_document", lambda: ram.policy_document(policy)
    yield "import_image", lambda: ecs.import_image(adapters.import_call())
    yield "dry run", lambda: ecs.import_image(adapters.import_call(dry_run=True))
    yield "task", lambda: ecs.task("t-1")
    yield "tasks", ecs.tasks
    yield "cancel_task", lambda: ecs.cancel_task("t-1")
    yield "image", lambda: ecs.image("m-1")
    yield "images", lambda: ecs.images(name="n")
    yield "rename_image", lambda: ecs.rename_image("m-1", name="n")
    yield "delete_image", lambda: ecs.delete_image("m-1")
    yield "regions", ecs.regions


def failure_of(call: Callable[[], object]) -> AliyunImportError | None:
    """Return the error of a call, None for a success."""
    try:
        call()
    except AliyunImportError as error:
        return error
    return None


def assert_complete(error: AliyunImportError) -> None:
    """Assert that an error has a code, a remedy, sentences without placeholders, and a JSON form."""
    assert error.exit_code is not Exit.BUG
    assert error.code in CODES
    assert error.remedy
    assert error.cause
    for sentence in (error.summary, error.remedy):
        assert not PLACEHOLDER.search(sentence), sentence
        assert sentence.endswith("."), sentence
    json.dumps(dict(error.details))


@each_row("name", UNEXPECTED)
def test_an_unexpected_answer_is_an_error_of_any_operation(
    name: str, responder: UnexpectedServer, services: Services
) -> None:
    """The exit code is one of the listed ones, the sentences are complete, and a web page is never a success."""
    unexpected, exit_codes = UNEXPECTED[name]
    responder.set_answer(unexpected)
    for operation, call in _operations(services):
        error = failure_of(call)
        if error is not None:
            assert_complete(error)
        assert (error.exit_code if error else Exit.DONE) in exit_codes, (operation, error, error and error.cause)


# Status and service code of failures that a later run may not have.
BUSY = [(429, "Throttling"), (429, "Unheard"), (429, ""), (408, ""), (500, ""), (502, ""), (503, ""), (504, "")]


def answer_busy(responder: UnexpectedServer, status: int, code: str) -> None:
    """Answer every request with an error in the form of its service, without a code if `code` is empty."""
    named = f"<Code>{code}</Code>" if code else ""
    xml = XML + f"<Error>{named}<Message>m</Message><RequestId>R-1</RequestId></Error>".encode()
    document = {"Code": code, "Message": "m", "RequestId": "R-1"} if code else {"RequestId": "R-1"}
    rpc = answer(status, json.dumps(document).encode(), OSS_ID, RPC_ID)
    responder.set_answer(rpc, oss=answer(status, xml, OSS_ID, RPC_ID))


@each_row(("status", "code"), BUSY)
def test_a_busy_service_is_exit_code_6(status: int, code: str, responder: UnexpectedServer, services: Services) -> None:
    """HTTP 429, and 5xx without a code, are transient for each operation."""
    answer_busy(responder, status, code)
    for operation, call in _operations(services):
        error = failure_of(call)
        assert error is not None, operation
        assert_complete(error)
        assert error.exit_code is Exit.TRANSIENT, (operation, error, error.cause)


def test_a_client_token_in_processing_is_exit_code_6(responder: UnexpectedServer, services: Services) -> None:
    """IdempotentProcessing: a call with the same client token is not finished."""
    answer_busy(responder, 400, "IdempotentProcessing")
    calls = dict(_operations(services))
    for operation in ("import_image", "dry run", "delete_image", "role", "whoami"):
        error = failure_of(calls[operation])
        assert error is not None, operation
        assert error.exit_code is Exit.TRANSIENT, (operation, error)


@each_row("name", UNEXPECTED)
def test_an_unexpected_answer_to_the_first_request_is_an_error_within_seconds(
    name: str, responder: UnexpectedServer, services: Services
) -> None:
    """Nothing is in progress that a long wait could save."""
    unexpected, exit_codes = UNEXPECTED[name]
    clock = SteeredClock()
    responder.set_answer(unexpected)
    with pytest.raises(AliyunImportError) as caught:
        add_retries(services, Context(clock=clock)).identity.whoami()
    assert caught.value.exit_code in exit_codes
    is_service_error = name.startswith("service, 5")
    assert sum(clock.slept) <= (130 if is_service_error else 10)
