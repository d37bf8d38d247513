"""Tests of buckets and their settings through oss2."""

import oss2
from oss2.models import (
    AbortMultipartUpload,
    BucketCreateConfig,
    BucketLifecycle,
    BucketVersioningConfig,
    LifecycleExpiration,
    LifecycleRule,
    ServerSideEncryptionRule,
)

from tests.rows import each_row
from tests.sandbox.oss_sdk import Oss, do, refused


def test_a_new_bucket_has_its_defaults(bucket: oss2.Bucket) -> None:
    """GetBucketInfo returns owner, region, class and no encryption (oss2 reads "None" as None)."""
    info = bucket.get_bucket_info()
    assert (info.name, info.location, info.storage_class) == ("disks", "oss-cn-hangzhou", "Standard")
    assert (info.owner.id, info.acl.grant) == ("1000000000000000", "private")
    assert info.bucket_encryption_rule.sse_algorithm is None
    assert bucket.get_bucket_location().location == "oss-cn-hangzhou"
    assert bucket.get_bucket_acl().acl == "private"


def test_a_bucket_can_be_created_again_by_its_owner(bucket: oss2.Bucket) -> None:
    """The repeated call can change the ACL, but neither class nor redundancy."""
    bucket.create_bucket("public-read")
    bucket.create_bucket()
    assert bucket.get_bucket_info().acl.grant == "public-read"
    for config in (BucketCreateConfig("IA"), BucketCreateConfig("Standard", "ZRS")):
        with refused() as answer:
            bucket.create_bucket(input=config)
        assert answer == (409, "BucketAlreadyExists")


def test_a_bucket_has_the_requested_class(oss: Oss) -> None:
    """Objects inherit it unless they set their own."""
    archive = oss.bucket("archive")
    archive.create_bucket(input=BucketCreateConfig("Archive"))
    assert archive.get_bucket_info().storage_class == "Archive"
    archive.put_object("a", b"")
    archive.put_object("b", b"", headers={"x-oss-storage-class": "Standard"})
    assert [each.storage_class for each in archive.list_objects().object_list] == ["Archive", "Standard"]
    with refused() as answer:
        oss.bucket("no-such-class").create_bucket(input=BucketCreateConfig("NoSuchClass"))
    assert answer == (400, "InvalidArgument")


def test_only_an_empty_bucket_can_be_deleted(bucket: oss2.Bucket) -> None:
    """A bucket with an object or an unfinished upload is not deleted."""
    bucket.put_object("k", b"")
    with refused() as answer:
        bucket.delete_bucket()
    assert answer == (409, "BucketNotEmpty")
    bucket.delete_object("k")
    upload_id = bucket.init_multipart_upload("k").upload_id
    with refused() as answer:
        bucket.delete_bucket()
    assert answer == (409, "BucketNotEmpty")
    bucket.abort_multipart_upload("k", upload_id)
    bucket.delete_bucket()
    with refused() as answer:
        bucket.get_bucket_info()
    assert answer == (404, "NoSuchBucket")


def test_all_buckets_are_listed(oss: Oss) -> None:
    """ListBuckets returns the buckets of all regions in pages."""
    for name, region in (("bb-1", "cn-hangzhou"), ("bb-2", "cn-shanghai"), ("cc-1", "cn-hangzhou")):
        oss.bucket(name, region=region).create_bucket()
    service = oss.service()
    assert [each.name for each in oss2.BucketIterator(service, max_keys=1)] == ["bb-1", "bb-2", "cc-1"]
    assert [each.location for each in service.list_buckets(prefix="bb").buckets] == [
        "oss-cn-hangzhou",
        "oss-cn-shanghai",
    ]


def test_lifecycle_rules_are_replaced_as_a_whole(bucket: oss2.Bucket) -> None:
    """PUT replaces all rules, GET returns them, and a bucket without rules is an error."""
    with refused() as answer:
        bucket.get_bucket_lifecycle()
    assert answer == (404, "NoSuchLifecycle")
    theirs = LifecycleRule("theirs", "logs/", status="Enabled", expiration=LifecycleExpiration(days=30))
    ours = LifecycleRule("", "x/", status="Enabled", abort_multipart_upload=AbortMultipartUpload(days=7))
    bucket.put_bucket_lifecycle(BucketLifecycle([theirs]))
    bucket.put_bucket_lifecycle(BucketLifecycle([theirs, ours]))
    rules = bucket.get_bucket_lifecycle().rules
    assert [(rule.prefix, rule.status) for rule in rules] == [("logs/", "Enabled"), ("x/", "Enabled")]
    assert rules[0].expiration.days == 30
    assert rules[1].abort_multipart_upload.days == 7
    assert rules[1].id
    bucket.put_bucket_lifecycle(BucketLifecycle([ours]))
    assert len(bucket.get_bucket_lifecycle().rules) == 1
    bucket.delete_bucket_lifecycle()
    with refused() as answer:
        bucket.get_bucket_lifecycle()
    assert answer == (404, "NoSuchLifecycle")


@each_row(
    "rules",
    [
        "",
        "<Rule><Prefix>x</Prefix><Status>Enabled</Status></Rule>",
        "<Rule><Prefix>x</Prefix><AbortMultipartUpload><Days>1</Days></AbortMultipartUpload></Rule>",
        "<Rule><Prefix>x</Prefix><Status>On</Status><Expiration><Days>1</Days></Expiration></Rule>",
        "<Rule><Prefix>x</Prefix><Status>Enabled</Status><AbortMultipartUpload><Days>0</Days></AbortMultipartUpload></Rule>",
    ],
)
def test_a_rule_needs_a_status_and_an_action(bucket: oss2.Bucket, rules: str) -> None:
    """A rule without one of them is refused."""
    body = f"<LifecycleConfiguration>{rules}</LifecycleConfiguration>"
    with refused() as answer:
        do(bucket, "PUT", params={"lifecycle": ""}, data=body)
    assert answer.status == 400


def test_a_bucket_has_a_default_encryption(bucket: oss2.Bucket) -> None:
    """It can be set, read by GetBucketInfo, and removed."""
    with refused() as answer:
        bucket.get_bucket_encryption()
    assert answer == (404, "NoSuchServerSideEncryptionRule")
    bucket.put_bucket_encryption(ServerSideEncryptionRule("KMS", "key-1"))
    assert bucket.get_bucket_encryption().kms_master_keyid == "key-1"
    assert bucket.get_bucket_info().bucket_encryption_rule.sse_algorithm == "KMS"
    bucket.delete_bucket_encryption()
    assert bucket.get_bucket_info().bucket_encryption_rule.sse_algorithm is None
    with refused() as answer:
        bucket.put_bucket_encryption(ServerSideEncryptionRule("ROT13"))
    assert answer == (400, "InvalidEncryptionAlgorithmError")


def test_versioning_is_returned(bucket: oss2.Bucket) -> None:
    """The status is unset, Enabled or Suspended."""
    assert bucket.get_bucket_versioning().status is None
    for status in ("Enabled", "Suspended"):
        bucket.put_bucket_versioning(BucketVersioningConfig(status))
        assert bucket.get_bucket_versioning().status == status
