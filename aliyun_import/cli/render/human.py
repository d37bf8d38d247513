"""This file talks to a person at a terminal: a line for each stage that is done, a bar for the one that runs."""

from typing import TextIO, assert_never

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from aliyun_import import events
from aliyun_import.cli.render.error import failure_lines
from aliyun_import.cli.render.result import Outcome, Verbosity
from aliyun_import.cli.render.text import Rate, describe, duration, finding_line, worth_saying
from aliyun_import.cli.render.throttle import MessageThrottle
from aliyun_import.errors import AliyunImportError
from aliyun_import.model.finding import Severity
from aliyun_import.sizes import size

SEVERITY_STYLE = {
    Severity.BLOCKS: "bold red",
    Severity.WARNS: "yellow",
    Severity.NOTE: "dim",
    Severity.UNKNOWN: "cyan",
}


class _Detail(ProgressColumn):
    """The words behind the bar, which the events bring along."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("detail", "")), style="dim", overflow="ellipsis", no_wrap=True)


class HumanRenderer:
    """Draws on stderr with rich; the result goes to stdout, alone."""

    def __init__(self, stdout: TextIO, verbosity: Verbosity) -> None:
        self._stdout = stdout
        self._verbosity = verbosity
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._calm = MessageThrottle()
        self._rate = Rate()

    def emit(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.StageStarted():
                self._start_stage(event)
            case events.StageFinished():
                self._finish_stage(event)
            case events.SurveyProgress():
                detail = f"{size(event.done_bytes)} of {size(event.total_bytes)} read to find its zeros"
                self._update(event.total_bytes, event.done_bytes, detail)
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
                self._aside(event)
            case events.Changed():
                self._say(describe(event), style="magenta", mark="+")
            case events.RunStarted() | events.DiskInspected() | events.UploadResumed():
                self._say(describe(event))
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
        """Take the bar off the screen."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _say(self, text: str, *, style: str = "", mark: str = " ", wanted: bool = True) -> None:
        if wanted and not self._verbosity.quiet:
            self._console.print(Text(f"  {mark} {text}", style=style), soft_wrap=True)

    def _warn(self, event: events.Warned | events.FindingRaised) -> None:
        if isinstance(event, events.Warned):
            self._console.print(Text(f"  ! {describe(event)}", style="yellow"), soft_wrap=True)
        elif worth_saying(event) or self._verbosity.notes:
            text = Text(f"  ! {finding_line(event)}", style=SEVERITY_STYLE[event.finding.severity])
            self._console.print(text, soft_wrap=True)

    def _aside(self, event: events.Event) -> None:
        """Say what is for those who ask for notes, and of the rest what everybody should see."""
        line: str | None = describe(event)
        if not self._verbosity.notes:
            if isinstance(event, events.PartRetried):
                line = self._calm.words(event, describe(event))
            elif not isinstance(event, events.UploadPlanned):
                line = None  # the stages' own lines say the object and the task as well
        self._say(line or "", style="dim", wanted=line is not None)

    def _start_stage(self, event: events.StageStarted) -> None:
        self.close()
        if self._verbosity.quiet:
            return
        self._rate = Rate()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            _Detail(),
            console=self._console,
            transient=True,
        )
        self._progress.add_task(f"{event.stage:<8}", total=None, detail=event.detail)
        self._progress.start()

    def _finish_stage(self, event: events.StageFinished) -> None:
        self.close()
        if not self._verbosity.quiet:
            took = f" [dim]({duration(event.seconds)})[/]" if event.seconds >= 1 else ""
            self._console.print(f"[green]✓[/] [bold]{event.stage:<8}[/] {escape(event.detail)}{took}", soft_wrap=True)

    def _draw_upload(self, event: events.UploadProgress) -> None:
        if not self._progress:
            return
        speed = self._rate.add(event.sent_bytes)
        left = ""
        if speed and event.send_bytes > event.sent_bytes:
            left = f", {duration((event.send_bytes - event.sent_bytes) / speed)} left"
        detail = f"{size(event.sent_bytes)} of {size(event.send_bytes)} sent"
        detail += f" at {size(speed)}/s{left}" if speed else ""
        # The bar is the line's, which is what takes the time; what the server makes of zeros would jump ahead of it.
        if event.send_bytes:
            self._update(event.send_bytes, min(event.sent_bytes, event.send_bytes), detail)
        else:
            self._update(event.total_bytes, event.done_bytes, detail)

    def _draw_import(self, event: events.ImportProgress) -> None:
        left = f", about {duration(event.left_s)} left" if event.left_s is not None else ""
        detail = f"task {event.task_status}, image {event.image_status or 'not there yet'}{left}"
        self._update(100 if event.percent is not None else None, event.percent or 0, detail)

    def _update(self, total: float | None, done: float, detail: str) -> None:
        if self._progress:
            self._progress.update(self._progress.task_ids[0], total=total, completed=done, detail=detail)
