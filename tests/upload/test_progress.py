"""Tests of the measurement of a transfer."""

import pytest

from aliyun_import.upload.transfer.progress import (
    COPYING_STALL_S,
    SENDING_STALL_S,
    WINDOW_S,
    Amounts,
    Measured,
    Meter,
    Phase,
)


def amounts(sent: int, *, to_send: int = 1000, to_copy: int = 0, copied: int = 0) -> Amounts:
    """Return the amounts of a transfer."""
    return Amounts(to_send=to_send, sent=sent, to_copy=to_copy, copied=copied)


class MeteredTransfer:
    """A transfer whose meter is read at given times."""

    def __init__(self) -> None:
        self.meter = Meter(now_s=0.0)

    def measure(self, now_s: float, now: Amounts, *, wire_bytes: int | None = None) -> Measured:
        """Return the measurement at a time."""
        return self.meter.measure(now, wire_bytes=now.sent if wire_bytes is None else wire_bytes, now_s=now_s)


def test_percent_rate_and_time_left_are_of_the_bytes_to_send() -> None:
    """Copies do not count while bytes remain to be sent, because sending takes most of the time."""
    transfer = MeteredTransfer()
    transfer.measure(0.0, amounts(0, to_copy=9000))
    measured = transfer.measure(2.0, amounts(200, to_copy=9000, copied=8000))
    assert (measured.phase, measured.percent, measured.rate_bytes_s) == (Phase.SENDING, 20, 100.0)
    assert measured.left_s == pytest.approx(8.0)


def test_copying_is_a_phase_when_all_is_sent() -> None:
    """It has its own percentage and its own rate."""
    transfer = MeteredTransfer()
    transfer.measure(0.0, amounts(0, to_copy=8000))
    first = transfer.measure(10.0, amounts(1000, to_copy=8000, copied=2000))
    assert (first.phase, first.percent, first.rate_bytes_s) == (Phase.COPYING, 25, None)
    measured = transfer.measure(12.0, amounts(1000, to_copy=8000, copied=4000))
    assert (measured.percent, measured.rate_bytes_s, measured.left_s) == (50, 1000.0, 4.0)


def test_the_rate_is_a_mean_over_the_window() -> None:
    """Bytes before the window do not count, and a decreasing count is no negative rate."""
    transfer = MeteredTransfer()
    assert transfer.measure(0.0, amounts(0)).rate_bytes_s is None
    assert transfer.measure(1.0, amounts(100)).rate_bytes_s == 100
    transfer.measure(2.0 + WINDOW_S, amounts(100))
    assert transfer.measure(12.0 + WINDOW_S, amounts(900), wire_bytes=1100).rate_bytes_s == 100
    assert transfer.measure(13.0 + WINDOW_S, amounts(0), wire_bytes=0).rate_bytes_s == 0


@pytest.mark.parametrize(
    ("before", "limit_s"), [(amounts(500), SENDING_STALL_S), (amounts(1000, to_copy=9, copied=1), COPYING_STALL_S)]
)
def test_a_stall_is_a_time_without_any_byte(before: Amounts, limit_s: float) -> None:
    """It is measured from the last byte, has no time left, and ends with the next byte."""
    transfer = MeteredTransfer()
    transfer.measure(0.0, amounts(0, to_copy=before.to_copy))
    transfer.measure(5.0, before)
    assert transfer.measure(4.9 + limit_s, before).stalled_s == 0
    stalled = transfer.measure(6.0 + limit_s, before)
    assert (stalled.stalled_s, stalled.left_s) == (1.0 + limit_s, None)
    after = Amounts(to_send=1000, sent=before.sent, to_copy=before.to_copy, copied=before.copied + 1)
    assert transfer.measure(7.0 + limit_s, after, wire_bytes=before.sent + 1).stalled_s == 0


def test_a_finished_transfer_does_not_stall() -> None:
    """Between the last part and the proof there is nothing to send."""
    transfer = MeteredTransfer()
    transfer.measure(0.0, amounts(1000))
    assert transfer.measure(1000.0, amounts(1000)).stalled_s == 0
    assert transfer.measure(1000.0, amounts(0, to_send=0)).percent == 100
