"""Options of the commands: types, help panels, and the dataclasses that hold their values."""

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from aliyun_import.cli.settings import EnvironmentOption, defaults_of
from aliyun_import.limits import GIB, KIB, MIB, TIB

if TYPE_CHECKING:
    from aliyun_import.model.request import Parameter

# Key in the meta of a click context: the settings of the command that came from files.
SETTINGS = "aliyun_import.settings"
# The first and the last panel of a help.
COMMON = "Common"
RARE = "Rarely needed"
Callback = Callable[..., Any]
Decorator = Callable[[Callback], Callback]

_UNITS = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_SECONDS = {"": 1, "S": 1, "M": 60, "H": 3600, "D": 86400}


class Command(click.Command):
    """Command whose help begins with examples and shows its options by panel, the rare ones last.

    Each example is a command line without the program name, and its description.
    """

    def __init__(self, *args: Any, examples: Sequence[tuple[str, str]] = (), **settings: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **settings)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line, the environment, and the configuration files, in this order of precedence."""
        if not ctx.resilient_parsing and not {"-h", "--help"} & set(args):
            settings = defaults_of(self, ctx, args)
            ctx.default_map = {name: setting.value for name, setting in settings.items()}
            ctx.meta[SETTINGS] = settings
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's own signature
        """Run the command."""
        # main.py converts exceptions by this module. Where a limit is reached, it can't be imported any more.
        importlib.import_module("aliyun_import.system_limits")
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then each panel with its options."""
        if self.examples:
            with formatter.section("Examples"):
                for line, what in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}aliyun-import {line}\n")
                    formatter.write(f"{'':{formatter.current_indent}}    {what}\n")
        for name, options in self.panels().items():
            with formatter.section(name):
                formatter.write_dl([record for one in options if (record := one.get_help_record(ctx))])
        with formatter.section("Help"):
            formatter.write_dl([record for one in self.get_params(ctx)[-1:] if (record := one.get_help_record(ctx))])

    def panels(self) -> dict[str, list[EnvironmentOption]]:
        """Return the options by the name of their panel, common ones first, rare ones last."""
        found: dict[str, list[EnvironmentOption]] = {}
        for parameter in self.params:
            if isinstance(parameter, EnvironmentOption) and not parameter.hidden:
                found.setdefault(parameter.panel, []).append(parameter)
        ranked = sorted(found, key=lambda name: (name == RARE, name == "Output", name == "Cloud", name != COMMON))
        return {name: sorted(found[name], key=lambda one: one.name != "region") for name in ranked}


def option(*declarations: str, **settings: Any) -> Decorator:  # noqa: ANN401 -- click's own signature
    """Declare an `EnvironmentOption`."""
    return click.option(*declarations, cls=EnvironmentOption, **settings)


def complete_from(source: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a completion by a function of `commands.completion`, which is imported when a shell asks for it."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        del ctx, param
        words: Sequence[str] = getattr(importlib.import_module("aliyun_import.cli.commands.completion"), source)()
        return [word for word in words if word.lower().startswith(incomplete.lower())]

    return complete


def panel(name: str, *options: Decorator) -> Decorator:
    """Return a decorator that adds options, shown in this order in the help panel `name`."""

    def decorate(function: Callback) -> Callback:
        for decorator in reversed(options):
            before = len(_declared(function))
            function = decorator(function)
            for added in _declared(function)[before:]:
                if isinstance(added, EnvironmentOption):
                    added.panel = added.panel or name
        return function

    return decorate


def options_as_dataclass(argument: str, kind: str, options: Decorator) -> Decorator:
    """Return a decorator that adds options and passes their values as one dataclass, `kind` ("module:Class").

    The class is imported when the command runs. An option without a value keeps the default of its field.
    """

    def decorate(function: Callback) -> Callback:
        before = {one.name for one in _declared(function)}

        @functools.wraps(function)
        def wrapper(*args: Any, **values: Any) -> Any:  # noqa: ANN401 -- click's own signature
            module, _, attribute = kind.partition(":")
            own = {name: values.pop(name) for name in names}
            given = {name: value for name, value in own.items() if value is not None}
            values[argument] = getattr(importlib.import_module(module), attribute)(**given)
            return function(*args, **values)

        decorated = options(wrapper)
        names = [str(one.name) for one in _declared(decorated) if one.name not in before]
        return decorated

    return decorate


def _declared(function: Callback) -> list[click.Parameter]:
    return getattr(function, "__click_params__", [])


class Bytes(click.ParamType[int]):
    """Number of bytes: 512, 64K, 50M, 40G, 2T (powers of 1024, as in dd and qemu-img)."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the number of bytes."""
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([BKMGT]?)(?:I?B)?(?:/S)?", str(value).strip().upper())
        size_bytes = int(float(match[1]) * _UNITS[match[2]]) if match else 0
        if size_bytes < 1:
            self.fail(f"{value!r} is not a size of at least one byte, such as 512K, 50M or 40G", param, ctx)
        return size_bytes


class Gib(click.ParamType[int]):
    """Disk size in whole GiB, the unit of DiskImageSize: 40 or 40G or 1T."""

    name = "GiB"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Return the number of GiB."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,15})\s*([GT]?)(?:I?B)?", str(value).strip().upper())
        if not match:
            self.fail(f"{value!r} is not a whole number of GiB such as 40 or 40G", param, ctx)
        return int(match[1]) * (1024 if match[2] == "T" else 1)


class Seconds(click.ParamType[float]):
    """Length of time: 90, 90s, 30m, 6h, 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the number of seconds, the unit of a number without one."""
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([SMHD]?)", str(value).strip().upper())
        if not match or float(match[1]) <= 0:
            self.fail(f"{value!r} is not a length of time such as 90s, 30m or 6h", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class Number(click.IntRange):
    """Whole number in a range; `name` is its type in errors and help."""

    name = "number"


class KeyValue(click.ParamType[tuple[str, str]]):
    """Tag, K=V. Several in one environment variable are separated by semicolons."""

    name = "K=V"
    envvar_list_splitter = ";"

    def convert(
        self,
        value: Any,  # noqa: ANN401 -- click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Return key and value, split at the first equals sign; the value may be empty."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not of the form KEY=VALUE", param, ctx)
        return key, text


class OneOf(click.Choice[str]):
    """Choice that ignores case, converted to the spelling of the service, or to the member of an Enum."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        super().__init__([str(choice) for choice in choices], case_sensitive=False)
        self._members = {str(choice): choice for choice in choices}

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the choices in the spelling of the service."""
        del param, ctx
        return f"[{'|'.join(self._members)}]"

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Return the message on another value, with the choices as in the help."""
        del ctx
        return f"{value!r} is not one of {', '.join(map(repr, self._members))}."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        """Return the choice."""
        return self._members[str(super().convert(value, param, ctx))]


def _parameter_option(declared: "Parameter") -> Decorator:
    if declared.inferred == "the disk":
        default: str | bool = "inferred from the disk"
    else:
        default = declared.inferred or False
    return option(
        declared.option,
        declared.name,
        type=OneOf(declared.choices) if declared.choices else str,
        metavar=declared.metavar,
        help=declared.help,
        show_default=default,
        panel=RARE if declared.rare else "",
        shell_complete=complete_from("platforms") if declared.name == "platform" else None,
    )


def parameter_options(function: Callback) -> Callback:
    """Add an option for each parameter of ImportImage, gathered into `parameters`."""
    from aliyun_import.model.request import ImportParameters, parameters

    options = panel("Image", *(_parameter_option(one) for one in parameters()))
    return options_as_dataclass("parameters", f"{ImportParameters.__module__}:ImportParameters", options)(function)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Values of the output options."""

    output: str
    verbose: int
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudOptions:
    """Values of the options that select the cloud services."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    insecure: bool = False
    oss_endpoint: str | None = None
    oss_cname: bool = False
    oss_endpoint_type: str | None = None


_LOGS_REQUESTS = "Also write notes; twice: also each request to the services."


def output_options(function: Callback, *, verbose: str = _LOGS_REQUESTS) -> Callback:
    """Add the output options, gathered into `output`; `verbose` is the help of --verbose."""
    options = panel(
        "Output",
        option(
            "--output",
            type=click.Choice(["human", "plain", "json", "jsonl"]),
            default="human",
            show_default=True,
            help="Output format. The result goes to stdout, progress to stderr.",
        ),
        option("-v", "--verbose", count=True, help=verbose),
        option("-q", "--quiet", is_flag=True, help="Write only warnings, errors and the result."),
    )
    return options_as_dataclass("output", f"{__name__}:OutputOptions", options)(function)


_SERVICES = (
    option(
        "--region",
        help="Region, e.g. cn-hangzhou.",
        show_default="ALIBABA_CLOUD_REGION_ID, then that of the profile",
        panel=COMMON,
        shell_complete=complete_from("regions"),
    ),
    option(
        "--profile",
        help="Profile of ~/.aliyun/config.json with credentials and region.",
        show_default="keys in the environment, then the current profile",
        panel=COMMON,
        shell_complete=complete_from("profiles"),
    ),
    option(
        "--endpoint-url",
        help="URL that replaces the endpoints of OSS, ECS, RAM, STS and VPC, e.g. that of `sandbox serve`.",
        show_default="endpoints of the region",
    ),
    option(
        "--insecure",
        is_flag=True,
        help="Permit http to another machine: credentials and disk are not encrypted.",
        panel=RARE,
    ),
)
_OSS = (
    option("--oss-endpoint", help="URL that replaces the endpoint of OSS, e.g. https://disks.example.com."),
    option("--oss-cname", is_flag=True, help="The --oss-endpoint is a custom domain that is bound to the bucket."),
    option(
        "--oss-endpoint-type",
        type=click.Choice(["auto", "public", "internal", "accelerate"]),
        help="Endpoint of OSS in the region; auto is internal where this machine reaches it, else public.",
        show_default="auto",
    ),
)


def cloud_options(*, oss: bool) -> Decorator:
    """Return a decorator that adds the options of the services, gathered into `cloud`; with `oss` also those of OSS."""
    return options_as_dataclass("cloud", f"{__name__}:CloudOptions", panel("Cloud", *_SERVICES, *(_OSS if oss else ())))
