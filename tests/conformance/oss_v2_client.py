"""Steps of alibabacloud-oss-v2, the vendor's current OSS SDK for Python, with V4 and V1 signatures."""

import io
from collections.abc import Iterator
from typing import Any

import alibabacloud_oss_v2 as oss
import requests

from aliyun_import.sandbox.server import Sandbox
from tests.conformance.steps import Step

PART = 100 * 1024


def code_of(error: Exception) -> str:
    """Return the code of the service error that an operation error wraps."""
    while isinstance(error, oss.exceptions.OperationError):
        error = error.unwrap()
    return str(error.code or error.status_code) if isinstance(error, oss.exceptions.ServiceError) else ""


def client_of(sandbox: Sandbox, version: str, **changes: Any) -> oss.Client:
    """Return a client for a signature version."""
    key = sandbox.access_key
    config = oss.config.load_default()
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(key.id, key.secret)
    config.region, config.endpoint, config.use_path_style = "cn-hangzhou", sandbox.url, True
    config.signature_version = version
    config.retry_max_attempts = 1
    for name, value in changes.items():
        setattr(config, name, value)
    return oss.Client(config)


def steps(sandbox: Sandbox, version: str) -> Iterator[Step]:
    """Yield the steps of alibabacloud-oss-v2 for a signature version."""
    client, bucket = client_of(sandbox, version), f"conform2-{version}"
    in_bucket = {"bucket": bucket}
    yield Step("PutBucket", lambda: client.put_bucket(oss.PutBucketRequest(**in_bucket)))
    yield Step(
        "ListBuckets", lambda: bucket in [each.name for each in client.list_buckets(oss.ListBucketsRequest()).buckets]
    )
    yield Step(
        "GetBucketInfo",
        lambda: client.get_bucket_info(oss.GetBucketInfoRequest(**in_bucket)).bucket_info.name == bucket,
    )
    yield Step("GetBucketLocation", lambda: client.get_bucket_location(oss.GetBucketLocationRequest(**in_bucket)))
    yield Step("GetBucketStat", lambda: client.get_bucket_stat(oss.GetBucketStatRequest(**in_bucket)).object_count == 0)
    yield Step("PutBucketAcl", lambda: client.put_bucket_acl(oss.PutBucketAclRequest(**in_bucket, acl="private")))
    yield Step("GetBucketAcl", lambda: client.get_bucket_acl(oss.GetBucketAclRequest(**in_bucket)).acl == "private")
    yield from _settings(client, in_bucket)
    yield from _objects(client, in_bucket)
    yield from _transfers(client, in_bucket)
    yield from _presigned(client, in_bucket)
    yield from _versions(client, f"versions2-{version}")
    anonymous = client_of(sandbox, version, credentials_provider=oss.credentials.AnonymousCredentialsProvider())
    yield Step("no signature", lambda: anonymous.get_object(oss.GetObjectRequest(**in_bucket, key="k")), "AccessDenied")
    yield from _not_implemented(client, in_bucket)
    yield Step("DeleteBucket", lambda: client.delete_bucket(oss.DeleteBucketRequest(**in_bucket)), "BucketNotEmpty")


def _settings(client: oss.Client, in_bucket: dict[str, str]) -> Iterator[Step]:
    rule = oss.LifecycleRule(
        id="r", prefix="p/", status="Enabled", abort_multipart_upload=oss.LifecycleRuleAbortMultipartUpload(days=1)
    )
    configuration = oss.LifecycleConfiguration(rules=[rule])
    encryption = oss.ServerSideEncryptionRule(
        apply_server_side_encryption_by_default=oss.ApplyServerSideEncryptionByDefault(sse_algorithm="AES256")
    )
    tags = oss.Tagging(tag_set=oss.TagSet(tags=[oss.Tag(key="k", value="v")]))
    yield Step(
        "PutBucketLifecycle",
        lambda: client.put_bucket_lifecycle(
            oss.PutBucketLifecycleRequest(**in_bucket, lifecycle_configuration=configuration)
        ),
    )
    yield Step(
        "GetBucketLifecycle",
        lambda: (
            client.get_bucket_lifecycle(oss.GetBucketLifecycleRequest(**in_bucket)).lifecycle_configuration.rules[0].id
            == "r"
        ),
    )
    yield Step(
        "DeleteBucketLifecycle", lambda: client.delete_bucket_lifecycle(oss.DeleteBucketLifecycleRequest(**in_bucket))
    )
    yield Step(
        "PutBucketEncryption",
        lambda: client.put_bucket_encryption(
            oss.PutBucketEncryptionRequest(**in_bucket, server_side_encryption_rule=encryption)
        ),
    )
    yield Step("GetBucketEncryption", lambda: client.get_bucket_encryption(oss.GetBucketEncryptionRequest(**in_bucket)))
    yield Step(
        "DeleteBucketEncryption",
        lambda: client.delete_bucket_encryption(oss.DeleteBucketEncryptionRequest(**in_bucket)),
    )
    yield Step("PutBucketTagging", lambda: client.put_bucket_tags(oss.PutBucketTagsRequest(**in_bucket, tagging=tags)))
    yield Step(
        "GetBucketTagging",
        lambda: client.get_bucket_tags(oss.GetBucketTagsRequest(**in_bucket)).tagging.tag_set.tags[0].value == "v",
    )
    yield Step("DeleteBucketTagging", lambda: client.delete_bucket_tags(oss.DeleteBucketTagsRequest(**in_bucket)))


def _objects(client: oss.Client, in_bucket: dict[str, str]) -> Iterator[Step]:
    k = {**in_bucket, "key": "a/b c+ü"}
    bucket = in_bucket["bucket"]
    yield Step(
        "PutObject", lambda: client.put_object(oss.PutObjectRequest(**k, body=b"data", tagging="a=1", acl="private"))
    )
    yield Step(
        "PutObject",
        lambda: client.put_object(oss.PutObjectRequest(**k, body=b"x", forbid_overwrite=True)),
        "FileAlreadyExists",
    )
    yield Step(
        "PutObject",
        lambda: client.put_object(oss.PutObjectRequest(**in_bucket, key="stream", body=io.BytesIO(b"data"))),
    )
    yield Step("HeadObject", lambda: bool(client.head_object(oss.HeadObjectRequest(**k)).content_md5))
    yield Step("HeadObject", lambda: client.head_object(oss.HeadObjectRequest(**in_bucket, key="none")), "NoSuchKey")
    yield Step("GetObjectMeta", lambda: client.get_object_meta(oss.GetObjectMetaRequest(**k)).content_length == 4)
    yield Step("GetObject", lambda: client.get_object(oss.GetObjectRequest(**k)).body.read() == b"data")
    yield Step(
        "GetObject", lambda: client.get_object(oss.GetObjectRequest(**k, range_header="bytes=1-2")).body.read() == b"at"
    )
    yield Step(
        "CopyObject",
        lambda: client.copy_object(
            oss.CopyObjectRequest(
                **in_bucket, key="copy", source_bucket=bucket, source_key="a/b c+ü", tagging_directive="Copy"
            )
        ),
    )
    yield Step(
        "GetObjectTagging",
        lambda: (
            client.get_object_tagging(oss.GetObjectTaggingRequest(**in_bucket, key="copy")).tag_set.tags[0].key == "a"
        ),
    )
    tags = oss.Tagging(tag_set=oss.TagSet(tags=[oss.Tag(key="k", value="v")]))
    yield Step("PutObjectTagging", lambda: client.put_object_tagging(oss.PutObjectTaggingRequest(**k, tagging=tags)))
    yield Step("DeleteObjectTagging", lambda: client.delete_object_tagging(oss.DeleteObjectTaggingRequest(**k)))
    yield Step("PutObjectAcl", lambda: client.put_object_acl(oss.PutObjectAclRequest(**k, acl="default")))
    yield Step("GetObjectAcl", lambda: client.get_object_acl(oss.GetObjectAclRequest(**k)).acl == "default")
    yield Step("ListObjects", lambda: len(client.list_objects(oss.ListObjectsRequest(**in_bucket)).contents) == 3)
    yield Step(
        "ListObjectsV2",
        lambda: (
            len(list(client.list_objects_v2_paginator().iter_page(oss.ListObjectsV2Request(**in_bucket, max_keys=2))))
            == 2
        ),
    )
    yield Step("DeleteObject", lambda: client.delete_object(oss.DeleteObjectRequest(**in_bucket, key="stream")))
    objects = [oss.DeleteObject(key="copy"), oss.DeleteObject(key="none")]
    yield Step(
        "DeleteMultipleObjects",
        lambda: (
            len(
                client.delete_multiple_objects(
                    oss.DeleteMultipleObjectsRequest(**in_bucket, objects=objects)
                ).deleted_objects
            )
            == 2
        ),
    )
    yield Step(
        "AppendObject",
        lambda: client.append_object(oss.AppendObjectRequest(**k, position=0, body=b"x")),
        "ObjectNotAppendable",
    )


def _transfers(client: oss.Client, in_bucket: dict[str, str]) -> Iterator[Step]:
    k = {**in_bucket, "key": "parts"}
    data = b"p" * PART

    def parts() -> bool:
        upload = client.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(**k, tagging="m=1")).upload_id
        u = {**k, "upload_id": upload}
        etags = [client.upload_part(oss.UploadPartRequest(**u, part_number=1, body=data)).etag]
        etags.append(
            client.upload_part_copy(
                oss.UploadPartCopyRequest(**u, part_number=2, source_bucket=in_bucket["bucket"], source_key="a/b c+ü")
            ).etag
        )
        listed = client.list_parts(oss.ListPartsRequest(**u)).parts
        done = [oss.UploadPart(part_number=number, etag=etag) for number, etag in enumerate(etags, start=1)]
        complete = oss.CompleteMultipartUpload(parts=done)
        client.complete_multipart_upload(oss.CompleteMultipartUploadRequest(**u, complete_multipart_upload=complete))
        return len(listed) == 2 and client.get_object(oss.GetObjectRequest(**k)).body.read() == data + b"data"

    def uploaded() -> bool:
        request = oss.PutObjectRequest(**in_bucket, key="managed")
        client.uploader(part_size=PART).upload_from(request, io.BytesIO(data * 3))
        target = io.BytesIO()
        client.downloader(part_size=PART)
        target.write(client.get_object(oss.GetObjectRequest(**in_bucket, key="managed")).body.read())
        return target.getvalue() == data * 3

    for name in ("InitiateMultipartUpload", "UploadPart", "UploadPartCopy", "ListParts", "CompleteMultipartUpload"):
        yield Step(name, parts)
    yield Step("the SDK's uploader", uploaded)
    yield Step(
        "AbortMultipartUpload",
        lambda: client.abort_multipart_upload(oss.AbortMultipartUploadRequest(**k, upload_id="none")),
        "NoSuchUpload",
    )
    yield Step(
        "ListMultipartUploads", lambda: client.list_multipart_uploads(oss.ListMultipartUploadsRequest(**in_bucket))
    )


def _presigned(client: oss.Client, in_bucket: dict[str, str]) -> Iterator[Step]:
    k = {**in_bucket, "key": "signed/x"}

    def sent(request: Any, **options: Any) -> requests.Response:
        presigned = client.presign(request)
        answer = requests.request(
            presigned.method, presigned.url, headers=dict(presigned.signed_headers or {}), timeout=10, **options
        )
        answer.raise_for_status()
        return answer

    yield Step("presigned PutObject", lambda: sent(oss.PutObjectRequest(**k), data=b"data"))
    yield Step("presigned GetObject", lambda: sent(oss.GetObjectRequest(**k)).content == b"data")
    yield Step("presigned HeadObject", lambda: sent(oss.HeadObjectRequest(**k)).headers["Content-Length"] == "4")


def _versions(client: oss.Client, bucket: str) -> Iterator[Step]:
    in_bucket = {"bucket": bucket}
    k = {**in_bucket, "key": "k"}
    enabled = oss.VersioningConfiguration(status="Enabled")

    def listed() -> bool:
        client.put_object(oss.PutObjectRequest(**k, body=b"1"))
        client.put_object(oss.PutObjectRequest(**k, body=b"2"))
        client.delete_object(oss.DeleteObjectRequest(**k))
        page = client.list_object_versions(oss.ListObjectVersionsRequest(**in_bucket))
        return len(page.version) == 2 and len(page.delete_marker) == 1

    yield Step("PutBucket", lambda: client.put_bucket(oss.PutBucketRequest(**in_bucket)))
    yield Step(
        "PutBucketVersioning",
        lambda: client.put_bucket_versioning(
            oss.PutBucketVersioningRequest(**in_bucket, versioning_configuration=enabled)
        ),
    )
    yield Step(
        "GetBucketVersioning",
        lambda: client.get_bucket_versioning(oss.GetBucketVersioningRequest(**in_bucket)).version_status == "Enabled",
    )
    yield Step("ListObjectVersions", listed)
    yield Step("GetObject", lambda: client.get_object(oss.GetObjectRequest(**k)), "NoSuchKey")


def _not_implemented(client: oss.Client, in_bucket: dict[str, str]) -> Iterator[Step]:
    k = {**in_bucket, "key": "new"}
    yield Step("AppendObject", lambda: client.append_object(oss.AppendObjectRequest(**k, position=0, body=b"x")))
    yield Step("PutSymlink", lambda: client.put_symlink(oss.PutSymlinkRequest(**k, symlink_target="k")))
    yield Step("GetBucketPolicy", lambda: client.get_bucket_policy(oss.GetBucketPolicyRequest(**in_bucket)))
    yield Step("GetBucketCors", lambda: client.get_bucket_cors(oss.GetBucketCorsRequest(**in_bucket)))
    yield Step("ListCname", lambda: client.list_cname(oss.ListCnameRequest(**in_bucket)))
    yield Step("DescribeRegions of OSS", lambda: client.describe_regions(oss.DescribeRegionsRequest()))
    yield Step(
        "x-oss-traffic-limit", lambda: client.put_object(oss.PutObjectRequest(**k, body=b"x", traffic_limit=819200))
    )
