"""Command `completion`, and the words that complete option values; nothing is asked of the network."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from aliyun_import.cli.params import Command

_SHELLS = ("bash", "zsh", "fish")
# From "Regions and zones" of Alibaba Cloud, November 2026. Used for completion only: ECS decides which of them are open
# to an account.
_REGIONS = (
    "ap-northeast-1", "ap-northeast-2", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5", "ap-southeast-6",
    "ap-southeast-7", "cn-beijing", "cn-chengdu", "cn-fuzhou", "cn-guangzhou", "cn-hangzhou", "cn-heyuan",
    "cn-hongkong", "cn-huhehaote", "cn-nanjing", "cn-qingdao", "cn-shanghai", "cn-shenzhen", "cn-wuhan-lr",
    "cn-wulanchabu", "cn-zhangjiakou", "cn-zhengzhou-jva", "eu-central-1", "eu-west-1", "me-central-1", "me-east-1",
    "na-south-1", "us-east-1", "us-southeast-1", "us-west-1",
)  # fmt: skip


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


def regions() -> Sequence[str]:
    """Return the ids of regions."""
    return _REGIONS


def platforms() -> Sequence[str]:
    """Return the platforms that ImportImage lists."""
    from aliyun_import.model.request import PLATFORMS

    return PLATFORMS


def checks() -> Sequence[str]:
    """Return the ids of the checks."""
    from aliyun_import.checks.run import CHECKS

    return [one.id for one in CHECKS]


def pages() -> Sequence[str]:
    """Return the names of the pages of the documentation."""
    from aliyun_import.cli.commands import docs

    return list(docs.pages())


def profiles() -> Sequence[str]:
    """Return the names of the profiles of the vendor's command line; none if its file can't be read."""
    try:
        content = json.loads((Path.home() / ".aliyun" / "config.json").read_text())
        return [str(one["name"]) for one in content["profiles"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
