"""Measurement of a transfer: progress, rate, time left, and stalls."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

# Long enough for a steady rate on an unsteady connection, short enough to show a change.
WINDOW_S = 15.0
# A mean over a shorter time is noise.
MIN_WINDOW_S = 0.5
# At any useful rate a chunk is sent more often than this. A copied part of gigabytes takes longer.
SENDING_STALL_S = 10.0
COPYING_STALL_S = 60.0


class Phase(StrEnum):
    """Phase of a transfer: sending until all parts to send are done, then copying if copies remain."""

    SENDING = "sending"
    COPYING = "copying"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Bytes of a transfer: those to send and to copy, and how many of each are done."""

    to_send: int
    sent: int
    to_copy: int
    copied: int

    @property
    def phase(self) -> Phase:
        """The phase in which the transfer is."""
        return Phase.SENDING if self.sent < self.to_send or not self.to_copy else Phase.COPYING

    @property
    def done_and_total(self) -> tuple[int, int]:
        """The done bytes and all bytes of the phase."""
        return (self.sent, self.to_send) if self.phase is Phase.SENDING else (self.copied, self.to_copy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measurement. `percent` is that of the phase, `stalled_s` is 0 during a transfer, None means unknown."""

    phase: Phase
    done_bytes: int
    total_bytes: int
    percent: int
    rate_bytes_s: float | None
    left_s: float | None
    stalled_s: float


class Meter:
    """Measurements of one transfer. The caller passes the time, which never decreases."""

    def __init__(self, *, now_s: float) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._phase = Phase.SENDING
        self._moved_at_s = now_s
        self._moved = (-1, -1)

    def measure(self, amounts: Amounts, *, wire_bytes: int, now_s: float) -> Measured:
        """Return the measurement now; `wire_bytes` are all sent bytes, including those that were sent again."""
        phase = amounts.phase
        done, total = amounts.done_and_total
        if phase is not self._phase:
            self._phase = phase
            self._samples.clear()
        if (wire_bytes, amounts.copied) != self._moved:
            self._moved, self._moved_at_s = (wire_bytes, amounts.copied), now_s
        still_s = now_s - self._moved_at_s
        is_stalled = still_s >= (SENDING_STALL_S if phase is Phase.SENDING else COPYING_STALL_S) and done < total
        rate = self._rate(wire_bytes if phase is Phase.SENDING else amounts.copied, now_s=now_s)
        return Measured(
            phase=phase,
            done_bytes=done,
            total_bytes=total,
            percent=100 * done // total if total else 100,
            rate_bytes_s=rate,
            left_s=(total - done) / rate if rate and not is_stalled else None,
            stalled_s=still_s if is_stalled else 0.0,
        )

    def _rate(self, count: int, *, now_s: float) -> float | None:
        """Return the mean rate: of the last seconds while sending, of the whole phase while copying.

        Copies end in steps of gigabytes; a window of seconds would alternate between zero and too high a rate.
        """
        samples = self._samples
        samples.append((now_s, count))
        while self._phase is Phase.SENDING and len(samples) > 2 and now_s - samples[0][0] > WINDOW_S:
            samples.popleft()
        if self._phase is Phase.COPYING and len(samples) > 2:
            samples.pop()  # the first one is enough
        first_s, first = samples[0]
        elapsed_s = now_s - first_s
        return max(0.0, (count - first) / elapsed_s) if elapsed_s >= MIN_WINDOW_S else None
