"""Tests of shares and families of images."""

from typing import Any

import pytest

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.rows import each_row
from tests.sandbox.prepared import mapping, prepare
from tests.sandbox.vendor_sdk import call, refusal

OTHER = AccessKey(id="OTHER", secret="S", account_id="2000000000000000")
ACCOUNTS = [f"20000000000000{number:02d}" for number in range(60)]


@pytest.fixture
def ready(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox in which imports take no time, with a second account."""
    sandbox.state.configure(import_s=0.0, image_ready_s=0.0)
    sandbox.state.add_key(OTHER)
    return prepare(sandbox)


def _import(sandbox: Sandbox, **fields: Any) -> str:
    return str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)["ImageId"])


def _share(sandbox: Sandbox, image_id: str, *accounts: str) -> None:
    call(sandbox, "ModifyImageSharePermission", ImageId=image_id, AddAccounts=list(accounts))


def _shared(sandbox: Sandbox, image_id: str, **fields: Any) -> list[str]:
    answer = call(sandbox, "DescribeImageSharePermission", ImageId=image_id, **fields)
    return [account["AliyunId"] for account in answer["Accounts"]["Account"]]


def test_a_shared_image_is_listed_and_started_by_the_other_account(ready: Sandbox) -> None:
    """For that account it has the alias others and no tags, until it is no longer shared."""
    image_id = _import(ready, Tags=[{"Key": "k", "Value": "v"}])
    assert call(ready, "DescribeImages", key=OTHER, ImageId=image_id)["TotalCount"] == 0
    _share(ready, image_id, OTHER.account_id)
    (shared,) = call(ready, "DescribeImages", key=OTHER, ImageId=image_id)["Images"]["Image"]
    assert (shared["ImageOwnerAlias"], shared["ImageOwnerId"], shared["Tags"]["Tag"]) == (
        "others",
        1000000000000000,
        [],
    )
    assert call(ready, "DescribeImages", key=OTHER, ImageOwnerAlias="self")["TotalCount"] == 0
    (own,) = call(ready, "DescribeImages", ImageId=image_id)["Images"]["Image"]
    assert (own["IsSelfShared"], shared["IsSelfShared"]) == ("True", "False")
    parameters: dict[str, Any] = {"InstanceType": "ecs.g7.large", "VSwitchId": "vsw-sandbox-cn-hangzhou-a"}
    parameters |= {"SecurityGroupId": "sg-sandbox-cn-hangzhou", "ImageId": image_id}
    call(ready, "RunInstances", key=OTHER, **parameters)
    assert refusal(ready, "DeleteImage", key=OTHER, ImageId=image_id) == (404, "InvalidImageId.NotFound")
    call(ready, "ModifyImageSharePermission", ImageId=image_id, RemoveAccounts=[OTHER.account_id])
    assert call(ready, "DescribeImages", key=OTHER, ImageId=image_id)["TotalCount"] == 0


def test_more_than_ten_accounts_of_a_call_are_ignored(ready: Sandbox) -> None:
    """The service does the same, so a client has to read the shares back."""
    image_id = _import(ready)
    _share(ready, image_id, *ACCOUNTS[:12])
    assert sorted(_shared(ready, image_id, PageSize=50)) == ACCOUNTS[:10]


def test_an_image_is_shared_with_at_most_fifty_accounts(ready: Sandbox) -> None:
    """A call that exceeds the limit changes nothing. The list of accounts is paged."""
    image_id = _import(ready)
    for first in range(0, 50, 10):
        _share(ready, image_id, *ACCOUNTS[first : first + 10])
    parameters: dict[str, Any] = {"ImageId": image_id, "AddAccounts": [ACCOUNTS[50]]}
    assert refusal(ready, "ModifyImageSharePermission", **parameters) == (403, "QuotaExceed.ShareImageUser")
    assert len(_shared(ready, image_id, PageSize=100)) == 50
    assert len({each for page in range(1, 6) for each in _shared(ready, image_id, PageNumber=page)}) == 50


@each_row(
    ("fields", "expected"),
    [
        ({"AddAccounts": ["somebody"]}, (404, "InvalidAccount.NotFound")),
        ({"AddAccounts": ["1000000000000000"]}, (404, "InvalidAccount.Forbbiden")),
        ({"ImageId": "m-none"}, (404, "InvalidImageId.NotFound")),
        ({"LaunchPermission": "VISIBLE"}, (403, "UserNotInTheWhiteList")),
        ({"IsPublic": "true"}, (501, "NotImplementedBySandbox")),
        ({"DryRun": "true", "AddAccounts": [OTHER.account_id]}, (400, "DryRunOperation")),
    ],
)
def test_an_invalid_share_is_refused(ready: Sandbox, fields: dict[str, Any], expected: tuple[int, str]) -> None:
    """The answer is the code of the service, and nothing changes."""
    image_id = _import(ready)
    assert refusal(ready, "ModifyImageSharePermission", **{"ImageId": image_id, **fields}) == expected
    assert _shared(ready, image_id) == []


def test_a_shared_image_is_neither_deprecated_nor_deleted(ready: Sandbox) -> None:
    """A deprecated image cannot be shared either."""
    image_id = _import(ready)
    _share(ready, image_id, OTHER.account_id)
    assert refusal(ready, "DeleteImage", ImageId=image_id) == (403, "ImageUseShared")
    assert refusal(ready, "ModifyImageAttribute", ImageId=image_id, Status="Deprecated") == (403, "ImageUseShared")
    call(ready, "ModifyImageSharePermission", ImageId=image_id, RemoveAccounts=[OTHER.account_id])
    call(ready, "ModifyImageAttribute", ImageId=image_id, Status="Deprecated")
    parameters: dict[str, Any] = {"ImageId": image_id, "AddAccounts": [OTHER.account_id]}
    assert refusal(ready, "ModifyImageSharePermission", **parameters) == (400, "IncorrectImageStatus")


def _of_family(sandbox: Sandbox, family: str, **options: Any) -> str:
    answer = call(sandbox, "DescribeImageFromFamily", ImageFamily=family, **options)
    return str(answer.get("Image", {}).get("ImageName", ""))


def test_a_family_returns_its_newest_available_image(ready: Sandbox) -> None:
    """After its deprecation, the next older image is returned; an empty family returns none."""
    for name in ("old", "new"):
        call(ready, "ModifyImageAttribute", ImageId=_import(ready, ImageName=f"disk-{name}"), ImageFamily="disks")
        ready.clock.advance(1)
    assert _of_family(ready, "disks") == "disk-new"
    (newest,) = call(ready, "DescribeImages", ImageName="disk-new")["Images"]["Image"]
    call(ready, "ModifyImageAttribute", ImageId=newest["ImageId"], Status="Deprecated")
    assert _of_family(ready, "disks") == "disk-old"
    assert _of_family(ready, "none") == ""
    assert refusal(ready, "DescribeImageFromFamily", region="cn-nowhere", ImageFamily="x") == (
        404,
        "InvalidRegionId.NotFound",
    )


def test_the_family_of_another_account_returns_its_shared_image(ready: Sandbox) -> None:
    """The name of such a family is acs:OWNER:NAME."""
    image_id = _import(ready, ImageName="disk")
    call(ready, "ModifyImageAttribute", ImageId=image_id, ImageFamily="disks")
    assert _of_family(ready, f"acs:{ready.account_id}:disks", key=OTHER) == ""
    _share(ready, image_id, OTHER.account_id)
    assert _of_family(ready, f"acs:{ready.account_id}:disks", key=OTHER) == "disk"
    assert _of_family(ready, "disks", key=OTHER) == ""


def test_the_name_of_a_family_has_the_rules_of_image_names(ready: Sandbox) -> None:
    """An empty name does not change the family."""
    image_id = _import(ready)
    assert refusal(ready, "ModifyImageAttribute", ImageId=image_id, ImageFamily="1st")[0] == 400
    call(ready, "ModifyImageAttribute", ImageId=image_id, ImageFamily="disks")
    call(ready, "ModifyImageAttribute", ImageId=image_id, ImageFamily="")
    assert call(ready, "DescribeImages", ImageFamily="disks")["TotalCount"] == 1
