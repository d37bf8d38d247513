"""Fixtures of all tests: a sandbox over real HTTP, and processes that have imported the tool."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# Without bytecode files, each interpreter that the tests start compiles the package again. Set before all imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

from aliyun_import.sandbox.server import Sandbox  # noqa: E402
from tests import warm_children  # noqa: E402
from tests.flows.fork_server import ForkServer  # noqa: E402

WARM_CHILDREN = "WARM_CHILDREN"  # environment variable with the address for the workers


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use one worker more than processors, because tests wait for commands (222 s instead of 286 s on two)."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Start the process that forks disk readers and commands, once for all workers."""
    if config.getoption("numprocesses", 0):
        os.environ[WARM_CHILDREN] = warm_children.start_server()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Disable garbage collection while tests are collected, and exclude the tests from later garbage collections.

    The first saves a tenth of the time of the collection in each worker, the second 3 % of the time of the flows.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Use temporary directories for journals, settings and caches instead of those of the user."""
    for name in ("STATE", "CONFIG", "DATA", "CACHE"):
        os.environ[f"XDG_{name}_HOME"] = str(tmp_path_factory.mktemp(name.lower()))


@pytest.fixture(scope="session", autouse=True)
def warm() -> warm_children.WarmChildren:
    """Read disks in children forked from a process that has imported the readers."""
    return warm_children.install(os.environ.get(WARM_CHILDREN, ""))


@pytest.fixture(scope="session")
def forks(warm: warm_children.WarmChildren) -> ForkServer:
    """Return the server that forks commands."""
    return ForkServer(warm.fork_commands())


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox with empty state."""
    with Sandbox.start(tmp_path / "sandbox") as running:
        yield running
