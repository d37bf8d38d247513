"""System tools for the tests that compare the readers with them."""

import shutil
import subprocess
from pathlib import Path

import pytest


def need(*names: str) -> None:
    """Skip the test, with the reason, if a tool is not installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def run(*command: str | Path, stdin: str | None = None) -> str:
    """Run a tool that must succeed, and return its output."""
    done = subprocess.run(
        [str(word) for word in command], input=stdin, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
