"""Adapters for a sandbox, and small servers that fail in ways that a sandbox does not."""

import fcntl
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aliyun_import.cloud.credentials.source import CredentialsSource, load_credentials
from aliyun_import.cloud.ecs import EcsImages
from aliyun_import.cloud.ecs_instances import EcsInstances
from aliyun_import.cloud.endpoints import Endpoints, resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.cloud.ram import RamRoles, StsIdentity
from aliyun_import.cloud.transport.settings import Timeouts
from aliyun_import.model.boot import InstanceCall
from aliyun_import.model.request import DiskFormat, DiskMapping, ImportCall, ImportRequest
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.server import Sandbox

BUCKET = "disks"
ROLE = "AliyunECSImageImportDefaultRole"
NOWHERE = Path("/nonexistent")
QUICK = Timeouts(connect_s=2, read_s=2, part_s=2)


def endpoints(sandbox: Sandbox, region: str = "cn-hangzhou") -> Endpoints:
    """Return endpoints that are all the sandbox."""
    return resolve_endpoints(region, endpoint_url=sandbox.url)


def credentials(sandbox: Sandbox, key: AccessKey | None = None) -> CredentialsSource:
    """Return the sandbox's credentials, read as from the environment."""
    return load_credentials(environment=sandbox.environment(key), home=NOWHERE)


def any_credentials() -> CredentialsSource:
    """Return credentials for servers that do not check them."""
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "key", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret"}
    return load_credentials(environment=keys, home=NOWHERE)


def store(
    sandbox: Sandbox, bucket: str = BUCKET, *, region: str = "cn-hangzhou", key: AccessKey | None = None
) -> OssStore:
    """Open a bucket without creating it."""
    return OssStore(bucket, endpoints=endpoints(sandbox, region), credentials=credentials(sandbox, key))


def made_store(sandbox: Sandbox) -> OssStore:
    """Create a bucket and open it."""
    opened = store(sandbox)
    opened.create_bucket()
    return opened


def roles(sandbox: Sandbox, key: AccessKey | None = None) -> RamRoles:
    """Open RAM."""
    return RamRoles(endpoints=endpoints(sandbox), credentials=credentials(sandbox, key))


def images(sandbox: Sandbox, *, region: str = "cn-hangzhou", key: AccessKey | None = None) -> EcsImages:
    """Open ECS."""
    return EcsImages(endpoints=endpoints(sandbox, region), credentials=credentials(sandbox, key))


def instances(sandbox: Sandbox, *, key: AccessKey | None = None) -> EcsInstances:
    """Open ECS's operations on instances."""
    return EcsInstances(endpoints=endpoints(sandbox), credentials=credentials(sandbox, key))


def identity(sandbox: Sandbox, key: AccessKey | None = None) -> StsIdentity:
    """Open STS."""
    return StsIdentity(endpoints=endpoints(sandbox), credentials=credentials(sandbox, key))


def instance_call() -> InstanceCall:
    """Make a RunInstances call."""
    return InstanceCall(
        image_id="m-1",
        instance_type="ecs.g7.large",
        vswitch_id="vsw-1",
        security_group_id="sg-1",
        disk_category="cloud_essd",
        disk_gib=20,
        released="2026-11-24T10:45:00Z",
        client_token="x",
    )


def import_call(*, name: str = "web-42", key: str = "disk.raw", dry_run: bool = False) -> ImportCall:
    """Make a small ImportImage call."""
    request = ImportRequest(
        region="cn-hangzhou", disks=(), role_name="AliyunECSImageImportDefaultRole", name=name, platform="Debian"
    )
    mapping = DiskMapping(bucket=BUCKET, key=key, format=DiskFormat.RAW, size_gib=5)
    return ImportCall(
        request=request, mappings=(mapping,), client_token=f"token-{name}", tags={"team": "web"}, dry_run=dry_run
    )


class Body:
    """A part's body that counts how often it was iterated; `fail` is raised in the middle."""

    def __init__(self, chunks: list[bytes], *, fail: Exception | None = None) -> None:
        self._chunks = chunks
        self._fail = fail
        self.iterations = 0

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def __iter__(self) -> Iterator[memoryview]:
        self.iterations += 1
        for number, chunk in enumerate(self._chunks):
            if self._fail and number:
                raise self._fail
            yield memoryview(chunk)


@contextmanager
def server(
    handle: Callable[[socket.socket], None], *, wrap: Callable[[socket.socket], socket.socket] | None = None
) -> Iterator[int]:
    """Serve connections one after the other, each by `handle`, and yield the port; `wrap` adds TLS to each."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # closed: the test is over
                return
            try:
                connection.settimeout(10)
                with wrap(connection) if wrap else connection as wrapped:
                    handle(wrapped)
            except OSError:  # the client went away, which is what some tests are about
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        # Closing alone does not wake a thread that waits in accept.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


def delivered(connection: socket.socket) -> None:
    """Wait until the other side's kernel has all that was sent; closing earlier may throw it away."""
    queued = bytearray(4)
    for _ in range(10_000):
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, queued)
        if not int.from_bytes(queued, sys.byteorder):
            return
        time.sleep(0.001)
    raise TimeoutError("the answer was not taken")


def read_head(connection: socket.socket) -> bytes:
    """Read a request up to the end of its headers, and the bytes received with it."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = connection.recv(65536)
        if not piece:
            break
        text += piece
    return text
