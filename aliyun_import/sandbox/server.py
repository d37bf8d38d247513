"""This file starts and stops a sandbox: the one door for the command line and for tests.

    with Sandbox.start(directory) as sandbox:
        os.environ.update(sandbox.environment())     # endpoint, region and keys for aliyun-import
        ...
        sandbox.clock.advance(3600)                  # an hour passes in the cloud
        sandbox.faults.add(Fault(operation="UploadPart", part=3, status=500, code="InternalError"))
        sandbox.requests.entries("UploadPart")       # what was asked, with statuses and bytes

`sandbox.state` has the rest: accounts' keys and their rights, settings, and what each service holds. The directory
receives the bytes of objects; the rest lives in memory and ends with the sandbox.
"""

import ssl
from pathlib import Path
from types import TracebackType

from aliyun_import.sandbox.core.clock import Clock
from aliyun_import.sandbox.core.faults import Faults
from aliyun_import.sandbox.core.http_server import WireServer
from aliyun_import.sandbox.core.request_log import RequestLog
from aliyun_import.sandbox.core.router import Gateway
from aliyun_import.sandbox.core.state import DEFAULT_ACCOUNT_ID, DEFAULT_KEY_ID, AccessKey, Settings, State


class Sandbox:
    """A running sandbox. It serves from `start` until `stop`, on threads of its own."""

    def __init__(self, state: State, *, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.state = state
        self._gateway = Gateway(state)
        self._server = WireServer((host, port), self._gateway.serve, tls=tls)
        self._host = host
        self._scheme = "http" if tls is None else "https"

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: Settings | None = None,
        clock: Clock | None = None,
        certificate: Path | None = None,
        private_key: Path | None = None,
    ) -> "Sandbox":
        """Start a sandbox that keeps objects in a directory (made when missing); port 0 takes a free one.

        With a certificate (PEM, and its private key unless that is in the same file) it speaks https instead of http.
        Raises OSError when the port is taken or the directory cannot be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        tls = None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate, private_key)
        return cls(State(directory, settings=settings, clock=clock), host=host, port=port, tls=tls)

    @property
    def port(self) -> int:
        """Give the port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Give the endpoint for all services; for a sandbox on all addresses, the one on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def clock(self) -> Clock:
        """Give the cloud's clock."""
        return self.state.clock

    @property
    def faults(self) -> Faults:
        """Give the faults in force."""
        return self.state.faults

    @property
    def requests(self) -> RequestLog:
        """Give the log of what was asked."""
        return self.state.requests

    @property
    def account_id(self) -> str:
        """Give the id of the default account."""
        return DEFAULT_ACCOUNT_ID

    @property
    def access_key(self) -> AccessKey:
        """Give the default account's key."""
        key = self.state.key(DEFAULT_KEY_ID)
        if key is None:
            raise LookupError("the default key was removed")
        return key

    def environment(self, key: AccessKey | None = None) -> dict[str, str]:
        """Give the variables that lead aliyun-import (and the vendor's credential chain) to this sandbox."""
        key = key or self.access_key
        variables = {
            "ALIYUN_IMPORT_ENDPOINT_URL": self.url,
            "ALIYUN_IMPORT_REGION": self.state.settings.region,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret,
        }
        return variables if key.token is None else {**variables, "ALIBABA_CLOUD_SECURITY_TOKEN": key.token}

    def stop(self) -> None:
        """Stop serving and drop every connection; the directory stays."""
        self._gateway.stopping.set()
        self._server.stop()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
