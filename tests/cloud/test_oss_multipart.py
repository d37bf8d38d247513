"""Tests of parts: streamed, refused, corrupted, and with lost answers."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastcrc import crc64

from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.errors import AliyunImportError, DiskError, RefusedError, TransientError
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import adapters, servers

MIB = 1 << 20


class RepeatedBuffer:
    """A body that yields the same buffer several times, with other bytes each time."""

    def __init__(self, times: int) -> None:
        self._times = times
        self._buffer = bytearray(MIB)

    def __len__(self) -> int:
        return self._times * MIB

    def __iter__(self) -> Iterator[memoryview]:
        for number in range(self._times):
            # The buffer is reused, as in an upload: chunks that the client kept would have changed.
            self._buffer[:] = bytes([number % 251]) * MIB
            yield memoryview(self._buffer)


def test_a_part_is_sent_with_its_length_and_in_chunks() -> None:
    """It has Content-Length; each chunk is sent before the next is read, and none is kept."""
    seen: dict[str, bytes] = {}
    crc = 0

    def handle(connection: socket.socket) -> None:
        nonlocal crc
        head, _, body = servers.read_head(connection).partition(b"\r\n\r\n")
        seen["head"] = head.lower()
        remaining = 24 * MIB - len(body)
        crc = crc64.xz(body)
        while remaining:
            piece = connection.recv(MIB)
            crc = crc64.xz(piece, crc)
            remaining -= len(piece)
        connection.sendall(b'HTTP/1.1 200 OK\r\nx-oss-request-id: R\r\nETag: "E"\r\nContent-Length: 0\r\n\r\n')

    with servers.serve(handle) as port:
        found = resolve_endpoints("cn-hangzhou", endpoint_url=f"http://127.0.0.1:{port}")
        opened = OssStore(adapters.BUCKET, endpoints=found, credentials=adapters.any_credentials())
        part = opened.send_part("k", "u", number=1, body=RepeatedBuffer(24))
    assert b"content-length: %d" % (24 * MIB) in seen["head"]
    assert b"transfer-encoding" not in seen["head"]
    assert b"expect" not in seen["head"]
    expected = 0
    for chunk in RepeatedBuffer(24):
        expected = crc64.xz(bytes(chunk), expected)
    assert crc == expected
    assert (part.etag, part.crc64, part.size_bytes) == ("E", None, 24 * MIB)


def test_an_error_of_the_body_is_raised_unchanged(sandbox: Sandbox) -> None:
    """A read error in the middle of a part is not a failure of the network."""
    opened = adapters.create_store(sandbox)
    upload_id = opened.start_upload("k")
    failure = DiskError("Reading failed.", code="read-error", remedy=None)
    with pytest.raises(DiskError) as caught:
        opened.send_part("k", upload_id, number=1, body=adapters.Body([bytes(MIB)] * 3, fail=failure))
    assert caught.value is failure
    # The connection with an incomplete request is not reused.
    assert opened.send_part("k", upload_id, number=1, body=adapters.Body([b"x"])).size_bytes == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(operation="UploadPart", effect="cut-before"), "connection-lost"),
        (Fault(operation="UploadPart", effect="cut-body", after_bytes=MIB), "connection-lost"),
        (Fault(operation="UploadPart", effect="lose-answer"), "connection-lost"),
        (Fault(operation="UploadPart", status=500, code="InternalError"), "service-unwell"),
        (Fault(operation="UploadPart", status=400, code="RequestTimeout"), "timed-out"),
    ],
    ids=lambda value: value.effect if isinstance(value, Fault) else value,
)
def test_one_attempt_is_one_request(fault: Fault, code: str, sandbox: Sandbox) -> None:
    """A transient failure is raised at once; the client does not retry."""
    opened = adapters.create_store(sandbox)
    upload_id = opened.start_upload("k")
    sandbox.faults.add(fault)
    body = adapters.Body([bytes(MIB)] * 8)
    with pytest.raises(TransientError) as caught:
        opened.send_part("k", upload_id, number=1, body=body)
    assert caught.value.code == code
    assert caught.value.resumable
    assert body.iterations == 1
    assert len(sandbox.requests.entries("UploadPart")) == 1
    assert opened.send_part("k", upload_id, number=1, body=body).crc64 == crc64.xz(bytes(8 * MIB))


def test_the_crc_of_oss_is_returned_unchanged(sandbox: Sandbox) -> None:
    """A wrong and a missing CRC are returned: the upload compares them."""
    opened = adapters.create_store(sandbox)
    upload_id = opened.start_upload("k")
    sandbox.faults.add(Fault(operation="UploadPart", effect="wrong-crc"))
    assert opened.send_part("k", upload_id, number=1, body=adapters.Body([b"abc"])).crc64 != crc64.xz(b"abc")
    sandbox.faults.add(Fault(operation="UploadPart", effect="no-crc"))
    assert opened.send_part("k", upload_id, number=1, body=adapters.Body([b"abc"])).crc64 is None


@pytest.mark.parametrize("code", ["NotImplemented", "OperationNotSupported", "MethodNotAllowed"])
def test_a_store_without_copies_has_its_error(code: str, sandbox: Sandbox) -> None:
    """Each refusal of copies is "copy-refused", so that the upload sends the bytes instead."""
    opened = adapters.create_store(sandbox)
    source = opened.put("source", bytes(1000))
    upload_id = opened.start_upload("k")
    sandbox.faults.add(Fault(operation="UploadPartCopy", status=501, code=code))
    with pytest.raises(RefusedError) as caught:
        opened.copy_part("k", upload_id, number=1, source_key="source", start=0, length=10, if_match=source.etag)
    assert caught.value.code == "copy-refused"


def test_without_the_right_to_read_the_source_a_copy_is_refused(sandbox: Sandbox) -> None:
    """Sending needs no right to read, so the upload can continue."""
    opened = adapters.create_store(sandbox)
    source = opened.put("source", bytes(1000))
    upload_id = opened.start_upload("k")
    sandbox.state.deny("oss:GetObject")
    with pytest.raises(RefusedError) as caught:
        opened.copy_part("k", upload_id, number=1, source_key="source", start=0, length=10, if_match=source.etag)
    assert caught.value.code == "copy-refused"
    assert opened.send_part("k", upload_id, number=1, body=adapters.Body([b"x"])).etag


def test_all_pages_of_parts_are_listed(sandbox: Sandbox) -> None:
    """More than 1000 parts are listed in order, each with its CRC-64."""
    opened = adapters.create_store(sandbox)
    upload_id = opened.start_upload("k")
    opened.send_part("k", upload_id, number=10_000, body=adapters.Body([b"x"]))
    parts = sandbox.state.part(OssState).buckets[adapters.BUCKET].uploads[upload_id].parts
    sent = parts[10_000]
    for number in range(1, 1003):
        parts[number] = replace(sent, number=number, crc64=number)
    found = opened.list_parts("k", upload_id)
    assert [part.number for part in found] == [*range(1, 1003), 10_000]
    assert [part.crc64 for part in found] == [*range(1, 1003), crc64.xz(b"x")]


def test_threads_can_share_a_store(sandbox: Sandbox) -> None:
    """All parts that are sent at once are received."""
    opened = adapters.create_store(sandbox)
    upload_id = opened.start_upload("k")
    failures: list[AliyunImportError] = []

    def send(number: int) -> None:
        try:
            for one in range(number, number + 5):
                opened.send_part("k", upload_id, number=one, body=adapters.Body([bytes([one]) * 1000]))
        except AliyunImportError as error:
            failures.append(error)

    threads = [threading.Thread(target=send, args=(1 + 5 * worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    crcs = [part.crc64 for part in opened.list_parts("k", upload_id)]
    assert crcs == [crc64.xz(bytes([one]) * 1000) for one in range(1, 41)]


def test_a_lost_answer_to_complete_is_a_transient_failure(sandbox: Sandbox) -> None:
    """The object exists, so that the upload can find it."""
    opened = adapters.create_store(sandbox)
    upload_id = opened.start_upload("k")
    part = opened.send_part("k", upload_id, number=1, body=adapters.Body([b"abc"]))
    sandbox.faults.add(Fault(operation="CompleteMultipartUpload", effect="lose-answer"))
    with pytest.raises(TransientError):
        opened.complete("k", upload_id, (part,))
    stored = opened.head("k")
    assert stored is not None
    assert stored.crc64 == crc64.xz(b"abc")
