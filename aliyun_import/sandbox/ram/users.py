"""Operations on RAM users, their access keys and their policies."""

import secrets
from dataclasses import replace

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.ram.fields import attach, detach, name_of, new_id, paged, policy_of, shown_attached
from aliyun_import.sandbox.ram.state import Ram, User, by_name

# "Limits" in the documents of RAM, 2021; the present limits may be higher.
MAX_USERS = 1000
MAX_KEYS = 2
MAX_COMMENTS_CHARS = 128


def create_user(call: RpcCall) -> dict[str, Value]:
    """CreateUser: create a user without permissions and keys."""
    ram, account_id = call.state.part(Ram), call.account_id
    name = name_of(call, "UserName", pattern=r"[A-Za-z0-9._-]+", max_chars=64)
    if (account_id, name) in ram.users:
        raise Refusal("EntityAlreadyExists.User")
    if len(by_name(ram.users, account_id)) >= MAX_USERS:
        raise Refusal("LimitExceeded.User")
    comments = call.get("Comments")
    if len(comments) > MAX_COMMENTS_CHARS:
        raise Refusal("InvalidParameter.Comments.Length")
    now_s = call.state.clock.now_s()
    user = User(
        id=new_id(),
        name=name,
        display_name=call.get("DisplayName", name),
        comments=comments,
        created_s=now_s,
        updated_s=now_s,
    )
    ram.save_user(account_id, user)
    return {"User": _fields(user)}


def get_user(call: RpcCall) -> dict[str, Value]:
    """GetUser."""
    return {"User": _fields(_user(call))}


def list_users(call: RpcCall) -> dict[str, Value]:
    """ListUsers."""
    return paged(call, "Users", "User", by_name(call.state.part(Ram).users, call.account_id), _fields)


def delete_user(call: RpcCall) -> dict[str, Value]:
    """DeleteUser: delete a user. Refuses one with attached policies or keys."""
    user = _user(call)
    if user.attached:
        raise Refusal("DeleteConflict.User.Policy")
    if user.keys:
        raise Refusal("DeleteConflict.User.AccessKey")
    del call.state.part(Ram).users[call.account_id, user.name]
    return {}


def attach_policy_to_user(call: RpcCall) -> dict[str, Value]:
    """AttachPolicyToUser."""
    return attach(call, _user(call), policy_of(call))


def detach_policy_from_user(call: RpcCall) -> dict[str, Value]:
    """DetachPolicyFromUser."""
    return detach(call, _user(call), policy_of(call))


def list_policies_for_user(call: RpcCall) -> dict[str, Value]:
    """ListPoliciesForUser."""
    return shown_attached(call, _user(call))


def create_access_key(call: RpcCall) -> dict[str, Value]:
    """CreateAccessKey: create a key of a user. Only this answer contains the secret."""
    ram, user = call.state.part(Ram), _user(call)
    if len(user.keys) >= MAX_KEYS:
        raise Refusal("LimitExceeded.User.AccessKey")
    key = AccessKey(
        id=f"SANDBOX{secrets.token_hex(8).upper()}",
        secret=secrets.token_hex(15),
        account_id=call.account_id,
        principal=f"user/{user.name}",
    )
    call.state.add_key(key)
    now_s = call.state.clock.now_s()
    ram.save_user(call.account_id, replace(user, keys={**user.keys, key.id: now_s}))
    return {"AccessKey": {**_shown_key(key, now_s), "AccessKeySecret": key.secret}}


def list_access_keys(call: RpcCall) -> dict[str, Value]:
    """ListAccessKeys: the keys of a user."""
    keys = [(call.state.key(key_id), created_s) for key_id, created_s in _user(call).keys.items()]
    shown: list[Value] = [_shown_key(key, created_s) for key, created_s in keys if key is not None]
    return {"AccessKeys": {"AccessKey": shown}}


def update_access_key(call: RpcCall) -> dict[str, Value]:
    """UpdateAccessKey: set the status, Active or Inactive."""
    key = _key(call)
    status = call.required("Status")
    if status not in ("Active", "Inactive"):
        raise Refusal("InvalidParameter", "Status")
    call.state.add_key(replace(key, enabled=status == "Active"))
    return {}


def delete_access_key(call: RpcCall) -> dict[str, Value]:
    """DeleteAccessKey."""
    key, user = _key(call), _user(call)
    call.state.remove_key(key.id)
    kept = {key_id: created_s for key_id, created_s in user.keys.items() if key_id != key.id}
    call.state.part(Ram).save_user(call.account_id, replace(user, keys=kept))
    return {}


def _user(call: RpcCall) -> User:
    return call.state.part(Ram).user(call.account_id, call.required("UserName"))


def _key(call: RpcCall) -> AccessKey:
    """Return the named key of the user. Refuses with EntityNotExist.User.AccessKey."""
    key_id = call.required("UserAccessKeyId")
    key = call.state.key(key_id) if key_id in _user(call).keys else None
    if key is None:
        raise Refusal("EntityNotExist.User.AccessKey")
    return key


def _shown_key(key: AccessKey, created_s: float) -> dict[str, Value]:
    status = "Active" if key.enabled else "Inactive"
    return {"AccessKeyId": key.id, "Status": status, "CreateDate": utc_seconds(created_s)}


def _fields(user: User) -> dict[str, Value]:
    return {
        "UserId": user.id,
        "UserName": user.name,
        "DisplayName": user.display_name,
        "Comments": user.comments,
        "MobilePhone": "",
        "Email": "",
        "CreateDate": utc_seconds(user.created_s),
        "UpdateDate": utc_seconds(user.updated_s),
    }
