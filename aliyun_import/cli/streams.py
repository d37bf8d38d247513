"""Wrappers of stdout and stderr that conceal secrets and record failed writes."""

import errno
import io
import os
import sys
from typing import Any, TextIO

from aliyun_import.redact import remove_secrets

# Supplies the attributes (no terminal, no encoding) of a stream that was closed when the program started.
_CLOSED = io.StringIO()
# Symbols of the renderers, for encodings that lack them; marks keep their width, so that lines fit the terminal.
_ASCII = str.maketrans({"✓": "+", "✗": "x", "·": "-", "…": "...", "→": "->"})


class GuardedStream:
    """Text stream that conceals secrets and records a failed write instead of raising it.

    A closed terminal, a full disk or `| head` must not end a push of hours. `error` is the first failure. With
    `keeps_text`, `lost` is the text that was not written. Errors and log lines of this package hold no secrets;
    libraries and tracebacks of threads may.
    """

    def __init__(self, stream: TextIO | None, *, keeps_text: bool = False) -> None:
        self._stream = stream
        self._keeps_text = keeps_text
        self._pending: list[str] = []
        self.error: Exception | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    @property
    def lost(self) -> str:
        """Text that was not written, "" as long as every write succeeded."""
        return "".join(self._pending) if self.error else ""

    def write(self, text: str) -> int:
        """Write the text without secrets; return its length as given."""
        if not isinstance(text, str):  # click tests whether the stream takes bytes
            raise TypeError("a text stream takes str")
        shown = self._encodable(remove_secrets(text))
        if self._keeps_text:
            self._pending.append(shown)
        if self.error is None:
            try:
                self._open_stream().write(shown)
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self.error = error
        return len(text)

    def writelines(self, lines: Any) -> None:  # noqa: ANN401 -- as io has it
        """Write each of the lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush; if that succeeds, the text written so far is not kept any more."""
        if self.error is not None:
            return
        try:
            self._open_stream().flush()
            self._pending.clear()
        except (OSError, ValueError) as error:
            self.error = error

    def _open_stream(self) -> TextIO:
        if self._stream is None:  # the descriptor was closed when the program started
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._stream

    def _encodable(self, text: str) -> str:
        try:
            text.encode(getattr(self._stream, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            return text.translate(_ASCII)
        return text

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- any attribute of a stream
        return getattr(_CLOSED if self._stream is None else self._stream, name)


def guard_streams() -> None:
    """Guard both streams, once. Closed descriptors are opened on /dev/null: no other file may get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, GuardedStream):
            setattr(sys, name, GuardedStream(stream, keeps_text=name == "stdout"))


def release_streams() -> GuardedStream | None:
    """Flush both streams; return stdout if its text was lost, except when the reader closed the pipe (`| head`).

    The descriptor of a stream that failed is redirected to /dev/null: Python flushes once more at exit, and would exit
    with 120.
    """
    failed = None
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if not isinstance(stream, GuardedStream):
            continue
        stream.flush()
        if stream.error is not None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
            if name == "stdout" and not isinstance(stream.error, BrokenPipeError):
                failed = stream
    return failed
