"""Clients of the sandbox's OSS through oss2, and its refusals."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import oss2
import pytest

from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.oss.state import Bucket, OssState
from aliyun_import.sandbox.server import Sandbox

PART = 100 * 1024  # the smallest part that is not the last


class _Session(oss2.Session):  # type: ignore[misc]
    """A session that closes all its connections.

    oss2 does not read the body of a refusal to its end, so the connection is not returned to the pool. urllib3
    closes a pool only when it is garbage-collected.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answers: list[Any] = []

    def do_request(self, request: Any, timeout: Any) -> Any:
        """Send a request, and record its response."""
        answer = super().do_request(request, timeout)
        self._answers.append(answer.response)
        return answer

    def close(self) -> None:
        """Close all responses and connections."""
        for answer in self._answers:
            answer.close()
        for adapter in self.session.adapters.values():
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                for key in manager.pools.keys():  # noqa: SIM118 - it is not a mapping
                    manager.pools[key].close()
        self.session.close()


class Oss:
    """Clients of the sandbox's OSS, which share one session that `close` closes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._session = _Session()

    def bucket(
        self, name: str, *, key: AccessKey | None = None, region: str = "cn-hangzhou", **options: Any
    ) -> oss2.Bucket:
        """Return a client of a bucket with V4 signatures, without a request."""
        endpoint = options.pop("endpoint", self._sandbox.url)
        return oss2.Bucket(self._auth(key), endpoint, name, region=region, session=self._session, **options)

    def bucket_v1(self, name: str) -> oss2.Bucket:
        """Return a client of a bucket with V1 signatures."""
        key = self._sandbox.access_key
        return oss2.Bucket(oss2.Auth(key.id, key.secret), self._sandbox.url, name, session=self._session)

    def service(self, *, key: AccessKey | None = None) -> oss2.Service:
        """Return a client of the service, for operations without a bucket."""
        return oss2.Service(self._auth(key), self._sandbox.url, region="cn-hangzhou", session=self._session)

    def _auth(self, key: AccessKey | None) -> oss2.ProviderAuthV4:
        key = key or self._sandbox.access_key
        return oss2.ProviderAuthV4(oss2.credentials.StaticCredentialsProvider(key.id, key.secret, key.token or ""))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


def stored_bucket(sandbox: Sandbox, name: str = "disks") -> Bucket:
    """Return a bucket of the state."""
    found = sandbox.state.part(OssState).bucket(name)
    assert found is not None
    return found


@dataclass(frozen=True)
class Reply:
    """A successful response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def do(
    bucket: oss2.Bucket,
    method: str,
    key: str = "",
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    data: Any = b"",
) -> Reply:
    """Send a signed request that no method of the SDK sends, and read the whole response."""
    answer = bucket._do(
        method, bucket.bucket_name, key, params=dict(params or {}), headers=dict(headers or {}), data=data
    )
    return Reply(answer.status, answer.headers, answer.read())


@dataclass
class Refusal:
    """Response to a refused call."""

    status: int = 0
    code: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return (self.status, self.code) == other


@contextmanager
def refused() -> Iterator[Refusal]:
    """Expect a call to be refused; compare the yielded value with (status, code) afterwards."""
    refusal = Refusal()
    with pytest.raises(oss2.exceptions.ServerError) as caught:
        yield refusal
    refusal.status, refusal.code, refusal.details = caught.value.status, caught.value.code, caught.value.details


def complete(bucket: oss2.Bucket, key: str, upload_id: str, parts: list[tuple[int, str]], **headers: str) -> Reply:
    """Complete an upload with parts (number, etag) in the given order."""
    infos = "".join(f'<Part><PartNumber>{n}</PartNumber><ETag>"{etag}"</ETag></Part>' for n, etag in parts)
    body = f"<CompleteMultipartUpload>{infos}</CompleteMultipartUpload>"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return do(bucket, "POST", key, params={"uploadId": upload_id}, headers=names, data=body)
