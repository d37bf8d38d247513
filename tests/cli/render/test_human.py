"""Tests of the progress line of a terminal."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from aliyun_import import events
from aliyun_import.cli.render import human
from aliyun_import.cli.render.human import HumanRenderer, fitting
from aliyun_import.cli.render.result import Verbosity

FACTS = (" 35 %", "1:02:13 left", "15.2 MiB/s", "104.2 MiB of 300.2 GiB")


@pytest.mark.parametrize(("width", "kept"), [(120, 4), (55, 4), (50, 3), (31, 3), (30, 2), (17, 1), (5, 1), (2, 0)])
def test_the_most_important_facts_are_kept(width: int, kept: int) -> None:
    """Percent first, then the time left, then the rate, then the bytes."""
    assert fitting(FACTS, width) == "  ".join(FACTS[:kept])


class Screen:
    """A terminal of a width; `line` is what a progress line looks like on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
        self._console = Console(file=io.StringIO(), width=width, height=20, force_terminal=True, color_system=None)
        monkeypatch.setattr(human, "Console", lambda **_: self._console)
        self.renderer = HumanRenderer(io.StringIO(), Verbosity(0))

    @property
    def line(self) -> str:
        """Return the progress line as it is drawn now."""
        progress = self.renderer._progress
        assert isinstance(progress, Progress)
        paper = Console(file=io.StringIO(), width=self._console.width)
        with paper.capture() as drawn:
            paper.print(progress.make_tasks_table(progress.tasks))
        (line,) = drawn.get().splitlines()
        return line


@pytest.mark.parametrize(
    ("width", "needed", "has_bar"),
    [
        (50, ("35 %", "left", "MiB/s"), True),
        (36, ("35 %", "left"), False),
        (80, ("35 %", "left", "MiB/s", "of 300 MiB"), True),
        (120, ("35 %", "left", "MiB/s", "of 300 MiB"), True),
    ],
)
def test_a_narrow_terminal_shows_what_matters(
    monkeypatch: pytest.MonkeyPatch, width: int, needed: tuple[str, ...], has_bar: bool
) -> None:
    """The line is one line, at most as wide as the terminal; the bar takes what is left over."""
    screen = Screen(monkeypatch, width)
    screen.renderer.emit(events.StageStarted(stage="upload", detail="disk.raw"))
    monkeypatch.setattr(screen.renderer._throughput, "add", lambda _: 15.0 * (1 << 20))
    screen.renderer.emit(
        events.UploadProgress(
            disk="disk.raw", done_bytes=1, total_bytes=2, sent_bytes=105 << 20, send_bytes=300 << 20, parts_done=1,
            parts=2, workers=1,
        )
    )  # fmt: skip
    line = screen.line
    screen.renderer.close()
    assert len(line.rstrip()) <= width
    assert all(fact in line for fact in needed), line
    assert ("━" in line) is has_bar, line


def test_a_wait_shows_the_time_left_before_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 50 columns too."""
    screen = Screen(monkeypatch, 50)
    screen.renderer.emit(events.StageStarted(stage="wait"))
    screen.renderer.emit(
        events.ImportProgress(
            task_id="t-1", image_id="m-1", task_status="Processing", image_status="Creating", percent=19, left_s=754.0,
            elapsed_s=10.0,
        )
    )  # fmt: skip
    line = screen.line
    screen.renderer.close()
    assert "19 %  about 12:34 left" in line


def test_people_read_plain_names_of_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages `look` and `finish` of the events are `account` and `cleanup` for people."""
    screen = Screen(monkeypatch, 80)
    with screen._console.capture() as drawn:
        for stage in ("look", "finish"):
            screen.renderer.emit(events.StageFinished(stage=stage, seconds=0.1, detail="done"))
    assert [line.split()[1] for line in drawn.get().splitlines()] == ["account", "cleanup"]
