"""The verdict of a boot test as a finding."""

from pathlib import Path

from aliyun_import.checks.registry import AppliesTo, Source, declared
from aliyun_import.model.boot import BootTest, Verdict
from aliyun_import.model.finding import Finding, Severity

_SEVERITIES = {
    Verdict.FAILS: Severity.BLOCKS,
    Verdict.UNPROVEN: Severity.UNKNOWN,
    Verdict.DEGRADED: Severity.WARNS,
    Verdict.BOOTS: Severity.NOTE,
}
_SENTENCES = {
    Verdict.FAILS: "The disk does not boot",
    Verdict.UNPROVEN: "Whether the disk boots is not proven",
    Verdict.DEGRADED: "The disk boots, and something on it does not work",
    Verdict.BOOTS: "The disk boots",
}
BOOT_TEST = declared(
    "boot-test",
    {
        Severity.BLOCKS: "if it does not boot",
        Severity.WARNS: "if it boots with failures",
        Severity.UNKNOWN: "if neither is proven",
        Severity.NOTE: "if it boots",
    },
    "Start the disk in QEMU as an instance would be started, and read its console: with `check --boot` and "
    "`push --boot-test local` alone, since it runs the code on the disk.",
    source=Source.JUDGEMENT,
    applies_to=AppliesTo.BOOT,
)


def finding_of(test: BootTest, path: Path) -> Finding:
    """Return the finding of a boot test: of its worst boot, with the number of the others."""
    run = test.decisive
    machine, judgement = run.machine, run.judgement
    others = [one for one in test.runs if one is not run]
    beside = "".join(f" From {one.machine.bus}: {one.judgement.verdict}." for one in others)
    return Finding(
        rule=BOOT_TEST.id,
        severity=_SEVERITIES[judgement.verdict],
        message=f"{_SENTENCES[judgement.verdict]} ({machine.boot_mode}, {machine.bus}): {judgement.reason}{beside}",
        remedy=judgement.remedy,
        where=f"console: {judgement.evidence[-1]}" if judgement.evidence else "",
        subject=str(path),
        source=BOOT_TEST.source,
    )
