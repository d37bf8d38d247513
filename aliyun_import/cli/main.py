"""Command group, and the conversion of every failure into an exit code."""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from aliyun_import import __version__
from aliyun_import.cli.groups import Group
from aliyun_import.cli.streams import GuardedStream, guard_streams, release_streams
from aliyun_import.errors import AliyunImportError, Exit, Interrupted, LocalStateError, UsageError

# Name -> summary: the first sentence of its help, which a test compares. The help of the program imports no command.
# The command `name` is the attribute `name` of the module `name` in `commands`, imported when it is called.
COMMANDS = {
    "push": "Upload DISK, import it as a custom image, and print the image id.",
    "check": "Inspect each of DISKS as the system disk of an image, and list the findings.",
    "image": "Test custom images.",
    "task": "List, show, follow or cancel import tasks.",
    "role": "Inspect or create the RAM role that ECS uses to read your bucket; print policies.",
    "cleanup": "List, and remove, what earlier pushes left: uploads, objects, manifests, boot tests, replaced images.",
    "pushes": "List the pushes of this machine and the state of each.",
    "sandbox": "Run a local Alibaba Cloud, to try the tool without an account.",
    "config": "Show the effective settings and where each comes from.",
    "doctor": "Test what a push needs: credentials, clock, endpoints, region, bucket, permissions, quotas, role.",
    "docs": "Print a page of the documentation, or list the pages.",
    "completion": "Print the script that completes commands, options, files, regions, platforms, profiles and checks "
    "in SHELL.",
}
# Name of a hidden command -> the module that defines it.
ALIASES = {"leftovers": "cleanup"}

# Length of the end of a lost result that is repeated on stderr. A JSON document with the findings of 17 disks is
# shorter.
_MAX_REPEATED_CHARS = 64 << 10


class LazyGroup(Group):
    """Group whose commands are imported on demand, so that one command does not import the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, those of a first push before the others."""
        del ctx
        return list(COMMANDS)

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return each command and its summary, without its module."""
        del ctx
        return list(COMMANDS.items())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS and cmd_name not in ALIASES:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"{__package__}.commands.{ALIASES.get(cmd_name, cmd_name)}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 -- our own table
        return command


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", message="aliyun-import %(version)s")
def app() -> None:
    """Upload a local disk image and import it as an Alibaba Cloud custom image.

    \b
    aliyun-import check disk.raw                      inspect a disk, offline
    aliyun-import push disk.raw --region cn-hangzhou  make an image of it
    aliyun-import push disk.raw --sandbox             the same in a local sandbox
    aliyun-import docs quickstart                     the documentation, offline

    Each option of a command can be set as ALIYUN_IMPORT_<OPTION>. Exit codes: 0 done, 1 bug, 2 usage, 3 disk, 4
    credentials or permissions, 5 request refused, 6 transient failure, 7 import failed, 8 still running, 9 local
    state, 130 interrupted.
    """  # noqa: D301 -- \b keeps the lines of the examples apart


@app.command("help", hidden=True)
@click.argument("names", nargs=-1)
@click.pass_context
def help_(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Print the help of a command."""
    assert ctx.parent is not None  # noqa: S101 -- a command of the group
    command, context = ctx.parent.command, ctx.parent
    for name in names:
        found = command.get_command(context, name) if isinstance(command, click.Group) else None
        if found is None:
            context.fail(f"There is no command {' '.join(names)!r}.")
        command, context = found, click.Context(found, info_name=name, parent=context)
    click.echo(command.get_help(context))


def run() -> NoReturn:
    """Run the command line and exit with its code; raises only SystemExit."""
    guard_streams()
    code = _run()
    unwritten = release_streams()
    if unwritten is not None:
        _write_failure(_unwritable(unwritten), output="human")
        release_streams()
        code = code or Exit.LOCAL_STATE
    sys.exit(code)


def _run() -> int:
    try:
        outcome = app(prog_name="aliyun-import", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort as stop:
        # click turns any EOFError into Abort, as if a prompt had ended. No command uses a prompt of click.
        return _fail(bug_report(stop.__cause__) if isinstance(stop.__cause__, EOFError) else _interrupted())
    except click.ClickException as error:
        return _fail(_usage(error))
    except AliyunImportError as error:
        return _fail(error)
    except BrokenPipeError:  # from click itself, where it bypasses the guarded stream
        return Exit.DONE
    except Exception as error:  # noqa: BLE001 -- every other exception is reported as a bug
        from aliyun_import.system_limits import file_error, limit_error

        return _fail(limit_error(error) or file_error(error) or bug_report(error))
    return outcome if isinstance(outcome, int) else Exit.DONE


def _fail(error: AliyunImportError) -> int:
    _write_failure(error, output=requested_output(sys.argv[1:], os.environ))
    return error.exit_code


def _write_failure(error: AliyunImportError, *, output: str) -> None:
    """Write an error that is raised outside a renderer: of the command line, of stdout, or a bug."""
    from aliyun_import.cli.render.renderer import choose_renderer
    from aliyun_import.cli.render.result import Verbosity

    renderer = choose_renderer(output if output in {"json", "jsonl"} else "plain", Verbosity(0))
    renderer.failure(error)


def requested_output(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return --output of a command line that may be invalid, so that its error has the format that a script reads."""
    for position, argument in enumerate(arguments):
        if argument.startswith("--output="):
            return argument.partition("=")[2]
        if argument == "--output" and position + 1 < len(arguments):
            return arguments[position + 1]
    from aliyun_import.cli.settings import output_in_files

    return environment.get("ALIYUN_IMPORT_OUTPUT") or output_in_files() or "human"


def _usage(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "aliyun-import"
    if path.count(" ") == 0:
        path = " ".join(["aliyun-import", *_commands_in(sys.argv[1:])])
    return UsageError(
        error.format_message(), code="usage", remedy=f"Run `{path} --help` for its arguments and options."
    )


def _commands_in(arguments: Sequence[str]) -> list[str]:
    """Return the names of the commands that a command line begins with; errors of click's parser lack them."""
    names: list[str] = []
    group: click.Command | None = app
    for argument in arguments:
        group = group.get_command(click.Context(group), argument) if isinstance(group, click.Group) else None
        if group is None:
            break
        names.append(argument)
    return names


def _interrupted() -> AliyunImportError:
    return Interrupted("Stopped.", code="interrupted", remedy="Run the same command again to resume.")


def _unwritable(stdout: GuardedStream) -> AliyunImportError:
    reason, result = (
        getattr(stdout.error, "strerror", None) or stdout.error,
        stdout.lost[-_MAX_REPEATED_CHARS:].rstrip(),
    )
    return LocalStateError(
        f"The result could not be written to stdout: {reason}.",
        code="stdout-unwritable",
        cause=f"The command itself ended; this is its result:\n{result}" if result else None,
        remedy="Free space or redirect stdout to another file; the command need not be run again.",
    )


def bug_report(error: Exception) -> AliyunImportError:
    """Return the report of an unexpected error: where it was raised, without values, which could hold a secret."""
    import platform
    import traceback

    frames = traceback.extract_tb(error.__traceback__)[-5:]
    where = " < ".join(
        f"{frame.name} ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in reversed(frames)
    )
    return AliyunImportError(
        "A bug in aliyun-import stopped the run.",
        code="bug",
        cause=f"{type(error).__name__} in {where}",
        remedy="Report it with this text. What is in OSS is safe, and the same command may resume.",
        details={
            "version": __version__,
            "python": platform.python_version(),
            # Not platform.platform(), which starts a process, and fails where memory or processes are short.
            "platform": " ".join(os.uname()[index] for index in (0, 2, 4)),
            "where": where,
        },
    )
