"""Repeated boot tests of a disk under load: `python -m tests.bench.boots [DISK] [--runs 20] [--busy 4]`.

Each verdict must be boots or boots-degraded, because the disk boots. `--busy` is the number of processes that load the
processors. Without a disk, a tiny guest is booted. Prints one line per run, and exits with 1 if one failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import aliyun_import
from aliyun_import.boot.run import BootOptions
from aliyun_import.disk.isolated import with_parent_death_signal
from aliyun_import.model.boot import BootRun, Verdict
from tests.boot.tiny import write_guest

LOGIN = "Debian GNU/Linux 12 tiny ttyS0\r\n\r\ntiny login: "


@contextmanager
def busy() -> Iterator[None]:
    """Keep a processor busy."""
    with subprocess.Popen(with_parent_death_signal([sys.executable, "-c", "while True: pass"])) as process:
        try:
            yield
        finally:
            process.kill()


def booted(disk: Path, *, timeout_s: float) -> BootRun:
    """Boot a disk once, on virtio."""
    checked = aliyun_import.check(disk)
    values = {name: value for name, value in checked.parameters.values.items() if name != "nvme_support"}
    once = replace(checked, parameters=replace(checked.parameters, values=values))
    return aliyun_import.boot_test(once, options=BootOptions(timeout_s=timeout_s)).decisive


def main() -> int:
    """Run the boot tests, and print the verdicts."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.boots", description=__doc__)
    parser.add_argument("disk", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--busy", type=int, default=4)
    parser.add_argument("--boot-timeout", type=float, default=1200.0)
    arguments = parser.parse_args()
    verdicts: Counter[Verdict] = Counter()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = arguments.disk or write_guest(directory / "disk.raw", LOGIN)
        for _ in range(arguments.busy):
            stack.enter_context(busy())
        for number in range(1, arguments.runs + 1):
            run = booted(disk, timeout_s=arguments.boot_timeout)
            verdicts[run.judgement.verdict] += 1
            load = os.getloadavg()[0]
            print(
                f"{number:3} {run.judgement.verdict} {run.seconds:.0f} s, load {load:.1f}: {run.judgement.reason}",
                flush=True,
            )
    print(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    return 0 if set(verdicts) <= {Verdict.BOOTS, Verdict.DEGRADED} else 1


if __name__ == "__main__":
    sys.exit(main())
