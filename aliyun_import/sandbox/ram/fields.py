"""Parameters and answers shared by the operations of RAM: names, policies, attachments, pages, ids."""

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeVar

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ram.state import Policy, Ram, Role, User

# "Limits" in the documents of RAM, 2021; the present limits may be higher.
MAX_ATTACHED = MappingProxyType({"System": 20, "Custom": 5})
MAX_DESCRIPTION_CHARS = 1024
MAX_ITEMS = 1000

T = TypeVar("T")


def name_of(call: RpcCall, parameter: str, *, pattern: str, max_chars: int) -> str:
    """Return a name. Refuses with InvalidParameter.PARAMETER.Length or .InvalidChars."""
    name = call.required(parameter)
    if len(name) > max_chars:
        raise Refusal(f"InvalidParameter.{parameter}.Length")
    if not re.fullmatch(pattern, name):
        raise Refusal(f"InvalidParameter.{parameter}.InvalidChars")
    return name


def description_of(call: RpcCall, parameter: str) -> str:
    """Return a description. Refuses with InvalidParameter.Description.Length."""
    text = call.get(parameter)
    if len(text) > MAX_DESCRIPTION_CHARS:
        raise Refusal("InvalidParameter.Description.Length")
    return text


def session_of(call: RpcCall, parameter: str, default: int) -> int:
    """Return the maximum duration of a session in seconds. Refuses with InvalidParameter.MaxSessionDuration."""
    text = call.get(parameter)
    if text and not (text.isdecimal() and 3600 <= int(text) <= 43200):
        raise Refusal("InvalidParameter.MaxSessionDuration")
    return int(text) if text else default


def kind_of(call: RpcCall) -> str:
    """Return the PolicyType, System or Custom. Refuses with InvalidParameter.PolicyType."""
    kind = call.required("PolicyType")
    if kind not in MAX_ATTACHED:
        raise Refusal("InvalidParameter.PolicyType")
    return kind


def derived_id(*names: str) -> str:
    """Return the id of a principal without a record: 18 digits, beginning with 000, unlike real ids."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return f"000{int.from_bytes(digest[:8], 'big') % 10**15:015d}"


def new_id() -> str:
    """Return a new id of a role or a user, in the form of `derived_id`. A recreated role has another id."""
    return f"000{secrets.randbelow(10**15):015d}"


def policy_of(call: RpcCall) -> Policy:
    """Return the policy of PolicyType and PolicyName. Refuses with EntityNotExist.Policy."""
    return call.state.part(Ram).policy(call.account_id, kind_of(call), call.required("PolicyName"))


def attach(call: RpcCall, holder: Role | User, policy: Policy) -> dict[str, Value]:
    """Attach a policy. Refuses with EntityAlreadyExists or LimitExceeded."""
    kind = type(holder).__name__
    if (policy.kind, policy.name) in holder.attached:
        raise Refusal(f"EntityAlreadyExists.{kind}.Policy")
    if sum(1 for each, _ in holder.attached if each == policy.kind) >= MAX_ATTACHED[policy.kind]:
        raise Refusal(f"LimitExceeded.{kind}.Policy")
    attached = {**holder.attached, (policy.kind, policy.name): call.state.clock.now_s()}
    call.state.part(Ram).save(call.account_id, replace(holder, attached=attached))
    return {}


def detach(call: RpcCall, holder: Role | User, policy: Policy) -> dict[str, Value]:
    """Detach a policy. Refuses with EntityNotExist."""
    if (policy.kind, policy.name) not in holder.attached:
        raise Refusal(f"EntityNotExist.{type(holder).__name__}.Policy", policy.name)
    attached = {name: at_s for name, at_s in holder.attached.items() if name != (policy.kind, policy.name)}
    call.state.part(Ram).save(call.account_id, replace(holder, attached=attached))
    return {}


def shown_attached(call: RpcCall, holder: Role | User) -> dict[str, Value]:
    """Return the answer with the policies that are attached to a role or a user."""
    ram = call.state.part(Ram)
    policies: list[Value] = []
    for (kind, name), attached_s in holder.attached.items():
        policy = ram.policy(call.account_id, kind, name)
        policies.append(
            {
                "PolicyName": name,
                "PolicyType": kind,
                "Description": policy.description,
                "DefaultVersion": policy.default_version,
                "AttachDate": utc_seconds(attached_s),
            }
        )
    return {"Policies": {"Policy": policies}}


def paged(call: RpcCall, outer: str, inner: str, found: Sequence[T], show: Callable[[T], Value]) -> dict[str, Value]:
    """Return the page after Marker, with at most MaxItems items: {outer: {inner: [...]}}."""
    marker = call.get("Marker", "0")
    if not re.fullmatch(r"[0-9]{1,9}", marker):
        raise Refusal("InvalidParameter", "Marker")
    first, most = int(marker), call.number("MaxItems", default=100, high=MAX_ITEMS)
    page: list[Value] = [show(each) for each in found[first : first + most]]
    answer: dict[str, Value] = {"IsTruncated": first + most < len(found), outer: {inner: page}}
    return answer | ({"Marker": str(first + most)} if first + most < len(found) else {})
