"""This file puts a last guard before stdout and stderr: what is known to be secret does not get through.

Errors are clean when they are made, and our log lines hold nothing secret. The guard is for what nobody thought of: a
library that prints, a traceback of a thread.
"""

import sys
from typing import Any, TextIO

from aliyun_import.redact import conceal


class QuietStream:
    """A text stream that takes learned secrets out of each write; in all else it is the stream that it stands for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without secrets, and tell its length as it was given."""
        if not isinstance(text, str):  # click tries whether it takes bytes
            return self._stream.write(text)
        self._stream.write(conceal(text))
        return len(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401 -- as io has it
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever the stream has
        return getattr(self._stream, name)


def guard_streams() -> None:
    """Put the guard before both streams, once."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, QuietStream):
            setattr(sys, name, QuietStream(stream))
