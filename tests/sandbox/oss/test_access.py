"""Tests of access to OSS: owners, regions, permissions, names and endpoints."""

import http.client
import re
from pathlib import Path

import oss2

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.oss.operations import OPERATIONS
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import Oss, do, refused

OTHER = AccessKey(id="SANDBOX-OTHER", secret="OTHER-SECRET", account_id="1000000000000009")


def test_a_bucket_of_another_account_is_refused(sandbox: Sandbox, oss: Oss, bucket: oss2.Bucket) -> None:
    """A bucket of another account cannot be read, written or created."""
    sandbox.state.add_key(OTHER)
    other_account = oss.bucket("disks", key=OTHER)
    for act in (
        other_account.get_bucket_info,
        lambda: other_account.put_object("k", b"x"),
        lambda: other_account.head_object("k"),
    ):
        with refused() as answer:
            act()
        assert answer == (403, "AccessDenied")
    with refused() as answer:
        other_account.create_bucket()
    assert answer == (409, "BucketAlreadyExists")
    assert oss.service(key=OTHER).list_buckets().buckets == []


def test_the_refusal_of_a_bucket_in_another_region_has_its_endpoint(oss: Oss, bucket: oss2.Bucket) -> None:
    """The response of another region is 403 with the endpoint to use, and not a redirect."""
    elsewhere = oss.bucket("disks", region="cn-shanghai")
    with refused() as answer:
        elsewhere.get_bucket_info()
    assert answer == (403, "AccessDenied")
    assert answer.details["Endpoint"] == "oss-cn-hangzhou.aliyuncs.com"
    with refused() as answer:
        elsewhere.create_bucket()
    assert answer == (409, "BucketAlreadyExists")
    assert "location" in answer.details["Message"]


def test_v1_signatures_have_no_region(sandbox: Sandbox, oss: Oss, bucket: oss2.Bucket) -> None:
    """A V1 request works in all regions, and creates buckets in the default region. A setting refuses V1."""
    v1 = oss.bucket_v1("disks-v1")
    v1.create_bucket()
    assert v1.get_bucket_location().location == "oss-cn-hangzhou"
    v1.put_object("k", b"x")
    sandbox.state.configure(v1_signatures=False)
    with refused() as answer:
        v1.get_bucket_info()
    assert answer == (403, "AccessDenied")


def test_a_missing_bucket_is_404(oss: Oss) -> None:
    """Operations on the bucket and on its objects return NoSuchBucket."""
    nowhere = oss.bucket("nowhere")
    for act in (nowhere.get_bucket_info, lambda: nowhere.put_object("k", b"x"), lambda: nowhere.head_object("k")):
        with refused() as answer:
            act()
        assert answer == (404, "NoSuchBucket")


def test_a_denied_action_is_refused(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """A denied action refuses the operations that need it and no others."""
    bucket.put_object("k", b"x")
    sandbox.state.deny("oss:PutObject", "oss:List*")
    for act in (lambda: bucket.put_object("k", b"y"), lambda: bucket.init_multipart_upload("k"), bucket.list_objects):
        with refused() as answer:
            act()
        assert answer == (403, "AccessDenied")
    assert bucket.get_object("k").read() == b"x"


def test_the_public_endpoint_can_be_forbidden(sandbox: Sandbox, oss: Oss, bucket: oss2.Bucket) -> None:
    """Data operations in the mainland are refused then, except with a custom domain."""
    sandbox.state.configure(public_endpoint_forbidden=True)
    bucket.get_bucket_info()
    with refused() as answer:
        bucket.put_object("k", b"x")
    assert answer == (400, "PublicEndpointForbidden")
    hongkong = oss.bucket("disks-hk", region="cn-hongkong")
    hongkong.create_bucket()
    hongkong.put_object("k", b"x")
    sandbox.state.configure(cnames={"disks.example.com": "disks"})
    # oss2 always uses path style for IP addresses and localhost, so the domain is reached through a proxy.
    domain = oss.bucket("disks", endpoint="http://disks.example.com", is_cname=True, proxies={"http": sandbox.url})
    domain.put_object("dir/k", b"through the domain")
    assert domain.get_object("dir/k").read() == b"through the domain"


def test_temporary_credentials_expire(sandbox: Sandbox, oss: Oss, bucket: oss2.Bucket) -> None:
    """A token is valid until its expiry by the sandbox's clock, or until a fault expires it."""
    key = AccessKey(id="STS.SANDBOX", secret="S", token="T+/=", expires_s=sandbox.clock.now_s() + 3600)
    sandbox.state.add_key(key)
    temporary = oss.bucket("disks", key=key)
    temporary.put_object("k", b"x")
    sandbox.faults.add(Fault(operation="HeadObject", effect="expire-token"))
    with refused() as answer:
        temporary.head_object("k")
    assert answer == (403, "SecurityTokenExpired")
    sandbox.state.add_key(key)
    temporary.head_object("k")
    sandbox.clock.advance(3601)
    with refused() as answer:
        temporary.head_object("k")
    assert answer == (403, "SecurityTokenExpired")


@each_row("name", ["ab", "A-bucket", "-bucket", "bucket-", "b_cket", "b" * 64])
def test_invalid_bucket_names_are_refused(oss: Oss, name: str) -> None:
    """A name is 3 to 63 of a-z, 0-9 and -, with an alphanumeric first and last character."""
    opened = oss.bucket("placeholder")
    opened.bucket_name = name
    with refused() as answer:
        do(opened, "PUT")
    assert answer == (400, "InvalidBucketName")


def test_invalid_keys_are_refused(bucket: oss2.Bucket) -> None:
    """A key is 1 to 1023 bytes of UTF-8, and does not begin with a slash or backslash."""
    for key in ("k" * 1024, "ü" * 512, "/k", "\\k"):
        with refused() as answer:
            bucket.put_object(key, b"")
        assert answer == (400, "InvalidObjectName")
    bucket.put_object("ü" * 511 + "k", b"")


def test_a_body_needs_a_length(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """A PUT with neither Content-Length nor chunks is refused before anything is read."""
    signed = oss2.http.Request("PUT", f"{sandbox.url}/disks/k", region="cn-hangzhou", product="oss")
    bucket.auth._sign_request(signed, "disks", "k")
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    connection.putrequest("PUT", "/disks/k", skip_accept_encoding=True)
    for name, value in signed.headers.items():
        if value is not None and name.lower() != "content-length":
            connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 411
    assert b"MissingContentLength" in response.read()
    connection.close()


def test_a_chunked_body_needs_no_length(bucket: oss2.Bucket) -> None:
    """A chunked body is accepted."""
    bucket.put_object("k", iter([b"one ", b"two"]))
    assert bucket.get_object("k").read() == b"one two"


def test_more_than_5_gib_in_one_call_is_refused_before_the_body(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The Content-Length is sufficient to refuse a PUT."""
    size = (5 << 30) + 1
    signed = oss2.http.Request("PUT", f"{sandbox.url}/disks/k", region="cn-hangzhou", product="oss")
    bucket.auth._sign_request(signed, "disks", "k")
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=30)
    connection.putrequest("PUT", "/disks/k", skip_accept_encoding=True)
    for name, value in {**signed.headers, "Content-Length": str(size)}.items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 400
    assert b"InvalidArgument" in response.read()
    connection.close()


def test_names_of_operations_are_unique() -> None:
    """Faults and the log identify operations by name."""
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert all(operation.action.startswith("oss:") for operation in OPERATIONS)


def test_the_documented_operations_of_oss_are_the_supported_ones() -> None:
    """The page on the sandbox lists each operation, and no other."""
    page = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()
    table = page.partition("| resource | operations |")[2].partition("\n\n")[0]
    listed = [name for row in re.findall(r"^\| [^|-]+ \| (.*) \|$", table, re.MULTILINE) for name in row.split(", ")]
    assert sorted(listed) == sorted(operation.name for operation in OPERATIONS)


def test_the_number_of_buckets_is_limited(sandbox: Sandbox, oss: Oss) -> None:
    """An account has a maximum number of buckets per region."""
    sandbox.state.configure(buckets_per_region=2)
    for name in ("one-bucket", "two-buckets"):
        oss.bucket(name).create_bucket()
    with refused() as answer:
        oss.bucket("three-buckets").create_bucket()
    assert answer == (400, "TooManyBuckets")
    oss.bucket("elsewhere", region="cn-shanghai").create_bucket()
    assert len(sandbox.state.part(OssState).buckets) == 3
