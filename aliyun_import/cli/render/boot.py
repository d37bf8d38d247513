"""Rendering of a boot test."""

from dataclasses import asdict
from typing import Any

from aliyun_import.cli.render.text import duration
from aliyun_import.model.boot import BootRun, BootTest, Verdict


def boot_document(test: BootTest) -> dict[str, Any]:
    """Return a boot test as an object."""
    return {"verdict": test.verdict, "runs": [_run_document(run) for run in test.runs]}


def boot_lines(test: BootTest) -> list[str]:
    """Return a line for each boot, and the last lines of the console below one that is no plain success."""
    return [line for run in test.runs for line in _run_lines(run)]


def _run_document(run: BootRun) -> dict[str, Any]:
    judgement = asdict(run.judgement)
    return {**asdict(run.machine), "seconds": round(run.seconds, 1), **judgement, "evidence": [*judgement["evidence"]]}


def _run_lines(run: BootRun) -> list[str]:
    machine, judgement = run.machine, run.judgement
    head = (
        f"  boot: {judgement.verdict} after {duration(run.seconds)} ({machine.boot_mode}, {machine.bus}, "
        f"{machine.accelerator}, {machine.processors} processors, {machine.memory_mib} MiB)"
    )
    evidence = () if judgement.verdict is Verdict.BOOTS else judgement.evidence
    return [head, *(f"      | {line}" for line in evidence)]
