"""What the operations of RAM share: names, texts, kinds of policies, attachments, pages, ids."""

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from aliyun_import.sandbox.core.rpc import RpcCall, Value, utc_seconds
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.ram.state import Policy, Ram

# RAM's documents of 2021, "Limits"; today's numbers may be higher.
MAX_ATTACHED = MappingProxyType({"System": 20, "Custom": 5})
MAX_DESCRIPTION_CHARS = 1024
MAX_ITEMS = 1000

Attached = Mapping[tuple[str, str], float]
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


def number_of(*names: str) -> str:
    """Return the id of a principal that RAM does not know: 18 digits, with three zeros that no real id begins with."""
    digest = hashlib.sha256("\n".join(names).encode()).digest()
    return f"000{int.from_bytes(digest[:8], 'big') % 10**15:015d}"


def new_number() -> str:
    """Return a new id of a role or a user, in the form of `number_of`: one that is made again has another id."""
    return f"000{secrets.randbelow(10**15):015d}"


def attached_with(attached: Attached, policy: Policy, *, holder: str, now_s: float) -> Attached:
    """Return attachments with one more; refuses a repeated one, and one too many. `holder` is Role or User."""
    if (policy.kind, policy.name) in attached:
        raise Refusal(f"EntityAlreadyExists.{holder}.Policy")
    if sum(1 for kind, _ in attached if kind == policy.kind) >= MAX_ATTACHED[policy.kind]:
        raise Refusal(f"LimitExceeded.{holder}.Policy")
    return {**attached, (policy.kind, policy.name): now_s}


def attached_without(attached: Attached, policy: Policy, *, holder: str) -> Attached:
    """Return attachments without one; refuses one that is not there."""
    if (policy.kind, policy.name) not in attached:
        raise Refusal(f"EntityNotExist.{holder}.Policy", policy.name)
    return {name: at_s for name, at_s in attached.items() if name != (policy.kind, policy.name)}


def shown_attached(call: RpcCall, attached: Attached) -> dict[str, Value]:
    """Return the list of attached policies."""
    ram = call.state.part(Ram)
    policies: list[Value] = []
    for (kind, name), attached_s in attached.items():
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
