"""Tests of the pools of threads on a machine that permits fewer."""

import threading
from collections.abc import Callable

import pytest

from aliyun_import.upload.threads import thread_pool

Limit = Callable[[int], None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Return a function that limits the threads that run at the same time, as ulimit -u does."""

    def apply(most: int) -> None:
        start, running = threading.Thread.start, threading.active_count()

        def limited(thread: threading.Thread) -> None:
            if threading.active_count() - running >= most:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", limited)

    return apply


@pytest.mark.parametrize("most", [0, 1, 3, 100])
def test_all_tasks_are_done_whatever_the_limit(most: int, limit: Limit) -> None:
    """In order, by as many threads as there can be, down to none."""
    limit(most)
    with thread_pool(8, name="test") as pool:
        assert list(pool.map(lambda number: number * 2, range(50))) == list(range(0, 100, 2))


@pytest.mark.parametrize("most", [0, 8])
def test_the_error_of_a_task_is_raised_where_its_result_is_asked_for(most: int, limit: Limit) -> None:
    """As by any pool."""
    limit(most)
    with thread_pool(8, name="test") as pool:
        found = pool.map(lambda number: 1 // number, [1, 0])
        assert next(found) == 1
        with pytest.raises(ZeroDivisionError):
            next(found)
