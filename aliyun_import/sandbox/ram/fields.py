"""What the operations of RAM share: names, texts, kinds of policies, attachments, pages, ids."""

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

# RAM's documents of 2021, "Limits"; today's numbers may be higher.
MAX_ATTACHED = MappingProxyType({"System": 20, "Custom": 5})
MAX_DESCRIPTION_CHARS = 1024
MAX_ITEMS = 1000

T = TypeVar("T")


def name_of(call: RpcCall, parameter: str, *, pattern: str, max_chars: int) -> str:
    """Return a name; refuses with InvalidParameter.X.Length or .InvalidChars."""
    name = call.required(parameter)
    if len(name) > max_chars:
        raise Refusal(f"InvalidParameter.{parameter}.Length")
    if not re.fullmatch(pattern, name):
        raise Refusal(f"InvalidParameter.{parameter}.InvalidChars")
    return name


def description_of(call: RpcCall, parameter: str) -> str:
    """Return a description; refuses one that is too long."""
    text = call.get(parameter)
    if len(text) > MAX_DESCRIPTION_CHARS:
        raise Refusal("InvalidParameter.Description.Length")
    return text


def session_of(call: RpcCall, parameter: str, default: int) -> int:
    """Return the longest session in seconds; refuses with InvalidParameter.MaxSessionDuration."""
    text = call.get(parameter)
    if text and not (text.isdecimal() and 3600 <= int(text) <= 43200):
        raise Refusal("InvalidParameter.MaxSessionDuration")
    return int(text) if text else default


def kind_of(call: RpcCall) -> str:
    """Return the PolicyType; refuses another one than System and Custom."""
    kind = call.required("PolicyType")
    if kind not in MAX_ATTACHED:
        raise Refusal("InvalidParameter.PolicyType")
    return kind


def derived_id(*names: str) -> str:
    """Return the id of a principal that RAM does not know: 18 digits, with three zeros that no real id begins with."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return f"000{int.from_bytes(digest[:8], 'big') % 10**15:015d}"


def new_id() -> str:
    """Return a new id of a role or a user, in the form of `derived_id`: one that is made again has another id."""
    return f"000{secrets.randbelow(10**15):015d}"


def policy_of(call: RpcCall) -> Policy:
    """Return the policy that a call names; refuses with EntityNotExist.Policy."""
    return call.state.part(Ram).policy(call.account_id, kind_of(call), call.required("PolicyName"))


def attach(call: RpcCall, holder: Role | User, policy: Policy) -> dict[str, Value]:
    """Attach a policy, which is in force for the keys of a user at once; refuses a repeated one, and one too many."""
    kind = type(holder).__name__
    if (policy.kind, policy.name) in holder.attached:
        raise Refusal(f"EntityAlreadyExists.{kind}.Policy")
    if sum(1 for each, _ in holder.attached if each == policy.kind) >= MAX_ATTACHED[policy.kind]:
        raise Refusal(f"LimitExceeded.{kind}.Policy")
    attached = {**holder.attached, (policy.kind, policy.name): call.state.clock.now_s()}
    call.state.part(Ram).save(call.account_id, replace(holder, attached=attached))
    return {}


def detach(call: RpcCall, holder: Role | User, policy: Policy) -> dict[str, Value]:
    """Detach a policy; refuses one that is not attached."""
    if (policy.kind, policy.name) not in holder.attached:
        raise Refusal(f"EntityNotExist.{type(holder).__name__}.Policy", policy.name)
    attached = {name: at_s for name, at_s in holder.attached.items() if name != (policy.kind, policy.name)}
    call.state.part(Ram).save(call.account_id, replace(holder, attached=attached))
    return {}


def shown_attached(call: RpcCall, holder: Role | User) -> dict[str, Value]:
    """Return the list of attached policies."""
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
    """Return the page after Marker of at most MaxItems: {outer: {inner: [...]}}."""
    marker = call.get("Marker", "0")
    if not re.fullmatch(r"[0-9]{1,9}", marker):
        raise Refusal("InvalidParameter", "Marker")
    first, most = int(marker), call.number("MaxItems", default=100, high=MAX_ITEMS)
    page: list[Value] = [show(each) for each in found[first : first + most]]
    answer: dict[str, Value] = {"IsTruncated": first + most < len(found), outer: {inner: page}}
    return answer | ({"Marker": str(first + most)} if first + most < len(found) else {})
