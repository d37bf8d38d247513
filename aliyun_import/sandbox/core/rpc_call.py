"""This file is one RPC call after the gate let it pass: who asks for what, and readers for its parameters."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.serializers import Value
from aliyun_import.sandbox.core.state import AccessKey, State


@dataclass(frozen=True, kw_only=True)
class RpcCall:
    """One call: its parameters merged from query and form, and the key that signed it."""

    state: State
    parameters: Mapping[str, str]
    key: AccessKey

    @property
    def account_id(self) -> str:
        """Name the account that the call is made for."""
        return self.key.account_id

    def get(self, name: str, default: str = "") -> str:
        """Give a parameter; one that was sent empty counts as not sent."""
        return self.parameters.get(name) or default

    def required(self, name: str) -> str:
        """Give a parameter that must be there; refuses with MissingParameter."""
        value = self.get(name)
        if not value:
            raise Refusal("MissingParameter", name)
        return value

    def number(self, name: str, *, default: int, low: int = 1, high: int | None = None) -> int:
        """Give a whole number within a range; refuses with InvalidParameter."""
        text = self.get(name)
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < low or (high is not None and int(text) > high):
            raise Refusal("InvalidParameter", name)
        return int(text)

    def flag(self, name: str) -> bool:
        """Give a boolean, false when it was not sent, in any case of letters; refuses with InvalidParameter."""
        text = self.get(name, "false").lower()
        if text not in ("true", "false"):
            raise Refusal("InvalidParameter", name)
        return text == "true"

    def listed(self, name: str) -> tuple[str, ...]:
        """Give the parts of a value that is separated by commas, blanks and empty ones dropped."""
        return tuple(part.strip() for part in self.get(name).split(",") if part.strip())

    def numbered(self, name: str) -> dict[int, str]:
        """Give the values of NAME.1, NAME.2 ... by number."""
        return {number: fields[""] for number, fields in self.groups(name).items() if "" in fields}

    def groups(self, name: str) -> dict[int, dict[str, str]]:
        """Give the groups NAME.N.Field by number, each as field -> value; NAME.N alone stands under the field ""."""
        found: dict[int, dict[str, str]] = {}
        for parameter, value in self.parameters.items():
            match = re.fullmatch(rf"{re.escape(name)}\.([1-9][0-9]{{0,8}})(?:\.(.+))?", parameter)
            if match:
                found.setdefault(int(match[1]), {})[match[2] or ""] = value
        return dict(sorted(found.items()))


# What a service knows: action -> what it does. The answer holds everything but the request id.
Operation = Callable[[RpcCall], dict[str, Value]]
