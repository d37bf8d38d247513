"""This file estimates how long an import still takes, from the percents that the service has told so far."""

from collections.abc import Sequence
from dataclasses import dataclass

# Percents come in steps with pauses between them, so the estimate looks back over the last few steps, not over all:
# the first percents go faster (nothing is copied yet) than the rest.
STEPS = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """A percent, and when it was first told (monotonic seconds)."""

    at_s: float
    percent: int


def with_sample(samples: Sequence[Sample], *, at_s: float, percent: int | None) -> tuple[Sample, ...]:
    """Add what was just told, if it is news; a percent that steps back starts the estimate anew."""
    if percent is None:
        return tuple(samples)
    if samples and percent < samples[-1].percent:
        return (Sample(at_s, percent),)
    if samples and percent == samples[-1].percent:
        return tuple(samples)
    return (*samples, Sample(at_s, percent))[-STEPS:]


def left_s(samples: Sequence[Sample], *, now_s: float) -> float | None:
    """Estimate the seconds until 100 %; None until two different percents were told. Counts down between steps."""
    if len(samples) < 2 or samples[-1].at_s <= samples[0].at_s:
        return None
    first, last = samples[0], samples[-1]
    per_percent_s = (last.at_s - first.at_s) / (last.percent - first.percent)
    return max(0.0, (100 - last.percent) * per_percent_s - (now_s - last.at_s))
