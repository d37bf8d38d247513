"""Command `completion`."""

import click

from aliyun_import.cli.params import Command

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    examples=(
        ("completion bash > ~/.local/share/bash-completion/completions/aliyun-import", "bash"),
        ('completion zsh > "${fpath[1]}/_aliyun-import"', "zsh, for a directory of fpath that is yours"),
        ("completion fish > ~/.config/fish/completions/aliyun-import.fish", "fish"),
    ),
)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, files, regions, platforms, profiles and checks in SHELL.

    It takes effect in the next shell.
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 -- click has the three
    script = kind(root.command, {}, "aliyun-import", "_ALIYUN_IMPORT_COMPLETE").source()
    # The script of click for bash leaves the spaces of a value such as "Others Linux" unquoted.
    click.echo(script.replace("COMPREPLY+=($value)", 'COMPREPLY+=("$(printf %q "$value")")'))
