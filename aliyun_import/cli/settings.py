"""Option values from the environment and from configuration files.

    region = "cn-hangzhou"            # an option by its long name, without the dashes
    limit-rate = "50M"

    [profiles.prod]                   # overrides them, with --profile prod
    bucket = "golden-images"

A file in the working directory overrides the user's file; the environment and the command line override both. An
unknown key is an error; a key for an option of another command is ignored.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from aliyun_import.errors import UsageError
from aliyun_import.user_directories import SERVICES, VARIABLE_PREFIX, config_directory

NAME = "aliyun-import.toml"
_PROFILES = "profiles"
# Parameters that select the services and the journals. --sandbox excludes them: it has its own.
TARGET_OPTIONS = ("profile", "endpoint_url", "insecure", "oss_endpoint", "oss_cname", "oss_endpoint_type", "state_dir")
# Parameters that also depend on the account: the region, and what exists in it. A new sandbox has none of these.
ACCOUNT_OPTIONS = (
    "region",
    "bucket",
    "base_key",
    "role_name",
    "vswitch_id",
    "security_group_id",
    "resource_group",
    "storage_location_arn",
)
# Key in the meta of a click context: parameters that are read from the command line only.
_COMMAND_LINE_ONLY = "aliyun_import.command_line_only"
# Variables that are read by other means than an option.
_OTHER_VARIABLES = {f"{VARIABLE_PREFIX}ENDPOINT_URL_{service}" for service in SERVICES}


class EnvironmentOption(click.Option):
    """Option that is also read from the variable ALIYUN_IMPORT_<OPTION>; `panel` is its section in help."""

    def __init__(self, declarations: list[str], *, panel: str = "", **settings: Any) -> None:  # noqa: ANN401 -- click's
        super().__init__(declarations, **settings)
        self.panel = panel
        if self.envvar is None:
            long_form = next(name for name in self.opts if name.startswith("--"))
            self.envvar = VARIABLE_PREFIX + long_form.removeprefix("--").replace("-", "_").upper()

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Return the value of the variable, None if it is not set or `ignore_cloud_settings` excludes it."""
        return None if self.name in ctx.meta.get(_COMMAND_LINE_ONLY, ()) else super().resolve_envvar_value(ctx)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option and its help, which ends in its default and its variable."""
        record = super().get_help_record(ctx)
        if record is None or not self.help:
            return record
        notes = [f"default: {default}"] if (default := self.default_text()) else []
        return record[0], f"{self.help} [{', '.join([*notes, f'env: {self.envvar}'])}]"

    def default_text(self) -> str:
        """Return the default as text for help, "" if there is none."""
        if isinstance(self.show_default, str):
            return self.show_default
        return str(self.default) if self.show_default and self.default is not None else ""


def ignore_cloud_settings(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """Ignore variables and files for the parameters of a cloud and an account; a callback of the eager --sandbox."""
    del param
    if value:
        ctx.meta[_COMMAND_LINE_ONLY] = ignored = (*TARGET_OPTIONS, *ACCOUNT_OPTIONS)
        ctx.default_map = {name: one for name, one in (ctx.default_map or {}).items() if name not in ignored}
    return value


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and the file and section that set it."""

    value: Any
    where: str


def user_file() -> Path:
    """Return the path of the user's own configuration file, which may not exist."""
    return config_directory() / NAME


def settings_files() -> list[Path]:
    """Return the configuration files that exist, those of lower precedence first."""

    def is_there(path: Path) -> bool:
        try:
            return path.is_file()
        except PermissionError:  # HOME of another user, as under some forms of sudo and in containers
            return False

    return [path for path in (user_file(), Path(NAME)) if is_there(path)]


def read_settings(profile: str | None, *, known: Mapping[str, bool]) -> Mapping[str, Setting]:
    """Return the settings for a profile (None: the profile that the files name), by the long names of options.

    `known` maps the options of all commands to whether they are flags. Raises UsageError "config-invalid".
    """
    found: dict[str, Setting] = {}
    documents = [(path, _read(path)) for path in settings_files()]
    top = {key: value for _, document in documents for key, value in document.items()}
    chosen = profile or top.get("profile")
    for path, document in documents:
        found |= _check(path, document, known=known)
    for path, document in documents:
        for name, section in _sections(path, document):
            settings = _check(path, section, known=known, section=f"[{_PROFILES}.{name}] of ")
            if name == chosen:
                found |= settings
    return found


def _read(path: Path) -> Mapping[str, Any]:
    import shlex
    import tomllib

    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            # The file decides where credentials and disks are sent.
            if found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH:
                cause = "It belongs to another user, or every user can write to it."
                raise _invalid(
                    path, cause, f"Run `chmod o-w {shlex.quote(str(path))}`, or copy it to a file of your own."
                )
            return tomllib.load(file)
    except OSError as error:
        raise _invalid(path, f"It can't be read: {error.strerror or error}.", "Make it readable.") from error
    except ValueError as error:  # TOMLDecodeError, and bytes that are not UTF-8
        raise _invalid(path, f"It is not TOML: {error}.", "Correct the line.") from error


def _sections(path: Path, document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    sections = document.get(_PROFILES, {})
    for name, section in sections.items() if isinstance(sections, dict) else [(_PROFILES, sections)]:
        if not isinstance(section, dict):
            raise _invalid(path, f"{name} is not a section.", f"Write [{_PROFILES}.NAME], and below it the options.")
        yield name, section


def _check(
    path: Path, values: Mapping[str, Any], *, known: Mapping[str, bool], section: str = ""
) -> dict[str, Setting]:
    """Return the settings of a file or section. Raises UsageError "config-invalid" for an unknown key."""
    settings: dict[str, Setting] = {}
    for key, value in values.items():
        if key == _PROFILES and not section:
            continue
        if key not in known and isinstance(value, dict):
            raise _invalid(path, f"There is no section [{section}{key}].", "Name sections [profiles.NAME].")
        if key not in known:
            from difflib import get_close_matches

            near = get_close_matches(key.replace("_", "-"), known, n=1)
            remedy = f"Write {near[0]}." if near else f"Remove {key}; `aliyun-import push --help` lists the options."
            raise _invalid(path, f"{key!r} is not an option.", remedy)
        if isinstance(value, dict) or known[key] is not isinstance(value, bool):
            form = "true or false" if known[key] else "text, a number or a list"
            raise _invalid(path, f"{key} is {value!r}.", f"Write {key} as {form}.")
        settings[key] = Setting(value, f"{section}{path}")
    return settings


def _invalid(path: Path, cause: str, remedy: str) -> UsageError:
    return UsageError(
        f"The configuration file {path} can't be used.",
        code="config-invalid",
        cause=cause,
        remedy=remedy,
        details={"path": str(path)},
    )


def output_in_files() -> str | None:
    """Return --output of the files, for an error raised before options are parsed; invalid files are skipped."""
    import tomllib

    chosen = None
    for path in settings_files():
        try:
            chosen = tomllib.loads(path.read_text()).get("output", chosen)
        except (OSError, ValueError):
            continue
    return chosen if isinstance(chosen, str) else None


def options_of(command: click.Command) -> dict[str, EnvironmentOption]:
    """Return the options of a command, and of the commands below it, by their long names without the dashes."""
    found: dict[str, EnvironmentOption] = {}
    for parameter in command.params:
        if isinstance(parameter, EnvironmentOption):
            found |= {word[2:]: parameter for word in parameter.opts if word.startswith("--")}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            found |= options_of(inner) if inner else {}
    return found


def defaults_of(command: click.Command, ctx: click.Context, arguments: Sequence[str]) -> Mapping[str, Setting]:
    """Return the settings of the files for the options of a command, by the names of its parameters."""
    if not settings_files():
        return {}
    known = options_of(ctx.find_root().command)
    profile = _profile_of(command, ctx, arguments) or os.environ.get(f"{VARIABLE_PREFIX}PROFILE")
    settings = read_settings(profile, known={name: one.is_flag for name, one in known.items()})
    defaults: dict[str, Setting] = {}
    for name, one in options_of(command).items():
        if name in settings:
            defaults[str(one.name)] = _convert(ctx, name, one, settings[name])
    return defaults


def _profile_of(command: click.Command, ctx: click.Context, arguments: Sequence[str]) -> str | None:
    try:
        given, _, _ = command.make_parser(ctx).parse_args(list(arguments))
    except click.UsageError:  # reported when the command line is parsed with its defaults
        return None
    return given.get("profile")


def _convert(ctx: click.Context, name: str, one: EnvironmentOption, setting: Setting) -> Setting:
    value = [setting.value] if one.multiple and not isinstance(setting.value, list) else setting.value
    try:
        one.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise UsageError(
            f"{name} in the configuration file {setting.where} is invalid.",
            code="config-invalid",
            cause=f"{error.message.rstrip('.')}.",
            remedy=f"Correct {name}; `aliyun-import push --help` shows its form.",
        ) from error
    return Setting(value, setting.where)


def unknown_variables(root: click.Command, environment: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Yield each ALIYUN_IMPORT_ variable that nothing reads, and the known variable closest to it, if any."""
    ours = {name for name in environment if name.startswith(VARIABLE_PREFIX)} - _OTHER_VARIABLES
    if not ours:
        return
    from difflib import get_close_matches

    known = {str(one.envvar) for one in options_of(root).values()}
    # Without the prefix, which makes any two names similar.
    words = [name.removeprefix(VARIABLE_PREFIX) for name in known | _OTHER_VARIABLES]
    for name in sorted(ours - known):
        near = get_close_matches(name.removeprefix(VARIABLE_PREFIX), words, n=1)
        yield name, VARIABLE_PREFIX + near[0] if near else None
