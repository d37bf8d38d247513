"""Tests of the metadata service of a guest, with requests of cloud-init."""

from aliyun_import.boot.metadata import MAC, MetadataService
from tests.rows import each_row


def get(service: MetadataService, path: str) -> tuple[int, str]:
    """Return status and body of a GET."""
    head, _, body = service.feed(f"GET {path} HTTP/1.1\r\nHost: 100.100.100.200\r\n\r\n".encode()).partition(
        b"\r\n\r\n"
    )
    return int(head.split()[1]), body.decode()


@each_row("version", ["latest", "2016-01-01", "2021-02-02"])
def test_the_tree_is_read_by_its_listings(version: str) -> None:
    """cloud-init follows the lists of names; a name with a slash is a directory."""
    service = MetadataService()
    status, names = get(service, f"/{version}/meta-data/")
    assert status == 200
    assert {"instance-id", "network/", "mac"} <= set(names.split("\n"))
    assert get(service, f"/{version}/meta-data/network/interfaces/macs/") == (200, f"{MAC}/")
    assert get(service, f"/{version}/meta-data/instance-id") == (200, "i-boottest")
    assert get(service, f"/{version}/user-data")[1].startswith("#cloud-config\n")


@each_row("path", ["/latest/meta-data/no-such", "/latest/vendor-data", "/", "/../etc/passwd"])
def test_an_unknown_path_is_404(path: str) -> None:
    """cloud-init treats 404 as absent, and continues at once."""
    assert get(MetadataService(), path) == (404, "")


def test_a_token_is_returned() -> None:
    """Version 2 of the protocol requests a token first."""
    answer = MetadataService().feed(b"PUT /latest/api/token HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nboot-test-token")


def test_the_end_of_cloud_init_is_reported() -> None:
    """cloud-init posts to /boot-test at its end; a post to another path has no effect."""
    service = MetadataService()
    request = b"POST /boot-test HTTP/1.1\r\nContent-Length: 22\r\n\r\ninstance_id=i-boottest"
    assert service.feed(b"POST /other HTTP/1.1\r\nContent-Length: 0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert not service.is_done
    assert service.feed(request[:-3]) == b""
    assert service.feed(request[-3:]).startswith(b"HTTP/1.1 200")
    assert service.is_done


def test_requests_of_several_connections_arrive_as_one_stream() -> None:
    """An incomplete request of a closed connection does not affect the next one."""
    service = MetadataService()
    assert service.feed(b"garbage\r\n\r\n") == b""
    answers = service.feed(b"GET /latest/meta-data/mac HTTP/1.1\r\n\r\nGET /latest/meta-data/hostname HTTP/1.1\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert service.requests == 2
