"""Tests of copies of images: the queue of a region, attributes, cancellation and refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import AccessKey, Clock, Settings
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.prepared import mapping, prepare
from tests.sandbox.vendor_sdk import call, refusal

DESTINATION = "cn-beijing"
OTHER = AccessKey(id="OTHER", secret="S", account_id="2000000000000000")


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Sandbox]:
    """Yield a sandbox with a stopped clock, in which a copy takes 100 s and an import no time."""
    settings = Settings(import_s=0.0, image_ready_s=0.0, copy_s=100.0)
    with Sandbox.start(tmp_path / "s", settings=settings, clock=Clock(start_s=1e9, running=False)) as sandbox:
        yield prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> str:
    return str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)["ImageId"])


def _copy(sandbox: Sandbox, image_id: str, to: str = DESTINATION, **fields: Any) -> str:
    return str(call(sandbox, "CopyImage", ImageId=image_id, DestinationRegionId=to, **fields)["ImageId"])


def _image(sandbox: Sandbox, image_id: str, region: str = DESTINATION) -> dict[str, Any]:
    (image,) = call(sandbox, "DescribeImages", region=region, ImageId=image_id, Status="ALL")["Images"]["Image"]
    assert isinstance(image, dict)
    return image


def test_a_copy_proceeds_by_the_clock(frozen: Sandbox) -> None:
    """It is Creating with a progress, then Available, only in the destination."""
    copy = _copy(
        frozen, _import(frozen, ImageName="disk"), DestinationImageName="copied", DestinationDescription="of disk"
    )
    frozen.clock.advance(40)
    image = _image(frozen, copy)
    assert (image["Status"], image["Progress"], image["IsCopied"]) == ("Creating", "40%", True)
    assert (image["ImageName"], image["Description"]) == ("copied", "of disk")
    frozen.clock.advance(60)
    assert (_image(frozen, copy)["Status"], _image(frozen, copy)["Progress"]) == ("Available", "100%")
    assert call(frozen, "DescribeImages", ImageId=copy, Status="ALL")["TotalCount"] == 0


def test_a_copy_inherits_neither_nvme_nor_family_nor_tags(frozen: Sandbox) -> None:
    """Without NVMe support, the copy does not start on types that require it."""
    source = _import(frozen, Features={"NvmeSupport": "supported"}, Tags=[{"Key": "k", "Value": "v"}], BootMode="UEFI")
    call(frozen, "ModifyImageAttribute", ImageId=source, ImageFamily="family")
    copy = _image(frozen, _copy(frozen, source, Tags=[{"Key": "new", "Value": "1"}]))
    assert copy["Features"]["NvmeSupport"] == "unsupported"
    assert (copy["ImageFamily"], copy["BootMode"]) == ("", "UEFI")
    assert copy["Tags"]["Tag"] == [{"TagKey": "new", "TagValue": "1"}]


def test_a_region_makes_five_copies_at_a_time(frozen: Sandbox) -> None:
    """Others wait in the order of their calls. A copy starts when a slot becomes free, not at the next read."""
    source = _import(frozen)
    copies = [_copy(frozen, source) for _ in range(6)]
    assert [_image(frozen, each)["Status"] for each in copies] == ["Creating"] * 5 + ["Waiting"]
    elsewhere = _copy(frozen, source, to="eu-central-1")
    assert (
        _image(frozen, elsewhere, "eu-central-1")["Status"] == "Waiting"
    )  # the limit applies to the source region too
    frozen.clock.advance(150)
    assert (_image(frozen, copies[5])["Status"], _image(frozen, copies[5])["Progress"]) == ("Creating", "50%")
    assert _image(frozen, elsewhere, "eu-central-1")["Progress"] == "50%"
    frozen.clock.advance(50)
    assert _image(frozen, copies[5])["Status"] == "Available"


def test_a_cancelled_copy_is_removed_and_frees_its_slot(frozen: Sandbox) -> None:
    """A waiting copy starts at the time of the cancellation."""
    source = _import(frozen)
    copies = [_copy(frozen, source) for _ in range(6)]
    frozen.clock.advance(30)
    call(frozen, "CancelCopyImage", region=DESTINATION, ImageId=copies[0])
    assert call(frozen, "DescribeImages", region=DESTINATION, ImageId=copies[0], Status="ALL")["TotalCount"] == 0
    assert _image(frozen, copies[5])["Progress"] == "0%"
    frozen.clock.advance(99)
    assert _image(frozen, copies[5])["Status"] == "Creating"
    assert call(frozen, "DescribeSnapshots", region=DESTINATION)["TotalCount"] == 5
    frozen.clock.advance(1)
    assert refusal(frozen, "CancelCopyImage", region=DESTINATION, ImageId=copies[5]) == (400, "IncorrectImageStatus")
    assert refusal(frozen, "CancelCopyImage", ImageId=source) == (400, "ImageCreatedNotFromCopy")
    assert refusal(frozen, "CancelCopyImage", ImageId="m-none") == (404, "InvalidImageId.NotFound")


def test_source_and_copy_cannot_be_deleted_during_the_copy(frozen: Sandbox) -> None:
    """Both can be deleted after the copy."""
    source = _import(frozen)
    copy = _copy(frozen, source)
    assert refusal(frozen, "DeleteImage", ImageId=source) == (403, "OperationDenied.ImageCopying")
    assert refusal(frozen, "DeleteImage", region=DESTINATION, ImageId=copy) == (403, "OperationDenied.ImageCopying")
    frozen.clock.advance(100)
    call(frozen, "DeleteImage", ImageId=source)
    call(frozen, "DeleteImage", region=DESTINATION, ImageId=copy)


@pytest.fixture
def source(frozen: Sandbox) -> str:
    """Return an image whose copy has the name "taken"."""
    image_id = _import(frozen)
    _copy(frozen, image_id, DestinationImageName="taken")
    return image_id


@each_row(
    ("fields", "expected"),
    [
        ({"DestinationRegionId": "cn-nowhere"}, (400, "DestinationRegion.NotFound")),
        ({"region": "cn-nowhere"}, (400, "SourceRegion.NotFound")),
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
def test_an_invalid_copy_is_refused(
    frozen: Sandbox, source: str, fields: dict[str, Any], expected: tuple[int, str]
) -> None:
    """The answer is the code of the service, and no copy starts."""
    parameters: dict[str, Any] = {"ImageId": source, "DestinationRegionId": DESTINATION, **fields}
    assert refusal(frozen, "CopyImage", **parameters) == expected
    assert call(frozen, "DescribeImages", region=DESTINATION, ImageOwnerAlias="self", Status="ALL")["TotalCount"] == 1


def test_only_available_images_within_the_quota_are_copied(frozen: Sandbox) -> None:
    """An unfinished and a deprecated image are refused."""
    source = _import(frozen)
    copy = _copy(frozen, source)
    parameters: dict[str, Any] = {"ImageId": copy, "DestinationRegionId": "cn-hangzhou"}
    assert refusal(frozen, "CopyImage", region=DESTINATION, **parameters) == (400, "IncorrectImageStatus")
    call(frozen, "ModifyImageAttribute", ImageId=source, Status="Deprecated")
    assert refusal(frozen, "CopyImage", ImageId=source, DestinationRegionId=DESTINATION) == (
        400,
        "IncorrectImageStatus",
    )
    call(frozen, "ModifyImageAttribute", ImageId=source, Status="Available")
    frozen.state.configure(images_per_region=1)
    assert refusal(frozen, "CopyImage", ImageId=source, DestinationRegionId=DESTINATION) == (403, "QuotaExceed.Image")


def test_a_shared_image_is_copied_within_its_region(frozen: Sandbox) -> None:
    """The copy belongs to the account that made it."""
    frozen.state.add_key(OTHER)
    source = _import(frozen)
    call(frozen, "ModifyImageSharePermission", ImageId=source, AddAccounts=[OTHER.account_id])
    parameters: dict[str, Any] = {"ImageId": source, "DestinationRegionId": DESTINATION}
    assert refusal(frozen, "CopyImage", key=OTHER, **parameters) == (403, "OperationDenied.SameRegionOnly")
    copy = call(frozen, "CopyImage", key=OTHER, ImageId=source, DestinationRegionId="cn-hangzhou")["ImageId"]
    (mine,) = call(frozen, "DescribeImages", key=OTHER, ImageId=copy, Status="ALL")["Images"]["Image"]
    assert (mine["ImageOwnerAlias"], mine["ImageOwnerId"]) == ("self", 2000000000000000)


def test_encryption_cannot_be_removed(frozen: Sandbox) -> None:
    """A copy can be encrypted by a key, the service's key, or the default of a region. It cannot be decrypted."""
    frozen.state.configure(kms_keys=["key-1"], regions_encrypted_by_default=["eu-central-1"])
    source = _import(frozen)
    own = _copy(frozen, source, Encrypted="true", KMSKeyId="key-1")
    forced = _copy(frozen, source, to="eu-central-1")
    frozen.clock.advance(100)
    assert [
        _image(frozen, each, region)["DiskDeviceMappings"]["DiskDeviceMapping"][0]["Encrypted"]
        for each, region in ((own, DESTINATION), (forced, "eu-central-1"), (source, "cn-hangzhou"))
    ] == [True, True, False]
    parameters: dict[str, Any] = {"DestinationRegionId": "cn-hangzhou", "Encrypted": "false"}
    assert refusal(frozen, "CopyImage", region=DESTINATION, ImageId=own, **parameters) == (
        400,
        "InvalidParameter.EncryptedIllegal",
    )
    call(frozen, "ModifyImageSharePermission", region=DESTINATION, ImageId=own, AddAccounts=[OTHER.account_id])
    share: dict[str, Any] = {"ImageId": forced, "AddAccounts": [OTHER.account_id]}
    code = refusal(frozen, "ModifyImageSharePermission", region="eu-central-1", **share)
    assert code == (403, "OperationDeined.EncryptedSnapshot")


@pytest.mark.parametrize(("outcome", "status"), [("failed", "CreateFailed"), ("stuck", "Creating")])
def test_a_copy_can_fail_or_never_end(frozen: Sandbox, outcome: str, status: str) -> None:
    """Its end is that of the setting at its start."""
    frozen.state.configure(copy_outcome=outcome)
    copy = _copy(frozen, _import(frozen))
    frozen.clock.advance(10_000)
    assert _image(frozen, copy)["Status"] == status


def test_a_repeated_token_starts_no_second_copy(frozen: Sandbox) -> None:
    """The same call gets the same image."""
    source = _import(frozen)
    assert _copy(frozen, source, ClientToken="t") == _copy(frozen, source, ClientToken="t")
    parameters: dict[str, Any] = {"ImageId": source, "DestinationRegionId": "eu-central-1", "ClientToken": "t"}
    assert refusal(frozen, "CopyImage", **parameters) == (400, "IdempotentParameterMismatch")
