"""This file knows the staging bucket: its name, and what a bucket must be so that ECS can import from it."""

from aliyun_import.context import Clock
from aliyun_import.errors import AccessError, BucketMissing, RefusedError
from aliyun_import.events import Changed, Emit, Noted, Warned
from aliyun_import.model.objects import BucketInfo
from aliyun_import.model.roles import CallerIdentity
from aliyun_import.retry import first_contact, with_retries
from aliyun_import.services.interface import ObjectStore

# What this tool puts into a bucket lies below it, but for a disk that --key puts elsewhere.
PREFIX = "aliyun-import/"
# Long enough for a push that is resumed after a week's holiday, short enough that forgotten parts cost little.
ABORT_AFTER_DAYS = 7


def derived_bucket(account_id: str, region: str) -> str:
    """Name the bucket that is used when none is given; the account id keeps it apart from everybody else's."""
    return f"aliyun-import-{account_id}-{region}"


def see_bucket(place: ObjectStore, me: CallerIdentity, *, region: str, clock: Clock) -> BucketInfo | None:
    """Look at a bucket; None when there is none. AccessError "bucket-denied" when we may not look.

    OSS answers the same for a bucket of another account and for a missing right, so that both are named.
    """
    try:
        return first_contact(place.bucket_info, clock=clock)
    except AccessError as error:
        if error.code != "no-right":
            raise
        is_derived = place.bucket == derived_bucket(me.account_id, region)
        other = "Pass a --bucket of your own account" + ("" if is_derived else ", or no --bucket and one is made")
        raise AccessError(
            f"The bucket {place.bucket} may not be looked at.",
            code="bucket-denied",
            cause=f"It belongs to another account than {me.account_id}, or {me.arn} lacks oss:GetBucketInfo on it.",
            remedy=f"{other}; if the bucket is yours, have oss:GetBucketInfo granted on it (`aliyun-import role policy "
            f"--bucket {place.bucket}`).",
            details={**error.details, "bucket": place.bucket},
        ) from error


def refuse_unfit(info: BucketInfo, *, region: str, account_id: str) -> None:
    """Raise RefusedError when ECS in `region` can't import from the bucket: "bucket-region", "-owner", "-encrypted"."""
    if info.region != region:
        raise RefusedError(
            f"The bucket {info.name} is in {info.region}, the image shall be in {region}.",
            code="bucket-region",
            cause="ECS imports from a bucket of its own region only.",
            remedy=f"Pass --region {info.region}, or a --bucket in {region}, or no --bucket and one is made there.",
            details={"bucket": info.name, "bucket_region": info.region, "region": region},
        )
    if info.owner_id and info.owner_id != account_id:
        raise RefusedError(
            f"The bucket {info.name} belongs to the account {info.owner_id}, the credentials to {account_id}.",
            code="bucket-owner",
            cause="ECS imports from a bucket of the same account only.",
            remedy="Pass a --bucket of your own account, or no --bucket and one is made, or take the credentials of "
            f"the account {info.owner_id}.",
            details={"bucket": info.name, "bucket_owner": info.owner_id, "account_id": account_id},
        )
    if is_encrypted(info):
        raise RefusedError(
            f"The bucket {info.name} encrypts what is put into it ({info.encryption}).",
            code="bucket-encrypted",
            cause="ECS can't import from a bucket with default encryption (InvalidOSSBucket.EncryptUnsupported).",
            remedy="Pass a --bucket without default encryption, or no --bucket and one is made, or remove the "
            f"encryption with `ossutil bucket-encryption --method delete oss://{info.name}`.",
            details={"bucket": info.name, "encryption": info.encryption or ""},
        )


def is_encrypted(info: BucketInfo) -> bool:
    """Tell whether the bucket has default encryption; OSS answers "None" where it has not."""
    return (info.encryption or "None").lower() != "none"


def warn_of_oddities(info: BucketInfo, *, emit: Emit) -> None:
    """Say what does not stop an import and may cost money or secrets: public access, versioning."""
    if info.acl not in ("", "private"):
        emit(
            Warned(
                code="bucket-public",
                message=f"The bucket {info.name} is {info.acl}: while the disk lies in it, anybody can read it.",
                remedy=f"Run `ossutil set-acl oss://{info.name} private --bucket`, or pass another --bucket.",
            )
        )
    if info.versioning:
        emit(
            Noted(
                message=f"The bucket {info.name} keeps versions ({info.versioning}); what this push puts there is "
                "removed by its version."
            )
        )


def make_ours(store: ObjectStore, *, region: str, clock: Clock, emit: Emit) -> BucketInfo:
    """Create the derived bucket, private, and tell what it is."""
    with_retries(store.create_bucket, clock=clock)
    emit(Changed(what="created bucket", name=store.bucket))
    info = with_retries(store.bucket_info, clock=clock)
    if info is None:
        raise BucketMissing(
            f"The bucket {store.bucket} was created, and OSS does not know it.",
            code="bucket-missing",
            remedy=f"Run the same command again; if it stays so, create a bucket in {region} and pass it as --bucket.",
            details={"bucket": store.bucket, "region": region},
        )
    return info


def ensure_abort_rule(store: ObjectStore, *, clock: Clock, emit: Emit) -> None:
    """See to it that parts of forgotten uploads go away by themselves, wherever --key put them; else it is a warning.

    Only for a bucket of ours: the rule is for all of it.
    """
    try:
        added = with_retries(lambda: store.ensure_abort_rule(prefix="", days=ABORT_AFTER_DAYS), clock=clock)
    except (AccessError, RefusedError) as error:
        emit(
            Warned(
                code="lifecycle-unset",
                message=f"The rule that removes unfinished uploads could not be seen to in {store.bucket}: "
                f"{error.summary}",
                remedy="Grant oss:GetBucketLifecycle and oss:PutBucketLifecycle, or remove what a push that was given "
                "up left with `aliyun-import cleanup`.",
            )
        )
        return
    if added:
        emit(
            Changed(
                what="added lifecycle rule",
                name=f"oss://{store.bucket}/ aborts unfinished uploads after {ABORT_AFTER_DAYS} days",
            )
        )
