"""Tests of the ECS client beyond the contract: old answers, pages, fuzzy names, permissions."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.ecs_instances import EcsInstances
from aliyun_import.cloud.endpoints import Endpoints, resolve_endpoints
from aliyun_import.errors import AccessError, RefusedError, TransientError
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import adapters, servers
from tests.rows import each_row


@contextmanager
def _answering(*documents: dict[str, Any], status: int = 200) -> Iterator[tuple[Endpoints, list[dict[str, str]]]]:
    """Yield the endpoints of an ECS that answers with these documents in turn, and a list of its queries."""
    queries: list[dict[str, str]] = []
    answers = iter(documents)

    def handle(connection: socket.socket) -> None:
        target = servers.read_head(connection).split()[1].decode()
        queries.append({name: values[0] for name, values in parse_qs(urlsplit(target).query).items()})
        body = json.dumps(next(answers)).encode()
        head = b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        connection.sendall(head + body)

    with servers.serve(handle) as port:
        yield resolve_endpoints("cn-hangzhou", endpoint_url=f"http://127.0.0.1:{port}"), queries


@contextmanager
def _ecs_answering(*documents: dict[str, Any], status: int = 200) -> Iterator[tuple[EcsImages, list[dict[str, str]]]]:
    """Yield a client of the images of such an ECS, and a list of its queries."""
    with _answering(*documents, status=status) as (found, queries):
        yield EcsImages(endpoints=found, credentials=adapters.any_credentials()), queries


def test_the_old_field_of_the_task_id_is_read() -> None:
    """An older page of ImportImage calls it ImportTaskId."""
    with _ecs_answering({"RequestId": "R", "ImageId": "Img-1", "ImportTaskId": "123-345"}) as (ecs, _):
        started = ecs.import_image(adapters.import_call())
    assert started is not None
    assert (started.task_id, started.image_id, started.request_id) == ("123-345", "Img-1", "R")


def test_images_are_requested_in_every_status() -> None:
    """Without the parameter, an image in creation is not listed."""
    with _ecs_answering({"RequestId": "R", "Images": {"Image": []}, "TotalCount": 0}) as (ecs, queries):
        ecs.image("m-1")
    assert set(queries[0]["Status"].split(",")) >= {"Creating", "Waiting", "Available", "UnAvailable", "CreateFailed"}
    assert queries[0]["RegionId"] == "cn-hangzhou"


@each_row(("platform", "near", "far"), [("Debain", "Debian", "FreeBSD"), ("xyzzy", "FreeBSD", "")])
def test_the_error_of_a_platform_names_similar_ones(platform: str, near: str, far: str) -> None:
    """The remedy has the similar names of the list, or the whole list."""
    refusal = {"RequestId": "R", "Code": "InvalidPlatform.Malformed", "Message": "m"}
    call = adapters.import_call()
    with _ecs_answering(refusal, status=400) as (ecs, _), pytest.raises(RefusedError) as caught:
        ecs.import_image(replace(call, request=replace(call.request, platform=platform)))
    assert caught.value.code == "platform-invalid"
    assert near in (caught.value.remedy or "")
    assert not far or far not in (caught.value.remedy or "")


def test_names_are_compared_exactly() -> None:
    """The filter of the service is fuzzy."""
    found = [{"ImageId": "m-1", "ImageName": "web-42-old"}, {"ImageId": "m-2", "ImageName": "web-42"}]
    with _ecs_answering({"RequestId": "R", "Images": {"Image": found}, "TotalCount": 2}) as (ecs, queries):
        assert [one.image_id for one in ecs.images(name="web-42")] == ["m-2"]
    assert queries[0]["ImageOwnerAlias"] == "self"


def test_all_pages_are_requested() -> None:
    """They end with the total or with an empty page, so that a wrong total causes no endless loop."""
    pages = [
        {"RequestId": "R", "TaskSet": {"Task": [{"TaskId": f"t-{page}-{one}", "TaskStatus": "Waiting"}
                                                 for one in range(100)]}, "TotalCount": 250}
        for page in range(2)
    ]  # fmt: skip
    last = {"RequestId": "R", "TaskSet": {"Task": [{"TaskId": "t-last", "TaskStatus": "Waiting"}]}, "TotalCount": 250}
    empty = {"RequestId": "R", "TaskSet": {"Task": []}, "TotalCount": 250}
    with _ecs_answering(*pages, last, empty) as (ecs, queries):
        assert len(ecs.tasks()) == 201
    assert [one["PageNumber"] for one in queries] == ["1", "2", "3", "4"]
    assert queries[0]["TaskAction"] == "ImportImage"


def test_a_list_of_instance_types_that_repeats_a_page_is_an_error() -> None:
    """A token that was used already would continue for ever."""
    types = {"InstanceType": [{"InstanceTypeId": "ecs.fake.small"}]}
    page = {"RequestId": "R", "InstanceTypes": types, "NextToken": "again"}
    with _answering(page, page, page) as (found, queries):
        instances = EcsInstances(endpoints=found, credentials=adapters.any_credentials())
        with pytest.raises(TransientError) as caught:
            instances.small_types("x86_64")
    assert "instance types is endless" in (caught.value.cause or "")
    assert len(queries) == 2


def test_tasks_are_sorted_newest_first() -> None:
    """The order of the answer does not matter."""
    found = [
        {"TaskId": "t-old", "TaskStatus": "Waiting", "CreationTime": "2026-11-23T23:59Z"},
        {"TaskId": "t-new", "TaskStatus": "Paused", "CreationTime": "2026-11-24T00:01Z"},
    ]
    with _ecs_answering({"RequestId": "R", "TaskSet": {"Task": found}, "TotalCount": 2}) as (ecs, _):
        assert [one.task_id for one in ecs.tasks()] == ["t-new", "t-old"]


def test_an_empty_answer_means_an_unknown_task() -> None:
    """The service may answer without fields for a task that is seconds old."""
    with _ecs_answering({"RequestId": "R", "TaskId": "t-1"}) as (ecs, _):
        assert ecs.task("t-1") is None


def test_the_answer_to_a_dry_run_is_an_error_for_another_call(sandbox: Sandbox) -> None:
    """It means success for a dry run only."""
    sandbox.faults.add(Fault(operation="ImportImage", status=400, code="DRYRUN.SUCCESS", message="m"))
    with pytest.raises(RefusedError) as caught:
        adapters.images(sandbox).import_image(adapters.import_call())
    assert caught.value.code == "dry-run-passed"


@pytest.mark.parametrize("code", ["Throttling", "Throttling.User", "Throttling.Api"])
def test_throttling_is_not_retried_by_the_client(code: str, sandbox: Sandbox) -> None:
    """One call is one request, with all spellings of the code, although the SDK retries some."""
    sandbox.faults.add(Fault(operation="DescribeRegions", status=400, code=code, message="m", count=None))
    with pytest.raises(TransientError) as caught:
        adapters.images(sandbox).regions()
    assert caught.value.code == "throttled"
    assert len(sandbox.requests.entries("DescribeRegions")) == 1


def test_a_missing_right_is_named(sandbox: Sandbox) -> None:
    """Forbidden.RAM and NoPermission name the right that the operation needs."""
    sandbox.state.deny("ecs:*", "ram:*")
    for act, right in (
        (adapters.images(sandbox).tasks, "ecs:DescribeTasks"),
        (lambda: adapters.roles(sandbox).role("r"), "ram:GetRole"),
    ):
        with pytest.raises(AccessError) as caught:
            act()
        assert caught.value.code == "no-right"
        assert right in str(caught.value.remedy)
