"""Steps of oss2, the vendor's first OSS SDK for Python, with V4 and V1 signatures."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import oss2
import oss2.models as m
import requests

from aliyun_import.sandbox.server import Sandbox
from tests.conformance.steps import Step

PART = 100 * 1024


def code_of(error: Exception) -> str:
    """Return the code of an error of oss2, or its status if the response has no body (HEAD)."""
    if isinstance(error, oss2.exceptions.ServerError):
        return str(error.code or error.status)
    return ""


def clients(sandbox: Sandbox, version: str) -> tuple[Callable[[str], oss2.Bucket], oss2.Service]:
    """Return a function that opens a bucket, and a client of the service, for a signature version."""
    key = sandbox.access_key
    provider = oss2.credentials.StaticCredentialsProvider(key.id, key.secret)
    auth = oss2.ProviderAuthV4(provider) if version == "v4" else oss2.ProviderAuth(provider)
    region = {"region": "cn-hangzhou"} if version == "v4" else {}
    session = oss2.Session()

    def bucket(name: str) -> oss2.Bucket:
        return oss2.Bucket(auth, sandbox.url, name, session=session, **region)

    return bucket, oss2.Service(auth, sandbox.url, session=session, **region)


def steps(sandbox: Sandbox, version: str) -> Iterator[Step]:
    """Yield the steps of oss2 for a signature version."""
    open_bucket, service = clients(sandbox, version)
    b = open_bucket(f"conform-{version}")
    yield from _buckets(b, service)
    yield from _objects(b)
    yield from _tags_and_acls(b)
    yield from _presigned(b)
    yield from _multipart(b)
    yield from _virtual_hosted(sandbox, version)
    yield from _versions(open_bucket(f"versions-{version}"))
    yield from _refused(b)
    yield from _not_implemented(b, service)
    yield Step("DeleteBucket", b.delete_bucket, "BucketNotEmpty")
    yield Step("DeleteMultipleObjects", lambda: _empty(b))
    yield Step("DeleteBucket", b.delete_bucket)
    yield Step("GetBucketInfo", b.get_bucket_info, "NoSuchBucket")


def _empty(bucket: oss2.Bucket) -> bool:
    for upload in oss2.MultipartUploadIterator(bucket):
        bucket.abort_multipart_upload(upload.key, upload.upload_id)
    keys = [each.key for each in oss2.ObjectIterator(bucket)]
    return sorted(bucket.batch_delete_objects(keys).deleted_keys) == sorted(keys)


def _buckets(b: oss2.Bucket, service: oss2.Service) -> Iterator[Step]:
    rule = m.LifecycleRule("r", "p/", expiration=m.LifecycleExpiration(days=30))
    overlap = m.LifecycleRule("s", "p/q/", expiration=m.LifecycleExpiration(days=10))
    none = m.LifecycleRule("z", "z/", expiration=m.LifecycleExpiration(days=0))
    abort = m.LifecycleRule("a", "", abort_multipart_upload=m.AbortMultipartUpload(days=1))
    encryption = m.ServerSideEncryptionRule(sse_algorithm="AES256")
    tags = m.Tagging(m.TaggingRule())
    tags.tag_set.add("k", "v")
    yield Step("PutBucket", b.create_bucket)
    yield Step("PutBucket", lambda: b.create_bucket(input=m.BucketCreateConfig("IA")), "BucketAlreadyExists")
    yield Step("ListBuckets", lambda: b.bucket_name in [each.name for each in service.list_buckets().buckets])
    yield Step("GetBucketInfo", lambda: b.get_bucket_info().name == b.bucket_name)
    yield Step("GetBucketLocation", lambda: b.get_bucket_location().location == "oss-cn-hangzhou")
    yield Step("GetBucketAcl", lambda: b.get_bucket_acl().acl == "private")
    yield Step("PutBucketAcl", lambda: b.put_bucket_acl("public-read"))
    yield Step("GetBucketAcl", lambda: b.get_bucket_acl().acl == "public-read")
    yield Step("PutBucketAcl", lambda: b.put_bucket_acl("public"), "InvalidArgument")
    yield Step("PutBucketAcl", lambda: b.put_bucket_acl("private"))
    yield Step("GetBucketStat", lambda: b.get_bucket_stat().object_count == 0)
    yield Step("GetBucketLifecycle", b.get_bucket_lifecycle, "NoSuchLifecycle")
    yield Step("PutBucketLifecycle", lambda: b.put_bucket_lifecycle(m.BucketLifecycle([rule, abort])))
    yield Step(
        "PutBucketLifecycle", lambda: b.put_bucket_lifecycle(m.BucketLifecycle([rule, overlap])), "InvalidArgument"
    )
    yield Step("PutBucketLifecycle", lambda: b.put_bucket_lifecycle(m.BucketLifecycle([none])), "InvalidArgument")
    yield Step("GetBucketLifecycle", lambda: [each.id for each in b.get_bucket_lifecycle().rules] == ["r", "a"])
    yield Step("DeleteBucketLifecycle", b.delete_bucket_lifecycle)
    yield Step("GetBucketEncryption", b.get_bucket_encryption, "NoSuchServerSideEncryptionRule")
    yield Step("PutBucketEncryption", lambda: b.put_bucket_encryption(encryption))
    yield Step("GetBucketEncryption", lambda: b.get_bucket_encryption().sse_algorithm == "AES256")
    yield Step("DeleteBucketEncryption", b.delete_bucket_encryption)
    yield Step("PutBucketTagging", lambda: b.put_bucket_tagging(tags))
    yield Step("GetBucketTagging", lambda: b.get_bucket_tagging().tag_set.tagging_rule == {"k": "v"})
    yield Step("DeleteBucketTagging", b.delete_bucket_tagging)
    yield Step("GetBucketVersioning", lambda: b.get_bucket_versioning().status is None)


def _objects(b: oss2.Bucket) -> Iterator[Step]:
    md5 = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    yield Step("PutObject", lambda: b.put_object("a/b c+ü.raw", b"data", headers={"Content-MD5": md5}))
    yield Step("PutObject", lambda: b.put_object("k", b"x", headers={"Content-MD5": md5}), "InvalidDigest")
    yield Step("PutObject", lambda: b.put_object("chunked", (each for each in (b"a", b"b"))))
    yield Step("PutObject", lambda: b.put_object("dir/", b""))
    yield Step("PutObject", lambda: b.put_object("ia", b"x", headers={"x-oss-storage-class": "IA"}))
    yield Step("PutObject", lambda: b.put_object("k", b"", headers={"x-oss-storage-class": "Warm"}), "InvalidArgument")
    forbid = {"x-oss-forbid-overwrite": "true"}
    yield Step("PutObject", lambda: b.put_object("ia", b"x", headers=forbid), "FileAlreadyExists")
    yield Step("PutObject", lambda: b.put_object("k" * 1024, b""), "InvalidObjectName")
    yield Step("HeadObject", lambda: b.head_object("a/b c+ü.raw").headers["Content-MD5"] == md5)
    yield Step("HeadObject", lambda: b.head_object("none"), "NoSuchKey")
    yield Step("GetObjectMeta", lambda: b.get_object_meta("chunked").content_length == 2)
    yield Step("GetObject", lambda: b.get_object("a/b c+ü.raw").read() == b"data")
    yield Step("GetObject", lambda: b.get_object("a/b c+ü.raw", byte_range=(1, 2)).read() == b"at")
    beyond = {"x-oss-range-behavior": "standard"}
    yield Step("GetObject", lambda: b.get_object("ia", byte_range=(5, 9), headers=beyond), "InvalidRange")
    yield Step("GetObject", lambda: b.get_object("none"), "NoSuchKey")
    yield Step("CopyObject", lambda: b.copy_object(b.bucket_name, "chunked", "copy"))
    yield Step("CopyObject", lambda: b.update_object_meta("copy", {"x-oss-meta-a": "1"}))
    yield Step("CopyObject", lambda: b.head_object("copy").headers["x-oss-meta-a"] == "1")
    yield Step("CopyObject", lambda: b.copy_object(b.bucket_name, "none", "copy"), "NoSuchKey")
    yield Step("ListObjects", lambda: [each.key for each in oss2.ObjectIterator(b, max_keys=2)][-1] == "ia")
    yield Step("ListObjectsV2", lambda: len(list(oss2.ObjectIteratorV2(b, delimiter="/", max_keys=2))) == 5)
    yield Step("ListObjects", lambda: b.list_objects(max_keys=1001), "InvalidArgument")
    yield Step("DeleteObject", lambda: b.delete_object("copy"))
    yield Step("DeleteObject", lambda: b.delete_object("none"))
    yield Step(
        "DeleteMultipleObjects", lambda: b.batch_delete_objects(["chunked", "none"]).deleted_keys == ["chunked", "none"]
    )
    yield Step("DeleteMultipleObjects", lambda: b.batch_delete_objects([f"{n}" for n in range(1001)]), "MalformedXML")


def _tags_and_acls(b: oss2.Bucket) -> Iterator[Step]:
    tags = m.Tagging(m.TaggingRule())
    tags.tag_set.add("k", "v w")
    many = m.Tagging(m.TaggingRule())
    for number in range(11):
        many.tag_set.add(f"k{number}", "v")
    yield Step(
        "PutObject",
        lambda: b.put_object("t", b"x", headers={"x-oss-tagging": "a=1&b=2", "x-oss-object-acl": "private"}),
    )
    yield Step("GetObjectTagging", lambda: b.get_object_tagging("t").tag_set.tagging_rule == {"a": "1", "b": "2"})
    yield Step("HeadObject", lambda: b.head_object("t").headers["x-oss-tagging-count"] == "2")
    yield Step("CopyObject", lambda: b.copy_object(b.bucket_name, "t", "t2"))
    yield Step("GetObjectTagging", lambda: b.get_object_tagging("t2").tag_set.tagging_rule == {"a": "1", "b": "2"})
    replaced = {"x-oss-tagging-directive": "Replace", "x-oss-tagging": "c=3"}
    yield Step("CopyObject", lambda: b.copy_object(b.bucket_name, "t", "t2", headers=replaced))
    yield Step("GetObjectTagging", lambda: b.get_object_tagging("t2").tag_set.tagging_rule == {"c": "3"})
    yield Step("PutObjectTagging", lambda: b.put_object_tagging("t", tags))
    yield Step("GetObjectTagging", lambda: b.get_object_tagging("t").tag_set.tagging_rule == {"k": "v w"})
    yield Step("PutObjectTagging", lambda: b.put_object_tagging("t", many), "InvalidTag")
    yield Step("DeleteObjectTagging", lambda: b.delete_object_tagging("t"))
    yield Step("GetObjectTagging", lambda: b.get_object_tagging("t").tag_set.tagging_rule == {})
    yield Step("GetObjectAcl", lambda: b.get_object_acl("t2").acl == "default")
    yield Step("PutObjectAcl", lambda: b.put_object_acl("t2", "private"))
    yield Step("GetObjectAcl", lambda: b.get_object_acl("t2").acl == "private")
    yield Step("PutObjectAcl", lambda: b.put_object_acl("none", "private"), "NoSuchKey")


def _presigned(b: oss2.Bucket) -> Iterator[Step]:
    def fetched(method: str, key: str, **options: Any) -> requests.Response:
        url = b.sign_url(method, key, 60, slash_safe=True)
        answer = requests.request(method, url, timeout=10, **options)
        answer.raise_for_status()
        return answer

    yield Step("presigned PutObject", lambda: fetched("PUT", "signed/x", data=b"data"))
    yield Step("presigned GetObject", lambda: fetched("GET", "signed/x").content == b"data")
    yield Step("presigned HeadObject", lambda: fetched("HEAD", "signed/x").headers["Content-Length"] == "4")


def _multipart(b: oss2.Bucket) -> Iterator[Step]:
    data = b"p" * PART

    def new_upload_id(**headers: str) -> str:
        return str(
            b.init_multipart_upload("mp", headers={n.replace("_", "-"): v for n, v in headers.items()}).upload_id
        )

    def completed() -> bool:
        upload_id = new_upload_id(x_oss_tagging="m=1")
        parts = [m.PartInfo(1, b.upload_part("mp", upload_id, 1, data).etag)]
        copy = b.upload_part_copy(b.bucket_name, "source", (0, PART - 1), "mp", upload_id, 2)
        parts.append(m.PartInfo(2, copy.etag))
        listed = [each.part_number for each in b.list_parts("mp", upload_id).parts]
        b.complete_multipart_upload("mp", upload_id, parts)
        tags = b.get_object_tagging("mp").tag_set.tagging_rule
        return listed == [1, 2] and b.get_object("mp").read() == data * 2 and tags == {"m": "1"}

    def too_small_parts() -> Any:
        upload_id = new_upload_id()
        parts = [m.PartInfo(number, b.upload_part("mp", upload_id, number, b"x").etag) for number in (1, 2)]
        return b.complete_multipart_upload("mp", upload_id, parts)

    def aborted_twice() -> None:
        upload_id = new_upload_id()
        b.abort_multipart_upload("mp", upload_id)
        b.abort_multipart_upload("mp", upload_id)

    yield Step("PutObject", lambda: b.put_object("source", data))
    for name in ("InitiateMultipartUpload", "UploadPart", "UploadPartCopy", "ListParts", "CompleteMultipartUpload"):
        yield Step(name, completed)
    yield Step("UploadPart", lambda: b.upload_part("mp", "none", 1, data), "NoSuchUpload")
    yield Step("UploadPart", lambda: b.upload_part("mp", new_upload_id(), 10_001, data), "InvalidArgument")
    yield Step("CompleteMultipartUpload", too_small_parts, "EntityTooSmall")
    yield Step("AbortMultipartUpload", aborted_twice, "NoSuchUpload")
    yield Step("ListMultipartUploads", lambda: len(list(oss2.MultipartUploadIterator(b))) >= 2)


def _virtual_hosted(sandbox: Sandbox, version: str) -> Iterator[Step]:
    """Yield steps with the host names of the service, through the sandbox as a proxy."""
    _, service = clients(sandbox, version)
    region = {"region": "cn-hangzhou"} if version == "v4" else {}
    b = oss2.Bucket(
        service.auth,
        "http://oss-cn-hangzhou.aliyuncs.com",
        f"hosted-{version}",
        proxies={"http": sandbox.url},
        **region,
    )

    def parts() -> bool:
        upload_id = b.init_multipart_upload("a/b").upload_id
        listed = [upload.upload_id for upload in b.list_multipart_uploads().upload_list]
        b.abort_multipart_upload("a/b", upload_id)
        return listed == [upload_id]

    for call in (
        b.create_bucket,
        lambda: b.get_bucket_info().name == b.bucket_name,
        lambda: b.put_object("abc", b"data"),
        lambda: b.put_object("a/b", b"data"),
        lambda: b.get_object("a/b").read() == b"data",
        lambda: b.head_object("abc").content_length == 4,
        lambda: [each.key for each in b.list_objects().object_list] == ["a/b", "abc"],
        lambda: [each.key for each in b.list_objects_v2().object_list] == ["a/b", "abc"],
        parts,
        lambda: b.batch_delete_objects(["abc", "a/b"]),
        b.delete_bucket,
    ):
        yield Step("virtual-hosted address", call)


def _versions(b: oss2.Bucket) -> Iterator[Step]:
    version_ids: dict[str, str] = {}

    def put_two_versions() -> None:
        version_ids["1"] = b.put_object("k", b"1").versionid
        version_ids["2"] = b.put_object("k", b"2").versionid

    def delete_marker_made() -> bool:
        deleted = b.delete_object("k")
        version_ids["marker"] = deleted.versionid
        return bool(deleted.delete_marker)

    def get_deleted() -> None:
        try:
            b.get_object("k")
        except oss2.exceptions.NoSuchKey as error:
            if error.headers.get("x-oss-delete-marker") == "true":
                raise

    def listed() -> bool:
        page = b.list_object_versions(max_keys=2)
        rest = b.list_object_versions(key_marker=page.next_key_marker, versionid_marker=page.next_versionid_marker)
        versions = [each.versionid for each in page.versions + rest.versions]
        return page.is_truncated and versions == [version_ids["2"], version_ids["1"]] and len(page.delete_marker) == 1

    def all_versions_deleted() -> bool:
        versions = m.BatchDeleteObjectVersionList()
        for version_id in version_ids.values():
            versions.append(m.BatchDeleteObjectVersion(key="k", versionid=version_id))
        return len(b.delete_object_versions(versions).delete_versions) == len(version_ids)

    yield Step("PutBucket", b.create_bucket)
    yield Step("PutBucketVersioning", lambda: b.put_bucket_versioning(m.BucketVersioningConfig("Enabled")))
    yield Step("GetBucketVersioning", lambda: b.get_bucket_versioning().status == "Enabled")
    yield Step("PutObject", put_two_versions)
    yield Step("GetObject", lambda: b.get_object("k", params={"versionId": version_ids["1"]}).read() == b"1")
    yield Step("CopyObject", lambda: b.copy_object(b.bucket_name, "k", "copy", params={"versionId": version_ids["1"]}))
    yield Step("DeleteObject", lambda: b.delete_object("copy", params={"versionId": b.head_object("copy").versionid}))
    yield Step("DeleteObject", delete_marker_made)
    yield Step("GetObject", get_deleted, "NoSuchKey")
    yield Step("GetObject", lambda: b.get_object("k", params={"versionId": version_ids["marker"]}), "MethodNotAllowed")
    yield Step("GetObject", lambda: b.get_object("k", params={"versionId": "%"}), "InvalidArgument")
    yield Step("ListObjectVersions", listed)
    yield Step("DeleteMultipleObjects", all_versions_deleted)
    yield Step("PutBucketVersioning", lambda: b.put_bucket_versioning(m.BucketVersioningConfig("Suspended")))
    yield Step("DeleteBucket", b.delete_bucket)


def _refused(b: oss2.Bucket) -> Iterator[Step]:
    b.put_object("whole", b"x")
    yield Step("AppendObject", lambda: b.append_object("whole", 0, b"x"), "ObjectNotAppendable")
    wrong_secret = oss2.Bucket(
        oss2.Auth(b.auth.credentials_provider.get_credentials().get_access_key_id(), "no"), b.endpoint, b.bucket_name
    )
    yield Step("signature of another secret", lambda: wrong_secret.list_objects(), "SignatureDoesNotMatch")
    anonymous = oss2.Bucket(oss2.AnonymousAuth(), b.endpoint, b.bucket_name)
    yield Step("no signature", lambda: anonymous.list_objects(), "AccessDenied")


def _not_implemented(b: oss2.Bucket, service: oss2.Service) -> Iterator[Step]:
    yield Step("AppendObject", lambda: b.append_object("appended", 0, b"x"))
    yield Step("PutSymlink", lambda: b.put_symlink("whole", "link"))
    yield Step("GetSymlink", lambda: b.get_symlink("whole"), "NotSymlinkObject")
    yield Step("RestoreObject", lambda: b.restore_object("whole"), "OperationNotSupported")
    yield Step("SelectObject", lambda: b.select_object("whole", "select * from ossobject"))
    yield Step("PutBucketCors", lambda: b.put_bucket_cors(m.BucketCors([m.CorsRule(["*"], ["GET"])])))
    yield Step("GetBucketCors", b.get_bucket_cors)
    yield Step("GetBucketLogging", b.get_bucket_logging)
    yield Step("GetBucketWebsite", b.get_bucket_website)
    yield Step("GetBucketReferer", b.get_bucket_referer)
    yield Step("GetBucketPolicy", b.get_bucket_policy)
    yield Step("GetBucketRequestPayment", b.get_bucket_request_payment)
    yield Step("GetBucketTransferAcceleration", b.get_bucket_transfer_acceleration)
    yield Step("GetBucketWorm", b.get_bucket_worm)
    yield Step("GetBucketReplication", b.get_bucket_replication)
    yield Step("ListCname", b.list_bucket_cname)
    yield Step("DescribeRegions of OSS", lambda: service.describe_regions())
    headers = {"x-oss-traffic-limit": "819200"}
    yield Step("x-oss-traffic-limit", lambda: b.put_object("limited", b"x", headers=headers))
    yield Step("x-oss-callback", lambda: b.put_object("called", b"x", headers={"x-oss-callback": "e30="}))
    yield Step("x-oss-process", lambda: b.get_object("whole", process="image/info"))
