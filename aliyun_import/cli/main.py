"""This file is the way in: the group of commands, and the last resort for what no command caught."""

import importlib
import os
import sys

import click

from aliyun_import import __version__
from aliyun_import.cli.quiet_stream import guard_streams
from aliyun_import.errors import AliyunImportError, Exit, UsageError

# Name -> where it lives. A command is imported when it is called, or when the help lists it.
COMMANDS = {
    "push": "aliyun_import.cli.commands.push:push",
    "check": "aliyun_import.cli.commands.check:check",
    "task": "aliyun_import.cli.commands.task:task",
    "role": "aliyun_import.cli.commands.role:role",
    "leftovers": "aliyun_import.cli.commands.leftovers:leftovers",
    "sandbox": "aliyun_import.cli.commands.sandbox:sandbox",
}


class LazyGroup(click.Group):
    """A group whose commands are imported on demand, so that one command does not pay for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names in the order of a person's work, not of the alphabet."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 -- our own table
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="aliyun-import %(version)s")
def app() -> None:
    """Take a local disk image to a finished Alibaba Cloud custom image.

    The main job is one command:

        aliyun-import push disk.raw --region cn-hangzhou

    Every option can also be set as ALIYUN_IMPORT_<OPTION>. Exit codes: 0 done, 2 usage, 3 disk, 4 credentials or
    rights, 5 refused, 6 passing trouble, 7 import failed, 8 still running, 9 local state, 130 interrupted.
    """


def run() -> None:
    """Run the command line and leave with its exit code; never returns and never shows a traceback."""
    guard_streams()
    # A result that is read by `head` must not end in a traceback when the reader is gone.
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    sys.exit(code)


def _run() -> int:
    try:
        outcome = app(standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort as stop:
        # click takes an EOFError that was raised anywhere below for the end of a person's answer; nothing here asks.
        return _fail(_bug(stop.__cause__) if isinstance(stop.__cause__, EOFError) else _interrupted())
    except click.ClickException as error:
        return _fail(_usage(error))
    except AliyunImportError as error:
        return _fail(error)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 -- the one place: a bug must not look like anything else
        return _fail(_bug(error))
    return outcome if isinstance(outcome, int) else Exit.DONE


def _fail(error: AliyunImportError) -> int:
    from aliyun_import.cli.render.error import wanted_output, write_failure

    write_failure(error, output=wanted_output(sys.argv[1:], os.environ))
    return error.exit_code


def _usage(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "aliyun-import"
    return UsageError(error.format_message(), code="usage", remedy=f"Run `{path} --help` to see what it takes.")


def _interrupted() -> AliyunImportError:
    from aliyun_import.errors import Interrupted

    return Interrupted("Stopped.", code="interrupted", remedy="Run the same command again to go on.")


def _bug(error: Exception) -> AliyunImportError:
    from aliyun_import.cli.render.error import bug

    return bug(error)
