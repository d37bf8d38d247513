"""This file is the way in: the group of commands, and the one place where errors become exit codes."""

import click

from aliyun_import import __version__


@click.group()
@click.version_option(__version__)
def app() -> None:
    """Take a local disk image to a finished Alibaba Cloud custom image."""


def run() -> None:
    """Run the command line; never returns."""
    app()
