"""Fixtures of all tests: a sandbox with fresh state, over real HTTP, and processes that have imported the tool."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

# Where bytecode is not written, each interpreter that the tests start compiles the package anew. Before all imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

from aliyun_import.sandbox.server import Sandbox  # noqa: E402
from tests import warm_children  # noqa: E402
from tests.flows.fork_server import ForkServer  # noqa: E402

WARM_CHILDREN = "WARM_CHILDREN"  # the variable that tells the workers the address


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run one more than there are processors: commands and imports are waited for (222 s in place of 286 on two)."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config: pytest.Config) -> None:
    """Start the process that forks children and commands, once for all workers."""
    if config.getoption("numprocesses", 0):
        os.environ[WARM_CHILDREN] = warm_children.start_server()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected, and leave them out of each garbage collection later.

    The first is a tenth of the time of the collection, in each worker; the second is 3 % of the time of the flows.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep journals and settings out of the user's directories, and the user's out of the tests."""
    for name in ("STATE", "CONFIG", "DATA", "CACHE"):
        os.environ[f"XDG_{name}_HOME"] = str(tmp_path_factory.mktemp(name.lower()))


@pytest.fixture(scope="session", autouse=True)
def warm() -> warm_children.WarmChildren:
    """Read disks in children that are forked from a process that has imported the readers."""
    return warm_children.install(os.environ.get(WARM_CHILDREN, ""))


@pytest.fixture(scope="session")
def forks(warm: warm_children.WarmChildren) -> ForkServer:
    """Return the handle of the process from which commands are forked."""
    return ForkServer(warm.fork_commands())


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox with fresh state that ends with the test."""
    with Sandbox.start(tmp_path / "sandbox") as running:
        yield running
