"""This file answers RPC calls: it merges their parameters, has them checked, and leads them to ECS, RAM or STS.

The three services share one endpoint here, so that a call is led by its Version: 2014-05-26 is ECS, 2015-05-01 RAM,
2015-04-01 STS. What none of them knows is answered 501 by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from urllib.parse import quote

from aliyun_import.sandbox.auth import rpc_auth as rpc_gate
from aliyun_import.sandbox.core import serializers as rpc_body
from aliyun_import.sandbox.core.http_types import Answer, BodyTooLargeError, Request
from aliyun_import.sandbox.core.rpc_call import Operation, RpcCall
from aliyun_import.sandbox.core.rpc_errors import Refusal
from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs import operations as ecs
from aliyun_import.sandbox.ram import operations as ram
from aliyun_import.sandbox.ram import sts


@dataclass(frozen=True, kw_only=True)
class Service:
    """One of the services: its name in actions and hosts, what it can do, and how it says that one may not."""

    name: str
    operations: Mapping[str, Operation]
    no_right: str


SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        "2014-05-26": Service(name="ecs", operations=ecs.OPERATIONS, no_right="Forbidden.RAM"),
        "2015-05-01": Service(name="ram", operations=ram.OPERATIONS, no_right="NoPermission"),
        "2015-04-01": Service(name="sts", operations=sts.OPERATIONS, no_right="NoPermission"),
    }
)
# STS, "GetCallerIdentity": needs no permission.
_FREE_ACTIONS = frozenset({"sts:GetCallerIdentity"})


def answer(state: State, request: Request) -> Answer:
    """Do what a call asks for, whole, under the state's lock; every refusal is an answer, too."""
    try:
        parameters = dict(request.query) | dict(request.form)
    except BodyTooLargeError:
        return refuse(request, 400, "InvalidParameter", "The form is too large.")
    try:
        with state.lock:
            fields = _do(state, request, parameters)
    except Refusal as refusal:
        return refuse(request, refusal.status, refusal.code, refusal.message)
    root = f"{parameters['Action']}Response"
    kind, body = rpc_body.write(root, {"RequestId": request.id, **fields}, as_json=rpc_body.wants_json(parameters))
    return Answer(200, (("Content-Type", kind),), body)


def refuse(
    request: Request, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """Make an answer of an error, in the form that the call asks for."""
    try:
        parameters = dict(request.query) | dict(request.form)
    except BodyTooLargeError:
        parameters = dict(request.query)
    service = SERVICES.get(parameters.get("Version", ""))
    name = service.name if service else "rpc"
    fields: dict[str, rpc_body.Value] = {
        "RequestId": request.id,
        "HostId": f"{name}.sandbox.invalid",
        "Code": code,
        "Message": message,
        "Recommend": f"https://sandbox.invalid/troubleshoot?q={quote(code)}&product={name}&requestId={request.id}",
    }
    kind, body = rpc_body.write("Error", fields, as_json=rpc_body.wants_json(parameters))
    return Answer(status, (("Content-Type", kind), *headers), body, code=code)


def _do(state: State, request: Request, parameters: Mapping[str, str]) -> dict[str, rpc_body.Value]:
    if request.method not in ("GET", "POST"):
        raise Refusal("UnsupportedHTTPMethod")
    if not parameters.get("Action"):
        raise Refusal("MissingParameter", "Action")
    if request.fault is not None and request.fault.effect == "expire-token":
        _expire_token(state, parameters.get("AccessKeyId", ""))
    key = rpc_gate.authenticate(state, request.method, parameters)
    service = SERVICES.get(parameters.get("Version", ""))
    if service is None:
        raise Refusal("NotImplementedBySandbox", f"{parameters['Action']} of version {parameters.get('Version')}")
    action = f"{service.name}:{parameters['Action']}"
    operation = service.operations.get(parameters["Action"])
    if operation is None:
        raise Refusal("NotImplementedBySandbox", action)
    if action not in _FREE_ACTIONS and not key.may(action):
        raise Refusal(service.no_right)
    return operation(RpcCall(state=state, parameters=parameters, key=key))


def _expire_token(state: State, key_id: str) -> None:
    key = state.key(key_id)
    if key is not None and key.token is not None:
        state.add_key(replace(key, expires_s=state.clock.now_s()))
