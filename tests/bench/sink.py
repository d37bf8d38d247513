"""Sink of the benchmarks (sink.c): compiled, run, and queried."""

import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("sink.c")


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink."""

    url: str

    def counts(self) -> tuple[int, int]:
        """Return the bytes of bodies and the requests since the last call of `reset`."""
        with urllib.request.urlopen(f"{self.url}/stats") as answer:
            body_bytes, requests = answer.read().split()
        return int(body_bytes), int(requests) - 1

    def delay_responses(self, seconds: float) -> None:
        """Delay every response by a latency."""
        urllib.request.urlopen(f"{self.url}/latency/{round(seconds * 1e6)}").close()

    def reset(self) -> None:
        """Set the counts to zero."""
        urllib.request.urlopen(f"{self.url}/reset").close()


@contextmanager
def running_sink() -> Iterator[Sink]:
    """Compile the sink with the system's compiler, and run it on a free port of this machine."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("The benchmarks need a C compiler (cc) for their sink.")
    with tempfile.TemporaryDirectory(prefix="sink-") as directory:
        program = Path(directory) / "sink"
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, SOURCE, "-lpthread"], check=True)
        with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield Sink(f"http://127.0.0.1:{int(process.stdout.readline())}")
            finally:
                process.kill()
