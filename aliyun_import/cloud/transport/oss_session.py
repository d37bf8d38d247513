"""This file opens the connections to OSS: how many, through which proxy, trusting whom, and listening while sending."""

import ssl
from typing import Any

import oss2
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from aliyun_import.cloud.transport.config import ca_bundle, proxies_for
from aliyun_import.cloud.transport.logs import shut_vendor_logs
from aliyun_import.cloud.transport.oss_line import Line, Request


def open_session(url: str, *, connections: int) -> oss2.Session | Line:
    """Make what requests to one endpoint are sent with, by up to `connections` threads at once."""
    shut_vendor_logs()
    proxies = proxies_for(url)
    if not any(proxies.values()):
        return Line(url)
    session = _Session(pool_size=connections)
    inner = session.session
    # Decided once and for both SDKs. trust_env would also put an Authorization from ~/.netrc over the signature.
    inner.trust_env = False
    inner.proxies = proxies
    inner.verify = ca_bundle() or True
    # OSS answers 403 where others redirect; a redirect comes from something that stands in between.
    inner.max_redirects = 0
    inner.mount("https://", _Adapter(pool_connections=1, pool_maxsize=connections))
    return session


class _Session(oss2.Session):  # type: ignore[misc]
    """oss2's own session, where a part has as long for each of its chunks as for its answer."""

    def do_request(self, req: Request, timeout: tuple[float, float]) -> oss2.http.Response:
        """Send a request. requests bounds each send of a body by what it is given for connecting."""
        connect_s, wait_s = timeout
        is_small = req.data is None or isinstance(req.data, bytes)
        return super().do_request(req, (connect_s if is_small else wait_s, wait_s))


class _Connection(HTTPSConnection):
    """A connection that still reads the answer when the server closed while a body was being sent.

    urllib3 does so for a broken pipe; over TLS the same event is an SSLEOFError, which it takes for the end. What OSS
    said (the token has expired, please send less) would be lost, and the part sent again for nothing.
    """

    def send(self, data: Any) -> None:  # noqa: ANN401 -- urllib3's own signature
        try:
            super().send(data)
        except ssl.SSLEOFError as error:
            raise BrokenPipeError("The server closed the connection while it was sent a body.") from error


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    """requests' own adapter, with connections that listen."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*arguments, **options)
        classes = self.poolmanager.pool_classes_by_scheme
        self.poolmanager.pool_classes_by_scheme = {**classes, "https": _Pool}
