"""Operations on the sharing of images: ModifyImageSharePermission, DescribeImageSharePermission."""

import re
from dataclasses import replace

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ecs import rules
from aliyun_import.sandbox.ecs.rules import region_of
from aliyun_import.sandbox.ecs.state import Ecs, Image
from aliyun_import.sandbox.importer import engine

MAX_ACCOUNTS_A_CALL = 10  # the service ignores higher numbers silently
MAX_ACCOUNTS = 50  # of one image
LAUNCH_PERMISSIONS = ("HIDDEN", "EXPLICIT", "VISIBLE")
_ACCOUNT = re.compile(r"[0-9]{15,17}")


def modify_image_share_permission(call: RpcCall) -> dict[str, Value]:
    """ModifyImageSharePermission: share an Available image with accounts, and end sharing."""
    image = _own_image(call)
    added, removed = (_accounts(call, name) for name in ("AddAccount", "RemoveAccount"))
    permission = call.choice("LaunchPermission", LAUNCH_PERMISSIONS, "InvalidParameter")
    if permission and not call.state.settings.launch_permission_allowed:
        raise Refusal("UserNotInTheWhiteList")
    if added and image.status != "Available":
        raise Refusal("IncorrectImageStatus")
    if added and any(disk.encrypted and not disk.kms_key for disk in image.disks):
        raise Refusal("OperationDeined.EncryptedSnapshot")
    now_s = call.state.clock.now_s()
    shared = dict.fromkeys(added, now_s) | dict(image.shared_with)
    kept = {account: at_s for account, at_s in shared.items() if account not in removed}
    if len(kept) > MAX_ACCOUNTS:
        raise Refusal("QuotaExceed.ShareImageUser")
    if call.flag("DryRun"):
        raise Refusal("DryRunOperation")
    permission = permission or image.launch_permission
    call.state.part(Ecs).images[image.id] = replace(image, shared_with=kept, launch_permission=permission)
    return {}


def _accounts(call: RpcCall, name: str) -> list[str]:
    accounts = [account for number, account in call.numbered(name).items() if number <= MAX_ACCOUNTS_A_CALL]
    if not all(_ACCOUNT.fullmatch(account) for account in accounts):
        raise Refusal("InvalidAccount.NotFound")
    if call.account_id in accounts:
        raise Refusal("InvalidAccount.Forbbiden")
    return accounts


def describe_image_share_permission(call: RpcCall) -> dict[str, Value]:
    """DescribeImageSharePermission: the accounts that an image is shared with."""
    image = _own_image(call)
    found = list(image.shared_with.items())
    page = rules.paged(call, "Accounts", "Account", found, _shown_account)
    return page | {"RegionId": image.region, "ImageId": image.id, "ShareGroups": {"ShareGroup": []}}


def _shown_account(shared: tuple[str, float]) -> Value:
    return {"AliyunId": shared[0], "Aliyun": "", "SharedTime": utc_seconds(shared[1])}


def _own_image(call: RpcCall) -> Image:
    region = region_of(call)
    engine.settle(call.state)
    return call.state.part(Ecs).image(call.account_id, region, call.required("ImageId"))
