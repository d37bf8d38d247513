"""This file holds what the commands' options share: their types, their environment variables, their groups."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from aliyun_import.limits import GIB, KIB, MIB, TIB

PREFIX = "ALIYUN_IMPORT_"
F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"": 1, "B": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}
_SECONDS = {"": 1, "S": 1, "M": 60, "H": 3600, "D": 86400}


class EnvironmentOption(click.Option):
    """An option that is also read from ALIYUN_IMPORT_<OPTION>, named after its long form."""

    def __init__(self, declarations: list[str], **settings: Any) -> None:  # noqa: ANN401 -- click's own signature
        super().__init__(declarations, **settings)
        if self.envvar is None:
            long_form = next(name for name in self.opts if name.startswith("--"))
            self.envvar = PREFIX + long_form.removeprefix("--").replace("-", "_").upper()


def option(*declarations: str, **settings: Any) -> Callable[[F], F]:  # noqa: ANN401 -- click's own signature
    """Declare an option that is read from the environment as well."""
    return click.option(*declarations, cls=EnvironmentOption, **settings)


class Bytes(click.ParamType[int]):
    """A number of bytes: 512, 64K, 50M, 40G, 2T (powers of 1024, as dd and qemu-img take them)."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Read the text; a number is taken as it is."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([BKMGT]?)(?:I?B)?(?:/S)?", str(value).strip().upper())
        if not match or float(match[1]) <= 0:
            self.fail(f"{value!r} is not a size such as 512K, 50M or 40G", param, ctx)
        return int(float(match[1]) * _UNITS[match[2]])


class Gib(click.ParamType[int]):
    """A disk size in whole GiB, the unit of DiskImageSize: 40 or 40G or 1T."""

    name = "GiB"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Read the text; it must be whole."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+)\s*([GT]?)(?:I?B)?", str(value).strip().upper())
        if not match:
            self.fail(f"{value!r} is not a whole number of GiB such as 40 or 40G", param, ctx)
        return int(match[1]) * (1024 if match[2] == "T" else 1)


class Seconds(click.ParamType[float]):
    """A length of time: 90, 90s, 30m, 6h, 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Read the text; a number without a unit is seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([SMHD]?)", str(value).strip().upper())
        if not match or float(match[1]) <= 0:
            self.fail(f"{value!r} is not a length of time such as 90s, 30m or 6h", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class KeyValue(click.ParamType[tuple[str, str]]):
    """One tag, K=V. Several in one environment variable are separated by semicolons."""

    name = "K=V"
    envvar_list_splitter = ";"

    def convert(
        self,
        value: Any,  # noqa: ANN401 -- click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, str]:
        """Split at the first equals sign; the value may be empty."""
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} is not of the form KEY=VALUE", param, ctx)
        return key, text


def groups(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Make one decorator of many options, shown in help in the order given."""

    def decorate(function: F) -> F:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


OUTPUTS = ("human", "plain", "json", "jsonl")

output_options = groups(
    option(
        "--output",
        type=click.Choice(OUTPUTS),
        default="human",
        show_default=True,
        help="Form of the result on stdout, and of the talk on stderr.",
    ),
    option("-v", "--verbose", count=True, help="Say more; twice shows each request to the services, too."),
    option("-q", "--quiet", is_flag=True, help="Say only warnings and errors."),
)

cloud_options = groups(
    option("--region", help="Region, such as cn-hangzhou. Else from the environment or the profile."),
    option("--profile", help="Profile of ~/.aliyun/config.json to take the credentials and the region from."),
    option("--endpoint-url", help="Send OSS, ECS, RAM and STS to this URL, such as that of `sandbox serve`."),
    option("--oss-endpoint", help="Endpoint of OSS, such as https://disks.example.com with --oss-cname."),
    option("--oss-cname", is_flag=True, help="--oss-endpoint is a custom domain bound to the bucket."),
    option(
        "--oss-endpoint-type",
        type=click.Choice(["auto", "public", "internal", "accelerate"]),
        default="auto",
        show_default=True,
        help="Which of OSS's own endpoints to use; auto takes the internal one where it answers.",
    ),
)
