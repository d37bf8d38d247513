"""Staging bucket: its name, its creation, and the requirements for an import."""

from aliyun_import.context import Context
from aliyun_import.errors import AccessError, BucketMissing, PermissionDenied, RefusedError
from aliyun_import.events import Changed, Emit, FindingRaised, Noted, Warned
from aliyun_import.model.finding import Finding, Severity
from aliyun_import.model.objects import BucketInfo
from aliyun_import.model.roles import CallerIdentity
from aliyun_import.services import ObjectStore

# Long enough to resume a push after a week, short enough to limit the cost of abandoned parts.
ABORT_AFTER_DAYS = 7


def derived_bucket(account_id: str, region: str) -> str:
    """Return the name of the default bucket; the account id makes it unique among all accounts."""
    return f"aliyun-import-{account_id}-{region}"


def bucket_info(store: ObjectStore, me: CallerIdentity, *, region: str) -> BucketInfo | None:
    """Return the properties of a bucket, None if it does not exist. AccessError "bucket-denied" without permission.

    OSS sends the same answer for a bucket of another account and for a missing permission, so the error names both.
    """
    try:
        return store.bucket_info()
    except PermissionDenied as error:
        is_derived = store.bucket == derived_bucket(me.account_id, region)
        other = "Pass a --bucket of your own account" + ("" if is_derived else ", or omit --bucket to have one created")
        raise AccessError(
            f"These credentials can't read the bucket {store.bucket}.",
            code="bucket-denied",
            cause=f"It belongs to another account than {me.account_id}, or {me.arn} lacks oss:GetBucketInfo on it.",
            remedy=f"{other}; if the bucket is yours, have oss:GetBucketInfo granted on it (`aliyun-import role policy "
            f"--bucket {store.bucket}`).",
            details={**error.details, "bucket": store.bucket},
        ) from error


def refuse_unsuitable(info: BucketInfo, *, region: str, account_id: str) -> None:
    """Raise RefusedError if ECS in `region` can't import from the bucket: "bucket-region", "bucket-owner"."""
    if info.region != region:
        raise RefusedError(
            f"The bucket {info.name} is in {info.region}, not in {region}, the region of the image.",
            code="bucket-region",
            cause="ECS imports from a bucket of its own region only.",
            remedy=f"Pass --region {info.region}, or a --bucket in {region}, or omit --bucket to have one created.",
            details={"bucket": info.name, "bucket_region": info.region, "region": region},
        )
    if info.owner_id != account_id:
        # Also if OSS states no owner: the bucket may be of another account.
        owner = f"the account {info.owner_id}" if info.owner_id else "an account that OSS does not state"
        raise RefusedError(
            f"The bucket {info.name} belongs to {owner}, the credentials to {account_id}.",
            code="bucket-owner",
            cause="ECS imports from a bucket of the same account only.",
            remedy="Pass a --bucket of your own account, or omit --bucket to have one created, or use credentials of "
            f"{owner}.",
            details={"bucket": info.name, "bucket_owner": info.owner_id, "account_id": account_id},
        )


def check_encryption(info: BucketInfo, *, emit: Emit, force: bool = False) -> None:
    """Check the default encryption of the bucket: AES256 is a warning, another raises RefusedError "bucket-encrypted".

    The encryptions that ECS refuses are not published; imports from buckets with AES256 are reported to work. With
    `force`, every encryption is only a finding.
    """
    encryption = info.encryption or "None"  # OSS answers "None" if there is none
    if encryption.lower() == "none":
        return
    summary = f"The bucket {info.name} encrypts its objects by default ({encryption})."
    remedy = (
        "Pass a --bucket without default encryption, or omit --bucket to have one created, or remove the encryption "
        f"with `ossutil bucket-encryption --method delete oss://{info.name}`."
    )
    if encryption == "AES256" or force:
        blocks = encryption != "AES256"
        emit(
            FindingRaised(
                finding=Finding(
                    rule="bucket-encrypted",
                    severity=Severity.BLOCKS if blocks else Severity.WARNS,
                    message=f"{summary} ECS may refuse it after the upload (InvalidOSSBucket.EncryptUnsupported).",
                    remedy=remedy,
                )
            )
        )
        return
    raise RefusedError(
        summary,
        code="bucket-encrypted",
        cause="ECS can't import from a bucket with such an encryption (InvalidOSSBucket.EncryptUnsupported).",
        remedy=f"{remedy} To try it regardless, pass --skip-check bucket-encrypted.",
        details={"bucket": info.name, "encryption": encryption},
    )


def warn_of_risks(info: BucketInfo, context: Context) -> None:
    """Emit risks that do not prevent an import: public access exposes the disk, versioning may cost money."""
    if info.acl not in ("", "private"):
        context.emit(
            Warned(
                code="bucket-public",
                message=f"The bucket {info.name} is {info.acl}: anyone can read the disk while it is in the bucket.",
                remedy=f"Run `ossutil set-acl oss://{info.name} private --bucket`, or pass another --bucket.",
            )
        )
    if info.versioning:
        context.emit(
            Noted(
                message=f"The bucket {info.name} keeps versions ({info.versioning}); the objects of this push are "
                "deleted by their version."
            )
        )


def create_derived_bucket(store: ObjectStore, context: Context, *, region: str) -> BucketInfo:
    """Create the derived bucket, private, and return its properties."""
    store.create_bucket()
    context.emit(Changed(what="created bucket", name=store.bucket))
    info = store.bucket_info()
    if info is None:
        raise BucketMissing(
            f"OSS does not find the bucket {store.bucket}, which was just created.",
            code="bucket-missing",
            remedy=f"Run the same command again; if that does not help, create a bucket in {region} and pass it as "
            "--bucket.",
            details={"bucket": store.bucket, "region": region},
        )
    return info


def ensure_abort_rule(store: ObjectStore, context: Context) -> None:
    """Ensure that unfinished uploads with any key are aborted after a week; emit a warning if that is not possible.

    Only for the derived bucket, because the rule covers the whole bucket.
    """
    try:
        added = store.ensure_abort_rule(prefix="", days=ABORT_AFTER_DAYS)
    except (AccessError, RefusedError) as error:
        context.emit(
            Warned(
                code="lifecycle-unset",
                message=f"The rule that removes unfinished uploads could not be set in {store.bucket}: {error.summary}",
                remedy="Grant oss:GetBucketLifecycle and oss:PutBucketLifecycle, or remove the leftovers of abandoned "
                "pushes with `aliyun-import cleanup`.",
            )
        )
        return
    if added:
        context.emit(
            Changed(
                what="added lifecycle rule",
                name=f"oss://{store.bucket}/ aborts unfinished uploads after {ABORT_AFTER_DAYS} days",
            )
        )
