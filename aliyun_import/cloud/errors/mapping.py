"""This file defines one row of the table of answers: a code of a service, and what it means for the user."""

from collections.abc import Mapping
from dataclasses import dataclass

from aliyun_import.errors import AliyunImportError


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMapping:
    """What a code of a service becomes: the kind of our error, our code, what it means, and what to do.

    `variant` tells apart what a service says with one code. `means` and `remedy` name values in braces ({bucket},
    {key}, ...) that `fill` puts in.
    """

    code: str
    kind: type[AliyunImportError]
    ours: str
    means: str
    remedy: str | None
    services: tuple[str, ...] = ()
    variant: str = ""


class _Values(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return name.upper()


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put the values into a sentence; a value that is not known leaves its name in capitals."""
    return text.format_map(_Values({name: value for name, value in values.items() if value}))
