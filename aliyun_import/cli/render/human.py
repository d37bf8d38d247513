"""Renderer for a terminal: a line for each finished stage, a progress bar for the running one."""

from collections.abc import Sequence
from typing import TextIO, assert_never

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style
from rich.table import Column
from rich.text import Text

from aliyun_import import events
from aliyun_import.cli.render.result import Outcome, Verbosity
from aliyun_import.cli.render.text import (
    MessageThrottle,
    ThroughputEstimator,
    describe,
    duration,
    failure_lines,
    finding_line,
    is_important,
    stage_name,
)
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.finding import Severity
from aliyun_import.sizes import size

SEVERITY_STYLE = {
    Severity.BLOCKS: "bold red",
    Severity.WARNS: "yellow",
    Severity.NOTE: "dim",
    Severity.UNKNOWN: "cyan",
}
# A shorter bar shows nothing that the percentage does not; a longer one adds nothing.
MIN_BAR_CHARS = 10
MAX_BAR_CHARS = 40


class _ProgressLine:
    """Progress of a stage in the width that there is: `facts` from the most to the least important, then the bar."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, task = options.max_width, self._task
        facts: Sequence[str] = task.fields.get("facts", ())
        if task.total is None and not facts:
            yield ProgressBar(
                total=None, width=MIN_BAR_CHARS, pulse=True, pulse_style="green", animation_time=task.get_time()
            )
            detail = f" {task.fields.get('detail', '')}"
            yield Segment(detail[: width - MIN_BAR_CHARS], Style(dim=True))
            return
        text = fitting(facts, width)
        bar_chars = min(MAX_BAR_CHARS, width - len(text) - 1)
        if bar_chars >= MIN_BAR_CHARS:
            yield ProgressBar(
                total=task.total,
                completed=task.completed,
                width=bar_chars,
                pulse=task.total is None,
                complete_style="green",
                finished_style="green",
                pulse_style="green",
                animation_time=task.get_time(),
            )
            text = f" {text}"
        # Not as Text, which is padded to the width of its column.
        yield Segment(text)


def fitting(facts: Sequence[str], width: int) -> str:
    """Return as many facts as fit in a width, the first ones first."""
    text = ""
    for fact in facts:
        longer = f"{text}  {fact}" if text else fact
        if len(longer) > width:
            break
        text = longer
    return text


class _Body(ProgressColumn):
    """Column that takes the width that the others leave."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(ratio=1, no_wrap=True))

    def render(self, task: Task) -> _ProgressLine:
        return _ProgressLine(task)


class HumanRenderer:
    """Renderer that draws on stderr with rich; the result alone goes to stdout."""

    def __init__(self, stdout: TextIO, verbosity: Verbosity) -> None:
        self._stdout = stdout
        self._verbosity = verbosity
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._throttle = MessageThrottle()
        self._throughput = ThroughputEstimator()

    def emit(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.StageStarted():
                self._start_stage(event)
            case events.StageFinished():
                self._finish_stage(event)
            case events.SurveyProgress():
                done = f"{size(event.done_bytes)} of {size(event.total_bytes)} searched for zeros"
                self._update(event.total_bytes, event.done_bytes, (_percent(event.done_bytes, event.total_bytes), done))
            case events.UploadProgress():
                self._draw_upload(event)
            case events.ImportProgress():
                self._draw_import(event)
            case events.Warned() | events.FindingRaised():
                self._warn(event)
            case (
                events.Noted()
                | events.ObjectReady()
                | events.ImportSubmitted()
                | events.UploadPlanned()
                | events.PartRetried()
            ):
                self._note(event)
            case events.Changed():
                self._write(describe(event), style="cyan", mark="+")
            case events.RunStarted() | events.DiskInspected() | events.UploadResumed():
                self._write(describe(event))
            case _:
                assert_never(event)

    def outcome(self, outcome: Outcome) -> None:
        """Print the result to stdout, below everything else."""
        self.close()
        if outcome.aside and not self._verbosity.quiet:
            self._console.print(Text(outcome.aside, style="dim"), soft_wrap=True)
        if outcome.text:
            self._stdout.write(outcome.text.rstrip("\n") + "\n")
            self._stdout.flush()

    def failure(self, error: AliyunImportError) -> None:
        """Print what happened, why and what to do."""
        self.close()
        first, *rest = failure_lines(error)
        self._console.print(Text(first, style="bold red"), soft_wrap=True)
        for line in rest:
            self._console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Remove the progress bar from the screen."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _write(self, text: str, *, style: str = "", mark: str = " ") -> None:
        if not self._verbosity.quiet:
            self._console.print(Text(f"  {mark} {text}", style=style), soft_wrap=True)

    def _warn(self, event: events.Warned | events.FindingRaised) -> None:
        if isinstance(event, events.Warned):
            self._console.print(Text(f"  ! {describe(event)}", style="yellow"), soft_wrap=True)
        elif is_important(event) or self._verbosity.notes:
            text = Text(f"  ! {finding_line(event)}", style=SEVERITY_STYLE[event.finding.severity])
            self._console.print(text, soft_wrap=True)

    def _note(self, event: events.Event) -> None:
        """Write notes if they are wanted; without -v only the plan and some of the retries."""
        line: str | None = describe(event)
        if not self._verbosity.notes:
            if isinstance(event, events.PartRetried):
                line = self._throttle.line(event, describe(event))
            elif not isinstance(event, events.UploadPlanned):
                line = None  # the lines of the stages name object and task as well
        if line is not None:
            self._write(line, style="dim")

    def _start_stage(self, event: events.StageStarted) -> None:
        self.close()
        if self._verbosity.quiet:
            return
        self._throughput = ThroughputEstimator()
        self._progress = Progress(
            SpinnerColumn("dots" if "utf" in self._console.encoding else "line"),
            TextColumn("[bold]{task.description}"),
            _Body(),
            console=self._console,
            transient=True,
            expand=True,
        )
        self._progress.add_task(f"{stage_name(event.stage):<8}", total=None, detail=event.detail)
        self._progress.start()

    def _finish_stage(self, event: events.StageFinished) -> None:
        self.close()
        if not self._verbosity.quiet:
            line = Text.assemble(("✓", "green"), " ", (f"{stage_name(event.stage):<8}", "bold"), f" {event.detail}")
            if event.seconds >= 1:
                line.append(f" ({duration(event.seconds)})", style="dim")
            self._console.print(line, soft_wrap=True)

    def _draw_upload(self, event: events.UploadProgress) -> None:
        # The bar is that of the bytes that are sent, which take the time; zeros made in OSS would jump ahead of it.
        done, total = (
            (event.sent_bytes, event.send_bytes) if event.send_bytes else (event.done_bytes, event.total_bytes)
        )
        done = min(done, total)
        rate = self._throughput.add(event.sent_bytes)
        facts = [_percent(done, total)]
        if rate and event.send_bytes > event.sent_bytes:
            facts.append(f"{duration((event.send_bytes - event.sent_bytes) / rate)} left")
        if rate:
            facts.append(f"{size(rate)}/s")
        self._update(total, done, (*facts, f"{size(done)} of {size(total)}"))

    def _draw_import(self, event: events.ImportProgress) -> None:
        facts = [f"{event.percent:3d} %"] if event.percent is not None else []
        if event.left_s is not None:
            facts.append(f"about {duration(event.left_s)} left")
        facts += [f"task {event.task_status}", f"image {event.image_status or 'not there yet'}"]
        self._update(100 if event.percent is not None else None, event.percent or 0, facts)

    def _update(self, total: float | None, done: float, facts: Sequence[str]) -> None:
        if self._progress:
            self._progress.update(self._progress.task_ids[0], total=total, completed=done, facts=tuple(facts))


def _percent(done: int, total: int) -> str:
    return f"{100 * done // total if total else 100:3d} %"
