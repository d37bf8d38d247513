"""Option that is read from the command line and from the environment."""

from typing import Any

import click

PREFIX = "ALIYUN_IMPORT_"


class EnvironmentOption(click.Option):
    """Option that is also read from ALIYUN_IMPORT_<OPTION>, named after its long form; `panel` is its place in help."""

    def __init__(self, declarations: list[str], *, panel: str = "", **settings: Any) -> None:  # noqa: ANN401 -- click's
        super().__init__(declarations, **settings)
        self.panel = panel
        if self.envvar is None:
            long_form = next(name for name in self.opts if name.startswith("--"))
            self.envvar = PREFIX + long_form.removeprefix("--").replace("-", "_").upper()

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help, which ends in its default and its variable."""
        record = super().get_help_record(ctx)
        if record is None or not self.help:
            return record
        notes = [f"default: {default}"] if (default := self.default_text()) else []
        return record[0], f"{self.help} [{', '.join([*notes, f'env: {self.envvar}'])}]"

    def default_text(self) -> str:
        """Return the default for people, "" if there is none."""
        if isinstance(self.show_default, str):
            return self.show_default
        return str(self.default) if self.show_default and self.default is not None else ""
