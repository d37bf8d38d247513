"""Generator of the pictures of the terminal in docs/pictures/: python docs/generate_pictures.py [WIDTH ...].

Each command runs in a pseudo-terminal against a sandbox. What it drew is read by a terminal emulator at the moment that
a picture is about, and drawn as SVG. Needs `pip install -e '.[docs]'`.
"""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).resolve().parent / "pictures"
LINES = 60
FOREGROUND = "#c5c8c6"  # of rich's theme
MIB = 1 << 20
STALL = {"operation": "UploadPart", "nth": 3, "count": None, "effect": "delay", "delay_s": 60}


@dataclass(frozen=True)
class Picture:
    """A picture: the command, the text at which it is taken (its end if empty), the faults of the sandbox before it."""

    name: str
    arguments: tuple[str, ...]
    moment: str = ""
    faults: tuple[dict[str, object], ...] = ()
    settings: dict[str, object] = field(default_factory=dict)


PICTURE_LIST = (
    Picture("check", ("check", "web.raw")),
    Picture("check-refused", ("check", "broken.raw")),
    Picture("push-sending", ("push", "web.raw", "--name", "web", "--limit-rate", "8M"), r"sending.* (3|4)\d %"),
    Picture(
        "push-copying",
        ("push", "web.raw", "--name", "copied", "--jobs", "3"),
        r"copying.*[1-9]\d %.*left",
        ({"operation": "UploadPartCopy", "count": None, "effect": "delay", "delay_s": 4},),
    ),
    Picture("push-stalled", ("push", "web.raw", "--name", "stalled", "--jobs", "2"), r"no data for 1[1-9]", (STALL,)),
    Picture(
        "push-waiting", ("push", "web.raw", "--name", "waiting"), r"wait .* (3|4)\d %.*left", (), {"import_s": 12.0}
    ),
    Picture("push-done", ("push", "web.raw", "--name", "golden", "--keep-object")),
    Picture("push-again", ("push", "web.raw", "--name", "golden", "--keep-object")),
    Picture(
        "push-failed",
        ("push", "web.raw", "--name", "failed"),
        faults=(
            {"operation": "ImportImage", "count": None, "status": 403, "code": "Forbidden.RAM", "message": "No right."},
        ),
    ),
)


class Terminal:
    """A pseudo-terminal in which a command runs, and what it shows."""

    def __init__(self, command: list[str], *, width: int, environment: dict[str, str], cwd: Path) -> None:
        self.screen = pyte.Screen(width, LINES)
        self._stream = pyte.ByteStream(self.screen)
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(command[0], command, environment)
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, width, 0, 0))

    def run(self, moment: str, *, limit_s: float = 90.0) -> None:
        """Read what is drawn until the screen matches the moment, or until the end; then stop the command."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if not select.select([self._handle], [], [], 0.2)[0]:
                continue
            try:
                drawn = os.read(self._handle, 65536)
            except OSError:
                drawn = b""
            if not drawn:
                break
            self._stream.feed(drawn)
            drawn_whole = not select.select([self._handle], [], [], 0.05)[0]
            if moment and drawn_whole and re.search(moment, "\n".join(self.screen.display)):
                break
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._handle)

    def text(self) -> Text:
        """Return the screen with its colours, without the empty lines at its end."""
        lines = []
        for number in range(LINES):
            cells = [self.screen.buffer[number][column] for column in range(self.screen.columns)]
            line = Text()
            for style, run in groupby(cells, key=_style):
                text = "".join(cell.data for cell in run)
                # Some viewers drop spaces at the beginning of a text: without a style they become a position.
                line.append(" " * (len(text) - len(text.lstrip())))
                line.append(text.lstrip(), style=style)
            line.rstrip()
            lines.append(line)
        while lines and not lines[-1].plain:
            lines.pop()
        return Text("\n").join(lines)


def _style(cell: pyte.screens.Char) -> str:
    colour = FOREGROUND if cell.fg == "default" else {"brown": "yellow"}.get(cell.fg, cell.fg)
    colour = f"#{colour}" if re.fullmatch("[0-9a-f]{6}", colour) else colour
    return f"bold {colour}" if cell.bold else colour


def draw(picture: Picture, *, width: int, environment: dict[str, str], place: Path) -> None:
    """Run the command of a picture, and write the picture."""
    url = environment["ALIYUN_IMPORT_ENDPOINT_URL"]
    control(url, "faults", "DELETE")
    control(url, "settings", "POST", {"import_s": 1.0, **picture.settings})
    for fault in picture.faults:
        control(url, "faults", "POST", fault)
    command = [sys.executable, "-m", "aliyun_import", *picture.arguments]
    terminal = Terminal(command, width=width, environment=environment, cwd=place)
    terminal.run(picture.moment)
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    shown = terminal.text()
    console.print(Text(f"$ aliyun-import {' '.join(picture.arguments)}", style="bold"), overflow="fold")
    console.print(shown)
    path = PICTURES / f"{picture.name}-{width}.svg"
    console.save_svg(str(path), title="aliyun-import", unique_id=picture.name)
    print(f"--- {path.name}\n{shown.plain}")


def control(url: str, path: str, method: str, body: object = None) -> None:
    """Call the control plane of the sandbox."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/_sandbox/{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def write_disks(place: Path) -> None:
    """Write a disk of which 128 MiB are to be sent, and one that does not boot."""
    from aliyun_import.sandbox.sample import write_sample_disk

    write_sample_disk(place / "web.raw", size_bytes=40 << 30)
    with (place / "web.raw").open("r+b") as file:
        file.seek(4 << 30)
        file.write(os.urandom(MIB) * 128)
    (place / "broken.raw").write_bytes(bytes(64 * MIB))


def served(place: Path) -> tuple["subprocess.Popen[str]", dict[str, str]]:
    """Start a sandbox, and return it with the environment of the commands."""
    command = [sys.executable, "-m", "aliyun_import", "sandbox", "serve"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "XDG_STATE_HOME": tempfile.mkdtemp(dir=place),
    }
    for line in iter(running.stdout.readline, ""):
        if line.startswith("#"):
            break
        name, _, value = line.removeprefix("export ").strip().partition("=")
        environment[name] = value
    return running, environment


def main(names: list[str]) -> None:
    """Draw all pictures, or those of which names or widths are given."""
    widths = [int(one) for one in names if one.isdigit()] or [80]
    chosen = [one for one in PICTURE_LIST if one.name in names] or list(PICTURE_LIST)
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        write_disks(place)
        for width in widths:
            running, environment = served(place)
            try:
                for picture in chosen:
                    draw(picture, width=width, environment=environment, place=place)
            finally:
                running.terminate()
                running.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
