"""This file is STS, as far as asking who one is: GetCallerIdentity."""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from aliyun_import.sandbox.core.rpc_call import Operation, RpcCall
from aliyun_import.sandbox.core.serializers import Value


def number_of(*names: str) -> str:
    """Make a stable id of 18 digits from names. The three zeros in front tell it from the cloud's own ids."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return f"000{int.from_bytes(digest[:8], 'big') % 10**15:015d}"


def get_caller_identity(call: RpcCall) -> dict[str, Value]:
    """Tell whom the key speaks for; takes no parameter and needs no right."""
    account_id, principal = call.account_id, call.key.principal
    kind, _, name = principal.partition("/")
    answer: dict[str, Value] = {"AccountId": account_id, "Arn": f"acs:ram::{account_id}:{principal}"}
    if kind == "user":
        user_id = number_of(account_id, principal)
        return answer | {"IdentityType": "RAMUser", "UserId": user_id, "PrincipalId": user_id}
    if kind == "assumed-role":
        role, _, session = name.partition("/")
        role_id = number_of(account_id, "role", role)
        return answer | {"IdentityType": "AssumedRoleUser", "RoleId": role_id, "PrincipalId": f"{role_id}:{session}"}
    return answer | {"IdentityType": "Account", "UserId": account_id, "PrincipalId": account_id}


OPERATIONS: Mapping[str, Operation] = MappingProxyType({"GetCallerIdentity": get_caller_identity})
