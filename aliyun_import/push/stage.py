"""This file frames a stage: it begins, it ends well with a few words, or its error goes through."""

from collections.abc import Iterator
from contextlib import contextmanager

from aliyun_import.context import Clock, StageReport
from aliyun_import.events import Emit, StageFinished, StageStarted


@contextmanager
def stage(name: str, *, emit: Emit, clock: Clock, doing: str = "") -> Iterator[StageReport]:
    """Emit that a stage begins and, unless an error goes through, that it ended and how long it took."""
    began_s = clock.monotonic_s()
    emit(StageStarted(stage=name, detail=doing))
    words = StageReport()
    yield words
    emit(StageFinished(stage=name, seconds=clock.monotonic_s() - began_s, detail=words.detail))
