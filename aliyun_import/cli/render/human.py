"""Renderer for a terminal: a line for each finished stage, a progress bar for the running one."""

from collections.abc import Sequence
from typing import TextIO, assert_never

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.table import Column
from rich.text import Text

from aliyun_import import events
from aliyun_import.cli.render.layout import laid_out
from aliyun_import.cli.render.result import Outcome, Verbosity
from aliyun_import.cli.render.text import (
    MessageThrottle,
    boot_facts,
    describe,
    duration,
    failure_facts,
    failure_texts,
    finding_line,
    image_check_facts,
    import_facts,
    is_important,
    retry_facts,
    stage_name,
    transfer_facts,
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
# Marks at the beginning of the lines of findings, and of the conclusion of `check`.
MARK_STYLE = {"✗": "red", "!": "yellow", "?": "cyan", "·": "dim", "✓": "green"}
COMMAND_STYLE = "cyan"
# A shorter bar shows no more than the percentage, a longer one no more than this.
MIN_BAR_CHARS = 10
MAX_BAR_CHARS = 40
# Width of the names of the stages: that of the longest, "planning".
STAGE_CHARS = 8
# A line of a guest's console can be long; its beginning shows what the guest does.
MAX_FACT_CHARS = 48
# rich erases the line of the cursor alone. A line that the terminal wrapped when it became narrower continues below it.
_ERASE_BELOW = Segment("\x1b[J", None, [(ControlType.CLEAR,)])
_TO_LINE_START = Segment("\r", None, [(ControlType.CARRIAGE_RETURN,)])


class _ProgressLine:
    """Progress of a stage in the available width: `facts`, the most important first, after a bar."""

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
        if not text:  # cut the first fact rather than show none
            text = facts[0][:width]
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
    """Column that takes the remaining width."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(ratio=1, no_wrap=True))

    def render(self, task: Task) -> _ProgressLine:
        return _ProgressLine(task)


class _Display(Progress):
    """Display of one progress line, with the cursor at its start while it is shown.

    Everything to erase is then below the cursor, also after the terminal wrapped the line or echoed `^C`.
    """

    def get_renderable(self) -> RenderableType:
        return _FromLineStart(super().get_renderable())


class _FromLineStart:
    """A line that erases what is below it and leaves the cursor at its start."""

    def __init__(self, line: RenderableType) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield _ERASE_BELOW
        for row in console.render_lines(self._line, options, pad=False):
            yield from row
        yield _TO_LINE_START


class HumanRenderer:
    """Renderer that draws on stderr with rich; the result alone goes to stdout."""

    def __init__(self, stdout: TextIO, verbosity: Verbosity) -> None:
        self._stdout = stdout
        self._verbosity = verbosity
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        # Name of the running stage until a line shows it; None before the first stage.
        self._heading: str | None = None
        self._throttle = MessageThrottle()

    def emit(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.StageStarted():
                self._start_stage(event)
            case events.StageFinished():
                self._finish_stage(event)
            case events.BootProgress():
                self._update(None, None, 0, [fact[:MAX_FACT_CHARS] for fact in boot_facts(event)])
            case (
                events.SurveyProgress()
                | events.UploadProgress()
                | events.ImportProgress()
                | events.ImageCheckProgress()
                | events.CallRetried()
            ):
                self._draw(event)
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
        """Print the summary, and below it the result, which alone goes to stdout."""
        self.close()
        if not self._verbosity.quiet:
            for label, text in outcome.summary:
                self._print(f"  {label:<{STAGE_CHARS}} ", text)
            if outcome.stderr_text:
                self._print("", outcome.stderr_text, style="dim")
        if outcome.text:
            text = outcome.text.rstrip("\n") + "\n"
            if outcome.is_marked and self._stdout.isatty():
                self._print_marked(text)
            else:
                self._stdout.write(text)
            self._stdout.flush()

    def failure(self, error: AliyunImportError) -> None:
        """Print what happened, why and what to do."""
        self.close()
        for label, text in failure_texts(error):
            self._print(label, text, style="bold red" if label == "error: " else "")
        self._print("  ", failure_facts(error).lstrip(), style="dim")

    def close(self) -> None:
        """Remove the progress bar from the screen."""
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _print(self, label: str, text: str, *, style: str = "") -> None:
        """Print a text beside its label, wrapped to the current width of the terminal."""
        if self._progress:
            self._progress.refresh()  # the text overwrites it row by row; the terminal may have wrapped it
        for number, line in enumerate(laid_out(label, text, self._console.width)):
            shown = Text(line.text, style=COMMAND_STYLE if line.is_command else style)
            if number == 0:
                shown.stylize("bold", 0, len(label))
            self._console.print(shown, soft_wrap=True)

    def _print_marked(self, text: str) -> None:
        """Print the findings of `check` to a terminal, each in the colour of its severity."""
        console = Console(file=self._stdout, highlight=False)
        style = ""
        for line in text.splitlines():
            if line[:2] == "  " and line[3:4] == " " and line[2] in MARK_STYLE:
                style = MARK_STYLE[line[2]]
            elif not line.startswith("    ") or line.lstrip().startswith("do:"):
                style = ""  # the other indented lines continue a wrapped finding
            console.print(Text(line, style=style), soft_wrap=True)

    def _label(self, mark: str) -> str:
        """Return the prefix of a line: its mark, and in the first line of a stage the name of the stage."""
        if self._heading is None:
            return f"{mark} "
        heading, self._heading = self._heading, ""
        return f"{mark} {heading:<{STAGE_CHARS}} "

    def _write(self, text: str, *, style: str = "", mark: str = " ") -> None:
        if not self._verbosity.quiet:
            self._print(self._label(mark), text, style=style)

    def _warn(self, event: events.Warned | events.FindingRaised) -> None:
        if isinstance(event, events.Warned):
            self._print(self._label("!"), describe(event), style="yellow")
        elif is_important(event) or self._verbosity.notes:
            self._print(self._label("!"), finding_line(event), style=SEVERITY_STYLE[event.finding.severity])

    def _note(self, event: events.Event) -> None:
        """Write notes if they are wanted; without -v only the plan and some of the retries."""
        line: str | None = describe(event)
        if not self._verbosity.notes:
            if isinstance(event, events.PartRetried):
                line = self._throttle.line(describe(event))
            elif not isinstance(event, events.UploadPlanned):
                line = None  # the lines of the stages name object and task as well
        if line is not None:
            self._write(line, style="dim")

    def _start_stage(self, event: events.StageStarted) -> None:
        self.close()
        self._heading = stage_name(event.stage)
        if self._verbosity.quiet:
            return
        self._progress = _Display(
            SpinnerColumn("dots" if "utf" in self._console.encoding else "line"),
            TextColumn("[bold]{task.description}"),
            _Body(),
            console=self._console,
            transient=True,
            expand=True,
        )
        self._progress.add_task(f"{stage_name(event.stage):<{STAGE_CHARS}}", total=None, detail=event.detail)
        self._progress.start()

    def _finish_stage(self, event: events.StageFinished) -> None:
        self.close()
        if not self._verbosity.quiet:
            label = self._label("✓")
            took = f" ({duration(event.seconds)})" if event.seconds >= 1 else ""
            first, *rest = laid_out(label, event.detail + took, self._console.width)
            head = Text.assemble(("✓", "green"), (first.text[1 : len(label)], "bold"), first.text[len(label) :])
            for line in (head, *(Text(one.text) for one in rest)):
                self._console.print(line, soft_wrap=True)

    def _draw(
        self,
        event: events.SurveyProgress
        | events.UploadProgress
        | events.ImportProgress
        | events.ImageCheckProgress
        | events.CallRetried,
    ) -> None:
        """Draw the progress line; a phase of the upload replaces the name of the stage."""
        match event:
            case events.SurveyProgress(done_bytes=done, total_bytes=total):
                searched = f"{size(done)} of {size(total)} searched for zeros"
                self._update("planning", total, done, (f"{100 * done // total if total else 100} %", searched))
            case events.UploadProgress():
                self._update(event.phase, event.phase_bytes, event.phase_done_bytes, transfer_facts(event))
            case events.ImportProgress(percent=None):
                self._update("wait", None, 0, import_facts(event))
            case events.ImportProgress(percent=percent):
                self._update("wait", 100, percent or 0, import_facts(event))
            case events.ImageCheckProgress(elapsed_s=elapsed_s, limit_s=limit_s):
                self._update("wait", limit_s, elapsed_s, image_check_facts(event))
            case events.CallRetried():
                self._update(None, None, 0, retry_facts(event))

    def _update(self, name: str | None, total: float | None, done: float, facts: Sequence[str]) -> None:
        if self._progress:
            (task,) = self._progress.tasks
            description = task.description if name is None else f"{name:<{STAGE_CHARS}}"
            # Pad the percentage to the width of 100 %, so that the line does not move.
            self._progress.update(
                task.id,
                description=description,
                total=total,
                completed=done,
                facts=(f"{facts[0]:>5}", *facts[1:]),
            )
