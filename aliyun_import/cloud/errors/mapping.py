"""One row of the tables of service errors: a code of a service, and the error that it becomes."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMapping:
    """The error that a service's code becomes: our code, which decides the class, a summary and a remedy.

    `variant` distinguishes what a service reports with one code. `summary` and `remedy` name values in braces
    ({bucket}, {key}, ...) that `fill` replaces; each must still be a sentence when a value is unknown and left out.
    """

    service_code: str
    code: ErrorCode
    summary: str
    remedy: str | None
    services: tuple[str, ...] = ()
    variant: str = ""

    @property
    def kind(self) -> type[AliyunImportError]:
        """Return the class of the error."""
        return self.code.kind


def mapping(
    service_code: str,
    code: ErrorCode,
    summary: str = "",
    remedy: str | None = "",
    *,
    services: tuple[str, ...] = (),
    variant: str = "",
) -> ErrorMapping:
    """Create a row. An empty summary or remedy is the usual one of the code; None is no remedy at all."""
    return ErrorMapping(
        service_code=service_code,
        code=code,
        summary=summary or code.meaning,
        remedy=code.remedy or None if remedy == "" else remedy,
        services=services,
        variant=variant,
    )


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put the values into a sentence. An unknown or empty value is left out, with the space before it."""
    result = ""
    for literal, name, _, _ in string.Formatter().parse(text):
        result += literal
        if name is not None:
            value = values.get(name, "")
            result = result + value if value else result.rstrip(" ")
    return result
