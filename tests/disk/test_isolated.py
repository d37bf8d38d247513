"""Tests of the isolated child process that reads disks."""

import os
from pathlib import Path

import pytest

from aliyun_import.disk.isolated import Limits, call_isolated
from aliyun_import.disk.report import Problem
from aliyun_import.model.finding import Severity

TARGETS = "tests.disk.isolated_targets"


def test_a_value_is_returned_from_the_child() -> None:
    """The child gets the arguments and returns a frozen value; its output is not part of it."""
    outcome = call_isolated(f"{TARGETS}:return_value", ["one", "two"], limits=Limits())
    assert isinstance(outcome.value, Problem)
    assert (outcome.value.code, outcome.value.message, outcome.failure) == ("one-two", f"parent {os.getpid()}", "")


def test_an_enum_is_returned_from_every_python() -> None:
    """The value of the enum is sent, and no call, which the parent refuses to unpickle."""
    assert call_isolated(f"{TARGETS}:return_enum_pickled_by_call", [], limits=Limits()).value is Severity.WARNS


@pytest.mark.parametrize(
    ("name", "limits", "text"),
    [
        ("allocate_too_much", Limits(memory_bytes=512 << 20), "more than 512 MiB of memory"),
        ("sleep_too_long", Limits(wall_s=0.5), "more than 0.5 seconds"),
        ("loop_forever", Limits(cpu_s=1), "more than 1 seconds of CPU time"),
        ("crash", Limits(), "SIGSEGV"),
        ("end_by_unnamed_signal", Limits(), "signal 40"),
        ("return_too_much", Limits(), "status 0"),
        ("raise_error", Limits(), "KeyError: 'surprise'"),
        ("return_function", Limits(), "pe_machine"),
    ],
)
def test_every_failure_of_the_child_is_reported(name: str, limits: Limits, text: str) -> None:
    """Limits, crashes and unexpected errors end only the child, and the outcome has the reason."""
    outcome = call_isolated(f"{TARGETS}:{name}", [], limits=limits)
    assert outcome.value is None
    assert text in outcome.failure


def test_the_child_cannot_write_files(tmp_path: Path) -> None:
    """A child that reads disks needs no write access."""
    outcome = call_isolated(f"{TARGETS}:write_file", [str(tmp_path / "file")], limits=Limits())
    assert "File too large" in outcome.failure


def test_a_limit_that_the_system_refuses_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the address space is refused on macOS."""
    (tmp_path / "sitecustomize.py").write_text(
        "import resource\ndef refuse(*_): raise ValueError('current limit exceeds maximum limit')\n"
        "resource.setrlimit = refuse\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    outcome = call_isolated(f"{TARGETS}:return_value", ["one"], limits=Limits())
    assert isinstance(outcome.value, Problem)
