"""Running sandbox: start, stop, and access for tests.

    with Sandbox.start(directory) as sandbox:
        os.environ.update(sandbox.environment())     # endpoint, region and keys for aliyun-import
        ...
        sandbox.clock.advance(3600)                  # move the time of the sandbox forward by an hour
        sandbox.faults.add(Fault(operation="UploadPart", part=3, status=500, code="InternalError"))
        sandbox.requests.entries("UploadPart")       # the requests, with statuses and bytes

`sandbox.state` holds the keys of the accounts with their permissions, the settings, and the state of each service. The
bytes of objects are stored in the directory. All other state is in memory, unless the sandbox is started with `keep`.
"""

import contextlib
import os
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType

from aliyun_import.sandbox.core.faults import Faults
from aliyun_import.sandbox.core.http_server import WireServer
from aliyun_import.sandbox.core.request_log import RequestLog
from aliyun_import.sandbox.core.router import Router
from aliyun_import.sandbox.core.state import (
    DEFAULT_ACCOUNT_ID,
    DEFAULT_KEY_ID,
    AccessKey,
    Clock,
    Settings,
    State,
)
from aliyun_import.sandbox.core.store import Store
from aliyun_import.sandbox.directory import STATE, TLS, DirectoryLock, ServerInfo
from aliyun_import.sandbox.guests.host import Host

# Environment variables from which the vendor's tools and SDKs, Packer and Terraform read keys, profiles, regions and
# endpoints.
_PREFIXES = ("ALIBABA_CLOUD_", "ALIBABACLOUD_", "ALICLOUD_", "ALIYUN_ACCESS_KEY", "OSS_", "PKR_VAR_ALICLOUD_")
_NAMES = frozenset({"ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN", "STS_TOKEN", "REGION_ID"})
_NO_PROXY = ("127.0.0.1", "::1", "localhost")


class Sandbox:
    """Running sandbox. It serves requests on its own threads, from `start` to `stop`."""

    def __init__(
        self,
        state: State,
        *,
        host: str,
        port: int,
        http_port: int | None = None,
        tls: ssl.SSLContext | None,
        authority: Path | None = None,
    ) -> None:
        self.state = state
        self.authority = authority
        """Certificate of the authority for clients to trust, if the sandbox created one."""
        self._router = Router(state)
        self._server = WireServer((host, port), self._router.serve, tls=tls)
        self._plain: WireServer | None = None
        if http_port is not None:
            try:
                self._plain = WireServer((host, http_port), self._router.serve, tls=None)
            except OSError:
                self._server.stop()
                raise
        self._host = host
        self._scheme = "http" if tls is None else "https"
        self._resources = contextlib.ExitStack()  # closed by `stop`

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
        keep: bool = False,
        own_tls: bool = False,
        http_port: int | None = None,
    ) -> "Sandbox":
        """Start a sandbox that stores objects in a directory (created if missing). Port 0 selects a free port.

        With `keep`, all state is stored in the directory, and the next sandbox there continues with it, also after a
        kill. Without it, the sandbox starts empty and does not change existing files. With a certificate (PEM; the
        private key may be in the same file), it serves https instead of http. With `own_tls`, it creates the
        certificate and the authority for clients to trust (`authority`). `http_port` is a second port, for plain http.

        Raises OSError if a port is in use or the directory is not writable, DirectoryInUseError and
        ForeignDirectoryError (both OSError), and UnreadableStateError.
        """
        directory.mkdir(parents=True, exist_ok=True)
        tls, authority = None, None
        if certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate, private_key)
        with contextlib.ExitStack() as resources:
            store = None
            lock = None
            if keep:
                lock = resources.enter_context(DirectoryLock(directory))
                store = resources.enter_context(contextlib.closing(Store(directory / STATE)))
            if own_tls:
                from aliyun_import.sandbox.tls import server_context

                tls, authority = server_context(directory / TLS, host)
            state = State(directory, settings=settings, clock=clock, store=store)
            sandbox = cls(state, host=host, port=port, http_port=http_port, tls=tls, authority=authority)
            sandbox._resources = resources.pop_all()
        if lock is not None:
            lock.write_info(ServerInfo(pid=os.getpid(), url=sandbox.url, environment=sandbox.environment()))
        return sandbox

    @property
    def port(self) -> int:
        """Return the port."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Return the endpoint of all services. A sandbox on all addresses returns the loopback address."""
        host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"{self._scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def clock(self) -> Clock:
        """Return the clock of the sandbox."""
        return self.state.clock

    @property
    def faults(self) -> Faults:
        """Return the faults."""
        return self.state.faults

    @property
    def requests(self) -> RequestLog:
        """Return the log of requests."""
        return self.state.requests

    @property
    def account_id(self) -> str:
        """Return the id of the default account."""
        return DEFAULT_ACCOUNT_ID

    @property
    def access_key(self) -> AccessKey:
        """Return the key of the default account. Raises LookupError if it was removed."""
        key = self.state.key(DEFAULT_KEY_ID)
        if key is None:
            raise LookupError("the default key was removed")
        return key

    def environment(self, key: AccessKey | None = None) -> dict[str, str]:
        """Return the variables that configure aliyun-import and the vendor's SDKs for this sandbox."""
        key = key or self.access_key
        variables = {
            "ALIYUN_IMPORT_ENDPOINT_URL": self.url,
            "ALIYUN_IMPORT_REGION": self.state.settings.region,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": key.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret,
        }
        if self.authority is not None:
            variables["ALIBABA_CLOUD_CA_BUNDLE"] = str(self.authority.resolve())
        return variables if key.token is None else {**variables, "ALIBABA_CLOUD_SECURITY_TOKEN": key.token}

    def stop(self) -> None:
        """Stop the server and close every connection. The directory is not removed."""
        self._router.stopping.set()
        self._server.stop()
        if self._plain is not None:
            self._plain.stop()
        self.state.part(Host).stop()
        self.state.commit()
        self._resources.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def isolated_environment(
    sandbox: Sandbox, outer: Mapping[str, str], *, journals: Path, removed_prefixes: Collection[str]
) -> dict[str, str]:
    """Return `outer` without its keys, profiles and endpoints, and with those of the sandbox.

    `removed_prefixes` are prefixes of further variables to remove. Files are not hidden: the result turns off the
    default profile, the credentials file of the home directory, and the metadata service.
    """
    kept = {
        name: value
        for name, value in outer.items()
        if name not in _NAMES and not name.upper().startswith((*_PREFIXES, *removed_prefixes))
    }
    region = outer.get("ALIYUN_IMPORT_REGION", sandbox.state.settings.region)
    passed = [value for name in ("NO_PROXY", "no_proxy") if (value := outer.get(name))]
    no_proxy = ",".join([*passed[:1], *_NO_PROXY])
    return {
        **kept,
        **sandbox.environment(),
        "ALIYUN_IMPORT_REGION": region,
        "ALIBABA_CLOUD_REGION_ID": region,
        "ALIYUN_IMPORT_STATE_DIR": str(journals),
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        "ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "true",
        "ALIBABA_CLOUD_IGNORE_PROFILE": "TRUE",
        "ALIBABA_CLOUD_CREDENTIALS_FILE": str(journals / "no-credentials.ini"),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }
