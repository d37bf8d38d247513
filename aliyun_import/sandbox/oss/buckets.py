"""Operations on buckets, their default encryption and their versioning."""

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.attributes import BUCKET_ACLS, check_encryption
from aliyun_import.sandbox.oss.protocol import (
    OssCall,
    OssError,
    Tree,
    invalid_argument,
    malformed_xml,
    owner,
    parse,
    required_texts,
    stamp,
    xml_answer,
)
from aliyun_import.sandbox.oss.state import STORAGE_CLASSES, Bucket

REDUNDANCIES = ("LRS", "ZRS")


def put_bucket(call: OssCall) -> Answer:
    """PutBucket: create a bucket in the region of the endpoint. Repeating it for an own bucket succeeds."""
    storage_class, redundancy = _requested(call)
    acl = call.request.headers.get("x-oss-acl")
    if acl and acl not in BUCKET_ACLS:
        raise invalid_argument("x-oss-acl", acl)
    with call.state.lock:
        bucket = call.oss.bucket(call.bucket_name)
        if bucket is None:
            owned = [
                each
                for each in call.oss.buckets.values()
                if each.owner_id == call.account_id and each.region == call.region
            ]
            if call.region in call.state.settings.closed_regions:
                raise OssError(403, "AccessDenied", "The region is not open to the account.")
            if len(owned) >= call.state.settings.buckets_per_region:
                raise OssError(400, "TooManyBuckets", "You have attempted to create more buckets than allowed.")
            bucket = call.oss.add_bucket(
                call.bucket_name,
                region=call.region,
                owner_id=call.account_id,
                storage_class=storage_class or "Standard",
            )
            call.oss.change(bucket.name, redundancy=redundancy or "LRS")
        else:
            _refuse_changing(call, bucket, storage_class, redundancy)
        call.oss.change(bucket.name, acl=acl or bucket.acl)
    return Answer(200, (("Location", f"/{call.bucket_name}"),))


def _requested(call: OssCall) -> tuple[str, str]:
    """Return the storage class and the redundancy of a PutBucket, empty if not given. Raises InvalidArgument."""
    if not call.request.body.whole():
        return "", ""
    tree = parse(call.request, "CreateBucketConfiguration")
    storage_class = (tree.findtext("StorageClass") or "").strip()
    redundancy = (tree.findtext("DataRedundancyType") or "").strip()
    if storage_class and storage_class not in STORAGE_CLASSES:
        raise invalid_argument("StorageClass", storage_class, "No such bucket storage class exists.")
    if redundancy and redundancy not in REDUNDANCIES:
        raise invalid_argument("DataRedundancyType", redundancy)
    return storage_class, redundancy


def _refuse_changing(call: OssCall, bucket: Bucket, storage_class: str, redundancy: str) -> None:
    """Raise BucketAlreadyExists if PutBucket would change an existing bucket."""
    if bucket.owner_id != call.account_id:
        message = (
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
            "Please select a different name and try again."
        )
    elif bucket.region != call.region:
        message = "Bucket already exists can't modify location."
    elif storage_class and storage_class != bucket.storage_class:
        message = "Cannot modify existing bucket's storage class."
    elif redundancy and redundancy != bucket.redundancy:
        message = "Bucket already exists CAN'T modify data redundancy type."
    else:
        return
    raise OssError(409, "BucketAlreadyExists", message, extra=[("BucketName", bucket.name)])


def _endpoints(region: str) -> Tree:
    return {
        "ExtranetEndpoint": f"oss-{region}.aliyuncs.com",
        "IntranetEndpoint": f"oss-{region}-internal.aliyuncs.com",
        "Location": f"oss-{region}",
    }


def get_bucket_info(call: OssCall) -> Answer:
    """GetBucketInfo."""
    bucket = call.bucket
    return xml_answer(
        "BucketInfo",
        {
            "Bucket": {
                "CreationDate": stamp(bucket.created_s),
                **_endpoints(bucket.region),
                "Name": bucket.name,
                "StorageClass": bucket.storage_class,
                "DataRedundancyType": bucket.redundancy,
                "TransferAcceleration": "Disabled",
                "CrossRegionReplication": "Disabled",
                "AccessMonitor": "Disabled",
                "Versioning": bucket.versioning or None,
                "Owner": owner(bucket.owner_id),
                "AccessControlList": {"Grant": bucket.acl},
                "ServerSideEncryptionRule": {
                    "SSEAlgorithm": bucket.encryption or "None",
                    "KMSMasterKeyID": bucket.encryption_key_id or None,
                },
                "Comment": "",
            }
        },
    )


def get_bucket_location(call: OssCall) -> Answer:
    """GetBucketLocation: the region with the prefix oss-."""
    return xml_answer("LocationConstraint", f"oss-{call.bucket.region}")


def list_buckets(call: OssCall) -> Answer:
    """ListBuckets: the buckets of the caller's account in all regions."""
    prefix, marker = call.request.param("prefix"), call.request.param("marker")
    limit = call.number("max-keys", default=100, low=1, high=1000)
    with call.state.lock:
        mine = sorted(
            (each for each in call.oss.buckets.values() if each.owner_id == call.account_id),
            key=lambda each: each.name,
        )
    mine = [each for each in mine if each.name.startswith(prefix) and each.name > marker]
    page, more = mine[:limit], len(mine) > limit
    return xml_answer(
        "ListAllMyBucketsResult",
        {
            "Prefix": prefix,
            "Marker": marker,
            "MaxKeys": limit,
            "IsTruncated": more,
            "NextMarker": page[-1].name if more else "",
            "Owner": owner(call.account_id),
            "Buckets": {
                "Bucket": [
                    {
                        "CreationDate": stamp(each.created_s),
                        **_endpoints(each.region),
                        "Region": each.region,
                        "Name": each.name,
                        "StorageClass": each.storage_class,
                    }
                    for each in page
                ]
            },
        },
    )


def delete_bucket(call: OssCall) -> Answer:
    """DeleteBucket: refuse a bucket with objects, versions or unfinished uploads."""
    with call.state.lock:
        if call.bucket.versions or call.bucket.uploads:
            raise OssError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
        del call.oss.buckets[call.bucket_name]
    return Answer(204)


def put_encryption(call: OssCall) -> Answer:
    """PutBucketEncryption."""
    tree = parse(call.request, "ServerSideEncryptionRule").find("ApplyServerSideEncryptionByDefault")
    if tree is None:
        raise malformed_xml()
    (algorithm,) = required_texts(tree, ["SSEAlgorithm"])
    key_id = (tree.findtext("KMSMasterKeyID") or "").strip()
    call.change_bucket(encryption=check_encryption(algorithm), encryption_key_id=key_id)
    return Answer(200)


def get_encryption(call: OssCall) -> Answer:
    """GetBucketEncryption."""
    if not call.bucket.encryption:
        message = "The server side encryption configuration is not found."
        raise OssError(404, "NoSuchServerSideEncryptionRule", message)
    default = {"SSEAlgorithm": call.bucket.encryption, "KMSMasterKeyID": call.bucket.encryption_key_id}
    return xml_answer("ServerSideEncryptionRule", {"ApplyServerSideEncryptionByDefault": default})


def delete_encryption(call: OssCall) -> Answer:
    """DeleteBucketEncryption."""
    call.change_bucket(encryption="", encryption_key_id="")
    return Answer(204)


def put_versioning(call: OssCall) -> Answer:
    """PutBucketVersioning: Enabled or Suspended. A bucket cannot return to the state without versioning."""
    (status,) = required_texts(parse(call.request, "VersioningConfiguration"), ["Status"])
    if status not in ("Enabled", "Suspended"):
        raise malformed_xml()
    call.change_bucket(versioning=status)
    return Answer(200)


def get_versioning(call: OssCall) -> Answer:
    """GetBucketVersioning."""
    return xml_answer("VersioningConfiguration", {"Status": call.bucket.versioning or None})
