"""One row of the tables of service errors: a code of a service, and the error that it becomes."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError


@dataclass(frozen=True, slots=True)
class ErrorMapping:
    """The error that a service's code becomes: our code, which decides the class, a summary and a remedy.

    In a table of rows `service_code` may be several codes with spaces between them. An empty summary or remedy is the
    usual one of our code; None is no remedy at all. `variant` distinguishes what a service reports with one code. Both
    sentences name values in braces ({bucket}, {key}, ...) that `fill` replaces; each must still be a sentence when a
    value is unknown and left out.
    """

    service_code: str
    code: ErrorCode
    summary: str = ""
    remedy: str | None = ""
    services: tuple[str, ...] = ()
    variant: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "summary", self.summary or self.code.meaning)
        object.__setattr__(self, "remedy", self.code.remedy or None if self.remedy == "" else self.remedy)

    @property
    def kind(self) -> type[AliyunImportError]:
        """Return the class of the error."""
        return self.code.kind


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put the values into a sentence. An unknown or empty value is left out, with the space before it."""
    result = ""
    for literal, name, _, _ in string.Formatter().parse(text):
        result += literal
        if name is not None:
            value = values.get(name, "")
            result = result + value if value else result.rstrip(" ")
    return result
