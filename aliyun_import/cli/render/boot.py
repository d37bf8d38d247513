"""Rendering of a boot test."""

from dataclasses import asdict
from typing import Any

from aliyun_import.cli.render.result import Outcome
from aliyun_import.cli.render.text import duration, escaped
from aliyun_import.errors import Exit
from aliyun_import.model.boot import BootRun, BootTest, CloudBootTest, Verdict


def boot_document(test: BootTest) -> dict[str, Any]:
    """Return a boot test as an object."""
    return {"verdict": test.verdict, "runs": [_run_document(run) for run in test.runs]}


def boot_lines(test: BootTest) -> list[str]:
    """Return a line for each boot, and below one that is not a success the last lines of its console."""
    return [line for run in test.runs for line in _run_lines(run)]


def cloud_boot_document(test: CloudBootTest) -> dict[str, Any]:
    """Return a boot test of an image as an object."""
    judgement = asdict(test.judgement)
    facts = asdict(test) | judgement | {"seconds": round(test.seconds, 1), "evidence": [*judgement["evidence"]]}
    del facts["judgement"]
    return facts


def cloud_boot_outcome(test: CloudBootTest, *, region: str) -> Outcome:
    """Return the result of the boot test of an image: exit code 7 if it does not boot, 6 if an instance is left."""
    shown = escaped(test.judgement)
    evidence = () if shown.verdict is Verdict.BOOTS else shown.evidence
    lines = [
        f"{escaped(test.image_id)} {shown.verdict} after {duration(test.seconds)} ({test.instance_type})",
        f"  {shown.reason}",
        *([f"  {shown.remedy}"] if shown.remedy else []),
        *(f"      | {line}" for line in evidence),
    ]
    code = Exit.TRANSIENT if test.left_over else Exit.DONE
    return Outcome(
        document={"command": "image boot-test", "region": region, **cloud_boot_document(test)},
        text="\n".join(lines),
        exit_code=Exit.IMPORT_FAILED if test.judgement.verdict is Verdict.FAILS else code,
    )


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
