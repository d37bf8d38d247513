"""RPC calls to ECS, RAM and STS.

aliyunsdkcore builds and signs a request; `transport.http` sends it. The SDK's client is not used: it retries, writes
the signed URL (with the token) into exceptions and logs, fails with an IndexError on a SignatureDoesNotMatch whose
message has no colon, and sends with a urllib3 of 2018, without SNI on Python 3.12 and later (2.16.1).
"""

import platform
import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import aliyunsdkcore

from aliyun_import.cloud.credentials.source import Credentials, CredentialsSource
from aliyun_import.cloud.endpoints import Endpoints
from aliyun_import.cloud.errors import translate as errors
from aliyun_import.cloud.errors.network import foreign_answer
from aliyun_import.cloud.transport.answer import (
    Answer,
    Fields,
    clock_difference,
    document_of,
    retry_after_s,
    status_text,
    text,
)
from aliyun_import.cloud.transport.http import HttpClient
from aliyun_import.cloud.transport.settings import Timeouts, silence_vendor_logs
from aliyun_import.cloud.transport.signing import signed
from aliyun_import.errors import AliyunImportError, ServiceUnreachable
from aliyun_import.services import OPERATIONS

# Timeouts of operations that may take longer than usual: timeout_config.json of the SDK.
_READ_S: Mapping[str, float] = {"ImportImage": 29, "DescribeImages": 38, "DeleteImage": 36}
_USER_AGENT = (
    f"AlibabaCloud ({platform.system()} {platform.release()};{platform.machine()}) Python/{platform.python_version()} "
    f"Core/{aliyunsdkcore.__version__} aliyun-import"
)

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT, "x-sdk-client": "python/2.0.0"}


class RpcClient:
    """Base class of services whose operations are request classes of an SDK. Thread-safe.

    Waits end with Interrupted once `cancel` is set.
    """

    service: ClassVar[str]

    def __init__(
        self,
        *,
        endpoints: Endpoints,
        credentials: CredentialsSource,
        timeouts: Timeouts | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        silence_vendor_logs()
        self._url: str = getattr(endpoints, self.service.lower())
        self._region = endpoints.region
        self._credentials = credentials
        self._timeouts = timeouts or Timeouts()
        self._http = HttpClient(self.service, self._url, cancel=cancel)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._http.close()

    def _call(self, kind: type, parameters: Mapping[str, object], /, **operands: str) -> dict[str, Any]:
        """Create a request of an SDK class, set its parameters, and send it with `_send`."""
        request = kind()
        for name, value in parameters.items():
            getattr(request, f"set_{name}")(value)
        return self._send(request, **operands)

    def _send(self, request: Any, /, **operands: str) -> dict[str, Any]:  # noqa: ANN401 -- the SDK has no types
        """Send a request of the SDK once and return the JSON of the answer. Raises AliyunImportError for a failure.

        Errors name the `operands` (bucket, key, name, role...). If the service reports an expired token, the
        credentials are read again, and if they differ, the request is sent once more.
        """
        if _name(request) not in OPERATIONS:
            raise ValueError(f"{_name(request)} is not among the operations of services.py")
        keys = self._credentials.get()
        answer = self._once(request, keys)
        if errors.is_expired(_code(answer)):
            fresh = self._credentials.renew(keys)
            if fresh != keys:
                answer = self._once(request, fresh)
        document = document_of(answer)
        if not answer.request_id and not text(document, "RequestId") and not _code(answer):
            raise foreign_answer(answer, service=self.service, operation=_name(request), url=self._url)
        if answer.status // 100 == 2 and document:
            return dict(document)
        raise refusal_of(answer, service=self.service, operation=_name(request), operands=operands)

    def _once(self, request: Any, keys: Credentials) -> Answer:  # noqa: ANN401
        headers, target = signed(request, region=self._region, key_id=keys.key_id, secret=keys.secret, token=keys.token)
        return self._http.send(
            _name(request),
            request.get_method(),
            # Not the request's URL, whose scheme is http for ECS.
            f"{self._url}{target}",
            headers={**headers, **_HEADERS},
            connect_s=self._timeouts.connect_s,
            wait_s=max(self._timeouts.read_s, _READ_S.get(_name(request), 0)),
        )


def refusal_of(answer: Answer, *, service: str, operation: str, operands: Mapping[str, str]) -> AliyunImportError:
    """Return the error for an unsuccessful answer, or for one whose JSON can't be read."""
    document: Fields = document_of(answer)
    begin = answer.body[:300].decode("utf-8", "replace")
    if answer.status // 100 == 2:
        return unreadable(service, operation, f"The answer is not a JSON object; it begins with {begin[:60]!r}.")
    return errors.translate(
        errors.Refusal(
            service=service,
            operation=operation,
            status=answer.status,
            code=_code(answer),
            message=text(document, "Message")[:1000] or begin or status_text(answer.status),
            request_id=text(document, "RequestId")[:100] or answer.request_id,
            operands=operands,
            skew=clock_difference(answer.headers.get("date", "")),
            retry_after_s=retry_after_s(answer.headers),
        )
    )


def unreadable(service: str, operation: str, cause: str) -> ServiceUnreachable:
    """Return the error of an answer that can't be read."""
    return ServiceUnreachable(
        f"{service}'s answer to {operation} can't be read.",
        code="answer-unreadable",
        cause=cause,
        remedy=f"Check for a portal or a proxy between this machine and {service}, and run the same command again.",
        details={"service": service, "operation": operation},
        resumable=True,
    )


def _code(answer: Answer) -> str:
    return "" if answer.status // 100 == 2 else text(document_of(answer), "Code")[:100]


def _name(request: Any) -> str:  # noqa: ANN401
    return str(request.get_action_name())
