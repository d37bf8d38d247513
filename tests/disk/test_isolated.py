"""Tests of the child process that reads disks."""

import os
from pathlib import Path

import pytest

from aliyun_import.disk.isolated import Limits, call_isolated
from aliyun_import.disk.report import Problem
from aliyun_import.model.finding import Severity

TARGETS = "tests.disk.isolated_targets"


def test_a_value_comes_back_whole() -> None:
    """The child gets the arguments and returns a frozen value. Output to stdout does not disturb it."""
    outcome = call_isolated(f"{TARGETS}:a_value", ["one", "two"], limits=Limits())
    assert isinstance(outcome.value, Problem)
    assert (outcome.value.code, outcome.value.message, outcome.failure) == ("one-two", f"parent {os.getpid()}", "")


def test_an_enum_comes_back_from_any_python() -> None:
    """Members are pickled by value, because the unpickler refuses a call of getattr."""
    assert call_isolated(f"{TARGETS}:an_enum_of_old", [], limits=Limits()).value is Severity.WARNS


@pytest.mark.parametrize(
    ("name", "limits", "words"),
    [
        ("too_much_memory", Limits(memory_bytes=512 << 20), "more than 512 MiB of memory"),
        ("too_long", Limits(wall_s=0.5), "more than 0.5 seconds"),
        ("a_busy_loop", Limits(cpu_s=1), "more than 1 seconds of CPU time"),
        ("a_crash", Limits(), "SIGSEGV"),
        ("a_kill", Limits(), "signal 40"),
        ("too_long_an_answer", Limits(), "status 0"),
        ("an_error", Limits(), "KeyError: 'surprise'"),
        ("no_value", Limits(), "pe_machine"),
    ],
)
def test_whatever_happens_in_it_is_a_sentence_here(name: str, limits: Limits, words: str) -> None:
    """Lack of memory, time-outs, crashes and exceptions end only the child."""
    outcome = call_isolated(f"{TARGETS}:{name}", [], limits=limits)
    assert outcome.value is None
    assert words in outcome.failure


def test_it_can_not_write(tmp_path: Path) -> None:
    """A child that reads disks cannot write to files."""
    outcome = call_isolated(f"{TARGETS}:a_file", [str(tmp_path / "file")], limits=Limits())
    assert "File too large" in outcome.failure


def test_a_limit_that_the_system_refuses_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the address space is refused on macOS."""
    (tmp_path / "sitecustomize.py").write_text(
        "import resource\ndef refuse(*_): raise ValueError('current limit exceeds maximum limit')\n"
        "resource.setrlimit = refuse\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    outcome = call_isolated(f"{TARGETS}:a_value", ["one"], limits=Limits())
    assert isinstance(outcome.value, Problem)
