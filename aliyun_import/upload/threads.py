"""Thread pool that respects the limits of this machine."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _CallersThread(Executor):
    """Executor that runs each task immediately, on the thread that submits it."""

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a task and return its result."""
        done: Future[T] = Future()
        try:
            done.set_result(task(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 -- raised by result(), as with every executor
            done.set_exception(error)
        return done


def thread_pool(maximum: int, *, name: str) -> Executor:
    """Return a pool of at most `maximum` threads; fewer, or none, under a limit (ulimit -u, that of a container).

    A ThreadPoolExecutor fails during its tasks if it can't start a thread, so the number is tested before.
    """
    count = _startable(maximum)
    return ThreadPoolExecutor(count, thread_name_prefix=name) if count else _CallersThread()


def _startable(maximum: int) -> int:
    """Return the number of threads that can run at the same time, at most `maximum`."""
    release = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(maximum):
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
