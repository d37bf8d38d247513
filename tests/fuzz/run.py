"""Fuzz runner: `python -m tests.fuzz.run --runs 5000`."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from aliyun_import.disk.isolated import Limits, call_isolated
from aliyun_import.limits import MIB
from tests.fuzz.config_targets import CONFIG_TARGETS
from tests.fuzz.disk_targets import DISK_TARGETS
from tests.fuzz.guest_targets import GUEST_TARGETS
from tests.fuzz.mutate import Mutations
from tests.fuzz.target import Target

DEFAULT_SEED = 20261124
# Limits for one image.
MAX_SECONDS, MAX_BYTES = 2.0, 256 * MIB
# The interpreter with the readers maps some 60 MiB.
_INTERPRETER_BYTES = 96 * MIB
_BATCH = 500
# A target that needs an optional package is left out if the package is not installed.
TARGETS: Mapping[str, Target] = {
    name: target
    for name, target in (DISK_TARGETS | GUEST_TARGETS | CONFIG_TARGETS).items()
    if not target.needs or find_spec(target.needs) is not None
}


def batch(reader: str, seed: str, first: str, runs: str) -> list[str]:
    """Read `runs` mutated images, in the child process, and return one line per failure."""
    target = TARGETS[reader]
    mutations = Mutations(target.make(), target.regions, seed=int(seed), repair=target.repair)
    failures = []
    for number in range(int(first), int(first) + int(runs)):
        damaged = mutations.image(number)
        started = time.process_time()
        try:
            target.read(damaged)
        except Exception as error:  # noqa: BLE001 -- any exception is a failure
            failures.append(f"{number}: {type(error).__name__}: {error}")
        seconds = time.process_time() - started
        if seconds > MAX_SECONDS:
            failures.append(f"{number}: took {seconds:.1f} s")
    return failures


def fuzz(reader: str, *, seed: int = DEFAULT_SEED, first: int = 0, runs: int) -> list[str]:
    """Read `runs` mutated images in limited child processes, and return one line per failure with its seed."""
    failures = []
    limits = Limits(memory_bytes=MAX_BYTES + _INTERPRETER_BYTES, cpu_s=60 + _BATCH, wall_s=120.0 + 2 * _BATCH)
    for start in range(first, first + runs, _BATCH):
        count = min(_BATCH, first + runs - start)
        outcome = call_isolated("tests.fuzz.run:batch", [reader, str(seed), str(start), str(count)], limits=limits)
        if isinstance(outcome.value, list):
            failures += [f"{reader}, seed {seed}, {failure}" for failure in outcome.value]
        else:
            failures.append(f"{reader}, seed {seed}, images {start}-{start + count}: {outcome.failure}")
    return failures


def main(arguments: Sequence[str]) -> int:
    """Run the command line. Return 0 if nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Read mutated disk images.")
    parser.add_argument(
        "--reader", action="append", choices=sorted(TARGETS), help="read with this reader only (repeatable)"
    )
    parser.add_argument("--runs", type=int, default=5000, help="images for each reader (default: 5000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first image (default: 0)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"default: {DEFAULT_SEED}")
    options = parser.parse_args(arguments)
    failed = 0
    for reader in options.reader or sorted(TARGETS):
        started = time.monotonic()
        failures = fuzz(reader, seed=options.seed, first=options.first, runs=options.runs)
        print(
            f"{reader}: {options.runs} images, {len(failures)} failures, {time.monotonic() - started:.0f} s", flush=True
        )
        for failure in failures[:20]:
            print(f"  {failure}")
        failed += len(failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
