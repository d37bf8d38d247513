"""Commands of `sandbox`, and the sandbox of `push --sandbox`."""

import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.groups import Group
from aliyun_import.cli.params import Bytes, Command, Number, Seconds, option, options_as_dataclass, panel
from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import LocalStateError, UsageError
from aliyun_import.limits import GIB
from aliyun_import.user_directories import VARIABLE_PREFIX

if TYPE_CHECKING:
    from aliyun_import.cloud.config import CloudConfig
    from aliyun_import.sandbox.server import Sandbox

STOP_S = 20.0


@click.group(cls=Group)
def sandbox() -> None:
    """Run a local Alibaba Cloud, to try the tool without an account."""


_new_option = option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory that keeps all state: the next sandbox there continues with it.",
    show_default="temporary, removed at the end",
)
_existing_option = option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the sandbox.",
    show_default="that of serve --background",
)
_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_account_options = panel(
    "Account",
    option("--import-time", type=Seconds(), help="Duration of an import.", show_default="2s"),
    option("--account", type=_file, help="JSON file with settings, keys, faults and time."),
    option("--policy", type=_file, help="JSON file with the RAM policy of the printed key.", show_default="everything"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """Values of the options that describe the account."""

    import_time: float | None = None
    account: Path | None = None
    policy: Path | None = None


@sandbox.command(cls=Command)
@panel(
    "Sandbox",
    option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    option("--port", type=Number(0, 65535), default=0, help="Port to listen on.", show_default="a free one"),
    _new_option,
    option("--background", is_flag=True, help="Serve in the background, until `sandbox stop`."),
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
        type=Number(0, 65535),
        help="Second port, for plain http beside https.",
        show_default="none",
    ),
)
@options_as_dataclass("account_options", "aliyun_import.cli.commands.sandbox:AccountOptions", _account_options)
def serve(
    *,
    directory: Path | None,
    background: bool,
    account_options: AccountOptions,
    tls: bool,
    **options: Any,  # noqa: ANN401 -- passed to Sandbox.start
) -> None:
    """Serve until stopped, and print the environment variables that point to the sandbox.

    `sandbox run` starts a sandbox for one command. Everyone who can reach the port can use the sandbox; without --host
    it listens on this machine only.
    """
    import threading

    from aliyun_import.cli.context import cancel_on_signals

    if tls and options["certificate"]:
        raise click.UsageError("--tls makes a certificate, and --certificate names one: pass one of them.")
    if background:
        _serve_in_background(directory or _default_directory())
        return
    stop = threading.Event()
    with (
        cancel_on_signals(stop),
        _directory(directory) as path,
        _start(path, account_options, keep=directory is not None, own_tls=tls, **options) as running,
    ):
        _show(running.environment(), running.url, f"state in {path}" if directory else f"objects in {path}")
        stop.wait()


def _show(environment: Mapping[str, str], url: str, more: str) -> None:
    for name, value in environment.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"# sandbox, not Alibaba Cloud: {url}, console {url}/_sandbox/, {more}")


@sandbox.command(cls=Command)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
@panel("Sandbox", _new_option)
@options_as_dataclass("account_options", "aliyun_import.cli.commands.sandbox:AccountOptions", _account_options)
@click.pass_context
def run(
    context: click.Context, *, command: tuple[str, ...], directory: Path | None, account_options: AccountOptions
) -> None:
    """Run COMMAND with a new sandbox, and exit with its exit code.

    The environment of the command points to the sandbox, and has no other credentials or endpoints. The sandbox ends
    with the command.

    \b
    aliyun-import sandbox run -- aliyun-import push disk.raw
    aliyun-import sandbox run --policy policy.json -- ./runbook.sh
    """  # noqa: D301 -- \b keeps the lines of the examples apart
    from aliyun_import.cli import processes
    from aliyun_import.cli.settings import TARGET_OPTIONS
    from aliyun_import.sandbox.directory import JOURNALS
    from aliyun_import.sandbox.server import isolated_environment

    removed = [f"{VARIABLE_PREFIX}{name.upper()}" for name in (*TARGET_OPTIONS, "sandbox")]
    with _directory(directory) as path, _start(path, account_options, keep=directory is not None) as running:
        environment = isolated_environment(running, os.environ, journals=path / JOURNALS, removed_prefixes=removed)
        code = processes.run(command, environment)
    context.exit(code)


@sandbox.command(cls=Command)
@panel("Sandbox", _existing_option)
def status(*, directory: Path | None) -> None:
    """Print the environment variables that point to the running sandbox; exit code 9 if none runs."""
    from aliyun_import.sandbox.directory import server_info

    path = directory or _default_directory()
    with _translate_errors(path, directory):
        found = server_info(path)
    if found is None:
        raise LocalStateError(
            f"No sandbox serves {path}.",
            code=ErrorCode.SANDBOX_NOT_RUNNING,
            remedy=f"Run `aliyun-import sandbox serve --background{_dir_option(directory)}`.",
        )
    _show(found.environment, found.url, f"process {found.pid}, state in {path}")


@sandbox.command(cls=Command)
@panel("Sandbox", _existing_option)
def stop(*, directory: Path | None) -> None:
    """Stop the sandbox that runs in the background; its state stays."""
    from aliyun_import.sandbox import directory as sandbox_directory

    path = directory or _default_directory()
    with _translate_errors(path, directory):
        stopped = sandbox_directory.stop(path, within_s=STOP_S)
    click.echo(f"{'Stopped the sandbox' if stopped else 'No sandbox runs'} in {path}.")


@sandbox.command(cls=Command)
@panel("Sandbox", _existing_option)
def reset(*, directory: Path | None) -> None:
    """Remove all state of a sandbox: buckets, objects, images, tasks, roles, keys, settings, journals."""
    from aliyun_import.sandbox import directory as sandbox_directory

    path = directory or _default_directory()
    with _translate_errors(path, directory):
        sandbox_directory.reset(path)
    click.echo(f"Removed the state of the sandbox in {path}.")


@sandbox.command(cls=Command)
@click.argument("out", type=click.Path(path_type=Path))
@panel(
    "Disk", option("--size", type=Bytes(), default="5G", show_default=True, help="Virtual size; the file is sparse.")
)
def disk(out: Path, *, size: int) -> None:
    """Write a RAW sample disk to OUT: files of a Linux system for `check`, and a boot sector that prints a line."""
    from aliyun_import.sandbox.sample import has_boot_record, write_sample_disk

    if out.exists() and not _is_sample(out, size):
        was = "is a sample disk that was changed since" if has_boot_record(out, size_bytes=size) else "exists"
        raise UsageError(
            f"{out} {was}; it is not overwritten.",
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
    # A sample disk always has the same bytes, so an identical file may be written again. Any other file is not
    # overwritten, also a sample disk that was changed.
    from aliyun_import.sandbox.sample import is_sample_disk

    return is_sample_disk(path, size_bytes=size)


@contextmanager
def _start(
    directory: Path,
    account_options: AccountOptions,
    *,
    keep: bool,
    **options: Any,  # noqa: ANN401 -- passed to Sandbox.start
) -> Iterator["Sandbox"]:
    """Start a sandbox and configure its account. Raises LocalStateError if it can't start."""
    from aliyun_import.sandbox.core.store import UnreadableStateError
    from aliyun_import.sandbox.directory import DirectoryInUseError, ForeignDirectoryError
    from aliyun_import.sandbox.server import Sandbox

    what = f"No sandbox can start in {directory}."
    try:
        running = Sandbox.start(directory, keep=keep, **options)
    except DirectoryInUseError as error:
        raise _in_use(directory, directory, error) from error
    except ForeignDirectoryError as error:
        raise _not_started(what, error, "Pass a new or an empty directory as --dir.") from error
    except UnreadableStateError as error:
        raise _not_started(what, error, f"Run `aliyun-import sandbox reset{_dir_option(directory)}`.") from error
    except OSError as error:
        what = f"The sandbox can't listen on {options.get('host', '127.0.0.1')} port {options.get('port', 0)}."
        remedy = "Pass another --port (0 takes a free one), or check --certificate, --private-key and --dir."
        raise _not_started(what, error, remedy) from error
    with running:
        _apply(running, account_options)
        yield running


def _apply(running: "Sandbox", options: AccountOptions) -> None:
    """Configure the account of a sandbox. Raises UsageError for an invalid file."""
    from aliyun_import.sandbox.control import account
    from aliyun_import.sandbox.core.router import OPERATIONS

    if options.import_time is not None:
        running.state.configure(import_s=options.import_time)
    for path, is_policy in ((options.account, False), (options.policy, True)):
        if path is None:
            continue
        try:
            document = json.loads(path.read_bytes())
            if is_policy:
                document = {
                    "keys": [{"id": running.access_key.id, "principal": "user/sandbox", "policies": [document]}]
                }
            account.apply(running.state, document, operations=OPERATIONS)
        except (ValueError, OSError, RecursionError) as error:
            raise UsageError(
                f"The sandbox does not accept {path}.",
                code=ErrorCode.CONFIG_INVALID,
                cause=str(error),
                remedy=f"Correct {path}; `aliyun-import docs sandbox` describes it.",
            ) from error
    running.state.commit()


def _serve_in_background(path: Path) -> None:
    """Start `serve` in another process, and print its environment variables once it listens."""
    from aliyun_import.cli import processes
    from aliyun_import.sandbox import directory as sandbox_directory

    def listens(pid: int) -> bool:
        try:
            found = sandbox_directory.server_info(path)
        except sandbox_directory.DirectoryInUseError:
            return False
        if found is None or found.pid != pid:
            return False
        _show(found.environment, found.url, f"process {found.pid}, state in {path}")
        return True

    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    context = click.get_current_context()
    words = processes.arguments_of(context, without=("directory", "background"))
    # With this variable the child would start a child in the background, and so on.
    environment = {name: value for name, value in os.environ.items() if name != f"{VARIABLE_PREFIX}BACKGROUND"}
    arguments = ("sandbox", "serve", *words, "--dir", str(path))
    context.exit(processes.start(arguments, environment, log=path / sandbox_directory.LOG, until=listens))


def _default_directory() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("aliyun-import-sandbox"))


def _dir_option(directory: Path | None) -> str:
    return f" --dir {shlex.quote(str(directory))}" if directory else ""


@contextmanager
def _translate_errors(path: Path, directory: Path | None) -> Iterator[None]:
    """Raise LocalStateError in place of the errors of access to the directory of a sandbox."""
    from aliyun_import.sandbox.directory import DirectoryInUseError

    try:
        yield
    except DirectoryInUseError as error:
        raise _in_use(path, directory, error) from error
    except OSError as error:
        what = f"The sandbox in {path} can't be reached or changed."
        raise _not_started(what, error, "Pass the --dir of a sandbox of your own.") from error


def _in_use(path: Path, directory: Path | None, error: OSError) -> LocalStateError:
    given = _dir_option(directory)
    return LocalStateError(
        f"A sandbox serves {path}.",
        code=ErrorCode.SANDBOX_IN_USE,
        cause=f"{error}.",
        remedy=f"Run `aliyun-import sandbox stop{given}`, or use it: `aliyun-import sandbox status{given}`.",
    )


def _not_started(summary: str, error: Exception, remedy: str) -> LocalStateError:
    cause = getattr(error, "strerror", None) or str(error)
    return LocalStateError(summary, code=ErrorCode.SANDBOX_NOT_STARTED, cause=f"{cause}", remedy=remedy)


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="aliyun-import-sandbox-") as path:
        yield Path(path)


@contextmanager
def temporary_sandbox(region: str | None) -> "Iterator[tuple[CloudConfig, Path]]":
    """Yield the configuration of a new sandbox, and a directory for journals; both are removed at the end.

    The configuration is complete: nothing is read from the environment.
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
