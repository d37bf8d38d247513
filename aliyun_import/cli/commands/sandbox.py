"""This file is the command `sandbox`: a local Alibaba Cloud to try things on, and a disk to try them with."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from aliyun_import.cli.params import Bytes, Seconds, option
from aliyun_import.errors import LocalStateError, UsageError
from aliyun_import.limits import GIB


@click.group()
def sandbox() -> None:
    """Try things without an account, in a local Alibaba Cloud."""


@sandbox.command()
@option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on. Else a free one.")
@option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the objects' bytes go. Else a temporary directory, removed at the end.",
)
@option("--import-time", type=Seconds(), default="2", show_default=True, help="How long an import takes.")
@option("--certificate", type=click.Path(dir_okay=False, path_type=Path), help="PEM file: speak https with it.")
@option("--private-key", type=click.Path(dir_okay=False, path_type=Path), help="PEM file, if not in the certificate's.")
def serve(
    *,
    host: str,
    port: int,
    directory: Path | None,
    import_time: float,
    certificate: Path | None,
    private_key: Path | None,
) -> None:
    """Serve until stopped, and print the environment to export.

    In a shell: run it in the background with its output in a file, and source that file. Whoever reaches the port can
    use it: it listens on this machine alone unless --host says otherwise.
    """
    import shlex
    import threading

    from aliyun_import.cli.signals import stop_on_signals
    from aliyun_import.sandbox.core.state import Settings
    from aliyun_import.sandbox.server import Sandbox

    stop = threading.Event()
    with _directory(directory) as place, stop_on_signals(stop):
        try:
            running = Sandbox.start(
                place,
                host=host,
                port=port,
                settings=Settings(import_s=import_time),
                certificate=certificate,
                private_key=private_key,
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
            click.echo(f"# sandbox, not Alibaba Cloud: {running.url}, objects in {place}; stop it with Ctrl-C")
            stop.wait()


@sandbox.command()
@click.argument("out", type=click.Path(path_type=Path))
@option("--size", type=Bytes(), default="5G", show_default=True, help="Virtual size; the file is sparse.")
def disk(out: Path, *, size: int) -> None:
    """Write a small RAW disk to OUT: a partition table, and a boot sector that prints a line."""
    from aliyun_import.sandbox.sample import write_sample_disk

    if out.exists() and not _is_sample(out, size):
        raise UsageError(
            f"{out} is there already, and is no sample disk of that size.",
            code="file-exists",
            remedy=f"Remove {out}, or name another file.",
        )
    if size % GIB:
        raise UsageError("A disk's size is whole GiB.", code="size-not-whole", remedy="Pass --size 5G, for example.")
    try:
        write_sample_disk(out, size_bytes=size)
    except OSError as error:
        raise LocalStateError(
            f"{out} can't be written.",
            code="file-unwritable",
            cause=f"{error.strerror or error}",
            remedy="Name a file in a directory that can be written to.",
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
def borrowed_sandbox(given: dict[str, Any]) -> Iterator[None]:
    """Have a sandbox for the length of a command, and point the command's settings at it.

    Its journals live and die with it: what was pushed into one sandbox means nothing to the next.
    """
    from aliyun_import.sandbox.core.state import Settings
    from aliyun_import.sandbox.server import Sandbox

    with tempfile.TemporaryDirectory(prefix="aliyun-import-sandbox-") as place:
        settings = Settings(region=given["region"] or Settings.region)
        with Sandbox.start(Path(place) / "objects", settings=settings) as running:
            key = running.access_key
            given.update(
                endpoint_url=running.url,
                static_key=(key.id, key.secret),
                state_dir=Path(place) / "state",
                overrides={},
            )
            yield
