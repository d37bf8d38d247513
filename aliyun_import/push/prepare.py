"""This file has disks that ECS does not take converted while a push needs them, and looks at what came of them.

What is inside a packed disk is known only then: its boot mode, its system, and whether it can be imported at all.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from aliyun_import.disk.convert import needs_preparing, prepare
from aliyun_import.disk.report import DiskReport
from aliyun_import.push.context import PushContext
from aliyun_import.push.inspect_stage import Inspected, inspect
from aliyun_import.push.stage import stage


@contextmanager
def converted(inspected: Inspected, run: PushContext) -> Iterator[Inspected]:
    """Give the inspection of the disks as they will be sent; temporary files live as long as the block.

    The name of the image is that of `inspected`, which may have been settled since. Raises what `prepare` and `inspect`
    raise.
    """
    asked = replace(inspected.asked, name=inspected.request.name)
    with ExitStack() as files:
        disks = []
        for disk, report in zip(asked.disks, inspected.reports, strict=True):
            if disk.path is None or report is None or not needs_preparing(report):
                disks.append(disk)
            else:
                disks.append(replace(disk, path=files.enter_context(_one(disk.path, report, run))))
        if tuple(disks) == asked.disks:
            yield inspected
        else:
            yield inspect(replace(asked, disks=tuple(disks)), run.options, emit=run.emit)


@contextmanager
def _one(path: Path, report: DiskReport, run: PushContext) -> Iterator[Path]:
    with ExitStack() as file:
        with stage("convert", emit=run.emit, clock=run.clock, doing=f"{path}, which is {report.container}") as words:
            ready = file.enter_context(prepare(path, report, work_dir=run.options.conversion_dir, emit=run.emit))
            reason = next(problem for problem in report.container_problems if problem.convertible)
            words.detail = f"{path} is sent as {report.format or report.container}. {reason.seen} {reason.remedy or ''}"
        yield ready
