"""This file remembers how fast pushes from this machine really were, so that a dry run can tell the time of one.

    <state directory>/rates.json    {"schema": 1, "rates": {OSS endpoint: {"bytes_s": ..., "at_s": ...}, ...}}

A courtesy and nothing more: a file that is damaged, of another version or not to be written is passed over.
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from aliyun_import.context import Clock
from aliyun_import.events import Emit, Event, UploadProgress
from aliyun_import.limits import MIB

SCHEMA = 1
FILE = "rates.json"
# Less than that says more about the buffers on the way than about the line.
LEAST_BYTES = 16 * MIB
LEAST_S = 1.0
# Endpoints that are kept, the newest ones: regions, ways into them, and what people try things with.
KEPT = 16
# A push that came so close to its --limit-rate had that rate, and the line may have more.
WAS_LIMITED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A rate that a push had, and when (seconds since the epoch)."""

    bytes_s: float
    at_s: float


class Meter:
    """An Emit that measures on the way: from the first progress of a transfer to the last that had something sent."""

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit = emit
        self._clock = clock
        self._began_s = 0.0
        self._began_bytes = -1
        self._last_bytes = -1
        self.measured: Measured | None = None

    def __call__(self, event: Event) -> None:
        """Look at the event, and pass it on."""
        if isinstance(event, UploadProgress):
            self._look(event.sent_bytes)
        self._emit(event)

    def _look(self, sent_bytes: int) -> None:
        now_s = self._clock.monotonic_s()
        if self._began_bytes < 0 or sent_bytes < self._last_bytes:  # another transfer begins to count
            self._began_s, self._began_bytes = now_s, sent_bytes
        elif sent_bytes > self._last_bytes:  # not while copies are waited for
            count, seconds = sent_bytes - self._began_bytes, now_s - self._began_s
            if count >= LEAST_BYTES and seconds >= LEAST_S:
                self.measured = Measured(bytes_s=count / seconds, at_s=self._clock.now_s())
        self._last_bytes = sent_bytes


def remember(directory: Path, endpoint: str, measured: Measured | None, *, limit_bytes_s: float | None) -> None:
    """Keep what was measured at an endpoint, where it says something about the line."""
    if not endpoint or measured is None or (limit_bytes_s and measured.bytes_s > limit_bytes_s * WAS_LIMITED):
        return
    rates = _read(directory) | {endpoint: measured}
    newest = sorted(rates.items(), key=lambda item: item[1].at_s)[-KEPT:]
    text = json.dumps({"schema": SCHEMA, "rates": {name: asdict(rate) for name, rate in newest}}, indent=2)
    fresh = directory / f"{FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):
        fresh.write_text(text + "\n")
        fresh.replace(directory / FILE)


def recall(directory: Path, endpoint: str) -> Measured | None:
    """Give what the last push to an endpoint measured; None where none did."""
    return _read(directory).get(endpoint)


def _read(directory: Path) -> dict[str, Measured]:
    try:
        document = json.loads((directory / FILE).read_text())
        if document["schema"] != SCHEMA:
            return {}
        rates = {
            str(name): Measured(bytes_s=float(one["bytes_s"]), at_s=float(one["at_s"]))
            for name, one in document["rates"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {name: one for name, one in rates.items() if 0 < one.bytes_s < float("inf")}
