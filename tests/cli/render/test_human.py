"""Tests of the output on a terminal: the progress line, wrapped lines, the summary."""

import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console
from rich.progress import Progress

from aliyun_import import events
from aliyun_import.cli.render import human
from aliyun_import.cli.render.human import HumanRenderer, fitting
from aliyun_import.cli.render.renderer import PlainRenderer
from aliyun_import.cli.render.result import Outcome, Verbosity
from aliyun_import.errors import RefusedError
from tests.rows import each_row

FACTS = (" 35 %", "1:02:13 left", "15.2 MiB/s", "104.2 MiB of 300.2 GiB")
GIB = 1 << 30
SENDING = events.UploadProgress(
    disk="disk.raw", done_bytes=1, total_bytes=2, sent_bytes=105 << 20, send_bytes=300 << 20, parts_done=1, parts=2,
    workers=1, phase="sending", phase_done_bytes=105 << 20, phase_bytes=300 << 20, percent=35,
    rate_bytes_s=15.0 * (1 << 20), left_s=13.0, stalled_s=0.0, attempt=1, attempts=12,
)  # fmt: skip


@each_row(("width", "kept"), [(120, 4), (55, 4), (50, 3), (31, 3), (30, 2), (17, 1), (5, 1), (2, 0)])
def test_the_most_important_facts_are_kept(width: int, kept: int) -> None:
    """In the order of percentage, time left, rate, bytes."""
    assert fitting(FACTS, width) == "  ".join(FACTS[:kept])


class Screen:
    """Terminal of a width."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int, *, colours: bool = False) -> None:
        self.console = Console(
            file=io.StringIO(), width=width, height=20, force_terminal=True,
            color_system="standard" if colours else None,
        )  # fmt: skip
        monkeypatch.setattr(human, "Console", lambda **_: self.console)
        self.stdout = io.StringIO()
        self.renderer = HumanRenderer(self.stdout, Verbosity(0))

    def line_of(self, stage: str, event: events.Event) -> str:
        """Return the progress line after an event."""
        self.renderer.emit(events.StageStarted(stage=stage, detail="disk.raw"))
        self.renderer.emit(event)
        progress = self.renderer._progress
        assert isinstance(progress, Progress)
        console = Console(file=io.StringIO(), width=self.console.width)
        with console.capture() as drawn:
            console.print(progress.make_tasks_table(progress.tasks))
        self.renderer.close()
        (line,) = drawn.get().splitlines()
        return line.rstrip()


def permanent_lines(drawn: str) -> list[str]:
    """Return the lines that stay on the screen: they begin with a symbol, not with a spinner."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.replace("\r", "\n"))
    return [line.rstrip() for line in plain.splitlines() if line[:2] in {"✓ ", "+ ", "! "}]


@pytest.mark.parametrize(
    ("width", "facts", "has_bar"),
    [
        (36, ("35 %", "left"), False),
        (50, ("35 %", "left", "MiB/s"), True),
        (80, ("35 %", "left", "MiB/s", "of 300 MiB"), True),
        (90, ("35 %", "left", "MiB/s", "of 300 MiB"), True),
        (120, ("35 %", "left", "MiB/s", "of 300 MiB"), True),
    ],
)
def test_a_narrow_terminal_shows_the_most_important_facts(
    monkeypatch: pytest.MonkeyPatch, width: int, facts: tuple[str, ...], has_bar: bool
) -> None:
    """The text is one line, at most as wide as the terminal; the bar fills the rest."""
    line = Screen(monkeypatch, width).line_of("upload", SENDING)
    assert len(line) <= width
    assert all(fact in line for fact in facts), line
    assert ("━" in line) is has_bar, line


@pytest.mark.parametrize("width", [50, 80, 90, 120])
def test_hours_and_tib_fit(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Percentage, time left and rate of a large disk are complete at each width."""
    event = replace(SENDING, percent=9, left_s=359999.0, rate_bytes_s=1023.9 * (1 << 20), phase_bytes=2 << 40)
    line = Screen(monkeypatch, width).line_of("upload", event)
    assert "99:59:59 left  1023.9 MiB/s" in line
    assert len(line) <= width
    assert ("of 2 TiB" in line) is (width >= 80), line


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_stall_replaces_the_time_left(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Also at 50 columns: only the percentage has precedence."""
    stalled = replace(SENDING, left_s=None, rate_bytes_s=0.0, stalled_s=45.0, attempt=3)
    line = Screen(monkeypatch, width).line_of("upload", stalled)
    assert "35 %  no data for 45 s" in line
    assert ("  retrying 3 of 12" in line) is (width > 50)
    assert "left" not in line


def test_copies_in_oss_are_a_phase_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line begins with the name of the phase."""
    copying = replace(SENDING, phase="copying", phase_done_bytes=3 * GIB, phase_bytes=6 * GIB, percent=50)
    line = Screen(monkeypatch, 100).line_of("upload", copying)
    assert "copying" in line.split()[1]
    assert "3 GiB of 6 GiB made in OSS" in line


def test_a_wait_shows_the_time_left_before_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also at 50 columns."""
    state = events.ImportProgress(
        task_id="t-1", image_id="m-1", task_status="Processing", image_status="Creating", percent=19, left_s=754.0,
        elapsed_s=10.0,
    )  # fmt: skip
    assert "19 %  about 12:34 left" in Screen(monkeypatch, 50).line_of("wait", state)
    unanswered = replace(state, left_s=None, unanswered_s=75.0)
    done = replace(state, percent=100, left_s=0.0)
    assert "left" not in Screen(monkeypatch, 80).line_of("wait", done)
    assert "19 %  no answer for 1:15" in Screen(monkeypatch, 50).line_of("wait", unanswered)


def test_a_call_that_is_repeated_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has the cause and the number of the next attempt."""
    event = events.CallRetried(attempt=2, attempts=8, wait_s=4.0, reason="ECS could not be reached.")
    assert "retrying 3 of 8 in 4.0 s  ECS could not be reached." in Screen(monkeypatch, 80).line_of("look", event)


def test_stages_have_plain_names_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages `look` and `finish` of the events are printed as `account` and `cleanup`."""
    screen = Screen(monkeypatch, 80)
    with screen.console.capture() as drawn:
        for stage in ("look", "finish"):
            screen.renderer.emit(events.StageStarted(stage=stage))
            screen.renderer.emit(events.StageFinished(stage=stage, seconds=0.1, detail="done"))
    assert permanent_lines(drawn.get()) == ["✓ account  done", "✓ cleanup  done"]


def test_the_name_of_a_stage_precedes_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Details follow the name; a stage without details is one line."""
    screen = Screen(monkeypatch, 80)
    with screen.console.capture() as drawn:
        screen.renderer.emit(events.StageStarted(stage="look"))
        screen.renderer.emit(events.StageFinished(stage="look", seconds=0.1, detail="account 1"))
        screen.renderer.emit(events.StageStarted(stage="role"))
        screen.renderer.emit(events.Changed(what="created role", name="a-role"))
        screen.renderer.emit(events.Warned(code="a-code", message="so"))
        screen.renderer.emit(events.StageFinished(stage="role", seconds=0.1, detail="created"))
    assert permanent_lines(drawn.get()) == [
        "✓ account  account 1",
        "+ role     created role: a-role",
        "!          warning: so",
        "✓          created",
    ]


@pytest.mark.parametrize("width", [50, 80, 120])
def test_lines_break_between_words_and_commands_have_their_own_lines(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """A command is never broken; the text around it is as wide as the terminal."""
    command = "aliyun-import cleanup --region cn-hangzhou --bucket a-bucket --remove aliyun-import/web/system.raw"
    error = RefusedError(
        "The image could not be made of the disk that is in OSS, since it is another one by now.",
        code="a-code",
        cause="The service answered what follows.\naliyun ram CreateRole --RoleName A --AssumeRolePolicyDocument '{}'",
        remedy=f"Run the same command again to resume; `{command}` gives up, and `--force` is of no use here.",
    )
    screen = Screen(monkeypatch, width)
    with screen.console.capture() as drawn:
        screen.renderer.failure(error)
    lines = [line.rstrip() for line in drawn.get().splitlines()]
    assert f"         {command}" in lines
    assert "         aliyun ram CreateRole --RoleName A --AssumeRolePolicyDocument '{}'" in lines
    assert all(len(line) <= width for line in lines if "aliyun" not in line), lines
    assert "gives up, and `--force` is of" in " ".join(" ".join(lines).split())


class WrappingTerminal:
    """Terminal that wraps its lines again when it is resized, as tmux, VTE and Windows Terminal do."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = [""]
        self._row = self._column = 0

    def resize(self, width: int) -> None:
        """Wrap all rows again; the cursor stays at its character."""
        self.width = width
        self._row = sum(len(self._wrapped(row)) for row in self.rows[: self._row]) + self._column // width
        self._column %= width
        self.rows = [piece for row in self.rows for piece in self._wrapped(row)]
        self.rows += [""] * (self._row + 1 - len(self.rows))

    def feed(self, output: str) -> None:
        """Process output of a program or the echo of a key."""
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", output):
            if token in "\r\n" or self._column == self.width:
                self._row += token != "\r"
                self._column = 0
                self.rows += [""] * (self._row == len(self.rows))
            row = self.rows[self._row]
            if token == "\x1b[1A":
                self._row -= 1
            elif token == "\x1b[2K":
                self.rows[self._row] = ""
            elif token == "\x1b[J":
                self.rows[self._row :] = [row[: self._column]]
            elif token[0] not in "\x1b\r\n":
                self.rows[self._row] = row[: self._column].ljust(self._column) + token + row[self._column + 1 :]
                self._column += 1

    def _wrapped(self, row: str) -> list[str]:
        return [row[at : at + self.width] for at in range(0, len(row), self.width)] or [""]


@pytest.mark.parametrize("width", [40, 50, 70, 119, 120])
def test_a_progress_line_is_erased_completely(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Also if the terminal wrapped it after a resize, or echoed the key of an interrupt."""
    screen, terminal = Screen(monkeypatch, 120), WrappingTerminal(120)
    screen.renderer.emit(events.StageStarted(stage="role", detail="x" * 120))
    steps: list[Callable[[], None]] = [
        lambda: None,
        lambda: screen.renderer.emit(events.Changed(what="created role", name="a-role")),
        lambda: terminal.feed("^C"),
        screen.renderer.close,
    ]
    for step in steps:
        with screen.console.capture() as drawn:
            step()
            if screen.renderer._progress:
                screen.renderer._progress.refresh()
        terminal.feed(drawn.get())
        terminal.resize(width)
        screen.console.width = width
    assert [row.rstrip() for row in terminal.rows if row.strip()] == ["+ role     created role: a-role"]


def test_the_summary_is_on_stderr_and_the_result_on_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary has rows."""
    screen = Screen(monkeypatch, 40)
    with screen.console.capture() as drawn:
        screen.renderer.outcome(
            Outcome(document={}, text="m-1", summary=(("image", "m-1 in cn-hangzhou"), ("next", "do `run it -x`")))
        )
    assert drawn.get().splitlines() == ["  image    m-1 in cn-hangzhou", "  next     do", "             run it -x"]
    assert screen.stdout.getvalue() == "m-1\n"


def test_a_progress_bar_is_green(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red is for blocking findings."""
    screen = Screen(monkeypatch, 80, colours=True)
    with screen.console.capture() as drawn:
        screen.renderer.emit(events.StageStarted(stage="upload"))
        screen.renderer.emit(SENDING)
        screen.renderer.close()
    assert "\x1b[32m━" in drawn.get()
    assert "\x1b[31m" not in drawn.get()


class Terminal(io.StringIO):
    """Stdout that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize("no_color", [False, True])
def test_check_has_the_colours_of_the_severities(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    """Blocking findings are red, warnings yellow; with NO_COLOR there are no colours."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stdout = Terminal()
    text = "disk.raw: raw\n  ✗ blocks: no\n      more\n      do: this\n  ! warns: so"
    HumanRenderer(stdout, Verbosity(0)).outcome(Outcome(document={}, text=text, is_marked=True))
    coloured = "\x1b[31m  ✗ blocks: no\x1b[0m" in stdout.getvalue(), "\x1b[33m  ! warns: so\x1b[0m" in stdout.getvalue()
    assert coloured == (not no_color, not no_color)
    assert ("\x1b[31m      more\x1b[0m\n      do: this\n" in stdout.getvalue()) is not no_color


def test_a_log_has_one_line_for_the_end_of_a_transfer(capsys: pytest.CaptureFixture[str]) -> None:
    """For each disk. The coordinator emits the last state twice."""
    renderer = PlainRenderer(sys.stdout, sys.stderr, Verbosity(0))
    done = replace(SENDING, done_bytes=2, percent=100)
    for event in (SENDING, done, done, replace(done, disk="data.raw"), replace(done, disk="data.raw")):
        renderer.emit(event)
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines() if " 100 %" in line] == [
        "disk.raw:",
        "data.raw:",
    ]


@pytest.mark.parametrize("elapsed_s", [0.0, 61.0])
def test_the_wait_for_the_image_check_is_shown(monkeypatch: pytest.MonkeyPatch, elapsed_s: float) -> None:
    """From the first second, with the maximum duration."""
    event = events.ImageCheckProgress(image_id="m-1", status="Processing", elapsed_s=elapsed_s, limit_s=600.0)
    line = Screen(monkeypatch, 80).line_of("wait", event)
    assert "usable, waiting for the image check by ECS" in line
    assert "of at most 10:00" in line


def test_the_wait_for_the_image_check_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line at once, the others at the interval of import progress."""
    renderer = PlainRenderer(sys.stdout, sys.stderr, Verbosity(0))
    for elapsed_s in (0.0, 1.0, 2.0):
        renderer.emit(
            events.ImageCheckProgress(image_id="m-1", status="Processing", elapsed_s=elapsed_s, limit_s=600.0)
        )
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 2
    assert "image m-1: usable, waiting for the image check by ECS" in lines[0]
