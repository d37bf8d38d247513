"""This file sends requests to OSS, and turns whatever is not a success into our errors.

oss2 makes the URL, signs (version 4) and reads errors; `oss_line` sends. Its methods for each operation are not used:
their parsers drop what we need (a part's CRC-64, unknown elements of lifecycle rules) and fail with an AttributeError
on an answer that is not from OSS.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import oss2
import oss2.credentials
import oss2.exceptions
import oss2.http

from aliyun_import.cloud.clock_skew import clock_difference
from aliyun_import.cloud.credentials.source import Credentials, CredentialsSource
from aliyun_import.cloud.endpoints import Endpoints, OssStyle, region_of_location
from aliyun_import.cloud.errors.network import network_error
from aliyun_import.cloud.errors.translate import Answer, is_expired, translate
from aliyun_import.cloud.transport.config import Timeouts
from aliyun_import.cloud.transport.logs import logged
from aliyun_import.cloud.transport.oss_line import Request
from aliyun_import.cloud.transport.oss_session import open_session
from aliyun_import.errors import AliyunImportError, UsageError
from aliyun_import.model.operations import Operation
from aliyun_import.services.interface import PartBody

Body = bytes | PartBody
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"{oss2.http.USER_AGENT}/aliyun-import"}


@dataclass(frozen=True, slots=True)
class Got:
    """A success of OSS: its headers (ask for names in lower case) and its body."""

    headers: Mapping[str, str]
    body: bytes


class OssWire:
    """Sends requests about one bucket. Safe on any thread; up to `workers` connections are kept open."""

    def __init__(
        self, bucket: str, *, endpoints: Endpoints, credentials: CredentialsSource, workers: int, timeouts: Timeouts
    ) -> None:
        self.bucket = bucket
        self._credentials = credentials
        self._timeouts = timeouts
        self._endpoints = endpoints
        self._auth = oss2.ProviderAuthV4(_Provider(credentials))
        # One more than the workers: the coordinator asks things meanwhile.
        self._session = open_session(endpoints.oss, connections=workers + 1)
        self._regional_session = open_session(endpoints.oss_regional, connections=1)
        self._url_of = functools.lru_cache(maxsize=64)(self._make_url)

    def send(
        self,
        operation: str,
        method: str,
        *,
        key: str = "",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: Body | None = None,
        read_s: float | None = None,
        **operands: str,
    ) -> Got:
        """Send one request and give its success; a refusal or a broken connection is raised as one of our errors.

        `read_s` bounds each wait on the socket. `operands` are named in errors. After an answer that the token has
        expired, the credentials are looked up anew, and where they differ the request is sent once more: a body is
        iterated again for that. What the body raises comes out unchanged.
        """

        def once() -> Got:
            return self._once(operation, method, key, params or {}, headers or {}, data, read_s=read_s)

        Operation(operation)  # an undeclared one is a bug: docs and policy would not have its permission
        keys = self._credentials.get()
        try:
            try:
                return once()
            except oss2.exceptions.ServerError as error:
                if not is_expired(error.code) or self._credentials.renew(keys) == keys:
                    raise
                return once()
        # The SDK's errors are not kept as causes: they hold what was signed, and the request with its token.
        except oss2.exceptions.ServerError as error:
            raise self._refused(error, operation, {"bucket": self.bucket, "key": key, **operands}) from None
        except (oss2.exceptions.RequestError, OSError) as error:
            raise network_error(error, service="OSS", operation=operation, url=self._url(operation)) from None

    def _once(
        self,
        operation: str,
        method: str,
        key: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        data: Body | None,
        *,
        read_s: float | None,
    ) -> Got:
        """Sign a request and send it once; raises what oss2 and the session raise."""
        request = Request(
            method=method,
            url=self._url_of(operation, key),
            params=params,
            headers={**_HEADERS, **headers},
            data=data,
            region=self._endpoints.region,
        )
        self._auth._sign_request(request, self.bucket, key)
        session = self._regional_session if operation in _REGIONAL else self._session
        with logged("OSS", operation, method=method, url=request.url) as exchange:
            answer = session.do_request(request, (self._timeouts.connect_s, read_s or self._timeouts.read_s))
            exchange.status, exchange.request_id = answer.status, answer.headers.get("x-oss-request-id", "")
        if answer.status // 100 != 2:
            raise oss2.exceptions.make_exception(answer)
        return Got(answer.headers, answer.read())

    def _make_url(self, operation: str, key: str) -> str:
        regional = operation in _REGIONAL
        style = self._endpoints.oss_regional_style if regional else self._endpoints.oss_style
        try:
            bucket = oss2.Bucket(
                self._auth,
                self._url(operation),
                self.bucket,
                region=self._endpoints.region,
                is_cname=style is OssStyle.CNAME,
                is_path_style=style is OssStyle.PATH,
                session=self._session,
            )
        except oss2.exceptions.ClientError as error:
            raise UsageError(
                f"{self.bucket!r} can't be the name of a bucket.",
                code="bucket-name-invalid",
                cause=str(error.body),
                remedy="Pass --bucket with 3 to 63 of a-z, 0-9 and -, the first and the last not a hyphen.",
            ) from error
        url: str = bucket._make_url(self.bucket, key)
        return url

    def _url(self, operation: str) -> str:
        return self._endpoints.oss_regional if operation in _REGIONAL else self._endpoints.oss

    def _refused(
        self, error: oss2.exceptions.ServerError, operation: str, operands: Mapping[str, str]
    ) -> AliyunImportError:
        there = str(error.details.get("Endpoint") or "")
        extra = {"region": self._endpoints.region, "endpoint": there}
        extra["there"] = region_of_location(there.removeprefix(f"{self.bucket}.")) if there else ""
        return translate(
            Answer(
                service="OSS",
                operation=operation,
                status=error.status,
                # oss2 has None for an empty <Code/>, and for a body that is no error.
                code=error.code or "",
                variant=_variant(error.code, error.message or "", endpoint=there, region=extra["there"]),
                message=error.message or "",
                request_id=error.request_id,
                operands=extra | dict(operands),
                skew=clock_difference(error.details.get("ServerTime") or error.headers.get("date") or ""),
                retry_after_s=_retry_after_s(error.headers),
            )
        )


# Buckets are not made through a custom domain or an acceleration endpoint (InvalidHostPutBucket).
_REGIONAL = frozenset({"PutBucket"})


class _Provider(oss2.credentials.CredentialsProvider):  # type: ignore[misc]
    """Gives oss2 the credentials of the moment, for each request."""

    def __init__(self, source: CredentialsSource) -> None:
        self._source = source

    def get_credentials(self) -> oss2.credentials.Credentials:
        keys: Credentials = self._source.get()
        return oss2.credentials.Credentials(keys.key_id, keys.secret, keys.token)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read how long the service wants to be left alone: milliseconds of OSS's own header, or HTTP's seconds."""
    for name, unit_s in (("x-oss-qos-delay-time", 0.001), ("retry-after", 1.0)):
        value = str(headers.get(name) or "").strip()
        if value.isdigit():
            return int(value) * unit_s
    return None


def _variant(code: str, message: str, *, endpoint: str, region: str) -> str:
    """Distinguish what OSS reports with one code; the variants are those of the rows in `errors.oss`."""
    if code in ("AccessDenied", "PermanentRedirect") and endpoint:
        return "other region" if region else "other endpoint"
    if code == "AccessDenied" and "not belong to you" in message:
        return "foreign"
    return ""
