"""Copies of images: the queue of a region, what is not inherited, cancelling, refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import AccessKey, Clock, Settings
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.prepared import mapping, prepare
from tests.sandbox.vendor_sdk import call, refusal

THERE = "cn-beijing"
OTHER = AccessKey(id="OTHER", secret="S", account_id="2000000000000000")


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Sandbox]:
    """Return a sandbox with a standing clock, in which a copy takes 100 s and an import no time."""
    settings = Settings(import_s=0.0, image_ready_s=0.0, copy_s=100.0)
    with Sandbox.start(tmp_path / "s", settings=settings, clock=Clock(start_s=1e9, running=False)) as sandbox:
        yield prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> str:
    return str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)["ImageId"])


def _copy(sandbox: Sandbox, image_id: str, to: str = THERE, **fields: Any) -> str:
    return str(call(sandbox, "CopyImage", ImageId=image_id, DestinationRegionId=to, **fields)["ImageId"])


def _image(sandbox: Sandbox, image_id: str, region: str = THERE) -> dict[str, Any]:
    (image,) = call(sandbox, "DescribeImages", region=region, ImageId=image_id, Status="ALL")["Images"]["Image"]
    assert isinstance(image, dict)
    return image


def test_a_copy_is_made_by_the_clock(still: Sandbox) -> None:
    """It is Creating with a progress, then Available, only in the destination."""
    copy = _copy(
        still, _import(still, ImageName="disk"), DestinationImageName="copied", DestinationDescription="of disk"
    )
    still.clock.advance(40)
    image = _image(still, copy)
    assert (image["Status"], image["Progress"], image["IsCopied"]) == ("Creating", "40%", True)
    assert (image["ImageName"], image["Description"]) == ("copied", "of disk")
    still.clock.advance(60)
    assert (_image(still, copy)["Status"], _image(still, copy)["Progress"]) == ("Available", "100%")
    assert call(still, "DescribeImages", ImageId=copy, Status="ALL")["TotalCount"] == 0


def test_a_copy_inherits_neither_nvme_nor_family_nor_tags(still: Sandbox) -> None:
    """Without NVMe support, the copy does not start on types that require it."""
    source = _import(still, Features={"NvmeSupport": "supported"}, Tags=[{"Key": "k", "Value": "v"}], BootMode="UEFI")
    call(still, "ModifyImageAttribute", ImageId=source, ImageFamily="family")
    copy = _image(still, _copy(still, source, Tags=[{"Key": "new", "Value": "1"}]))
    assert copy["Features"]["NvmeSupport"] == "unsupported"
    assert (copy["ImageFamily"], copy["BootMode"]) == ("", "UEFI")
    assert copy["Tags"]["Tag"] == [{"TagKey": "new", "TagValue": "1"}]


def test_a_region_makes_five_copies_at_a_time(still: Sandbox) -> None:
    """Others wait in the order of their calls. A copy starts when a slot becomes free, not at the next read."""
    source = _import(still)
    copies = [_copy(still, source) for _ in range(6)]
    assert [_image(still, each)["Status"] for each in copies] == ["Creating"] * 5 + ["Waiting"]
    elsewhere = _copy(still, source, to="eu-central-1")
    assert _image(still, elsewhere, "eu-central-1")["Status"] == "Waiting"  # the source's region counts, too
    still.clock.advance(150)
    assert (_image(still, copies[5])["Status"], _image(still, copies[5])["Progress"]) == ("Creating", "50%")
    assert _image(still, elsewhere, "eu-central-1")["Progress"] == "50%"
    still.clock.advance(50)
    assert _image(still, copies[5])["Status"] == "Available"


def test_a_cancelled_copy_is_removed_and_frees_its_slot(still: Sandbox) -> None:
    """A waiting copy starts at the time of the cancellation."""
    source = _import(still)
    copies = [_copy(still, source) for _ in range(6)]
    still.clock.advance(30)
    call(still, "CancelCopyImage", region=THERE, ImageId=copies[0])
    assert call(still, "DescribeImages", region=THERE, ImageId=copies[0], Status="ALL")["TotalCount"] == 0
    assert _image(still, copies[5])["Progress"] == "0%"
    still.clock.advance(99)
    assert _image(still, copies[5])["Status"] == "Creating"
    assert call(still, "DescribeSnapshots", region=THERE)["TotalCount"] == 5
    still.clock.advance(1)
    assert refusal(still, "CancelCopyImage", region=THERE, ImageId=copies[5]) == (400, "IncorrectImageStatus")
    assert refusal(still, "CancelCopyImage", ImageId=source) == (400, "ImageCreatedNotFromCopy")
    assert refusal(still, "CancelCopyImage", ImageId="m-none") == (404, "InvalidImageId.NotFound")


def test_neither_end_of_a_copy_can_be_deleted(still: Sandbox) -> None:
    """Source and copy cannot be deleted while the copy runs."""
    source = _import(still)
    copy = _copy(still, source)
    assert refusal(still, "DeleteImage", ImageId=source) == (403, "OperationDenied.ImageCopying")
    assert refusal(still, "DeleteImage", region=THERE, ImageId=copy) == (403, "OperationDenied.ImageCopying")
    still.clock.advance(100)
    call(still, "DeleteImage", ImageId=source)
    call(still, "DeleteImage", region=THERE, ImageId=copy)


@pytest.fixture
def source(still: Sandbox) -> str:
    """Return an image whose copy has the name "taken"."""
    image_id = _import(still)
    _copy(still, image_id, DestinationImageName="taken")
    return image_id


@each_row(
    ("fields", "expected"),
    [
        ({"DestinationRegionId": "mars-1"}, (400, "DestinationRegion.NotFound")),
        ({"region": "mars-1"}, (400, "SourceRegion.NotFound")),
        ({"ImageId": "m-none"}, (404, "InvalidImageId.NotFound")),
        ({"ImageId": "aliyun_3_x64_20G_sandbox.vhd"}, (403, "OperationDenied.NotPublished")),
        ({"DestinationImageName": "1st"}, (400, "InvalidImageName.Malformed")),
        ({"DestinationImageName": "taken"}, (400, "InvalidImageName.Duplicated")),
        ({"DestinationDescription": "http://x"}, (400, "InvalidDescription.Malformed")),
        ({"KMSKeyId": "key-1"}, (400, "InvalidParameter.EncryptedIllegal")),
        ({"KMSKeyId": "key-1", "Encrypted": "true"}, (404, "InvalidParameter.KMSKeyId.NotFound")),
        ({"ResourceGroupId": "rg-none"}, (404, "InvalidResourceGroup.NotFound")),
        ({"DryRun": "true"}, (400, "DryRunOperation")),
        ({"EncryptAlgorithm": "x"}, (501, "NotImplementedBySandbox")),
    ],
)
def test_a_copy_that_can_not_be_made_is_refused(
    still: Sandbox, source: str, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """The answer is the code of the service, and no copy starts."""
    order: dict[str, Any] = {"ImageId": source, "DestinationRegionId": THERE, **fields}
    assert refusal(still, "CopyImage", **order) == expected
    assert call(still, "DescribeImages", region=THERE, ImageOwnerAlias="self", Status="ALL")["TotalCount"] == 1


def test_only_available_images_within_the_quota_are_copied(still: Sandbox) -> None:
    """An unfinished and a deprecated image are refused."""
    source = _import(still)
    copy = _copy(still, source)
    order: dict[str, Any] = {"ImageId": copy, "DestinationRegionId": "cn-hangzhou"}
    assert refusal(still, "CopyImage", region=THERE, **order) == (400, "IncorrectImageStatus")
    call(still, "ModifyImageAttribute", ImageId=source, Status="Deprecated")
    assert refusal(still, "CopyImage", ImageId=source, DestinationRegionId=THERE) == (400, "IncorrectImageStatus")
    call(still, "ModifyImageAttribute", ImageId=source, Status="Available")
    still.state.configure(images_per_region=1)
    assert refusal(still, "CopyImage", ImageId=source, DestinationRegionId=THERE) == (403, "QuotaExceed.Image")


def test_a_shared_image_is_copied_within_its_region(still: Sandbox) -> None:
    """The copy belongs to the account that made it."""
    still.state.add_key(OTHER)
    source = _import(still)
    call(still, "ModifyImageSharePermission", ImageId=source, AddAccounts=[OTHER.account_id])
    order: dict[str, Any] = {"ImageId": source, "DestinationRegionId": THERE}
    assert refusal(still, "CopyImage", key=OTHER, **order) == (403, "OperationDenied.SameRegionOnly")
    copy = call(still, "CopyImage", key=OTHER, ImageId=source, DestinationRegionId="cn-hangzhou")["ImageId"]
    (mine,) = call(still, "DescribeImages", key=OTHER, ImageId=copy, Status="ALL")["Images"]["Image"]
    assert (mine["ImageOwnerAlias"], mine["ImageOwnerId"]) == ("self", 2000000000000000)


def test_encryption_stays(still: Sandbox) -> None:
    """A copy can be encrypted by a key, the service's key, or the default of a region. It cannot be decrypted."""
    still.state.configure(kms_keys=["key-1"], regions_encrypted_by_default=["eu-central-1"])
    source = _import(still)
    own = _copy(still, source, Encrypted="true", KMSKeyId="key-1")
    forced = _copy(still, source, to="eu-central-1")
    still.clock.advance(100)
    assert [
        _image(still, each, region)["DiskDeviceMappings"]["DiskDeviceMapping"][0]["Encrypted"]
        for each, region in ((own, THERE), (forced, "eu-central-1"), (source, "cn-hangzhou"))
    ] == [True, True, False]
    order: dict[str, Any] = {"DestinationRegionId": "cn-hangzhou", "Encrypted": "false"}
    assert refusal(still, "CopyImage", region=THERE, ImageId=own, **order) == (400, "InvalidParameter.EncryptedIllegal")
    call(still, "ModifyImageSharePermission", region=THERE, ImageId=own, AddAccounts=[OTHER.account_id])
    share: dict[str, Any] = {"ImageId": forced, "AddAccounts": [OTHER.account_id]}
    code = refusal(still, "ModifyImageSharePermission", region="eu-central-1", **share)
    assert code == (403, "OperationDeined.EncryptedSnapshot")


@pytest.mark.parametrize(("outcome", "status"), [("failed", "CreateFailed"), ("stuck", "Creating")])
def test_a_copy_that_does_not_end_well(still: Sandbox, outcome: str, status: str) -> None:
    """It ends as the setting at its start requires."""
    still.state.configure(copy_outcome=outcome)
    copy = _copy(still, _import(still))
    still.clock.advance(10_000)
    assert _image(still, copy)["Status"] == status


def test_a_repeated_token_makes_no_second_copy(still: Sandbox) -> None:
    """The same call gets the same image."""
    source = _import(still)
    assert _copy(still, source, ClientToken="t") == _copy(still, source, ClientToken="t")
    order: dict[str, Any] = {"ImageId": source, "DestinationRegionId": "eu-central-1", "ClientToken": "t"}
    assert refusal(still, "CopyImage", **order) == (400, "IdempotentParameterMismatch")
