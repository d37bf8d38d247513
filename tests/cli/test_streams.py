"""Tests of the guarded streams: secrets, encodings, and writes that fail."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import import redact
from aliyun_import.cli.streams import GuardedStream
from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.server import Sandbox

RUN = [sys.executable, "-m", "aliyun_import"]


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


def shell(command: str, disk: Path, home: Path, cloud: Sandbox, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell line in which `$PUSH` and `$CHECK` are commands on a disk."""
    program = " ".join(RUN)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PUSH": f"{program} push {disk} --region cn-hangzhou",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
        **cloud.environment(),
        "CHECK": f"{program} check {disk}",
        **environment,
    }
    return subprocess.run(
        ["bash", "-c", command], env=variables, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the sample disk."""
    path: Path = tmp_path_factory.mktemp("disk") / "demo.raw"
    subprocess.run([*RUN, "sandbox", "disk", str(path), "--size", "1G"], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("place", ["> /dev/full", ">&-"])
def test_a_result_that_cannot_be_written_is_repeated(disk: Path, tmp_path: Path, cloud: Sandbox, place: str) -> None:
    """A full disk or a closed stdout is exit 9 with the image id on stderr, not a bug and not a lost id."""
    ran = shell(f"$PUSH -q {place}", disk, tmp_path, cloud)
    assert ran.returncode == 9
    assert "stdout-unwritable" in ran.stderr
    assert "m-sandbox" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_json_result_that_cannot_be_written_is_repeated(disk: Path, tmp_path: Path, cloud: Sandbox) -> None:
    """The whole document."""
    ran = shell("$PUSH --output json > /dev/full", disk, tmp_path, cloud)
    assert ran.returncode == 9
    assert '"image_id": "m-sandbox' in ran.stderr


@pytest.mark.parametrize(
    "command", ["$PUSH --output jsonl | head -1", "$PUSH | true", f"{' '.join(RUN)} --help | true"]
)
def test_a_reader_that_went_away_is_no_failure(disk: Path, tmp_path: Path, cloud: Sandbox, command: str) -> None:
    """The command ends with its own code, and nothing is written about the pipe."""
    ran = shell(f"{command}; exit ${{PIPESTATUS[0]}}", disk, tmp_path, cloud)
    assert ran.returncode == 0, ran.stderr
    assert "rror" not in ran.stderr


@pytest.mark.parametrize("place", ["2>&-", "2> /dev/full", "2> >(head -c 1 > /dev/null)"])
def test_stderr_never_changes_the_exit_code(disk: Path, tmp_path: Path, cloud: Sandbox, place: str) -> None:
    """Progress that can't be written is dropped; the result and a failure keep their codes."""
    ran = shell(f"$PUSH {place}", disk, tmp_path, cloud)
    assert (ran.returncode, ran.stdout[:9]) == (0, "m-sandbox")
    assert shell(f"$PUSH --skip-check no-such-check {place}", disk, tmp_path, cloud).returncode == 2


@pytest.mark.parametrize("place", ["> /dev/full", ">&-"])
def test_a_failure_keeps_its_code_where_stdout_cannot_be_written(
    disk: Path, tmp_path: Path, cloud: Sandbox, place: str
) -> None:
    """What to do about the failure counts more."""
    ran = shell(f"$PUSH --skip-check no-such-check --output json {place}", disk, tmp_path, cloud)
    assert ran.returncode == 2
    assert "unknown-check" in ran.stderr


def test_symbols_have_a_spelling_in_ascii(disk: Path, tmp_path: Path, cloud: Sandbox) -> None:
    """An encoding without the symbols is no bug, and JSON stays JSON."""
    ran = shell("$CHECK", disk, tmp_path, cloud, PYTHONIOENCODING="ascii")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.isascii()
    assert "+ can be imported" in ran.stdout
    assert "\\u" not in ran.stdout


def test_hanging_up_is_an_interruption(disk: Path, tmp_path: Path) -> None:
    """SIGHUP, as when ssh drops, ends a push as SIGTERM does: 130 with what is safe."""
    running = subprocess.Popen(
        [*RUN, "push", str(disk), "--sandbox", "--limit-rate", "1K"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        # A suite that runs under nohup ignores the signal, and its children would.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert running.stderr is not None
    while "to send" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGHUP)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "interrupted" in err
