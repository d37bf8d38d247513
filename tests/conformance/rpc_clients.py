"""Python clients of ECS, RAM and STS: the vendor's first SDK (HMAC-SHA1) and its current SDK (ACS3)."""

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import AccessKeyCredential
from aliyunsdkcore.client import AcsClient

from aliyun_import.sandbox.server import Sandbox
from tests.conformance.scenario import CALLS, REGION, SETTINGS, Call, filled, found
from tests.conformance.steps import Step
from tests.sandbox.prepared import make_bucket, put

CORE_PACKAGES = {
    "ecs": "aliyunsdkecs.request.v20140526",
    "ram": "aliyunsdkram.request.v20150501",
    "sts": "aliyunsdksts.request.v20150401",
}
TEA_PACKAGES = {"ecs": "alibabacloud_ecs20140526", "ram": "alibabacloud_ram20150501", "sts": "alibabacloud_sts20150401"}

Send = Callable[[str, str, dict[str, Any]], Any]


def code_of(error: Exception) -> str:
    """Return the code of an error of either SDK."""
    if isinstance(error, ServerException):
        return str(error.error_code)
    return str(getattr(error, "code", ""))


def prepare(sandbox: Sandbox) -> None:
    """Create the bucket and the disk that the scenario imports, and set all durations of the sandbox to zero."""
    sandbox.state.configure(**SETTINGS)
    make_bucket(sandbox)
    put(sandbox, "disk.raw")


def steps(sandbox: Sandbox, send: Send) -> Iterator[Step]:
    """Yield the steps of the scenario for a client."""
    prepare(sandbox)
    saved: dict[str, str] = {}

    def do(call: Call) -> None:
        sandbox.state.configure(**{**SETTINGS, **call.settings})
        answer = send(call.service, call.action, filled(call.parameters, saved))
        for name, path in call.save.items():
            saved[name] = found(answer, path)

    for call in CALLS:
        yield Step(call.action, lambda call=call: do(call), call.code)  # type: ignore[misc]


def core_steps(sandbox: Sandbox) -> Iterator[Step]:
    """Yield the steps for aliyun-python-sdk-core and its request classes."""
    key = sandbox.access_key

    def send(service: str, action: str, parameters: dict[str, Any]) -> Any:
        module = importlib.import_module(f"{CORE_PACKAGES[service]}.{action}Request")
        request = getattr(module, f"{action}Request")()
        region = parameters.pop("RegionId", REGION)
        for name, value in parameters.items():
            # Lists have setters in the plural: set_Tags, set_InstanceIds of InstanceId.N.
            plural = isinstance(value, list) and f"set_{name}s"
            getattr(request, plural or f"set_{name}")(value)
        request.set_endpoint(sandbox.url)
        client = AcsClient(region_id=region, credential=AccessKeyCredential(key.id, key.secret))
        with closing(client.session):
            return json.loads(client.do_action_with_exception(request))

    yield from steps(sandbox, send)


def tea_steps(sandbox: Sandbox) -> Iterator[Step]:
    """Yield the steps for the current SDK: one package per service, all based on tea."""
    config = importlib.import_module("alibabacloud_tea_openapi.models").Config(
        access_key_id=sandbox.access_key.id,
        access_key_secret=sandbox.access_key.secret,
        endpoint=sandbox.url.removeprefix("http://"),
        protocol="http",
        region_id=REGION,
    )
    clients = {
        service: importlib.import_module(f"{package}.client").Client(config)
        for service, package in TEA_PACKAGES.items()
    }

    def send(service: str, action: str, parameters: dict[str, Any]) -> Any:
        models = importlib.import_module(f"{TEA_PACKAGES[service]}.models")
        method = getattr(clients[service], _snake(action))
        kind = getattr(models, f"{action}Request", None)
        if kind is None:  # GetCallerIdentity has no request class
            return method().body.to_map()
        request, given_names = kind().from_map(parameters), {_flat(name) for name in parameters}
        for name in vars(request):
            # from_map sets missing parameters to empty lists; the constructor, which users call, does not.
            if _flat(name) not in given_names:
                setattr(request, name, None)
        return method(request).body.to_map()

    yield from steps(sandbox, send)


def _snake(action: str) -> str:
    """Return the name of the SDK's method: create_vswitch for CreateVSwitch, get_oss for GetOSS."""
    text = action[0].lower()
    for before, letter in pairwise(action):
        text += f"_{letter.lower()}" if letter.isupper() and before.islower() else letter.lower()
    return text


def _flat(name: str) -> str:
    return name.replace("_", "").lower()
