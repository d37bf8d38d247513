"""Tests of presigned URLs and virtual-hosted addresses of the vendor's SDKs."""

import http.client
from contextlib import closing
from datetime import timedelta
from urllib.parse import urlsplit

import alibabacloud_oss_v2 as oss_v2
import oss2
import pytest

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.sandbox.oss_sdk import Oss

KEY = "dir/a b+ü.raw"


def send(sandbox: Sandbox, method: str, url: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a request without an Authorization header."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)) as connection:
        connection.request(method, f"{parts.path}?{parts.query}", body=body, headers={"Host": parts.netloc})
        response = connection.getresponse()
        return response.status, response.read()


def presigned(sandbox: Sandbox, form: str, method: str, *, expires_s: int = 600, key: AccessKey | None = None) -> str:
    """Return a URL presigned by one of the SDKs."""
    key = key or sandbox.access_key
    if form == "v2sdk-v4":
        config = oss_v2.config.load_default()
        config.credentials_provider = oss_v2.credentials.StaticCredentialsProvider(key.id, key.secret, key.token)
        config.region, config.endpoint, config.use_path_style = "cn-hangzhou", sandbox.url, True
        request = oss_v2.GetObjectRequest if method == "GET" else oss_v2.PutObjectRequest
        client = oss_v2.Client(config)
        return str(client.presign(request(bucket="disks", key=KEY), expires=timedelta(seconds=expires_s)).url)
    auth: oss2.ProviderAuth | oss2.ProviderAuthV4
    provider = oss2.credentials.StaticCredentialsProvider(key.id, key.secret, key.token)
    auth = oss2.ProviderAuthV4(provider) if form == "oss2-v4" else oss2.ProviderAuth(provider)
    client = oss2.Bucket(auth, sandbox.url, "disks", region="cn-hangzhou")
    with closing(client.session.session):
        return str(client.sign_url(method, KEY, expires_s, slash_safe=True))


FORMS = ["oss2-v1", "oss2-v4", "v2sdk-v4"]


@pytest.fixture
def stored(bucket: oss2.Bucket) -> oss2.Bucket:
    """Return a bucket with an object."""
    bucket.put_object(KEY, b"disk")
    return bucket


@pytest.mark.parametrize("form", FORMS)
def test_a_presigned_url_reads_and_writes(sandbox: Sandbox, stored: oss2.Bucket, form: str) -> None:
    """A URL needs no header, and is valid for its method only."""
    url = presigned(sandbox, form, "GET")
    assert send(sandbox, "GET", url) == (200, b"disk")
    assert send(sandbox, "DELETE", url)[0] == 403
    if form != "v2sdk-v4":  # it signs a content type, which the caller would have to send
        assert send(sandbox, "PUT", presigned(sandbox, form, "PUT"), b"new") == (200, b"")
        assert stored.get_object(KEY).read() == b"new"


@pytest.mark.parametrize("form", FORMS)
def test_a_changed_url_is_refused(sandbox: Sandbox, stored: oss2.Bucket, form: str) -> None:
    """Changes of key, expiry and signature are refused."""
    url = presigned(sandbox, form, "GET")
    for old, new in (("dir/", "dix/"), ("xpires=", "xpires=1"), ("ignature=", "ignature=A")):
        assert old in url
        status, body = send(sandbox, "GET", url.replace(old, new))
        assert (status, b"<Code>" in body) in ((403, True), (400, True)), old


@pytest.mark.parametrize("form", FORMS)
def test_a_url_expires(sandbox: Sandbox, stored: oss2.Bucket, form: str) -> None:
    """The expiry is compared with the wall time."""
    url = presigned(sandbox, form, "GET", expires_s=60)
    sandbox.clock.set_skew(50)
    assert send(sandbox, "GET", url)[0] == 200
    sandbox.clock.set_skew(70)
    status, body = send(sandbox, "GET", url)
    assert (status, b"Request has expired." in body) == (403, True)


@pytest.mark.parametrize("form", FORMS)
def test_a_temporary_key_signs_its_token(sandbox: Sandbox, stored: oss2.Bucket, form: str) -> None:
    """The token is a parameter, and expires by the sandbox's time."""
    key = AccessKey(id="STS.X", secret="S", token="T+/=", expires_s=sandbox.clock.now_s() + 300)
    sandbox.state.add_key(key)
    url = presigned(sandbox, form, "GET", key=key)
    assert send(sandbox, "GET", url)[0] == 200
    assert send(sandbox, "GET", url.replace("=T", "=U"))[0] == 403
    sandbox.clock.advance(301)
    assert b"SecurityTokenExpired" in send(sandbox, "GET", url)[1]


@pytest.mark.parametrize(
    "changes", [("xpires=600", "xpires=0"), ("xpires=600", "xpires=604801"), ("OSS4-HMAC", "OSS5-HMAC")]
)
def test_wrong_parameters_are_400(sandbox: Sandbox, stored: oss2.Bucket, changes: tuple[str, str]) -> None:
    """The validity of a URL is one second to seven days."""
    status, body = send(sandbox, "GET", presigned(sandbox, "oss2-v4", "GET").replace(*changes))
    assert (status, b"InvalidArgument" in body) == (400, True)


@pytest.mark.parametrize("endpoint", ["http://oss-cn-hangzhou.aliyuncs.com", "http://localhost"])
def test_the_bucket_of_a_virtual_hosted_address_is_used(
    sandbox: Sandbox, oss: Oss, stored: oss2.Bucket, endpoint: str
) -> None:
    """A proxy redirects the real host names, so clients need no change."""
    real = oss.bucket("disks", endpoint=endpoint, proxies={"http": sandbox.url})
    assert real.get_object(KEY).read() == b"disk"
    assert real.get_bucket_info().name == "disks"
    assert [item.key for item in real.list_objects_v2().object_list] == [KEY]
    for key in ("abc", "a/b c+ü"):
        real.put_object(key, b"new")
        assert real.head_object(key).content_length == 3
        real.delete_object(key)
        assert not real.object_exists(key)
    assert {entry.bucket for entry in sandbox.requests.entries()} == {"disks"}
