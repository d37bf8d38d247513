"""Tests of the metadata service of an instance."""

import base64

from aliyun_import.sandbox.ecs.state import Instance
from aliyun_import.sandbox.guests.metadata import MAC, Metadata
from tests.rows import each_row

INSTANCE = Instance(
    id="i-example",
    account_id="1000000000000000",
    region="cn-hangzhou",
    zone="cn-hangzhou-a",
    image_id="m-example",
    instance_type="ecs.g7.large",
    vswitch_id="vsw-example",
    security_group_id="sg-example",
    name="n",
    os_type="linux",
    disk_category="cloud_essd",
    disk_gib=20,
    spot_strategy="NoSpot",
    resource_group="",
    created_s=0.0,
    auto_release_s=None,
    console="guest",
    user_data=base64.b64encode(b"#cloud-config\n").decode(),
)


def response_to(path: str, method: str = "GET") -> tuple[str, str]:
    """Return status and body of a response."""
    answer = Metadata.of(INSTANCE).feed(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return head.split()[1], body


@each_row(
    ("path", "expected"),
    [
        ("/latest/meta-data/instance-id", ("200", "i-example")),
        ("/2016-01-01/meta-data/zone-id", ("200", "cn-hangzhou-a")),
        ("/latest/meta-data/instance/", ("200", "instance-type")),
        (f"/latest/meta-data/network/interfaces/macs/{MAC}/vswitch-id", ("200", "vsw-example")),
        ("/latest/user-data", ("200", "#cloud-config\n")),
        ("/latest/meta-data/nothing", ("404", "")),
        ("/somewhere/meta-data/instance-id", ("404", "")),
        ("/", ("404", "")),
    ],
)
def test_values_are_those_of_the_instance(path: str, expected: tuple[str, str]) -> None:
    """Values, names below a path and user data are returned, and other paths are 404."""
    assert response_to(path) == expected


def test_the_second_version_returns_a_token() -> None:
    """PUT returns a token, and HEAD has no body."""
    assert response_to("/latest/api/token", "PUT") == ("200", "sandbox-token")
    assert response_to("/latest/meta-data/instance-id", "HEAD") == ("200", "")


def test_requests_may_arrive_in_pieces_and_together() -> None:
    """Each complete request is answered once, in order."""
    metadata = Metadata({"a": "1", "b": "2"})
    raw = b"GET /latest/meta-data/a HTTP/1.1\r\n\r\nGET /latest/meta-data/b HTTP/1.0\r\n\r\n"
    answers = b"".join(metadata.feed(raw[at : at + 1]) for at in range(len(raw)))
    assert [each[:1] for each in answers.split(b"\r\n\r\n")[1:]] == [b"1", b"2"]
    assert Metadata().feed(b"GET /latest/user-data HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404")
