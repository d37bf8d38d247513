"""Tests of the checks of the account before the upload, with a sandbox."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.account.check import AccountState, check_account, ensure_bucket
from aliyun_import.account.staging_bucket import derived_bucket, refuse_unsuitable
from aliyun_import.errors import AccessError, AliyunImportError, RefusedError
from aliyun_import.events import FindingRaised
from aliyun_import.model.objects import KEY_PREFIX, BucketInfo
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.image.sandbox_services import SandboxServices
from tests.image.scripted_services import EventRecorder
from tests.rows import each_row

LOCAL = ImportRequest(region="cn-hangzhou", disks=(DiskRequest(path=Path("disk.raw")),), name="disk")
INFO = BucketInfo(
    name="a-bucket",
    region="cn-hangzhou",
    owner_id="1",
    storage_class="Standard",
    encryption=None,
    versioning=None,
    acl="private",
)


def check_and_ensure(
    sandbox: Sandbox,
    *,
    request: ImportRequest = LOCAL,
    bucket: str | None = None,
    checks_only: bool = False,
    denied: tuple[str, ...] = (),
    recorder: EventRecorder | None = None,
    **checks: Any,
) -> AccountState:
    """Check the account in a sandbox through the real adapters, and ensure the bucket as a push does."""
    cloud = SandboxServices(sandbox, region=request.region, denied=denied)
    context = cloud.context(recorder)
    account = check_account(request, cloud.services, context, bucket=bucket, **checks)
    return account if checks_only else ensure_bucket(account, cloud.services, context, region=request.region)


def error_of(sandbox: Sandbox, **arguments: Any) -> AliyunImportError:
    """Return the error of check_and_ensure."""
    with pytest.raises(AliyunImportError) as caught:
        check_and_ensure(sandbox, **arguments)
    assert caught.value.remedy
    return caught.value


def findings(recorder: EventRecorder) -> list[tuple[str, str]]:
    """Return the check and the severity of each finding."""
    raised = [one.finding for one in recorder.events if isinstance(one, FindingRaised)]
    return [(one.rule, str(one.severity)) for one in raised]


def add_bucket(sandbox: Sandbox, name: str = "a-bucket", *, region: str = "cn-hangzhou", **fields: Any) -> str:
    """Add a bucket to the sandbox, and return its name."""
    owner = fields.pop("owner_id", sandbox.account_id)
    sandbox.state.part(OssState).add_bucket(name, region=region, owner_id=owner)
    if fields:
        sandbox.state.part(OssState).change(name, **fields)
    return name


def test_the_derived_bucket_is_created_once(sandbox: Sandbox) -> None:
    """Without --bucket it is private, named by account and region, and has the rule that aborts unfinished uploads."""
    recorder = EventRecorder()
    account = check_and_ensure(sandbox, recorder=recorder)
    assert account.bucket == f"aliyun-import-{sandbox.account_id}-cn-hangzhou"
    assert account.bucket_info is not None
    assert account.bucket_info.acl == "private"
    assert recorder.changed() == ["created bucket", "added lifecycle rule"]
    again, recorder = check_and_ensure(sandbox, recorder=(recorder := EventRecorder())), recorder
    assert again.bucket == account.bucket
    assert recorder.changed() == []


def test_the_abort_rule_applies_to_every_key(sandbox: Sandbox) -> None:
    """An unfinished upload is aborted after a week, with any --key."""
    store = SandboxServices(sandbox).store(check_and_ensure(sandbox).bucket)
    store.start_upload("images/web.raw")
    sandbox.clock.advance(6 * 86400)
    assert store.list_uploads("images/") != ()
    sandbox.clock.advance(2 * 86400)
    assert store.list_uploads("images/") == ()


def test_a_refused_abort_rule_is_a_warning(sandbox: Sandbox) -> None:
    """The bucket may have too many rules; the push continues."""
    sandbox.faults.add(Fault(operation="PutBucketLifecycle", status=400, code="InvalidArgument"))
    recorder = EventRecorder()
    check_and_ensure(sandbox, recorder=recorder)
    assert recorder.warned() == ["lifecycle-unset"]


def test_the_check_creates_nothing(sandbox: Sandbox) -> None:
    """The name of the bucket that a push would create is returned."""
    recorder = EventRecorder()
    account = check_and_ensure(sandbox, checks_only=True, recorder=recorder)
    assert account.bucket == derived_bucket(sandbox.account_id, "cn-hangzhou")
    assert account.bucket_info is None
    assert recorder.changed() == []
    assert not sandbox.requests.entries("PutBucket")
    assert not sandbox.requests.entries("PutBucketLifecycle")


def test_the_check_adds_no_rule_to_an_existing_bucket(sandbox: Sandbox) -> None:
    """The bucket is the derived one."""
    add_bucket(sandbox, derived_bucket(sandbox.account_id, "cn-hangzhou"))
    check_and_ensure(sandbox, checks_only=True)
    assert not sandbox.requests.entries("PutBucketLifecycle")


def test_a_bucket_of_the_user_is_used_unchanged(sandbox: Sandbox) -> None:
    """It is not created, and gets no rule."""
    account = check_and_ensure(sandbox, bucket=add_bucket(sandbox))
    assert account.bucket == "a-bucket"
    assert not sandbox.requests.entries("PutBucket")
    assert not sandbox.requests.entries("PutBucketLifecycle")


def test_a_named_bucket_that_is_missing_is_refused(sandbox: Sandbox) -> None:
    """A mistyped name must not create a bucket; the remedy has both alternatives."""
    error = error_of(sandbox, bucket="mistyped-bucket")
    assert error.code == "bucket-missing"
    assert "mistyped-bucket" in (error.remedy or "")
    assert derived_bucket(sandbox.account_id, "cn-hangzhou") in (error.remedy or "")


def test_a_bucket_of_another_region_is_refused(sandbox: Sandbox) -> None:
    """The remedy has the region of the bucket."""
    error = error_of(sandbox, bucket=add_bucket(sandbox, region="cn-shanghai"))
    assert error.code == "bucket-region"
    assert "cn-shanghai" in (error.remedy or "")


def test_a_bucket_of_another_account_is_refused(sandbox: Sandbox) -> None:
    """OSS does not describe it."""
    error = error_of(sandbox, bucket=add_bucket(sandbox, owner_id="2000000000000000"))
    assert error.code == "bucket-denied"
    assert "another account" in (error.cause or "")


def test_a_bucket_with_kms_encryption_is_refused(sandbox: Sandbox) -> None:
    """ECS can't import from it, and reports that after the upload; --skip-check and --force use it regardless."""
    bucket = add_bucket(sandbox, encryption="KMS")
    error = error_of(sandbox, bucket=bucket)
    assert error.code == "bucket-encrypted"
    assert "KMS" in error.summary
    assert "--skip-check bucket-encrypted" in (error.remedy or "")
    recorder = EventRecorder()
    assert (
        check_and_ensure(sandbox, bucket=bucket, skip_checks={"bucket-encrypted"}, recorder=recorder).bucket == bucket
    )
    assert findings(recorder) == []
    assert check_and_ensure(sandbox, bucket=bucket, force=True, recorder=recorder).bucket == bucket
    assert findings(recorder) == [("bucket-encrypted", "blocks")]


def test_a_bucket_with_aes256_causes_a_warning(sandbox: Sandbox) -> None:
    """Imports from such buckets are reported to work; the warning can be skipped."""
    bucket, recorder = add_bucket(sandbox, encryption="AES256"), EventRecorder()
    check_and_ensure(sandbox, bucket=bucket, recorder=recorder)
    assert findings(recorder) == [("bucket-encrypted", "warns")]
    check_and_ensure(sandbox, bucket=bucket, skip_checks={"bucket-encrypted"}, recorder=(recorder := EventRecorder()))
    assert findings(recorder) == []


def test_a_public_bucket_causes_a_warning(sandbox: Sandbox) -> None:
    """Anyone can read a disk in it."""
    recorder = EventRecorder()
    check_and_ensure(sandbox, bucket=add_bucket(sandbox, acl="public-read"), recorder=recorder)
    assert recorder.warned() == ["bucket-public"]


def test_a_bucket_of_the_archive_class_is_accepted(sandbox: Sandbox) -> None:
    """Its objects are written with the class Standard."""
    assert check_and_ensure(sandbox, bucket=add_bucket(sandbox, storage_class="Archive")).bucket == "a-bucket"


def test_an_unknown_region_is_refused_with_a_similar_one(sandbox: Sandbox) -> None:
    """The list of regions of ECS decides."""
    error = error_of(sandbox, request=replace(LOCAL, region="cn-hangzhouu"))
    assert error.code == "region-unknown"
    assert "--region cn-hangzhou" in (error.remedy or "")


def test_missing_optional_rights_are_warnings(sandbox: Sandbox) -> None:
    """Without DescribeRegions and the lifecycle calls the push continues."""
    recorder = EventRecorder()
    account = check_and_ensure(sandbox, denied=("ecs:DescribeRegions", "oss:*Lifecycle"), recorder=recorder)
    assert account.bucket_info is not None
    assert recorder.changed() == ["created bucket"]
    assert recorder.warned() == ["regions-unseen", "lifecycle-unset"]


@pytest.mark.parametrize(
    ("right", "code"),
    [("oss:GetBucketInfo", "bucket-denied"), ("oss:PutBucket", "no-right"), ("ecs:DescribeImages", "no-right")],
)
def test_missing_required_rights_are_errors(sandbox: Sandbox, right: str, code: str) -> None:
    """They stop the push before the upload."""
    error = error_of(sandbox, denied=(right,))
    assert isinstance(error, AccessError)
    assert error.code == code


def test_a_derived_bucket_without_the_right_to_read_it_is_not_recommended(sandbox: Sandbox) -> None:
    """Without --bucket, the advice to omit --bucket would be useless."""
    denied = ("oss:GetBucketInfo",)
    assert "omit --bucket" not in (error_of(sandbox, denied=denied).remedy or "")
    assert "omit --bucket" in (error_of(sandbox, denied=denied, bucket=add_bucket(sandbox)).remedy or "")


def test_wrong_keys_are_reported_first(sandbox: Sandbox) -> None:
    """No other request is sent with them."""
    cloud = SandboxServices(sandbox, denied=("x",))
    known = sandbox.state.key("LIMITED")
    assert known is not None
    sandbox.state.add_key(replace(known, secret="ANOTHER"))
    with pytest.raises(AccessError):
        check_account(LOCAL, cloud.services, cloud.context(), bucket=None)
    assert not sandbox.requests.entries("GetBucketInfo")


def test_the_name_is_free_in_an_empty_account(sandbox: Sandbox) -> None:
    """No image has the name, and the identity is that of the account."""
    account = check_and_ensure(sandbox)
    assert account.name_holder is None
    assert account.identity.account_id == sandbox.account_id


def request_in_oss() -> ImportRequest:
    """Return a request for a disk in OSS."""
    return replace(LOCAL, disks=(DiskRequest(bucket="a-bucket", key="disks/disk.raw"),))


def test_a_disk_in_oss_needs_no_staging_bucket(sandbox: Sandbox) -> None:
    """Its own bucket and object are checked, and no bucket is created."""
    add_bucket(sandbox)
    SandboxServices(sandbox).store("a-bucket").put("disks/disk.raw", b"x" * 512)
    account = check_and_ensure(sandbox, request=request_in_oss())
    assert account.bucket == ""
    assert account.objects[0] is not None
    assert account.objects[0].size_bytes == 512
    assert len(sandbox.requests.entries("PutBucket")) == 0


@pytest.mark.parametrize(
    ("data", "key", "code"),
    [(b"x", "disks/other.raw", "object-missing"), (b"", "disks/disk.raw", "object-empty")],
)
def test_an_object_that_cannot_be_imported_is_refused(sandbox: Sandbox, data: bytes, key: str, code: str) -> None:
    """A missing and an empty object have different errors."""
    add_bucket(sandbox)
    SandboxServices(sandbox).store("a-bucket").put(key, data)
    assert error_of(sandbox, request=request_in_oss()).code == code


def test_the_bucket_of_a_disk_in_oss_is_checked_the_same_way(sandbox: Sandbox) -> None:
    """It must exist, and must not have KMS encryption."""
    assert error_of(sandbox, request=request_in_oss()).code == "bucket-missing"
    add_bucket(sandbox, encryption="KMS")
    assert error_of(sandbox, request=request_in_oss()).code == "bucket-encrypted"


def test_an_archived_object_is_refused_unless_restored(sandbox: Sandbox) -> None:
    """One byte is read, which only a restored object permits."""
    add_bucket(sandbox, storage_class="Archive")
    store = SandboxServices(sandbox).store("a-bucket")
    store.put("disks/disk.raw", b"x")
    bucket_state = sandbox.state.part(OssState).bucket("a-bucket")
    assert bucket_state is not None
    stored = bucket_state.current("disks/disk.raw")
    assert stored is not None
    object.__setattr__(stored, "storage_class", "Archive")
    error = error_of(sandbox, request=request_in_oss())
    assert error.code == "object-archived"
    assert "ossutil restore oss://a-bucket/disks/disk.raw" in (error.remedy or "")


@each_row(
    ("info", "code"),
    [
        (replace(INFO, region="cn-beijing"), "bucket-region"),
        (replace(INFO, owner_id="2"), "bucket-owner"),
        (replace(INFO, encryption="KMS"), None),
        (INFO, None),
        (replace(INFO, encryption="None"), None),
        (replace(INFO, owner_id=""), "bucket-owner"),
    ],
)
def test_a_bucket_is_refused_by_its_region_and_its_owner(info: BucketInfo, code: str | None) -> None:
    """Each has its own code; a missing owner counts as another account."""
    if code is None:
        refuse_unsuitable(info, region="cn-hangzhou", account_id="1")
        return
    with pytest.raises(RefusedError) as caught:
        refuse_unsuitable(info, region="cn-hangzhou", account_id="1")
    assert caught.value.code == code


def test_the_derived_name_is_a_valid_bucket_name() -> None:
    """It holds for 16 digits and the longest region."""
    assert len(derived_bucket("1" * 16, "cn-shenzhen-finance-1")) <= 63
    assert KEY_PREFIX.endswith("/")
