"""This file does what OSS does with whole buckets: make, tell, list, remove."""

from aliyun_import.sandbox.core.http_types import Answer
from aliyun_import.sandbox.oss.call import OssCall, owner, xml_answer
from aliyun_import.sandbox.oss.errors import OssError, invalid_argument
from aliyun_import.sandbox.oss.state import STORAGE_CLASSES, Bucket
from aliyun_import.sandbox.oss.xml import Tree, parse, stamp

ACLS = ("private", "public-read", "public-read-write")
REDUNDANCIES = ("LRS", "ZRS")


def put_bucket(call: OssCall) -> Answer:
    """PutBucket: make a bucket in the region of the endpoint; again on one's own is fine."""
    storage_class, redundancy = _wanted(call)
    acl = call.request.headers.get("x-oss-acl")
    if acl and acl not in ACLS:
        raise invalid_argument("x-oss-acl", acl)
    with call.state.lock:
        there = call.oss.bucket(call.bucket_name)
        if there is None:
            owned = [
                each
                for each in call.oss.buckets.values()
                if each.owner_id == call.account_id and each.region == call.region
            ]
            if len(owned) >= call.state.settings.buckets_per_region:
                raise OssError(400, "TooManyBuckets", "You have attempted to create more buckets than allowed.")
            there = call.oss.add_bucket(
                call.bucket_name,
                region=call.region,
                owner_id=call.account_id,
                storage_class=storage_class or "Standard",
            )
            there.redundancy = redundancy or "LRS"
        else:
            _refuse_changing(call, there, storage_class, redundancy)
        there.acl = acl or there.acl
    return Answer(200, (("Location", f"/{call.bucket_name}"),))


def _wanted(call: OssCall) -> tuple[str, str]:
    """Read the storage class and the redundancy that a PutBucket asks for; empty where it does not."""
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
    """GetBucketLocation: the value carries the oss- prefix."""
    return xml_answer("LocationConstraint", f"oss-{call.bucket.region}")


def get_bucket_acl(call: OssCall) -> Answer:
    """GetBucketAcl."""
    tree = {"Owner": owner(call.bucket.owner_id), "AccessControlList": {"Grant": call.bucket.acl}}
    return xml_answer("AccessControlPolicy", tree)


def list_buckets(call: OssCall) -> Answer:
    """ListBuckets: those of the caller's account, in all regions."""
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
    """DeleteBucket: only an empty one, without versions and without unfinished uploads."""
    with call.state.lock:
        if call.bucket.versions or call.bucket.uploads:
            raise OssError(409, "BucketNotEmpty", "The bucket you tried to delete is not empty.")
        del call.oss.buckets[call.bucket_name]
    return Answer(204)
