"""Tests of the guarded streams: secrets, encodings, and writes that fail.

Tests that depend on the start and the end of an interpreter use a fresh one. The others use forked commands, whose
streams are created as by an interpreter.
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
    """By print, write and writelines. Other attributes are those of the stream."""
    for name, value in (("_secrets", set()), ("_ids", set()), ("_pattern", None)):
        monkeypatch.setattr(redact, name, value)
    redact.register_secret("a-long-secret")
    inner = io.StringIO()
    stream = GuardedStream(inner)
    print("say a-long-secret", file=stream)
    stream.writelines(["and a-long-secret", "."])
    assert inner.getvalue() == "say ***\nand ***."
    assert stream.getvalue() == inner.getvalue()
    assert stream.write("a-long-secret") == len("a-long-secret")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Start a sandbox whose imports take no time, for all tests of this module."""
    with Sandbox.start(tmp_path_factory.mktemp("sandbox"), settings=Settings(import_s=0.0)) as running:
        yield running


@pytest.fixture
def commands(tmp_path: Path, cloud: Sandbox, forks: ForkServer) -> Commands:
    """Return commands that run against the sandbox, with a home directory of their own."""
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


def run_with_streams(
    commands: Commands, *arguments: str | Path, stdout: str | None = None, stderr: str | None = None
) -> Ran:
    """Run a forked command with stdout or stderr opened on a path, or closed."""
    streams = {number: path for number, path in ((1, stdout), (2, stderr)) if path is not None}
    return Ran(*commands.start(*arguments, streams=streams).communicate(limit_s=LIMIT_S))


@pytest.mark.parametrize("target", [FULL, CLOSED])
def test_a_result_that_cannot_be_written_is_printed_on_stderr(disk: Path, commands: Commands, target: str) -> None:
    """A full disk or a closed stdout is exit code 9, with the image id on stderr."""
    ran = run_with_streams(commands, "push", disk, "-q", stdout=target)
    assert ran.code == 9
    assert "stdout-unwritable" in ran.err
    assert "m-sandbox" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [("> /dev/full", 9, "stdout-unwritable"), (">&-", 9, "stdout-unwritable"), ("| true", 0, ""), ("2>&-", 0, "")],
)
def test_a_fresh_interpreter_has_the_same_exit_codes(
    commands: Commands, redirection: str, code: int, message: str
) -> None:
    """It creates no stream for a closed descriptor, and flushes its streams at exit."""
    ran = shell(f"$RUN --help {redirection}; exit ${{PIPESTATUS[0]}}", commands)
    assert (ran.code, message in ran.err) == (code, True), ran.err
    assert message or ran.err == ""
    assert "Traceback" not in ran.err
    assert "Exception ignored" not in ran.err


def test_a_json_result_that_cannot_be_written_is_printed_on_stderr(disk: Path, commands: Commands) -> None:
    """The whole document is printed."""
    ran = run_with_streams(commands, "push", disk, "--output", "json", stdout=FULL)
    assert ran.code == 9
    assert '"image_id": "m-sandbox' in ran.err


@pytest.mark.parametrize(("output", "lines"), [("jsonl", 1), ("human", 0)])
def test_a_closed_pipe_on_stdout_is_no_failure(disk: Path, commands: Commands, output: str, lines: int) -> None:
    """As with `| head -1` and `| true`: the push ends with its own exit code, without a message about the pipe."""
    forked = commands.start("push", disk, "--output", output)
    for _ in range(lines):
        forked.stdout.readline()
    forked.stdout.close()
    with forked.stderr:
        err = forked.stderr.read()
    assert (forked.wait(), "rror" in err) == (0, False), err


@pytest.mark.parametrize("target", [CLOSED, FULL])
def test_stderr_never_changes_the_exit_code(disk: Path, commands: Commands, target: str) -> None:
    """Progress that cannot be written is dropped; a result and a failure keep their exit codes."""
    ran = run_with_streams(commands, "push", disk, stderr=target)
    assert (ran.code, ran.out[:9]) == (0, "m-sandbox")
    assert run_with_streams(commands, "push", disk, "--skip-check", "no-such-check", stderr=target).code == 2


def test_a_closed_pipe_on_stderr_never_changes_the_exit_code(disk: Path, commands: Commands) -> None:
    """As with `2> >(head -c 1)`; a result and a failure keep their exit codes."""
    for arguments, code, result in (((), 0, "m-sandbox"), (("--skip-check", "no-such-check"), 2, "")):
        forked = commands.start("push", disk, *arguments)
        forked.stderr.read(1)
        forked.stderr.close()
        with forked.stdout:
            out = forked.stdout.read()
        assert (forked.wait(), out[:9]) == (code, result)


@pytest.mark.parametrize("target", [FULL, CLOSED])
def test_a_failure_keeps_its_exit_code_if_stdout_cannot_be_written(disk: Path, commands: Commands, target: str) -> None:
    """The error of the command has precedence over that of stdout."""
    ran = run_with_streams(commands, "push", disk, "--skip-check", "no-such-check", "--output", "json", stdout=target)
    assert ran.code == 2
    assert "unknown-check" in ran.err


def test_symbols_are_replaced_in_ascii(disk: Path, commands: Commands) -> None:
    """Output in an encoding without the symbols does not fail."""
    ran = commands.run("check", disk, environment={"PYTHONIOENCODING": "ascii"})
    assert ran.code == 0, ran.err
    assert ran.out.isascii()
    assert "+ can be imported" in ran.out
    assert "\\u" not in ran.out


def test_sighup_is_an_interruption(disk: Path, commands: Commands) -> None:
    """SIGHUP, as sent when ssh disconnects, ends a push as SIGTERM does: exit code 130."""
    running = commands.start(
        "push", disk, "--sandbox", "--limit-rate", "1K", environment={"ALIYUN_IMPORT_ENDPOINT_URL": None}
    )
    while "to send" not in running.stderr.readline():
        pass
    running.kill(signal.SIGHUP)
    code, _, err = running.communicate(limit_s=LIMIT_S)
    assert code == 130, err
    assert "interrupted" in err
