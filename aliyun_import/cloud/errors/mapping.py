"""Row type of the tables of service errors."""

import string
from collections.abc import Mapping
from dataclasses import dataclass

from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import AliyunImportError

# Remedy of a missing permission.
GRANT = "Ask an administrator to grant the permission {action}; `{policy_command}` prints a policy with it."


@dataclass(frozen=True, slots=True)
class ErrorMapping:
    """A service's code and the error to raise for it: our code, which determines the class, a summary and a remedy.

    In the tables, `service_code` may be several codes separated by spaces. An empty summary or remedy is replaced by
    that of our code; None means no remedy. `variant` distinguishes cases that a service reports with one code.
    `fill` replaces names in braces ({bucket}, {key}, ...) by values; each text must remain a sentence without them.
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
    """Replace names in braces by their values. Omit an unknown or empty value, and the space before it."""
    result = ""
    for literal, name, _, _ in string.Formatter().parse(text):
        result += literal
        if name is not None:
            value = values.get(name, "")
            result = result + value if value else result.rstrip(" ")
    return result
