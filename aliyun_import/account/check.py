"""Checks of the account before the first byte is sent: identity, region, staging bucket, image name.

A bucket that the user named is never changed, and must exist: otherwise a mistyped name would create a bucket.
`ensure_bucket` creates and maintains the derived bucket (no --bucket). The check itself changes nothing.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from difflib import get_close_matches

from aliyun_import.account.staging_bucket import (
    bucket_info,
    check_encryption,
    create_derived_bucket,
    derived_bucket,
    ensure_abort_rule,
    refuse_unsuitable,
    warn_of_risks,
)
from aliyun_import.context import Context
from aliyun_import.errors import BucketMissing, ObjectMissing, PermissionDenied, RefusedError
from aliyun_import.events import Warned
from aliyun_import.model.image import Image
from aliyun_import.model.objects import BucketInfo, RemoteObject, object_url
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.model.roles import CallerIdentity
from aliyun_import.services import ImageService, ObjectStore, Services

# Objects of these classes can be read only after they are restored.
COLD_CLASSES = ("Archive", "ColdArchive", "DeepColdArchive")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """State of the account for a push.

    bucket: the staging bucket; empty if every disk is already in OSS.
    bucket_info: None if the derived bucket does not exist yet.
    name_holder: the image that has the requested name, if any.
    objects: in the order of the disks, the object of each disk that is already in OSS, None for local disks.
    """

    identity: CallerIdentity
    bucket: str
    bucket_info: BucketInfo | None
    name_holder: Image | None
    objects: tuple[RemoteObject | None, ...]


def check_account(
    request: ImportRequest,
    services: Services,
    context: Context,
    *,
    bucket: str | None,
    skip_checks: Collection[str] = (),
    force: bool = False,
) -> AccountState:
    """Return the state of the account, without changing it. Raises the first problem that prevents the push.

    `bucket` is the user's, None for the derived one. Raises RefusedError "region-unknown", "bucket-missing",
    "bucket-region", "bucket-owner", "bucket-encrypted", "object-missing", "object-empty", "object-archived", and
    AccessError for a missing required permission. A missing optional permission is a warning. `skip_checks` may contain
    "bucket-encrypted"; with `force` it is a finding.
    """

    def check_bucket(info: BucketInfo) -> None:
        refuse_unsuitable(info, region=request.region, account_id=me.account_id)
        if "bucket-encrypted" not in skip_checks:
            check_encryption(info, emit=context.emit, force=force)
        warn_of_risks(info, context)

    me = services.identity.whoami()
    _check_region(request.region, services.images, context)
    name, info = "", None
    if any(disk.path is not None for disk in request.disks):
        name = bucket or derived_bucket(me.account_id, request.region)
        info = _staging_bucket(services.store(name), me, region=request.region)
        if info is not None:
            check_bucket(info)
    objects = _existing_objects(request, me, services.store, check_bucket)
    holders = services.images.images(name=request.name)
    return AccountState(
        identity=me,
        bucket=name,
        bucket_info=info,
        name_holder=holders[0] if holders else None,
        objects=objects,
    )


def _check_region(region: str, images: ImageService, context: Context) -> None:
    try:
        regions = images.regions()
    except PermissionDenied as error:
        context.emit(
            Warned(
                code="regions-unseen",
                message=f"The region {region} could not be checked: {error.summary}",
                remedy="Grant ecs:DescribeRegions to have it checked.",
            )
        )
        return
    if region in regions:
        return
    near = get_close_matches(region, regions, n=3)
    raise RefusedError(
        f"There is no region {region} for this account.",
        code="region-unknown",
        cause=f"The service lists {len(regions)} regions" + (f"; similar: {', '.join(near)}." if near else "."),
        remedy=f"Pass --region {near[0]}." if near else f"Pass --region with one of: {', '.join(sorted(regions))}.",
        details={"region": region},
    )


def ensure_bucket(account: AccountState, services: Services, context: Context, *, region: str) -> AccountState:
    """Create the derived bucket if it does not exist, and ensure its lifecycle rule; change no other bucket."""
    if account.bucket != derived_bucket(account.identity.account_id, region):
        return account
    store, info = services.store(account.bucket), account.bucket_info
    if info is None:
        info = create_derived_bucket(store, context, region=region)
        refuse_unsuitable(info, region=region, account_id=account.identity.account_id)
    ensure_abort_rule(store, context)
    return replace(account, bucket_info=info)


def _staging_bucket(store: ObjectStore, me: CallerIdentity, *, region: str) -> BucketInfo | None:
    """Return the staging bucket; None if it is the derived one and does not exist yet."""
    derived = derived_bucket(me.account_id, region)
    info = bucket_info(store, me, region=region)
    if info is None and store.bucket != derived:
        raise BucketMissing(
            f"There is no bucket {store.bucket}.",
            code="bucket-missing",
            remedy=f"Omit --bucket to have {derived} created; or create the bucket with "
            f"`ossutil mb oss://{store.bucket} --region {region} --acl private`.",
            details={"bucket": store.bucket, "region": region},
        )
    return info


def _existing_objects(
    request: ImportRequest,
    me: CallerIdentity,
    store_of: Callable[[str], ObjectStore],
    check_bucket: Callable[[BucketInfo], None],
) -> tuple[RemoteObject | None, ...]:
    """Check the objects of disks that are already in OSS, and each of their buckets once."""
    checked: set[str] = set()
    objects: list[RemoteObject | None] = []
    for disk in request.disks:
        if disk.key is None or disk.bucket is None:
            objects.append(None)
            continue
        store = store_of(disk.bucket)
        if disk.bucket not in checked:
            check_bucket(_given_bucket(store, request.region, me))
            checked.add(disk.bucket)
        objects.append(_existing_object(store, disk))
    return tuple(objects)


def _given_bucket(store: ObjectStore, region: str, me: CallerIdentity) -> BucketInfo:
    info = bucket_info(store, me, region=region)
    if info is None:
        raise BucketMissing(
            f"There is no bucket {store.bucket}.",
            code="bucket-missing",
            remedy="Correct the bucket in oss://BUCKET/KEY.",
            details={"bucket": store.bucket, "region": region},
        )
    return info


def _existing_object(store: ObjectStore, disk: DiskRequest) -> RemoteObject:
    key = disk.key or ""
    found = store.head(key)
    details = {"bucket": store.bucket, "key": key}
    if found is None:
        raise ObjectMissing(
            f"There is no object {object_url(store.bucket, key)}.",
            code="object-missing",
            remedy=f"Correct the key; `ossutil ls oss://{store.bucket}/` lists the objects of the bucket.",
            details=details,
        )
    if found.size_bytes == 0:
        raise RefusedError(
            f"The object {object_url(store.bucket, key)} is empty.",
            code="object-empty",
            cause="ECS refuses an object without content (InvalidOSSObject.Size).",
            remedy="Upload the disk again, or push the local file so that this tool uploads it.",
            details=details,
        )
    if found.storage_class in COLD_CLASSES:
        _refuse_unless_restored(store, found)
    return found


def _refuse_unless_restored(store: ObjectStore, found: RemoteObject) -> None:
    """Read one byte, which is possible only if an object of an archive class is restored."""
    try:
        store.read(found.key, start=0, length=1)
    except RefusedError as error:
        raise RefusedError(
            f"The object {object_url(store.bucket, found.key)} is of class {found.storage_class} and is not restored.",
            code="object-archived",
            cause="ECS can't read it (InvalidOSSObject.NeedRestore).",
            remedy=f"Run `ossutil restore {object_url(store.bucket, found.key)}`, wait until it is restored, and "
            "run the same command again.",
            details={"bucket": store.bucket, "key": found.key, "storage_class": found.storage_class},
        ) from error
