"""Tests of what is asked of the cloud before the first byte, against a sandbox."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.account.check import AccountState, check_account, ensure_bucket
from aliyun_import.account.staging_bucket import PREFIX, derived_bucket, refuse_unsuitable
from aliyun_import.errors import AccessError, AliyunImportError, RefusedError
from aliyun_import.events import FindingRaised
from aliyun_import.model.objects import BucketInfo
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.image.connected import Connected
from tests.image.scripted import Heard
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


def see(
    sandbox: Sandbox,
    *,
    request: ImportRequest = LOCAL,
    bucket: str | None = None,
    checks_only: bool = False,
    denied: tuple[str, ...] = (),
    heard: Heard | None = None,
    **checks: Any,
) -> AccountState:
    """Check a sandbox through the real adapters, and ensure the bucket as a push does."""
    cloud = Connected(sandbox, region=request.region, denied=denied)
    context = cloud.context(heard)
    account = check_account(request, cloud.services, context, bucket=bucket, **checks)
    return account if checks_only else ensure_bucket(account, cloud.services, context, region=request.region)


def refusal(sandbox: Sandbox, **given: Any) -> AliyunImportError:
    """Return the error of a look."""
    with pytest.raises(AliyunImportError) as caught:
        see(sandbox, **given)
    assert caught.value.remedy
    return caught.value


def findings(heard: Heard) -> list[tuple[str, str]]:
    """Return rule and severity of each finding."""
    raised = [one.finding for one in heard.events if isinstance(one, FindingRaised)]
    return [(one.rule, str(one.severity)) for one in raised]


def bucket_there(sandbox: Sandbox, name: str = "a-bucket", *, region: str = "cn-hangzhou", **fields: Any) -> str:
    """Put a bucket into the sandbox."""
    owner = fields.pop("owner_id", sandbox.account_id)
    sandbox.state.part(OssState).add_bucket(name, region=region, owner_id=owner)
    if fields:
        sandbox.state.part(OssState).change(name, **fields)
    return name


def test_the_derived_bucket_is_made_once(sandbox: Sandbox) -> None:
    """Without --bucket: a private one of the account and region, with the rule that aborts unfinished uploads."""
    heard = Heard()
    ready = see(sandbox, heard=heard)
    assert ready.bucket == f"aliyun-import-{sandbox.account_id}-cn-hangzhou"
    assert ready.bucket_info is not None
    assert ready.bucket_info.acl == "private"
    assert heard.changed() == ["created bucket", "added lifecycle rule"]
    again, heard = see(sandbox, heard=(heard := Heard())), heard
    assert again.bucket == ready.bucket
    assert heard.changed() == []


def test_the_rule_is_for_every_key(sandbox: Sandbox) -> None:
    """An abandoned upload is aborted after a week, with any --key."""
    store = Connected(sandbox).store(see(sandbox).bucket)
    store.start_upload("images/web.raw")
    sandbox.clock.advance(6 * 86400)
    assert store.list_uploads("images/") != ()
    sandbox.clock.advance(2 * 86400)
    assert store.list_uploads("images/") == ()


def test_a_rule_that_is_refused_is_a_warning(sandbox: Sandbox) -> None:
    """The bucket has too many rules, say: no reason to refuse a push."""
    sandbox.faults.add(Fault(operation="PutBucketLifecycle", status=400, code="InvalidArgument"))
    heard = Heard()
    see(sandbox, heard=heard)
    assert heard.warned() == ["lifecycle-unset"]


def test_the_check_makes_nothing(sandbox: Sandbox) -> None:
    """Everything is asked, and the bucket that would be made is named."""
    heard = Heard()
    ready = see(sandbox, checks_only=True, heard=heard)
    assert ready.bucket == derived_bucket(sandbox.account_id, "cn-hangzhou")
    assert ready.bucket_info is None
    assert heard.changed() == []
    assert not sandbox.requests.entries("PutBucket")
    assert not sandbox.requests.entries("PutBucketLifecycle")


def test_the_check_writes_no_rule_into_a_bucket_that_is_there(sandbox: Sandbox) -> None:
    """Not even into our own."""
    bucket_there(sandbox, derived_bucket(sandbox.account_id, "cn-hangzhou"))
    see(sandbox, checks_only=True)
    assert not sandbox.requests.entries("PutBucketLifecycle")


def test_a_bucket_of_the_user_is_taken_as_it_is(sandbox: Sandbox) -> None:
    """It is not changed in any way."""
    ready = see(sandbox, bucket=bucket_there(sandbox))
    assert ready.bucket == "a-bucket"
    assert not sandbox.requests.entries("PutBucket")
    assert not sandbox.requests.entries("PutBucketLifecycle")


def test_a_named_bucket_that_is_missing_is_refused(sandbox: Sandbox) -> None:
    """A typo must not become a bucket; the remedy has both ways."""
    error = refusal(sandbox, bucket="mistyped-bucket")
    assert error.code == "bucket-missing"
    assert "mistyped-bucket" in (error.remedy or "")
    assert derived_bucket(sandbox.account_id, "cn-hangzhou") in (error.remedy or "")


def test_a_bucket_of_another_region_is_refused(sandbox: Sandbox) -> None:
    """Both ways out are named with the real regions."""
    error = refusal(sandbox, bucket=bucket_there(sandbox, region="cn-shanghai"))
    assert error.code == "bucket-region"
    assert "cn-shanghai" in (error.remedy or "")


def test_the_bucket_of_another_account_is_refused(sandbox: Sandbox) -> None:
    """OSS does not describe it."""
    error = refusal(sandbox, bucket=bucket_there(sandbox, owner_id="2000000000000000"))
    assert error.code == "bucket-denied"
    assert "another account" in (error.cause or "")


def test_a_bucket_with_a_key_of_kms_is_refused(sandbox: Sandbox) -> None:
    """ECS can't import from it, and would say so after the upload; --skip-check and --force try it regardless."""
    bucket = bucket_there(sandbox, encryption="KMS")
    error = refusal(sandbox, bucket=bucket)
    assert error.code == "bucket-encrypted"
    assert "KMS" in error.summary
    assert "--skip-check bucket-encrypted" in (error.remedy or "")
    heard = Heard()
    assert see(sandbox, bucket=bucket, skip_checks={"bucket-encrypted"}, heard=heard).bucket == bucket
    assert findings(heard) == []
    assert see(sandbox, bucket=bucket, force=True, heard=heard).bucket == bucket
    assert findings(heard) == [("bucket-encrypted", "blocks")]


def test_a_bucket_with_aes256_is_warned_of(sandbox: Sandbox) -> None:
    """Imports from one are reported to work; the warning can be skipped."""
    bucket, heard = bucket_there(sandbox, encryption="AES256"), Heard()
    see(sandbox, bucket=bucket, heard=heard)
    assert findings(heard) == [("bucket-encrypted", "warns")]
    see(sandbox, bucket=bucket, skip_checks={"bucket-encrypted"}, heard=(heard := Heard()))
    assert findings(heard) == []


def test_a_public_bucket_is_warned_of(sandbox: Sandbox) -> None:
    """Anyone can read a disk in a public bucket."""
    heard = Heard()
    see(sandbox, bucket=bucket_there(sandbox, acl="public-read"), heard=heard)
    assert heard.warned() == ["bucket-public"]


def test_a_cold_bucket_is_fine(sandbox: Sandbox) -> None:
    """The objects are put there as Standard."""
    assert see(sandbox, bucket=bucket_there(sandbox, storage_class="Archive")).bucket == "a-bucket"


def test_an_unknown_region_is_refused_with_what_was_meant(sandbox: Sandbox) -> None:
    """The service's own list decides."""
    error = refusal(sandbox, request=replace(LOCAL, region="cn-hangzhouu"))
    assert error.code == "region-unknown"
    assert "--region cn-hangzhou" in (error.remedy or "")


def test_rights_that_are_merely_useful_are_warnings(sandbox: Sandbox) -> None:
    """Without DescribeRegions and the lifecycle the push goes on."""
    heard = Heard()
    ready = see(sandbox, denied=("ecs:DescribeRegions", "oss:*Lifecycle"), heard=heard)
    assert ready.bucket_info is not None
    assert heard.changed() == ["created bucket"]
    assert heard.warned() == ["regions-unseen", "lifecycle-unset"]


@pytest.mark.parametrize(
    ("right", "code"),
    [("oss:GetBucketInfo", "bucket-denied"), ("oss:PutBucket", "no-right"), ("ecs:DescribeImages", "no-right")],
)
def test_rights_that_are_needed_are_errors(sandbox: Sandbox, right: str, code: str) -> None:
    """What the push can't do without stops it now, not after the upload."""
    error = refusal(sandbox, denied=(right,))
    assert isinstance(error, AccessError)
    assert error.code == code


def test_the_derived_bucket_that_may_not_be_looked_at_is_not_recommended(sandbox: Sandbox) -> None:
    """Without --bucket, the advice to leave --bucket out would lead round in a circle."""
    denied = ("oss:GetBucketInfo",)
    assert "omit --bucket" not in (refusal(sandbox, denied=denied).remedy or "")
    assert "omit --bucket" in (refusal(sandbox, denied=denied, bucket=bucket_there(sandbox)).remedy or "")


def test_wrong_keys_are_told_first(sandbox: Sandbox) -> None:
    """Nothing else is asked with them."""
    cloud = Connected(sandbox, denied=("x",))
    known = sandbox.state.key("LIMITED")
    assert known is not None
    sandbox.state.add_key(replace(known, secret="ANOTHER"))
    with pytest.raises(AccessError):
        check_account(LOCAL, cloud.services, cloud.context(), bucket=None)
    assert not sandbox.requests.entries("GetBucketInfo")


def test_the_name_is_free_in_an_empty_account(sandbox: Sandbox) -> None:
    """No holder, and the identity is the account's."""
    ready = see(sandbox)
    assert ready.name_holder is None
    assert ready.identity.account_id == sandbox.account_id


def in_oss(key: str = "disks/disk.raw", bucket: str = "a-bucket") -> ImportRequest:
    """Return a request for a disk that is in OSS already."""
    return replace(LOCAL, disks=(DiskRequest(bucket=bucket, key=key),))


def test_a_disk_in_oss_needs_no_staging_bucket(sandbox: Sandbox) -> None:
    """Its own bucket and object are looked at, and no bucket is made."""
    bucket_there(sandbox)
    Connected(sandbox).store("a-bucket").put("disks/disk.raw", b"x" * 512)
    ready = see(sandbox, request=in_oss())
    assert ready.bucket == ""
    assert ready.objects[0] is not None
    assert ready.objects[0].size_bytes == 512
    assert len(sandbox.requests.entries("PutBucket")) == 0


@pytest.mark.parametrize(
    ("data", "key", "code"),
    [(b"x", "disks/other.raw", "object-missing"), (b"", "disks/disk.raw", "object-empty")],
)
def test_an_object_that_cannot_be_imported_is_refused(sandbox: Sandbox, data: bytes, key: str, code: str) -> None:
    """Missing and empty objects have separate errors."""
    bucket_there(sandbox)
    Connected(sandbox).store("a-bucket").put(key, data)
    assert refusal(sandbox, request=in_oss()).code == code


def test_the_bucket_of_a_disk_in_oss_is_judged_alike(sandbox: Sandbox) -> None:
    """Region, owner and encryption hold there, too."""
    assert refusal(sandbox, request=in_oss()).code == "bucket-missing"
    bucket_there(sandbox, encryption="KMS")
    assert refusal(sandbox, request=in_oss()).code == "bucket-encrypted"


def test_an_archived_object_is_refused_unless_restored(sandbox: Sandbox) -> None:
    """One byte is read: only an object that was restored gives it."""
    bucket_there(sandbox, storage_class="Archive")
    store = Connected(sandbox).store("a-bucket")
    store.put("disks/disk.raw", b"x")
    held = sandbox.state.part(OssState).bucket("a-bucket")
    assert held is not None
    stored = held.current("disks/disk.raw")
    assert stored is not None
    object.__setattr__(stored, "storage_class", "Archive")
    error = refusal(sandbox, request=in_oss())
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
def test_a_bucket_is_judged_by_region_and_owner(info: BucketInfo, code: str | None) -> None:
    """Each has its own code; an unstated owner counts as another account."""
    if code is None:
        refuse_unsuitable(info, region="cn-hangzhou", account_id="1")
        return
    with pytest.raises(RefusedError) as caught:
        refuse_unsuitable(info, region="cn-hangzhou", account_id="1")
    assert caught.value.code == code


def test_the_derived_name_is_within_the_rules() -> None:
    """16 digits and the longest region still make a bucket name."""
    assert len(derived_bucket("1" * 16, "cn-shenzhen-finance-1")) <= 63
    assert PREFIX.endswith("/")
