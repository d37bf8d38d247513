"""Tests of the instance metadata, against a small service on this machine."""

import socket
from contextlib import AbstractContextManager

from aliyun_import.cloud import instance_metadata as metadata
from tests.cloud import servers
from tests.rows import each_row

ON: dict[str, str] = {}


def _service(role: str = "builder", *, tokens: bool = True) -> AbstractContextManager[int]:
    def handle(connection: socket.socket) -> None:
        head = servers.read_head(connection)
        asked_token = head.startswith(b"PUT /latest/api/token")
        has_token = b"X-aliyun-ecs-metadata-token: TOKEN" in head
        if asked_token:
            status, text = ("200 OK", "TOKEN") if tokens else ("404 Not Found", "")
        elif tokens and not has_token:
            status, text = "403 Forbidden", ""
        elif b"/region-id" in head:
            status, text = "200 OK", "cn-hangzhou"
        else:
            status, text = ("200 OK", role) if role else ("404 Not Found", "none")
        answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
        connection.sendall(answer.encode())

    return servers.serve(handle)


@each_row("tokens", [True, False])
def test_the_region_of_an_instance(tokens: bool) -> None:
    """It is read with a token if the service requires one, and without if it has none."""
    with _service(tokens=tokens) as port:
        assert metadata.region_here(ON, host="127.0.0.1", port=port) == "cn-hangzhou"


def test_the_role_of_an_instance() -> None:
    """An instance with a role names it; one without has none."""
    with _service() as port:
        assert metadata.role_here(ON, host="127.0.0.1", port=port) == "builder"
    with _service(role="") as port:
        assert metadata.role_here(ON, host="127.0.0.1", port=port) is None


def test_elsewhere_there_is_no_answer() -> None:
    """Where nothing listens, this is no instance."""
    with _service() as port:
        pass
    assert metadata.region_here(ON, host="127.0.0.1", port=port) is None


def test_a_question_that_is_switched_off_is_not_asked() -> None:
    """ALIBABA_CLOUD_ECS_METADATA_DISABLED=true keeps the service from being asked at all."""
    with _service() as port:
        off = {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "TRUE"}
        assert metadata.region_here(off, host="127.0.0.1", port=port) is None


def test_the_internal_endpoint_counts_in_its_own_region_only() -> None:
    """It must answer, and the instance must stand in the region."""
    with _service() as port:

        def answers(region: str, url: str) -> bool:
            return metadata.internal_endpoint_answers(region, url, environment=ON, host="127.0.0.1", port=port)

        assert answers("cn-hangzhou", f"http://127.0.0.1:{port}")
        assert not answers("cn-beijing", f"http://127.0.0.1:{port}")
        assert not answers("cn-hangzhou", "http://127.0.0.1:9")
