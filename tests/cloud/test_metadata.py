"""Tests of the instance metadata, with a small service on this machine."""

import socket
from contextlib import AbstractContextManager

from aliyun_import.cloud import instance_metadata as metadata
from tests.cloud import servers
from tests.rows import each_row

ON: dict[str, str] = {}


def _metadata_service(role: str = "builder", *, tokens: bool = True) -> AbstractContextManager[int]:
    def handle(connection: socket.socket) -> None:
        head = servers.read_head(connection)
        requests_token = head.startswith(b"PUT /latest/api/token")
        has_token = b"X-aliyun-ecs-metadata-token: TOKEN" in head
        if requests_token:
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
def test_the_region_is_read_with_or_without_a_token(tokens: bool) -> None:
    """A token is used if the service has one."""
    with _metadata_service(tokens=tokens) as port:
        assert metadata.region_here(ON, host="127.0.0.1", port=port) == "cn-hangzhou"


def test_the_role_of_an_instance_is_read_if_it_has_one() -> None:
    """For an instance without a role it is None."""
    with _metadata_service() as port:
        assert metadata.role_here(ON, host="127.0.0.1", port=port) == "builder"
    with _metadata_service(role="") as port:
        assert metadata.role_here(ON, host="127.0.0.1", port=port) is None


def test_without_a_metadata_service_the_region_is_unknown() -> None:
    """The port of the service refuses connections."""
    with _metadata_service() as port:
        pass
    assert metadata.region_here(ON, host="127.0.0.1", port=port) is None


def test_a_disabled_metadata_service_is_not_read() -> None:
    """ALIBABA_CLOUD_ECS_METADATA_DISABLED=true disables it."""
    with _metadata_service() as port:
        off = {"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "TRUE"}
        assert metadata.region_here(off, host="127.0.0.1", port=port) is None


def test_the_internal_endpoint_is_used_only_in_the_same_region() -> None:
    """It must answer, and the instance must be in the region."""
    with _metadata_service() as port:

        def answers(region: str, url: str) -> bool:
            return metadata.internal_endpoint_answers(region, url, environment=ON, host="127.0.0.1", port=port)

        assert answers("cn-hangzhou", f"http://127.0.0.1:{port}")
        assert not answers("cn-beijing", f"http://127.0.0.1:{port}")
        assert not answers("cn-hangzhou", "http://127.0.0.1:9")
