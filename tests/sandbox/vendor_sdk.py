"""Calls of the sandbox's ECS, RAM and STS through the vendor's SDK or as raw requests."""

import base64
import functools
import hashlib
import hmac
import importlib
import json
import secrets
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.auth.credentials import AccessKeyCredential, StsTokenCredential
from aliyunsdkcore.client import AcsClient

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox
from tests.parameters import NEWER_THAN_SDK

PACKAGES = ("aliyunsdkecs.request.v20140526", "aliyunsdkram.request.v20150501", "aliyunsdksts.request.v20150401")


def _request(action: str, fields: dict[str, Any]) -> Any:
    for package in PACKAGES:
        name = f"{action}Request"
        try:
            module = importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError:
            continue
        request = getattr(module, name)()
        for field, value in fields.items():
            if "." in field or field in NEWER_THAN_SDK:
                request.add_query_param(field, value)
            else:
                getattr(request, f"set_{field}")(value)
        return request
    raise LookupError(f"no SDK has {action}")


@functools.cache
def _client(key: AccessKey, region: str) -> AcsClient:
    """Return the client of a key, cached because its creation reads a table of all endpoints."""
    credential = (
        StsTokenCredential(key.id, key.secret, key.token) if key.token else AccessKeyCredential(key.id, key.secret)
    )
    return AcsClient(region_id=region, credential=credential, proxy={"http": "", "https": ""})


def call(
    sandbox: Sandbox, action: str, *, key: AccessKey | None = None, region: str = "cn-hangzhou", **fields: Any
) -> dict[str, Any]:
    """Make a call through the SDK, which may raise.

    `fields` are arguments of setters, as ImageName="disk"; a parameter without a setter has its name in the request.
    """
    client = _client(key or sandbox.access_key, region)
    request = _request(action, fields)
    request.set_endpoint(sandbox.url)
    with closing(client.session):  # otherwise the garbage collector closes its socket and warns
        answer = json.loads(client.do_action_with_exception(request))
    assert isinstance(answer, dict)
    return answer


def refusal(
    sandbox: Sandbox, action: str, *, key: AccessKey | None = None, region: str = "cn-hangzhou", **fields: Any
) -> tuple[int, str]:
    """Make a call that is refused, and return HTTP status and code as parsed by the SDK."""
    try:
        answer = call(sandbox, action, key=key, region=region, **fields)
    except ServerException as error:
        return error.http_status, error.error_code
    raise AssertionError(f"{action} was not refused: {answer}")


@dataclass(frozen=True)
class RawAnswer:
    """A response without parsing."""

    status: int
    content_type: str
    text: str


def sign(method: str, parameters: dict[str, str], *, secret: str) -> str:
    """Return the signature of a call, computed independently of the sandbox."""
    query = "&".join(f"{quote(name, safe='~')}={quote(parameters[name], safe='~')}" for name in sorted(parameters))
    text = f"{method}&{quote('/', safe='')}&{quote(query, safe='~')}"
    return base64.b64encode(hmac.new(f"{secret}&".encode(), text.encode(), hashlib.sha1).digest()).decode()


def signed(
    sandbox: Sandbox,
    action: str,
    fields: dict[str, str] | None = None,
    *,
    method: str = "GET",
    key: AccessKey | None = None,
) -> dict[str, str]:
    """Return the signed parameters of a call. `fields` extends and replaces the common parameters."""
    key = key or sandbox.access_key
    parameters = {
        "Action": action,
        "Version": "2014-05-26",
        "AccessKeyId": key.id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": secrets.token_hex(16),
        "Timestamp": datetime.fromtimestamp(sandbox.clock.wall_s(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Format": "JSON",
        **(fields or {}),
    }
    return {**parameters, "Signature": sign(method, parameters, secret=key.secret)}


def send(
    sandbox: Sandbox, query: dict[str, str], *, method: str = "GET", form: dict[str, str] | None = None
) -> RawAnswer:
    """Send a call as a raw request: `query` in the request line, `form` in the body."""

    def encoded(parameters: dict[str, str]) -> str:
        return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters.items())

    request = urllib.request.Request(
        f"{sandbox.url}/?{encoded(query)}",
        method=method,
        data=encoded(form).encode() if form is not None else None,
        headers={"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return RawAnswer(response.status, response.headers["Content-Type"], response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return RawAnswer(error.code, error.headers["Content-Type"], error.read().decode())
