"""Tests of tags and ACLs of buckets and objects."""

import urllib.error
import urllib.request

import oss2
from oss2.models import Tagging, TaggingRule

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.oss_sdk import Oss, do, refused, stored_bucket

KEY = "dir/k"


def _tags(**tags: str) -> Tagging:
    rule = TaggingRule()
    for key, value in tags.items():
        rule.add(key, value)
    return Tagging(rule)


def _tags_of(bucket: oss2.Bucket, key: str = KEY) -> dict[str, str]:
    return dict(bucket.get_object_tagging(key).tag_set.tagging_rule)


def test_tags_of_an_object_are_replaced_as_a_whole(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """HeadObject has their number; the modification time of the object is not changed."""
    bucket.put_object(KEY, b"x", headers={"x-oss-tagging": "a=1&b%20c=2&d"})
    assert _tags_of(bucket) == {"a": "1", "b c": "2", "d": ""}
    before = bucket.head_object(KEY)
    assert before.headers["x-oss-tagging-count"] == "3"
    sandbox.clock.advance(100)
    bucket.put_object_tagging(KEY, _tags(e="5"))
    assert _tags_of(bucket) == {"e": "5"}
    assert bucket.head_object(KEY).last_modified == before.last_modified
    bucket.delete_object_tagging(KEY)
    assert _tags_of(bucket) == {}
    assert "x-oss-tagging-count" not in bucket.head_object(KEY).headers


def test_a_copy_has_the_tags_of_its_source_unless_replaced(bucket: oss2.Bucket) -> None:
    """x-oss-tagging-directive selects; the tags of a multipart upload are set at its start."""
    bucket.put_object(KEY, b"x", headers={"x-oss-tagging": "a=1"})
    bucket.copy_object("disks", KEY, "copied")
    assert _tags_of(bucket, "copied") == {"a": "1"}
    bucket.copy_object("disks", KEY, "other", headers={"x-oss-tagging-directive": "Replace", "x-oss-tagging": "b=2"})
    assert _tags_of(bucket, "other") == {"b": "2"}
    bucket.copy_object("disks", KEY, "bare", headers={"x-oss-tagging-directive": "REPLACE"})
    assert _tags_of(bucket, "bare") == {}
    upload_id = bucket.init_multipart_upload("parts", headers={"x-oss-tagging": "p=1"}).upload_id
    part = oss2.models.PartInfo(1, bucket.upload_part("parts", upload_id, 1, b"x").etag)
    bucket.complete_multipart_upload("parts", upload_id, [part])
    assert _tags_of(bucket, "parts") == {"p": "1"}


@each_row(
    "header",
    ["a=b=c", "=v", "k=%23", "k=" + "v" * 257, "k" * 129, "a=1&a=2", "&".join(f"k{number}=v" for number in range(11))],
)
def test_invalid_tags_are_refused(bucket: oss2.Bucket, header: str) -> None:
    """The upload with the header is refused, and no object is stored."""
    with refused() as answer:
        bucket.put_object(KEY, b"x", headers={"x-oss-tagging": header})
    assert answer == (400, "InvalidTag")
    assert not bucket.object_exists(KEY)


def test_a_version_has_its_own_tags(bucket: oss2.Bucket) -> None:
    """The order of the versions is not changed, and a delete marker has no tags."""
    bucket.put_bucket_versioning(oss2.models.BucketVersioningConfig("Enabled"))
    first = bucket.put_object(KEY, b"1").versionid
    bucket.put_object(KEY, b"2")
    bucket.put_object_tagging(KEY, _tags(old="1"), params={"versionId": first})
    assert _tags_of(bucket) == {}
    assert bucket.get_object(KEY).read() == b"2"
    marker = bucket.delete_object(KEY).versionid
    with refused() as answer:
        bucket.get_object_tagging(KEY)
    assert answer == (404, "NoSuchKey")
    with refused() as answer:
        bucket.put_object_tagging(KEY, _tags(a="1"), params={"versionId": marker})
    assert answer.status == 405


def test_a_bucket_has_tags(bucket: oss2.Bucket) -> None:
    """A bucket has at most twenty tags; a bucket without tags is not an error."""
    assert bucket.get_bucket_tagging().tag_set.tagging_rule == {}
    bucket.put_bucket_tagging(_tags(owner="ci", stage="test"))
    assert bucket.get_bucket_tagging().tag_set.tagging_rule == {"owner": "ci", "stage": "test"}
    with refused() as answer:
        bucket.put_bucket_tagging(_tags(**{f"k{number}": "v" for number in range(21)}))
    assert answer == (400, "InvalidTag")
    with refused() as answer:
        do(bucket, "PUT", params={"tagging": ""}, data="<Tagging/>")
    assert answer == (400, "MalformedXML")
    bucket.delete_bucket_tagging()
    assert bucket.get_bucket_tagging().tag_set.tagging_rule == {}


def _anonymous_status(sandbox: Sandbox, path: str, *, method: str = "GET", data: bytes | None = None) -> int:
    request = urllib.request.Request(f"{sandbox.url}{path}", method=method, data=data)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_acls_are_enforced(sandbox: Sandbox, oss: Oss, bucket: oss2.Bucket) -> None:
    """They allow operations to all callers. The ACL of an object overrides that of its bucket."""
    other = sandbox.state.add_key(AccessKey(id="OTHER", secret="S", account_id="1000000000000009"))
    bucket.put_object(KEY, b"x")
    bucket.put_object("secret", b"x", headers={"x-oss-object-acl": "private"})
    assert _anonymous_status(sandbox, f"/disks/{KEY}") == 403
    bucket.put_bucket_acl("public-read")
    assert _anonymous_status(sandbox, f"/disks/{KEY}") == 200
    assert oss.bucket("disks", key=other).get_object(KEY).read() == b"x"
    assert _anonymous_status(sandbox, "/disks/secret") == 403
    assert _anonymous_status(sandbox, "/disks/new", method="PUT", data=b"x") == 403
    assert _anonymous_status(sandbox, f"/disks/{KEY}", method="DELETE") == 403
    bucket.put_bucket_acl("public-read-write")
    assert _anonymous_status(sandbox, "/disks/new", method="PUT", data=b"x") == 200
    bucket.put_bucket_acl("private")
    bucket.put_object_acl("secret", "public-read")
    assert _anonymous_status(sandbox, "/disks/secret") == 200
    assert _anonymous_status(sandbox, "/disks/?acl") == 403
    assert _anonymous_status(sandbox, "/") == 403


def test_acls_are_returned_and_checked(sandbox: Sandbox, bucket: oss2.Bucket) -> None:
    """The ACL of an object is `default` unless set, and is not copied."""
    bucket.put_object(KEY, b"x", headers={"x-oss-object-acl": "public-read"})
    assert bucket.get_object_acl(KEY).acl == "public-read"
    bucket.copy_object("disks", KEY, "copied")
    assert bucket.get_object_acl("copied").acl == "default"
    with refused() as answer:
        bucket.put_object_acl(KEY, "open")
    assert answer == (400, "InvalidArgument")
    with refused() as answer:
        bucket.put_bucket_acl("default")
    assert answer == (400, "InvalidArgument")
    assert stored_bucket(sandbox).acl == "private"
