"""Group of commands; apart from params.py, which `--version` and the help of the program do not need."""

from typing import Any

import click


class Group(click.Group):
    """Group that lists its commands with their whole first sentence, and suggests a command for a mistyped one."""

    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 -- click's own signature
        super().__init__(*args, **{"subcommand_metavar": "COMMAND [ARGS]...", **settings})

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help of a group that is called without a command, and exit with 0."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command and the first sentence of its help."""
        with formatter.section("Commands"):
            formatter.write_dl(self.summaries(ctx))

    def summaries(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Return the name of each command that is not hidden, and the first sentence of its help."""
        commands = [(name, command) for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))]
        return [(name, command.get_short_help_str(1000)) for name, command in commands if not command.hidden]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command. Raises UsageError, with the closest name, for an unknown one."""
        if args and self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            ctx.fail(f"There is no command {args[0]!r}.{f' Did you mean {near[0]}?' if near else ''}")
        return super().resolve_command(ctx, args)
