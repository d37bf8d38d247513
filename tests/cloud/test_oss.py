"""Tests of the OSS client beyond the contract: other owners and regions, permissions, versions, pages."""

import socket

import pytest

from aliyun_import.cloud.config import CloudConfig
from aliyun_import.cloud.connect import connect
from aliyun_import.cloud.credentials.source import Credentials
from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.errors import AccessError, RefusedError, TransientError, UsageError
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.cloud import adapters, servers


def test_a_bucket_is_created_private_and_standard(sandbox: Sandbox) -> None:
    """A second creation is no error."""
    opened = adapters.store(sandbox)
    assert opened.bucket_info() is None
    opened.create_bucket()
    opened.create_bucket()
    info = opened.bucket_info()
    assert info is not None
    assert (info.acl, info.storage_class, info.owner_id) == ("private", "Standard", sandbox.account_id)


def test_the_bucket_of_another_account_is_an_error(sandbox: Sandbox) -> None:
    """It can neither be described nor created, and the remedy is another name."""
    sandbox.state.part(OssState).add_bucket(adapters.BUCKET, region="cn-hangzhou", owner_id="1000000000000009")
    with pytest.raises(AccessError) as info_error:
        adapters.store(sandbox).bucket_info()
    assert "another --bucket" in str(info_error.value.remedy)
    with pytest.raises(RefusedError) as create_error:
        adapters.store(sandbox).create_bucket()
    assert create_error.value.code == "bucket-taken"


def test_the_error_of_a_bucket_in_another_region_names_that_region(sandbox: Sandbox) -> None:
    """It is raised by bucket_info, create_bucket and put."""
    adapters.create_store(sandbox)
    elsewhere = adapters.store(sandbox, region="cn-shanghai")
    for act in (elsewhere.bucket_info, elsewhere.create_bucket, lambda: elsewhere.put("k", b"x")):
        with pytest.raises(RefusedError) as caught:
            act()
        assert caught.value.code == "bucket-region"
        assert "--region cn-hangzhou" in str(caught.value.remedy)


def test_a_missing_right_is_named(sandbox: Sandbox) -> None:
    """AccessDenied names the right that the operation needs, for HEAD, too."""
    opened = adapters.create_store(sandbox)
    sandbox.state.deny("oss:GetObject", "oss:PutObject", "oss:ListParts")
    for act, right in (
        (lambda: opened.head("k"), "oss:GetObject"),
        (lambda: opened.start_upload("k"), "oss:PutObject"),
        (lambda: opened.list_parts("k", "u"), "oss:ListParts"),
    ):
        with pytest.raises(AccessError) as caught:
            act()
        assert caught.value.code == "no-right"
        assert right in str(caught.value.remedy)


def test_head_in_a_missing_bucket_is_an_error(sandbox: Sandbox) -> None:
    """Only a missing object is None; errors of HEAD have no body, and are read from their header."""
    with pytest.raises(RefusedError) as caught:
        adapters.store(sandbox).head("k")
    assert caught.value.code == "bucket-missing"


def test_an_unknown_key_and_a_wrong_secret_have_different_errors(sandbox: Sandbox) -> None:
    """OSS, STS and ECS report both."""
    unknown = AccessKey(id="SANDBOX-NOBODY", secret="x")
    wrong = AccessKey(id=sandbox.access_key.id, secret="x")
    for key, code in ((unknown, "access-key-unknown"), (wrong, "secret-wrong")):
        for act in (
            adapters.store(sandbox, key=key).bucket_info,
            lambda key=key: adapters.store(sandbox, key=key).head("k"),
            adapters.identity(sandbox, key).whoami,
            adapters.images(sandbox, key=key).regions,
        ):
            with pytest.raises(AccessError) as caught:
                act()
            assert caught.value.code == code


def test_the_error_states_the_clock_difference(sandbox: Sandbox) -> None:
    """It is twenty minutes behind OSS; the RPC services have the same code."""
    sandbox.clock.set_skew(20 * 60 + 30)
    with pytest.raises(AccessError) as oss:
        adapters.store(sandbox).bucket_info()
    assert "20 min" in oss.value.summary
    assert "behind" in oss.value.summary
    with pytest.raises(AccessError) as sts:
        adapters.identity(sandbox).whoami()
    assert oss.value.code == sts.value.code == "clock-skewed"


def test_a_forbidden_public_endpoint_has_its_error(sandbox: Sandbox) -> None:
    """New accounts must use a custom domain or the internal endpoint; management of the bucket still works."""
    opened = adapters.create_store(sandbox)
    sandbox.state.configure(public_endpoint_forbidden=True)
    assert opened.bucket_info()
    with pytest.raises(RefusedError) as caught:
        opened.put("k", b"x")
    assert caught.value.code == "public-endpoint-forbidden"
    assert "--oss-cname" in str(caught.value.remedy)
    assert "--oss-endpoint-type internal" in str(caught.value.remedy)


def test_a_throttled_request_has_the_requested_wait(sandbox: Sandbox) -> None:
    """OSS states it in milliseconds, the error in seconds."""
    opened = adapters.create_store(sandbox)
    sandbox.faults.add(Fault(operation="GetObject", headers={"x-oss-qos-delay-time": "2500"}))
    with pytest.raises(TransientError) as caught:
        opened.read("k")
    assert (caught.value.code, caught.value.retry_after_s) == ("throttled", 2.5)


def test_a_version_is_deleted_by_its_id(sandbox: Sandbox) -> None:
    """In a bucket with versions, only that removes its bytes."""
    opened = adapters.create_store(sandbox)
    sandbox.state.part(OssState).change(adapters.BUCKET, versioning="Enabled")
    put = opened.put("k", b"x")
    assert put.version_id
    opened.delete("k", version_id=put.version_id)
    assert opened.head("k") is None
    assert sandbox.requests.entries("DeleteObject")[-1].target.endswith(f"versionId={put.version_id}")


def test_all_pages_of_objects_are_listed(sandbox: Sandbox) -> None:
    """More than 1000 objects are listed once each, and in order."""
    opened = adapters.create_store(sandbox)
    oss = sandbox.state.part(OssState)
    bucket = oss.buckets[adapters.BUCKET]
    first = opened.put("many/0000", b"x")
    stored = bucket.current("many/0000")
    assert stored is not None
    for number in range(1, 1205):
        oss.put(bucket, type(stored)(key=f"many/{number:04}", content=stored.content))
    found = opened.list_objects("many/")
    assert [one.key for one in found] == [f"many/{number:04}" for number in range(1205)]
    assert found[0].etag == first.etag


def test_an_invalid_bucket_name_is_refused_before_any_request() -> None:
    """No request is sent."""
    found = resolve_endpoints("cn-hangzhou", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(UsageError) as caught:
        OssStore("No_Bucket", endpoints=found, credentials=adapters.any_credentials()).bucket_info()
    assert caught.value.code == "bucket-name-invalid"


def test_endpoint_url_with_a_host_name_is_used_in_path_style(sandbox: Sandbox) -> None:
    """oss2 would put the bucket into the host name."""
    url = f"http://box.localhost:{sandbox.port}"
    found = resolve_endpoints("cn-hangzhou", endpoint_url=url)
    opened = OssStore(adapters.BUCKET, endpoints=found, credentials=adapters.credentials(sandbox))
    assert opened._client._url_of("GetObject", "a/b") == f"{url}/{adapters.BUCKET}/a%2Fb"


def test_with_a_custom_domain_the_bucket_is_not_in_the_url() -> None:
    """Except for PutBucket."""
    found = resolve_endpoints("cn-hangzhou", oss_endpoint="disks.example.com", oss_cname=True)
    opened = OssStore(adapters.BUCKET, endpoints=found, credentials=adapters.any_credentials())
    assert opened._client._url_of("PutObject", "k") == "https://disks.example.com/k"
    assert opened._client._url_of("PutBucket", "") == "https://disks.oss-cn-hangzhou.aliyuncs.com/"


def test_a_custom_domain_of_another_bucket_is_no_wrong_secret() -> None:
    """OSS computes the signature with the bucket of the domain, so it reports a wrong secret."""
    body = b"<Error><Code>SignatureDoesNotMatch</Code><Message>m</Message></Error>"
    head = b"HTTP/1.1 403 Forbidden\r\nx-oss-request-id: R-1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"

    def refuse(connection: socket.socket) -> None:
        servers.read_head(connection)
        connection.sendall(head % len(body) + body)

    with servers.serve(refuse) as port:
        found = resolve_endpoints("cn-hangzhou", oss_endpoint=f"http://127.0.0.1:{port}", oss_cname=True)
        opened = OssStore("disks", endpoints=found, credentials=adapters.any_credentials(), timeouts=adapters.TIMEOUTS)
        with pytest.raises(RefusedError) as caught:
            opened.bucket_info()
    assert caught.value.code == "endpoint-host"
    assert "disks" in caught.value.summary


def test_the_store_of_a_bucket_is_opened_once(sandbox: Sandbox) -> None:
    """The stages of a push share its connections: each new one takes a TLS handshake."""
    key = sandbox.access_key
    config = CloudConfig(
        region="cn-hangzhou",
        endpoint_url=sandbox.url,
        credentials=Credentials(key_id=key.id, secret=key.secret),
    )
    with connect(config) as client:
        store = client.services().store
        assert store("a-bucket") is store("a-bucket")
        assert store("a-bucket") is not store("another")
