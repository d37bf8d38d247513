"""Tests of the guarded streams: secrets, encodings, and writes that fail.

What depends on the start and the end of an interpreter is run in a fresh one, the rest in forked commands, whose
streams are made as an interpreter makes them.
"""

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import import redact
from aliyun_import.cli.streams import GuardedStream
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.sample import write_sample_disk
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import LIMIT_S, Commands, Ran
from tests.flows.fork_server import ForkServer

CLOSED, FULL = "", "/dev/full"


def test_a_secret_is_concealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way text is written, learned secrets are concealed; all else is the stream's."""
    for name, value in (("_secrets", set()), ("_ids", set()), ("_pattern", None)):
        monkeypatch.setattr(redact, name, value)
    redact.learn("a-long-secret")
    inner = io.StringIO()
    stream = GuardedStream(inner)
    print("say a-long-secret", file=stream)
    stream.writelines(["and a-long-secret", "."])
    assert inner.getvalue() == "say ***\nand ***."
    assert stream.getvalue() == inner.getvalue()
    assert stream.write("a-long-secret") == len("a-long-secret")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Start a sandbox whose imports take no time; each test has a home of its own."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox"), settings=Settings(import_s=0.0)) as running:
        yield running


@pytest.fixture
def commands(tmp_path: Path, cloud: Sandbox, forks: ForkServer) -> Commands:
    """Run commands against the sandbox."""
    return Commands(home=tmp_path / "home", sandbox=cloud, forks=forks)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the sample disk."""
    path: Path = tmp_path_factory.mktemp("disk") / "demo.raw"
    write_sample_disk(path, size_bytes=8 << 20)
    return path


def shell(command: str, commands: Commands) -> Ran:
    """Run a shell line in which `$RUN` is the program, in a fresh interpreter."""
    done = subprocess.run(
        ["bash", "-c", command],
        env=commands.environment(RUN=f"{sys.executable} -m aliyun_import"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def run(commands: Commands, *arguments: str | Path, stdout: str | None = None, stderr: str | None = None) -> Ran:
    """Run a forked command whose stdout or stderr leads to a path, or is closed."""
    streams = {number: path for number, path in ((1, stdout), (2, stderr)) if path is not None}
    return Ran(*commands.start(*arguments, streams=streams).communicate(limit_s=LIMIT_S))


@pytest.mark.parametrize("place", [FULL, CLOSED])
def test_a_result_that_cannot_be_written_is_repeated(disk: Path, commands: Commands, place: str) -> None:
    """A full disk or a closed stdout is exit 9 with the image id on stderr, not a bug and not a lost id."""
    ran = run(commands, "push", disk, "-q", stdout=place)
    assert ran.code == 9
    assert "stdout-unwritable" in ran.err
    assert "m-sandbox" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("place", "code", "told"),
    [("> /dev/full", 9, "stdout-unwritable"), (">&-", 9, "stdout-unwritable"), ("| true", 0, ""), ("2>&-", 0, "")],
)
def test_a_fresh_interpreter_has_these_codes(commands: Commands, place: str, code: int, told: str) -> None:
    """It makes no stream for a closed descriptor, and flushes once more at its end."""
    ran = shell(f"$RUN --help {place}; exit ${{PIPESTATUS[0]}}", commands)
    assert (ran.code, told in ran.err) == (code, True), ran.err
    assert told or ran.err == ""
    assert "Traceback" not in ran.err
    assert "Exception ignored" not in ran.err


def test_a_json_result_that_cannot_be_written_is_repeated(disk: Path, commands: Commands) -> None:
    """The whole document."""
    ran = run(commands, "push", disk, "--output", "json", stdout=FULL)
    assert ran.code == 9
    assert '"image_id": "m-sandbox' in ran.err


@pytest.mark.parametrize(("output", "lines"), [("jsonl", 1), ("human", 0)])
def test_a_reader_that_went_away_is_no_failure(disk: Path, commands: Commands, output: str, lines: int) -> None:
    """As `| head -1` and `| true` go: the push ends with its own code, and nothing is written about the pipe."""
    forked = commands.start("push", disk, "--output", output)
    for _ in range(lines):
        forked.stdout.readline()
    forked.stdout.close()
    with forked.stderr:
        err = forked.stderr.read()
    assert (forked.wait(), "rror" in err) == (0, False), err


@pytest.mark.parametrize("place", [CLOSED, FULL])
def test_stderr_never_changes_the_exit_code(disk: Path, commands: Commands, place: str) -> None:
    """Progress that can't be written is dropped; the result and a failure keep their codes."""
    ran = run(commands, "push", disk, stderr=place)
    assert (ran.code, ran.out[:9]) == (0, "m-sandbox")
    assert run(commands, "push", disk, "--skip-check", "no-such-check", stderr=place).code == 2


def test_a_reader_of_stderr_that_went_away_never_changes_the_exit_code(disk: Path, commands: Commands) -> None:
    """As `2> >(head -c 1)` does; the result and a failure keep their codes."""
    for arguments, code, result in (((), 0, "m-sandbox"), (("--skip-check", "no-such-check"), 2, "")):
        forked = commands.start("push", disk, *arguments)
        forked.stderr.read(1)
        forked.stderr.close()
        with forked.stdout:
            out = forked.stdout.read()
        assert (forked.wait(), out[:9]) == (code, result)


@pytest.mark.parametrize("place", [FULL, CLOSED])
def test_a_failure_keeps_its_code_where_stdout_cannot_be_written(disk: Path, commands: Commands, place: str) -> None:
    """What to do about the failure counts more."""
    ran = run(commands, "push", disk, "--skip-check", "no-such-check", "--output", "json", stdout=place)
    assert ran.code == 2
    assert "unknown-check" in ran.err


def test_symbols_have_a_spelling_in_ascii(disk: Path, commands: Commands) -> None:
    """An encoding without the symbols is no bug, and JSON stays JSON."""
    ran = commands.run("check", disk, environment={"PYTHONIOENCODING": "ascii"})
    assert ran.code == 0, ran.err
    assert ran.out.isascii()
    assert "+ can be imported" in ran.out
    assert "\\u" not in ran.out


def test_hanging_up_is_an_interruption(disk: Path, commands: Commands) -> None:
    """SIGHUP, as when ssh drops, ends a push as SIGTERM does: 130 with what is safe."""
    running = commands.start(
        "push", disk, "--sandbox", "--limit-rate", "1K", environment={"ALIYUN_IMPORT_ENDPOINT_URL": None}
    )
    while "to send" not in running.stderr.readline():
        pass
    running.kill(signal.SIGHUP)
    code, _, err = running.communicate(limit_s=LIMIT_S)
    assert code == 130, err
    assert "interrupted" in err
