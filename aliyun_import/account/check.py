"""This file asks the cloud what is cheap to ask before the first byte: who we are, the region, the bucket, the name.

A bucket that the user named is taken as it is and never changed; one that does not exist is refused, because a name
that was mistyped would otherwise become a bucket. The derived bucket (no --bucket) is ours to create and to keep
tidy. With dry_run nothing is created at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from aliyun_import.account.staging_bucket import (
    derived_bucket,
    ensure_abort_rule,
    make_ours,
    refuse_unfit,
    see_bucket,
    warn_of_oddities,
)
from aliyun_import.context import Clock
from aliyun_import.errors import AccessError, BucketMissing, ObjectMissing, RefusedError
from aliyun_import.events import Emit, Noted, Warned
from aliyun_import.model.image import Image
from aliyun_import.model.objects import BucketInfo, RemoteObject
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.model.roles import CallerIdentity
from aliyun_import.retry import first_contact, with_retries
from aliyun_import.services.interface import Identity, ImageService, ObjectStore

# Objects of these classes are read only after they were restored.
COLD_CLASSES = ("Archive", "ColdArchive", "DeepColdArchive")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """What the look found: who we are, where disks are staged, who has the image's name.

    `bucket` is empty when every disk is in OSS already. `bucket_info` is None only in a dry run that would create the
    bucket. `bucket_is_ours`: it is the derived one. `name_holder` is the image that has the name, whoever made it.
    `objects` has the object of each disk that is in OSS already, in the order of the disks, None for local ones.
    """

    identity: CallerIdentity
    bucket: str
    bucket_info: BucketInfo | None
    bucket_is_ours: bool
    bucket_created: bool
    name_holder: Image | None
    objects: tuple[RemoteObject | None, ...]


@dataclass(frozen=True, slots=True)
class _Staging:
    bucket: str = ""
    info: BucketInfo | None = None
    is_ours: bool = False
    created: bool = False


def check_account(
    request: ImportRequest,
    *,
    identity: Identity,
    store: Callable[[str], ObjectStore],
    images: ImageService,
    bucket: str | None,
    dry_run: bool,
    clock: Clock,
    emit: Emit,
) -> AccountState:
    """Ask the services all that can be known now; raise the first thing with which the push can't work.

    `bucket` is the user's, None for the derived one. RefusedError: "region-unknown", "bucket-missing",
    "bucket-region", "bucket-owner", "bucket-encrypted", "object-missing", "object-empty", "object-archived";
    AccessError where a right that is needed is missing. Rights that are merely useful are warnings.
    """
    me = first_contact(identity.whoami, clock=clock)
    _look_at_region(request.region, images, clock=clock, emit=emit)
    staging = _Staging()
    if any(disk.path is not None for disk in request.disks):
        staging = _look_at_staging(
            request.region, me, store=store, bucket=bucket, dry_run=dry_run, clock=clock, emit=emit
        )
    objects = _look_at_objects(request, me, store=store, clock=clock, emit=emit)
    holder = with_retries(lambda: images.images(name=request.name), clock=clock)
    return AccountState(
        identity=me,
        bucket=staging.bucket,
        bucket_info=staging.info,
        bucket_is_ours=staging.is_ours,
        bucket_created=staging.created,
        name_holder=holder[0] if holder else None,
        objects=objects,
    )


def _look_at_region(region: str, images: ImageService, *, clock: Clock, emit: Emit) -> None:
    try:
        regions = first_contact(images.regions, clock=clock)
    except AccessError as error:
        if error.code != "no-right":
            raise
        emit(
            Warned(
                code="regions-unseen",
                message=f"Whether the region {region} is open to this account could not be asked: {error.summary}",
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
        cause=f"The service lists {len(regions)} regions" + (f"; close to it: {', '.join(near)}." if near else "."),
        remedy=f"Pass --region {near[0]}." if near else f"Pass --region with one of: {', '.join(sorted(regions))}.",
        details={"region": region},
    )


def _look_at_staging(
    region: str,
    me: CallerIdentity,
    *,
    store: Callable[[str], ObjectStore],
    bucket: str | None,
    dry_run: bool,
    clock: Clock,
    emit: Emit,
) -> _Staging:
    name = bucket or derived_bucket(me.account_id, region)
    is_ours = name == derived_bucket(me.account_id, region)
    place = store(name)
    info = see_bucket(place, me, region=region, clock=clock)
    created = False
    if info is None:
        if not is_ours:
            raise _bucket_missing(name, region, me)
        if dry_run:
            emit(Noted(message=f"The bucket {name} would be created, private, in {region}."))
            return _Staging(bucket=name, is_ours=True)
        info = make_ours(place, region=region, clock=clock, emit=emit)
        created = True
    refuse_unfit(info, region=region, account_id=me.account_id)
    warn_of_oddities(info, emit=emit)
    if is_ours and not dry_run:
        ensure_abort_rule(place, clock=clock, emit=emit)
    return _Staging(bucket=name, info=info, is_ours=is_ours, created=created)


def _bucket_missing(name: str, region: str, me: CallerIdentity) -> RefusedError:
    return BucketMissing(
        f"There is no bucket {name}.",
        code="bucket-missing",
        remedy=f"Leave --bucket out, and {derived_bucket(me.account_id, region)} is made; or create it with "
        f"`ossutil mb oss://{name} --region {region} --acl private`.",
        details={"bucket": name, "region": region},
    )


def _look_at_objects(
    request: ImportRequest,
    me: CallerIdentity,
    *,
    store: Callable[[str], ObjectStore],
    clock: Clock,
    emit: Emit,
) -> tuple[RemoteObject | None, ...]:
    """Look at the objects of disks that are in OSS already, and once at each of their buckets."""
    fit: set[str] = set()
    objects: list[RemoteObject | None] = []
    for disk in request.disks:
        if disk.key is None or disk.bucket is None:
            objects.append(None)
            continue
        place = store(disk.bucket)
        if disk.bucket not in fit:
            _look_at_given_bucket(place, request.region, me, clock=clock, emit=emit)
            fit.add(disk.bucket)
        objects.append(_look_at_object(place, disk, clock=clock))
    return tuple(objects)


def _look_at_given_bucket(place: ObjectStore, region: str, me: CallerIdentity, *, clock: Clock, emit: Emit) -> None:
    info = see_bucket(place, me, region=region, clock=clock)
    if info is None:
        raise BucketMissing(
            f"There is no bucket {place.bucket}.",
            code="bucket-missing",
            remedy="Correct the bucket in oss://BUCKET/KEY.",
            details={"bucket": place.bucket, "region": region},
        )
    refuse_unfit(info, region=region, account_id=me.account_id)
    warn_of_oddities(info, emit=emit)


def _look_at_object(place: ObjectStore, disk: DiskRequest, *, clock: Clock) -> RemoteObject:
    key = disk.key or ""
    found = with_retries(lambda: place.head(key), clock=clock)
    details = {"bucket": place.bucket, "key": key}
    if found is None:
        raise ObjectMissing(
            f"There is no object oss://{place.bucket}/{key}.",
            code="object-missing",
            remedy=f"Correct the key; `ossutil ls oss://{place.bucket}/` lists what is there.",
            details=details,
        )
    if found.size_bytes == 0:
        raise RefusedError(
            f"The object oss://{place.bucket}/{key} is empty.",
            code="object-empty",
            cause="ECS refuses an object without content (InvalidOSSObject.Size).",
            remedy="Upload the disk again, or push the local file and leave the upload to this tool.",
            details=details,
        )
    if found.storage_class in COLD_CLASSES:
        _refuse_unless_restored(place, found, clock=clock)
    return found


def _refuse_unless_restored(place: ObjectStore, found: RemoteObject, *, clock: Clock) -> None:
    """Read one byte: a restored object of a cold class gives it, one that was not restored does not."""
    try:
        with_retries(lambda: place.read(found.key, start=0, length=1), clock=clock)
    except RefusedError as error:
        raise RefusedError(
            f"The object oss://{place.bucket}/{found.key} is of class {found.storage_class} and was not restored.",
            code="object-archived",
            cause="ECS can't read it (InvalidOSSObject.NeedRestore).",
            remedy=f"Run `ossutil restore oss://{place.bucket}/{found.key}`, wait until it is restored, and run the "
            "same command again.",
            details={"bucket": place.bucket, "key": found.key, "storage_class": found.storage_class},
        ) from error
