"""Benchmarks of the upload, side by side with other programs: `python -m tests.bench.upload [--rounds 3] [NAME...]`.

    dense    2 GiB without a zero: against oss2.resumable_upload, and against bare sockets
    sparse   40 GiB with 2 GiB in 4,000 extents: against the same 2 GiB alone, on 1 and 2.5 Gbit/s with 20 ms an
             answer, and on loopback without a limit
    limit    192 MiB at 8 MB/s and 1 GiB at 50 MB/s, with 20 ms an answer: rate, and bytes that a kill would lose
    request  processor time of a small request: with our store, and with oss2
    delta    4 GiB of which 1 % of the blocks changed: bytes of the second push
    memory   peak of the process: 2 GiB dense, 2 TiB sparse
    plan     500 GiB with 100,000 extents

All run over loopback. In each round the candidates run in turn, each in a process of its own. Printed are the median,
the range and the ratio of medians. Ratios depend less on the machine than times. Needs a C compiler, 10 GB of disk.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aliyun_import.limits import GIB, KIB, MIB, TIB
from aliyun_import.upload.plan import PartKind, plan_upload
from tests.bench.sink import Sink, running_sink

GBIT_BYTES_S = 1_000_000_000 / 8
Result = dict[str, float]


def run(name: str, disk: Path, sink: Sink, **options: float) -> Result:
    """Run a candidate once, and return its result with the counts of the sink."""
    sink.reset()
    command = [sys.executable, "-m", "tests.bench.candidate", name, str(disk), sink.url, json.dumps(options)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{name} failed:\n{ended.stderr}")
    wire_bytes, requests = sink.counts()
    result: Result = json.loads(ended.stdout.splitlines()[-1])
    return result | {"wire": wire_bytes, "requests": requests}


def median(results: list[Result]) -> float:
    """Return the median of the seconds."""
    return statistics.median(result["seconds"] for result in results)


def line(name: str, results: list[Result], size_bytes: int) -> str:
    """Format seconds, rate and memory of a candidate."""
    seconds = sorted(result["seconds"] for result in results)
    middle = statistics.median(seconds)
    return (
        f"  {name:34} {middle:7.2f} s ({seconds[0]:.2f}-{seconds[-1]:.2f})  {size_bytes / middle / MIB:7.0f} MiB/s"
        f"  peak {max(result['peak_mib'] for result in results):4.0f} MiB"
    )


@contextmanager
def random_disk(directory: Path, size_bytes: int) -> Iterator[Path]:
    """Write a disk without a zero block, and remove it again."""
    path = directory / f"dense-{size_bytes}.raw"
    block = random.Random(1).randbytes(64 * MIB)
    with path.open("wb") as file:
        for index in range(0, size_bytes, len(block)):
            file.write(index.to_bytes(8, "big") + block[8 : min(len(block), size_bytes - index)])
    try:
        yield path
    finally:
        path.unlink()


@contextmanager
def sparse_disk(directory: Path, size_bytes: int, *, extents: int, data_bytes: int) -> Iterator[Path]:
    """Write a sparse disk with extents of equal length at random offsets (aligned to 4 KiB), and remove it again."""
    path = directory / "sparse.raw"
    length = data_bytes // extents // (4 * KIB) * 4 * KIB
    slot = size_bytes // extents // (4 * KIB)
    rng = random.Random(2)
    block = rng.randbytes(length)
    with path.open("wb") as file:
        for number in range(extents):
            file.seek((number * slot + rng.randrange(slot - length // (4 * KIB))) * 4 * KIB)
            file.write(number.to_bytes(8, "big") + block[8:])
        file.truncate(size_bytes)
    try:
        yield path
    finally:
        path.unlink()


def dense(directory: Path, sink: Sink, rounds: int) -> None:
    """Compare on a disk of 2 GiB without zeros."""
    size = 2 * GIB
    results: dict[str, list[Result]] = {}
    candidates: tuple[tuple[str, str, Result], ...] = (
        ("push", "push", {}),
        ("bare sockets, pread and send", "bare", {"jobs": 4}),
        ("bare sockets, sendfile", "sendfile", {"jobs": 4}),
        ("oss2.resumable_upload", "oss2", {}),
        ("oss2.resumable_upload, 4 threads", "oss2", {"jobs": 4}),
    )
    with random_disk(directory, size) as disk:
        run("bare", disk, sink, jobs=4)  # reads the disk into the page cache
        for _ in range(rounds):
            for title, name, options in candidates:
                results.setdefault(title, []).append(run(name, disk, sink, **options))
    print(f"dense: {size // GIB} GiB, {rounds} rounds")
    for title, ran in results.items():
        print(line(title, ran, size))
    own = median(results["push"])
    for title in list(results)[1:]:
        print(f"  push is {median(results[title]) / own:5.2f} x {title}")


def sparse(directory: Path, sink: Sink, rounds: int) -> None:
    """Compare a sparse disk with its data alone."""
    with (
        sparse_disk(directory, 40 * GIB, extents=4_000, data_bytes=2 * GIB) as disk,
        random_disk(directory, 2 * GIB) as alone,
    ):
        for title, latency_s, options in (
            ("1 Gbit/s, 20 ms", 0.02, {"rate": GBIT_BYTES_S}),
            ("2.5 Gbit/s, 20 ms", 0.02, {"rate": 2.5 * GBIT_BYTES_S}),
            ("unlimited loopback", 0.0, {}),
        ):
            sink.delay_responses(latency_s)
            whole: list[Result] = []
            data: list[Result] = []
            for _ in range(rounds):
                whole.append(run("push", disk, sink, **options))
                data.append(run("push", alone, sink, **options))
            stored = disk.stat().st_blocks * 512
            print(f"sparse: 40 GiB with {stored / GIB:.2f} GiB in 4,000 extents, {title}")
            print(line("push of the sparse disk", whole, 2 * GIB))
            print(line("push of 2 GiB alone", data, 2 * GIB))
            print(f"  ratio of times {median(whole) / median(data):.2f}; on the wire {whole[0]['wire'] / MIB:.1f} MiB")
            print(f"  for {stored / MIB:.1f} MiB of data, in {whole[0]['requests']:.0f} requests")
        sink.delay_responses(0.0)


def limit(directory: Path, sink: Sink, rounds: int) -> None:
    """Compare a push with --limit-rate with the limit."""
    sink.delay_responses(0.02)
    for rate, size in ((8_000_000, 192 * MIB), (50_000_000, GIB)):
        with random_disk(directory, size) as disk:
            ran = [run("push", disk, sink, rate=rate) for _ in range(rounds)]
        print(f"limit: {size // MIB} MiB, --limit-rate {rate // 1_000_000}M, 20 ms")
        print(line("push", ran, size))
        print(f"  {size / median(ran) / rate:.3f} of the limit; a kill loses")
        print(f"  {statistics.mean(one['in_flight'] for one in ran) / MIB:.1f} MiB on average, at most", end=" ")
        print(f"{max(one['most_in_flight'] for one in ran) / MIB:.1f} MiB")
    sink.delay_responses(0.0)


def request(directory: Path, sink: Sink, rounds: int) -> None:
    """Compare the processor time of a copied part with our store and with oss2."""
    store_us: list[float] = []
    oss2_us: list[float] = []
    for _ in range(rounds):
        for costs, options in ((store_us, {}), (oss2_us, {"oss2": 1.0})):
            ran = run("copies", directory, sink, **options)
            costs.append(ran["cpu_seconds"] / ran["count"] * 1e6)
    print("request: processor time of one UploadPartCopy, signing included")
    for title, costs in (("our store", store_us), ("oss2", oss2_us)):
        print(f"  {title:34} {statistics.median(costs):6.0f} us ({min(costs):.0f}-{max(costs):.0f})")
    print(f"  oss2 takes {statistics.median(oss2_us) / statistics.median(store_us):.1f} times as long")


def delta(directory: Path, sink: Sink, rounds: int) -> None:
    """Count the bytes of a second push to a sandbox, which stores the objects."""
    del rounds
    with random_disk(directory, 4 * GIB) as disk:
        result = run("delta", disk, sink)
    print("delta: 4 GiB, 1 % of the blocks changed")
    print(
        f"  changed {result['changed'] / MIB:.1f} MiB, on the wire {result['wire_bytes'] / MIB:.1f} MiB (manifest and"
    )
    print(
        f"  all), ratio {result['wire_bytes'] / result['changed']:.3f}; the second push took {result['seconds']:.1f} s"
    )


def memory(directory: Path, sink: Sink, rounds: int) -> None:
    """Compare the peak memory for a small and a large disk."""
    del rounds
    print("memory: peak of the process")
    with random_disk(directory, 2 * GIB) as disk:
        print(line("2 GiB dense", [run("push", disk, sink)], 2 * GIB))
    with sparse_disk(directory, 2 * TIB - GIB, extents=4_000, data_bytes=1 * GIB) as disk:
        print(line("2 TiB sparse, 1 GiB in 4,000 extents", [run("push", disk, sink)], 1 * GIB))


def plan(directory: Path, sink: Sink, rounds: int) -> None:
    """Measure the time of planning for a disk with many extents."""
    del directory, sink
    block = 128 * KIB
    cuts = sorted(random.Random(5).sample(range(500 * GIB // block), 200_000))
    data = [(first * block, end * block) for first, end in zip(cuts[::2], cuts[1::2], strict=True)]
    planned = plan_upload(500 * GIB, data)
    sent = planned.bytes_of(PartKind.SEND)
    seconds: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        plan_upload(500 * GIB, data)
        seconds.append(time.perf_counter() - started)
    print("plan: 500 GiB, 100,000 scattered extents")
    print(f"  {statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f}), {len(planned.parts)} parts,")
    print(f"  {sent / GIB:.1f} GiB sent, {planned.gap_bytes / GIB:.1f} GiB of them gaps")


SCENARIOS: dict[str, Callable[[Path, Sink, int], None]] = {
    "dense": dense,
    "sparse": sparse,
    "limit": limit,
    "request": request,
    "delta": delta,
    "memory": memory,
    "plan": plan,
}


def main() -> None:
    """Run the given scenarios, or all."""
    parser = argparse.ArgumentParser(description="Measure the upload side by side with other programs.")
    parser.add_argument("names", nargs="*", choices=[[], *SCENARIOS], metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where the disks are written (10 GB)")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} processors, Python {sys.version.split()[0]}, loopback")
    with running_sink() as sink, tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.directory) as directory:
        for name in arguments.names or SCENARIOS:
            SCENARIOS[name](Path(directory), sink, arguments.rounds)


if __name__ == "__main__":
    main()
