"""RPC calls of ECS, VPC, RAM and STS: parameters, authentication, dispatch, and bodies as JSON or XML.

The services share one endpoint, so the Version of a call selects its service. In XML, a list is written as repeated
elements: {"TaskSet": {"Task": [a, b]}} is <TaskSet><Task>a</Task><Task>b</Task></TaskSet>.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from urllib.parse import quote

from aliyun_import.sandbox.auth.policies import may, rpc_resources
from aliyun_import.sandbox.auth.rpc_signature import authenticate, call_parameters
from aliyun_import.sandbox.core.http_types import Answer, BodyTooLargeError, Operation, Request, xml_element
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import AccessKey, State

# Value in the body of an answer.
Value = str | int | bool | list["Value"] | dict[str, "Value"]

JSON_TYPE = "application/json;charset=utf-8"
XML_TYPE = "text/xml;charset=utf-8"

# Parameters that differ between two transmissions of one call.
TRANSMISSION_PARAMETERS = frozenset({
    "AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "SignatureType", "Timestamp",
    "SecurityToken", "Format",
})  # fmt: skip
# Parameters of every call. The owners are for accounts of partners, which the sandbox does not have.
_COMMON = TRANSMISSION_PARAMETERS | {
    "Action", "Version", "RegionId", "OwnerId", "OwnerAccount", "ResourceOwnerId", "ResourceOwnerAccount",
}  # fmt: skip


# Caller without a key.
_ANONYMOUS = AccessKey(id="", secret="", account_id="", principal="anonymous", policies=())


@dataclass(frozen=True, kw_only=True)
class RpcCall:
    """Authenticated call: its parameters, merged from query and form, and the key that signed it."""

    state: State
    parameters: Mapping[str, str]
    key: AccessKey
    host: str
    """Host header of the request."""

    @property
    def account_id(self) -> str:
        """Return the account of the caller."""
        return self.key.account_id

    def get(self, name: str, default: str = "") -> str:
        """Return a parameter, or the default if it is missing or empty."""
        return self.parameters.get(name) or default

    def required(self, name: str) -> str:
        """Return a parameter. Refuses with MissingParameter."""
        value = self.get(name)
        if not value:
            raise Refusal("MissingParameter", name)
        return value

    def number(self, name: str, *, default: int, low: int = 1, high: int | None = None) -> int:
        """Return a whole number within a range. Refuses with InvalidParameter."""
        text = self.get(name)
        if not text:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < low or (high is not None and int(text) > high):
            raise Refusal("InvalidParameter", name)
        return int(text)

    def flag(self, name: str) -> bool:
        """Return a boolean (case-insensitive), False if it is missing. Refuses with InvalidParameter."""
        text = self.get(name, "false").lower()
        if text not in ("true", "false"):
            raise Refusal("InvalidParameter", name)
        return text == "true"

    def end_dry_run(self) -> None:
        """Refuse with DryRunOperation if the call is a dry run."""
        if self.flag("DryRun"):
            raise Refusal("DryRunOperation")

    def choice(self, name: str, values: tuple[str, ...], code: str) -> str:
        """Return one of the values, or an empty string if it is missing. Refuses with `code`."""
        value = self.get(name)
        if value and value not in values:
            raise Refusal(code, name)
        return value

    def listed(self, name: str) -> tuple[str, ...]:
        """Return the items of a comma-separated value, stripped, without empty items."""
        return tuple(part.strip() for part in self.get(name).split(",") if part.strip())

    def numbered(self, name: str) -> dict[int, str]:
        """Return the values of NAME.1, NAME.2, ... by number."""
        return {number: fields[""] for number, fields in self.groups(name).items() if "" in fields}

    def groups(self, name: str) -> dict[int, dict[str, str]]:
        """Return the parameters NAME.N.FIELD as number -> {FIELD: value}. The field of NAME.N is ""."""
        found: dict[int, dict[str, str]] = {}
        for parameter, value in self.parameters.items():
            match = re.fullmatch(rf"{re.escape(name)}\.([1-9][0-9]{{0,8}})(?:\.(.+))?", parameter)
            if match:
                found.setdefault(int(match[1]), {})[match[2] or ""] = value
        return dict(sorted(found.items()))


# An operation returns the fields of the answer without the request id.
RpcOperation = Operation[RpcCall, dict[str, Value]]


@dataclass(frozen=True, kw_only=True)
class RpcService:
    """Service: its name in actions and hosts, its Version, its operations, and its code for a missing permission."""

    name: str
    version: str
    operations: tuple[RpcOperation, ...]
    no_permission: str

    def operation(self, name: str) -> RpcOperation | None:
        """Return the row of an operation, or None."""
        return next((row for row in self.operations if row.name == name), None)


class RpcServices:
    """Dispatch of calls to services by Version."""

    def __init__(self, services: Iterable[RpcService]) -> None:
        self.by_version = {service.version: service for service in services}

    def answer(self, state: State, request: Request) -> Answer:
        """Carry out a call under the lock of the state, and return its answer or a refusal."""
        try:
            parameters = call_parameters(request)
            request.body.whole()  # before the lock: other calls must not wait for a slow body
            with state.lock:
                fields = self._carry_out(state, request, parameters)
        except BodyTooLargeError:
            return self.refuse(request, 400, "InvalidParameter", "The body is too large.")
        except Refusal as refusal:
            return self.refuse(request, refusal.status, refusal.code, refusal.message)
        root = f"{parameters['Action']}Response"
        kind, body = _body(root, {"RequestId": request.id, **fields}, as_json=_wants_json(parameters))
        return Answer(200, (("Content-Type", kind),), body)

    def refuse(
        self, request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        """Return the answer of an error, in the format that the call requests."""
        try:
            parameters = call_parameters(request)
        except BodyTooLargeError:
            parameters = dict(request.query)
        service = self.by_version.get(parameters.get("Version", ""))
        name = service.name if service else "rpc"
        fields: dict[str, Value] = {
            "RequestId": request.id,
            "HostId": f"{name}.sandbox.invalid",
            "Code": code,
            "Message": message,
            "Recommend": f"https://sandbox.invalid/troubleshoot?q={quote(code)}&product={name}&requestId={request.id}",
        }
        kind, body = _body("Error", fields, as_json=_wants_json(parameters))
        # The string to sign contains the key and the token.
        reason = message.partition("string to sign is:")[0]
        return Answer(status, (("Content-Type", kind), *headers), body, code=code, reason=reason)

    def _carry_out(self, state: State, request: Request, parameters: Mapping[str, str]) -> dict[str, Value]:
        if request.method not in ("GET", "POST"):
            raise Refusal("UnsupportedHTTPMethod")
        if not parameters.get("Action"):
            raise Refusal("MissingParameter", "Action")
        if request.fault is not None and request.fault.effect == "expire-token":
            state.expire_token(parameters.get("AccessKeyId", ""))
        service = self.by_version.get(parameters.get("Version", ""))
        operation = service.operation(parameters["Action"]) if service else None
        key = _ANONYMOUS if operation and operation.anonymous else authenticate(state, request, parameters)
        if service is None:
            raise Refusal("NotImplementedBySandbox", f"{parameters['Action']} of version {parameters.get('Version')}")
        if operation is None:
            raise Refusal("NotImplementedBySandbox", f"{service.name}:{parameters['Action']}")
        _refuse_unknown_parameters(service, operation, parameters)
        resources = rpc_resources(service.name, operation.name, parameters, key.account_id)
        if operation.action and not may(key, operation.action, resources):
            raise Refusal(service.no_permission)
        return operation.do(RpcCall(state=state, parameters=parameters, key=key, host=request.headers.get("host")))


def _refuse_unknown_parameters(service: RpcService, operation: RpcOperation, parameters: Mapping[str, str]) -> None:
    for name, value in parameters.items():
        if value and name not in _COMMON and not any(fnmatchcase(name, known) for known in operation.params):
            raise Refusal("NotImplementedBySandbox", f"the parameter {name} of {service.name}:{operation.name}")


def _wants_json(parameters: Mapping[str, str]) -> bool:
    """Return whether Format requests JSON (case-insensitive). The default is XML."""
    return parameters.get("Format", "").upper() == "JSON"


def _body(root: str, fields: dict[str, Value], *, as_json: bool) -> tuple[str, bytes]:
    """Return the content type and the body. `root` is the outermost element in XML."""
    if as_json:
        return JSON_TYPE, json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return XML_TYPE, f'<?xml version="1.0" encoding="UTF-8"?>\n{xml_element(root, fields)}'.encode()


def utc_seconds(at_s: float) -> str:
    """Return a time as in images and RAM: 2015-01-23T12:33:18Z."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_minutes(at_s: float) -> str:
    """Return a time as in tasks, without seconds: 2015-11-24T12:50Z."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%MZ")
