"""Tests of routing: each operation is recognised by its request, so that a fault applies to it."""

import http.client
import urllib.parse
from contextlib import closing

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.router import OPERATIONS, RPC
from aliyun_import.sandbox.oss.operations import OPERATIONS as OSS_OPERATIONS
from aliyun_import.sandbox.oss.operations import OssOperation
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row

CALLS = [(row.name, service.version) for service in RPC.by_version.values() for row in service.operations]


def _send(sandbox: Sandbox, method: str, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    with closing(connection):
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        return response.status, response.read() or response.headers.get("x-oss-err", "").encode()


@each_row("row", OSS_OPERATIONS)
def test_a_fault_applies_to_each_operation_of_oss(sandbox: Sandbox, row: OssOperation) -> None:
    """Method, path and marks are sufficient to identify the operation."""
    path = {"service": "/", "bucket": "/disks/", "object": "/disks/k"}[row.level]
    marks = {mark: "1" for mark in row.marks if not mark.startswith("x-")}
    headers = {mark: "/disks/k" for mark in row.marks if mark.startswith("x-")}
    sandbox.faults.add(Fault(operation=row.name, status=418, code="InjectedFault"))
    status, body = _send(sandbox, row.method, f"{path}?{urllib.parse.urlencode(marks)}" if marks else path, headers)
    assert (status, bool(body)) == (418, True)
    assert sandbox.requests.entries(row.name)[-1].code == "InjectedFault"


@each_row(("name", "version"), CALLS)
def test_a_fault_applies_to_each_call_of_ecs_ram_and_sts(sandbox: Sandbox, name: str, version: str) -> None:
    """The answer has the format of the service, also for an incomplete call."""
    sandbox.faults.add(Fault(operation=name, status=418, code="InjectedFault", message="injected"))
    status, body = _send(sandbox, "GET", f"/?Action={name}&Version={version}&Format=JSON", {})
    assert (status, b'"Code":"InjectedFault"' in body, b"injected" in body) == (418, True, True)
    assert name in OPERATIONS
