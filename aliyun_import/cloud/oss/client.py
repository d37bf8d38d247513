"""Signed requests to OSS, and errors for unsuccessful answers.

oss2 signs the requests (version 4); `transport.http` sends them. The SDK's methods for the operations are not used:
their parsers drop values that are needed here (the CRC-64 of a part, unknown elements of lifecycle rules), and fail
with an AttributeError on an answer that is not from OSS.
"""

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import oss2
import oss2.credentials
import oss2.http

from aliyun_import.cloud.credentials.source import Credentials, CredentialsSource
from aliyun_import.cloud.endpoints import Endpoints, OssStyle, region_of_location
from aliyun_import.cloud.errors import translate as errors
from aliyun_import.cloud.errors.network import foreign_answer
from aliyun_import.cloud.oss.parse import error_fields
from aliyun_import.cloud.transport.answer import Answer, clock_difference, retry_after_s, status_text
from aliyun_import.cloud.transport.http import MAX_BODY_BYTES, HttpClient
from aliyun_import.cloud.transport.settings import Timeouts, silence_vendor_logs
from aliyun_import.errors import AliyunImportError, UsageError
from aliyun_import.services import OPERATIONS, PartBody

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"{oss2.http.USER_AGENT}/aliyun-import"}
# Buckets are not created through a custom domain or an acceleration endpoint (InvalidHostPutBucket).
_REGIONAL = frozenset({"PutBucket"})


@dataclass(slots=True, kw_only=True)
class _Request:
    """Request with the attributes that oss2 reads to sign it; signing adds headers."""

    method: str
    url: str
    params: Mapping[str, str]
    headers: dict[str, str]
    region: str
    product: str = "oss"
    cloudbox_id: None = None


class OssClient:
    """Client for requests about one bucket. Thread-safe.

    Keeps a connection for each of `workers` threads and one for the coordinator. Waits for answers end with Interrupted
    once `cancel` is set.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoints: Endpoints,
        credentials: CredentialsSource,
        workers: int,
        timeouts: Timeouts,
        cancel: threading.Event | None = None,
    ) -> None:
        silence_vendor_logs()
        self.bucket = bucket
        self._credentials = credentials
        self._timeouts = timeouts
        self._endpoints = endpoints
        self._auth = oss2.ProviderAuthV4(_Provider(credentials))
        self._http = HttpClient("OSS", endpoints.oss, connections=workers + 1, cancel=cancel)
        self._regional_http = HttpClient("OSS", endpoints.oss_regional, connections=1, cancel=cancel)
        self._url_of = functools.lru_cache(maxsize=64)(self._make_url)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        self._http.close()
        self._regional_http.close()

    def send(
        self,
        operation: str,
        method: str,
        *,
        key: str = "",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | PartBody = b"",
        read_s: float | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        **operands: str,
    ) -> Answer:
        """Send one request and return the successful answer. Raises AliyunImportError for any other answer.

        `read_s` bounds each wait on the socket. Errors name the `operands`. If the service reports an expired token,
        the credentials are read again, and if they differ, the request is sent once more; its body is then iterated
        again. An error that the body raises passes unchanged.
        """

        def once() -> Answer:
            return self._once(
                operation, method, key, params or {}, headers or {}, data, read_s=read_s, max_body_bytes=max_body_bytes
            )

        if operation not in OPERATIONS:
            raise ValueError(f"{operation} is not among the operations of services.py")
        keys = self._credentials.get()
        answer = once()
        refusal = error_fields(answer)
        if errors.is_expired(refusal.get("Code", "")) and self._credentials.renew(keys) != keys:
            answer = once()
            refusal = error_fields(answer)
        if not answer.request_id and not refusal.get("Code"):
            raise foreign_answer(answer, service="OSS", operation=operation, url=self._url_of(operation, key))
        if answer.status // 100 == 2:
            return answer
        raise self._refused(answer, refusal, operation, {"bucket": self.bucket, "key": key, **operands})

    def _once(
        self,
        operation: str,
        method: str,
        key: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        data: bytes | PartBody,
        *,
        read_s: float | None,
        max_body_bytes: int,
    ) -> Answer:
        """Sign a request and send it once."""
        request = _Request(
            method=method,
            url=self._url_of(operation, key),
            params=params,
            headers={**_HEADERS, **headers},
            region=self._endpoints.region,
        )
        self._auth._sign_request(request, self.bucket, key)
        http = self._regional_http if operation in _REGIONAL else self._http
        return http.send(
            operation,
            method,
            request.url + _query(params),
            headers=request.headers,
            body=data,
            connect_s=self._timeouts.connect_s,
            wait_s=read_s or self._timeouts.read_s,
            max_body_bytes=max_body_bytes,
        )

    def _make_url(self, operation: str, key: str) -> str:
        regional = operation in _REGIONAL
        style = self._endpoints.oss_regional_style if regional else self._endpoints.oss_style
        scheme, _, host = (self._endpoints.oss_regional if regional else self._endpoints.oss).partition("://")
        if not oss2.is_valid_bucket_name(self.bucket):
            raise UsageError(
                f"{self.bucket!r} is not a valid bucket name.",
                code="bucket-name-invalid",
                remedy="Pass --bucket with 3 to 63 of a-z, 0-9 and -, the first and the last not a hyphen.",
            )
        place = {
            OssStyle.VIRTUAL: f"{self.bucket}.{host}",
            OssStyle.PATH: f"{host}/{self.bucket}",
            OssStyle.CNAME: host,
        }
        return f"{scheme}://{place[style]}/{quote(key, safe='')}"

    def _refused(
        self, answer: Answer, refusal: Mapping[str, str], operation: str, operands: Mapping[str, str]
    ) -> AliyunImportError:
        code, message, endpoint = (refusal.get(name, "") for name in ("Code", "Message", "Endpoint"))
        actual = region_of_location(endpoint.removeprefix(f"{self.bucket}.")) if endpoint else ""
        extra = {"region": self._endpoints.region, "endpoint": endpoint, "there": actual}
        return errors.translate(
            errors.Refusal(
                service="OSS",
                operation=operation,
                status=answer.status,
                code=code,
                variant=_variant(code, message, endpoint=endpoint, region=actual, style=self._endpoints.oss_style),
                message=message or status_text(answer.status),
                request_id=answer.request_id,
                operands=extra | dict(operands),
                skew=clock_difference(refusal.get("ServerTime") or answer.headers.get("date", "")),
                retry_after_s=retry_after_s(answer.headers),
            )
        )


class _Provider(oss2.credentials.CredentialsProvider):  # type: ignore[misc]
    """Provider of the current credentials for oss2."""

    def __init__(self, source: CredentialsSource) -> None:
        self._source = source

    def get_credentials(self) -> oss2.credentials.Credentials:
        keys: Credentials = self._source.get()
        return oss2.credentials.Credentials(keys.key_id, keys.secret, keys.token)


def _query(params: Mapping[str, str]) -> str:
    # oss2 signs a space as %20.
    return f"?{urlencode(params, quote_via=quote)}" if params else ""


def _variant(code: str, message: str, *, endpoint: str, region: str, style: OssStyle) -> str:
    """Return the variant of a code with several meanings, as named in the rows of `errors.oss`."""
    if code in ("AccessDenied", "PermanentRedirect") and endpoint:
        return "other region" if region else "other endpoint"
    if code == "AccessDenied" and "not belong to you" in message:
        return "foreign"
    # OSS computes the signature for the bucket to which the domain is bound.
    return "custom domain" if code == "SignatureDoesNotMatch" and style is OssStyle.CNAME else ""
