"""Commands `sandbox serve` and `sandbox disk`, and the sandbox of `push --sandbox`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aliyun_import.cli.params import Bytes, Command, Group, Seconds, option, panel
from aliyun_import.errors import LocalStateError, UsageError
from aliyun_import.limits import GIB

if TYPE_CHECKING:
    from aliyun_import.cloud.config import CloudConfig


@click.group(cls=Group)
def sandbox() -> None:
    """Run a local Alibaba Cloud, to try the tool without an account."""


@sandbox.command(cls=Command)
@panel(
    "Sandbox",
    option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.", show_default="a free one"),
    option(
        "--dir",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        help="Directory for the bytes of objects.",
        show_default="temporary, removed at the end",
    ),
    option("--import-time", type=Seconds(), default="2", show_default=True, help="Duration of an import."),
    option(
        "--certificate",
        type=click.Path(dir_okay=False, path_type=Path),
        help="PEM file with the certificate for https.",
        show_default="http",
    ),
    option(
        "--private-key",
        type=click.Path(dir_okay=False, path_type=Path),
        help="PEM file with the private key.",
        show_default="in --certificate",
    ),
    option("--tls", is_flag=True, help="Serve https with a certificate and an authority made in --dir."),
    option(
        "--http-port",
        type=click.IntRange(0, 65535),
        help="Second port, for plain http beside https.",
        show_default="none",
    ),
)
def serve(
    *,
    host: str,
    port: int,
    directory: Path | None,
    import_time: float,
    certificate: Path | None,
    private_key: Path | None,
    tls: bool,
    http_port: int | None,
) -> None:
    """Serve until stopped, and print the environment variables that lead to the sandbox.

    In a shell: run it in the background with its output in a file, and source that file. Whoever reaches the port can
    use it; without --host it listens on this machine only.
    """
    import shlex
    import threading

    from aliyun_import.cli.context import cancel_on_signals
    from aliyun_import.sandbox.core.state import Settings
    from aliyun_import.sandbox.server import Sandbox

    if tls and certificate:
        raise click.UsageError("--tls makes a certificate, and --certificate names one: pass one of them.")
    stop = threading.Event()
    with _directory(directory) as objects_dir, cancel_on_signals(stop):
        try:
            running = Sandbox.start(
                objects_dir,
                host=host,
                port=port,
                settings=Settings(import_s=import_time),
                certificate=certificate,
                private_key=private_key,
                own_tls=tls,
                http_port=http_port,
            )
        except OSError as error:
            raise LocalStateError(
                f"The sandbox can't listen on {host} port {port}.",
                code="sandbox-not-started",
                cause=f"{error.strerror or error}",
                remedy="Pass another --port (0 takes a free one), or check --certificate and --private-key.",
            ) from error
        with running:
            for name, value in running.environment().items():
                click.echo(f"export {name}={shlex.quote(value)}")
            click.echo(f"# sandbox, not Alibaba Cloud: {running.url}, objects in {objects_dir}; stop it with Ctrl-C")
            stop.wait()


@sandbox.command(cls=Command)
@click.argument("out", type=click.Path(path_type=Path))
@panel(
    "Disk", option("--size", type=Bytes(), default="5G", show_default=True, help="Virtual size; the file is sparse.")
)
def disk(out: Path, *, size: int) -> None:
    """Write a RAW sample disk to OUT: a partition table, and a boot sector that prints a line."""
    from aliyun_import.sandbox.sample import write_sample_disk

    if out.exists() and not _is_sample(out, size):
        raise UsageError(
            f"{out} exists and is not a sample disk of that size.",
            code="file-exists",
            remedy=f"Remove {out}, or pass another file.",
        )
    if size % GIB:
        raise UsageError(
            "The size of a disk is whole GiB.", code="size-not-whole", remedy="Pass --size 5G, for example."
        )
    try:
        write_sample_disk(out, size_bytes=size)
    except OSError as error:
        raise LocalStateError(
            f"{out} can't be written.",
            code="file-unwritable",
            cause=f"{error.strerror or error}",
            remedy="Pass a file in a directory that can be written to.",
        ) from error
    click.echo(str(out))


def _is_sample(path: Path, size: int) -> bool:
    # A sample disk has the same bytes every time, so an identical file may be written again. Everything else, a sample
    # disk that somebody has worked on included, is not touched.
    from aliyun_import.sandbox.sample import is_sample_disk

    return is_sample_disk(path, size_bytes=size)


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="aliyun-import-sandbox-") as place:
        yield Path(place)


@contextmanager
def temporary_sandbox(region: str | None) -> "Iterator[tuple[CloudConfig, Path]]":
    """Yield the configuration of a new sandbox, and a directory for journals; both end with the block.

    The configuration holds all that leads to the sandbox, and nothing of the environment.
    """
    from aliyun_import.cloud.config import CloudConfig
    from aliyun_import.cloud.credentials.source import Credentials
    from aliyun_import.sandbox.core.state import Settings
    from aliyun_import.sandbox.server import Sandbox

    settings = Settings(region=region or Settings.region)
    with (
        tempfile.TemporaryDirectory(prefix="aliyun-import-sandbox-") as directory,
        Sandbox.start(Path(directory) / "objects", settings=settings) as running,
    ):
        key = running.access_key
        config = CloudConfig(
            region=settings.region,
            endpoint_url=running.url,
            credentials=Credentials(key_id=key.id, secret=key.secret, token=key.token),
        )
        yield config, Path(directory) / "state"
