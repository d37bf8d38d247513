"""Pool of as many threads as this machine permits."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _CallersThread(Executor):
    """Executor that runs each task at once, on the thread that submits it."""

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a task and return its result."""
        done: Future[T] = Future()
        try:
            done.set_result(task(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 -- as every executor: raised where the result is asked for
            done.set_exception(error)
        return done


def thread_pool(most: int, *, name: str) -> Executor:
    """Return a pool of at most `most` threads; of fewer under a limit (ulimit -u, a container's), down to none.

    A ThreadPoolExecutor fails in the middle of its tasks when a thread can't be started, so it is found out before.
    """
    count = _startable(most)
    return ThreadPoolExecutor(count, thread_name_prefix=name) if count else _CallersThread()


def _startable(most: int) -> int:
    """Return how many threads can run at the same time, at most `most`."""
    release = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(most):
            thread = threading.Thread(target=release.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # can't start new thread
        pass
    finally:
        release.set()
        for thread in started:
            thread.join()
    return len(started)
