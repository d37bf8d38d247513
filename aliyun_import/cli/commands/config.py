"""Command `config show`."""

from copy import copy
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from aliyun_import.cli.groups import Group
from aliyun_import.cli.params import (
    SETTINGS,
    Command,
    OutputOptions,
    complete_from,
    option,
    output_options,
    panel,
)
from aliyun_import.cli.settings import EnvironmentOption

if TYPE_CHECKING:
    from aliyun_import.cli.render.result import Outcome


@click.group(cls=Group)
def config() -> None:
    """Show the effective settings and where each comes from."""


@config.command(
    cls=Command,
    examples=(
        ("config show", "the settings of push"),
        ("config show task wait --profile prod", "those of another command, with a profile"),
    ),
)
@click.argument("command", nargs=-1)
@panel(
    "Settings",
    option(
        "--profile",
        help="Profile whose section of the configuration files applies.",
        show_default="that of the files",
        shell_complete=complete_from("profiles"),
    ),
)
@output_options
def show(command: tuple[str, ...], *, profile: str | None, output: OutputOptions) -> None:
    """Show each option of COMMAND (push without it), its value, and what sets it.

    In order of precedence: the environment, aliyun-import.toml in the working directory, the user's own file. Within a
    file, the section [profiles.NAME] overrides the keys before the sections.
    """
    from aliyun_import.cli.render.renderer import open_renderer

    with open_renderer(output) as renderer:
        renderer.outcome(_outcome(command or ("push",), profile))


def _outcome(path: tuple[str, ...], profile: str | None) -> "Outcome":
    from aliyun_import.cli.render.result import Outcome, table
    from aliyun_import.cli.render.text import escaped
    from aliyun_import.cli.settings import NAME, settings_files, user_file

    found = copy(_command(path))
    found.params = [copy(one) for one in found.params]  # those of the command itself stay required
    arguments = ["--profile", profile] if profile and any(one.name == "profile" for one in found.params) else []
    for one in found.params:
        one.required = False
    context = found.make_context(" ".join(path), arguments, parent=click.get_current_context().find_root())
    options = [one for options in found.panels().values() for one in options]
    rows = [_row(context, one) for one in options]
    files = [str(path.absolute()) for path in reversed(settings_files())]
    text = table(("OPTION", "VALUE", "FROM"), [tuple(map(escaped, map(str, row.values()))) for row in rows])
    stderr_text = f"configuration files: {', '.join(files) or f'none ({NAME} here, or {user_file()})'}"
    document = {"command": "config show", "of": " ".join(path), "files": files, "settings": rows}
    return Outcome(document=document, text=text, stderr_text=stderr_text)


def _command(path: tuple[str, ...]) -> Command:
    command, context = click.get_current_context().find_root().command, click.get_current_context()
    for name in path:
        inner = command.get_command(context, name) if isinstance(command, click.Group) else None
        if inner is None:
            raise click.UsageError(f"There is no command {' '.join(path)!r}.")
        command = inner
    if not isinstance(command, Command):
        raise click.UsageError(f"{' '.join(path)} is a group; name one of its commands.")
    return command


def _row(context: click.Context, one: EnvironmentOption) -> dict[str, Any]:
    """Return an option, its effective value as text, and what sets it."""
    source = context.get_parameter_source(str(one.name))
    match source:
        case ParameterSource.ENVIRONMENT:
            value, where = context.params.get(str(one.name)), str(one.envvar)
        case ParameterSource.DEFAULT_MAP:
            setting = context.meta[SETTINGS][one.name]
            value, where = setting.value, setting.where
        case ParameterSource.COMMANDLINE:
            value, where = context.params.get(str(one.name)), "the command line"
        case _:
            value, where = one.default_text() or None, "the default"
    return {"option": one.opts[0], "value": "" if value is None else _shown(value), "from": where}


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
