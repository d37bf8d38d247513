"""Tests of the thread pool on a machine that permits fewer threads than requested."""

import threading
from collections.abc import Callable

import pytest

from aliyun_import.upload.threads import thread_pool

Limit = Callable[[int], None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Return a function that limits the threads that run at the same time, as ulimit -u does."""

    def apply(maximum: int) -> None:
        start, running = threading.Thread.start, threading.active_count()

        def limited(thread: threading.Thread) -> None:
            if threading.active_count() - running >= maximum:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)

    return apply


@pytest.mark.parametrize("maximum", [0, 1, 3, 100])
def test_all_tasks_are_done_under_any_limit_of_threads(maximum: int, limit: Limit) -> None:
    """The results are in order; with no permitted thread, the caller does the tasks."""
    limit(maximum)
    with thread_pool(8, name="test") as pool:
        assert list(pool.map(lambda number: number * 2, range(50))) == list(range(0, 100, 2))


@pytest.mark.parametrize("maximum", [0, 8])
def test_the_error_of_a_task_is_raised_when_its_result_is_read(maximum: int, limit: Limit) -> None:
    """Earlier results are returned."""
    limit(maximum)
    with thread_pool(8, name="test") as pool:
        found = pool.map(lambda number: 1 // number, [1, 0])
        assert next(found) == 1
        with pytest.raises(ZeroDivisionError):
            next(found)
