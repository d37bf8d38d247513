"""Candidate of a benchmark, run once in a process of its own; prints its result as one line of JSON.

    push      aliyun_import.upload.upload, through cloud/oss.py, as the command does it
    oss2      oss2.resumable_upload, with its defaults or with threads
    bare      plain sockets: pread and send of 1 MiB, over as many connections as there are threads
    sendfile  plain sockets: sendfile, the kernel's own copy
    delta     a push, and another one after 1 % of the blocks changed, to a sandbox in the same process
    copies    2,000 UploadPartCopy one after the other, with our store or (with "oss2") with the vendor's SDK

The sink computes no CRC-64, because it would be the bottleneck. A wrapper around the store therefore returns the CRC-64
that `push` computed itself: its computation is included in the time. oss2 computes its own, and skips the comparison.
"""

import json
import os
import queue
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aliyun_import.events import Event, PartRetried, UploadProgress, Warned
from aliyun_import.limits import KIB, MIB
from aliyun_import.model.objects import RemotePart
from aliyun_import.services import PartBody

if TYPE_CHECKING:
    from aliyun_import.cloud.oss.store import OssStore

KEY_ID, SECRET, REGION = "LTAI5tExampleKeyId", "example-secret", "cn-hangzhou"
PART_BYTES = 64 * MIB
COPIES = 2_000


def push(disk: Path, url: str, options: dict[str, float]) -> dict[str, float]:
    """Push with this project."""
    with tempfile.TemporaryDirectory(prefix="state-") as state:
        return _push(disk, _store(url), Path(state), options)


def delta(disk: Path, url: str, options: dict[str, float]) -> dict[str, float]:
    """Push to a sandbox, keep the object, change 1 % of the blocks, and push again."""
    del url
    from aliyun_import.sandbox.server import Sandbox

    block = 128 * KIB
    blocks = disk.stat().st_size // block
    with tempfile.TemporaryDirectory(prefix="sandbox-", dir=disk.parent) as kept, Sandbox.start(Path(kept)) as sandbox:
        key = sandbox.access_key
        store = _store(sandbox.url, key_id=key.id, secret=key.secret)
        store.create_bucket()
        _push(disk, store, Path(kept) / "first", {"keep": 1})
        with disk.open("r+b") as file:
            for number in random.Random(3).sample(range(blocks), blocks // 100):
                file.seek(number * block + 1000)
                file.write(b"changed")
        sandbox.requests.clear()
        result = _push(disk, store, Path(kept) / "second", {"keep": 1})
        wire = sum(entry.body_bytes for entry in sandbox.requests.entries())
    return result | {"wire_bytes": wire, "changed": blocks // 100 * block}


def copies(disk: Path, url: str, options: dict[str, float]) -> dict[str, float]:
    """Copy parts one after the other."""
    del disk
    copy = _copy_with_oss2(url) if options.get("oss2") else _copy_with_store(url)
    copy(1)
    started, cpu_started = time.perf_counter(), time.process_time()
    for number in range(2, COPIES + 2):
        copy(number)
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu_started, "count": COPIES}


def _copy_with_store(url: str) -> Callable[[int], object]:
    store = _store(url)
    upload_id = store.start_upload("k")
    return lambda number: store.copy_part(
        "k", upload_id, number=number, source_key="zeros", start=0, length=MIB, if_match="0123456789ABCDEF"
    )


def _copy_with_oss2(url: str) -> Callable[[int], object]:
    import oss2

    bucket = oss2.Bucket(oss2.AuthV4(KEY_ID, SECRET), url, "example-bucket", region=REGION, is_path_style=True)
    upload_id = bucket.init_multipart_upload("k").upload_id
    headers = {"x-oss-copy-source-if-match": '"0123456789ABCDEF"'}
    return lambda number: bucket.upload_part_copy(
        "example-bucket", "zeros", (0, MIB - 1), "k", upload_id, number, headers=headers
    )


def _store(url: str, *, key_id: str = KEY_ID, secret: str = SECRET) -> "OssStore":
    from aliyun_import.cloud.credentials.source import load_credentials
    from aliyun_import.cloud.endpoints import resolve_endpoints
    from aliyun_import.cloud.oss.store import OssStore

    class StoreWithCrc(OssStore):
        """Store whose parts have the computed CRC-64 if the response has none."""

        def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
            part = super().send_part(key, upload_id, number=number, body=body)
            return part if part.crc64 is not None else replace(part, crc64=getattr(body, "crc64", None))

    return StoreWithCrc(
        "example-bucket",
        endpoints=resolve_endpoints(REGION, endpoint_url=url),
        credentials=load_credentials(
            environment={"ALIBABA_CLOUD_ACCESS_KEY_ID": key_id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
        ),
        workers=64,
    )


def _push(disk: Path, store: "OssStore", state: Path, options: dict[str, float]) -> dict[str, float]:
    from aliyun_import.context import Context, SystemClock
    from aliyun_import.disk.disk import open_disk
    from aliyun_import.journal import open_journal
    from aliyun_import.upload.context import TransferOptions, UploadRequest
    from aliyun_import.upload.upload import upload_disk

    cancel = threading.Event()
    problems: list[Event] = []
    in_flight = [0]

    def listen(event: Event) -> None:
        if isinstance(event, PartRetried | Warned):
            problems.append(event)
        elif isinstance(event, UploadProgress) and event.done_bytes < event.total_bytes:
            in_flight.append(event.sent_bytes - event.done_bytes)

    request = UploadRequest(
        disk_index=0,
        region="cn-hangzhou",
        key=None,
        key_stem="aliyun-import/bench/system",
        suffix=".raw",
        base_key=None,
    )
    with open_disk(disk) as source, open_journal(state, {"name": "bench"}) as journal:
        started = time.perf_counter()
        uploaded = upload_disk(
            source,
            request,
            Context(clock=SystemClock(cancel), emit=listen, cancel=cancel),
            store=store,
            journal=journal,
            options=TransferOptions(
                jobs=int(options["jobs"]) if options.get("jobs") else None,
                limit_rate_bytes_s=options.get("rate"),
                keep_object=bool(options.get("keep")),
            ),
        )
        seconds = time.perf_counter() - started
    for problem in problems:
        print(problem, file=sys.stderr)
    return {
        "seconds": seconds,
        "sent": uploaded.sent_bytes,
        "problems": len(problems),
        # Bytes that a kill would lose of a disk without zeros: sent, but not yet in a complete part.
        "in_flight": sum(in_flight) / len(in_flight),
        "most_in_flight": max(in_flight),
    }


def resumable_upload(disk: Path, url: str, options: dict[str, float]) -> dict[str, float]:
    """Upload with the vendor's SDK."""
    import oss2

    auth = oss2.AuthV4(KEY_ID, SECRET)
    bucket = oss2.Bucket(auth, url, "example-bucket", region=REGION)
    threads = {"num_threads": int(options["jobs"])} if options.get("jobs") else {}
    with tempfile.TemporaryDirectory(prefix="state-") as state:
        started = time.perf_counter()
        oss2.resumable_upload(bucket, "disk.raw", str(disk), store=oss2.ResumableStore(root=state), **threads)
        return {"seconds": time.perf_counter() - started}


def bare(disk: Path, url: str, options: dict[str, float]) -> dict[str, float]:
    """Send the file with pread and send."""
    handle = os.open(disk, os.O_RDONLY)
    local = threading.local()

    def move(connection: socket.socket, offset: int, length: int) -> None:
        if not hasattr(local, "buffer"):
            local.buffer = memoryview(bytearray(1 * MIB))
        end = offset + length
        while offset < end:
            chunk = local.buffer[: min(1 * MIB, end - offset)]
            offset += os.preadv(handle, [chunk], offset)
            connection.sendall(chunk)

    return _send_all(disk, url, int(options.get("jobs") or 4), move)


def sendfile(disk: Path, url: str, options: dict[str, float]) -> dict[str, float]:
    """Send the file with sendfile."""
    handle = os.open(disk, os.O_RDONLY)

    def move(connection: socket.socket, offset: int, length: int) -> None:
        end = offset + length
        while offset < end:
            offset += os.sendfile(connection.fileno(), handle, offset, end - offset)

    return _send_all(disk, url, int(options.get("jobs") or 4), move)


def _send_all(disk: Path, url: str, threads: int, move: Callable[[socket.socket, int, int], None]) -> dict[str, float]:
    size = disk.stat().st_size
    host, _, port = url.removeprefix("http://").partition(":")
    offsets: queue.SimpleQueue[int] = queue.SimpleQueue()
    for offset in range(0, size, PART_BYTES):
        offsets.put(offset)

    def work() -> None:
        with socket.create_connection((host, int(port))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    offset = offsets.get_nowait()
                except queue.Empty:
                    return
                length = min(PART_BYTES, size - offset)
                target = f"/example-bucket/bare?partNumber={offset // PART_BYTES + 1}&uploadId=U"
                connection.sendall(f"PUT {target} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode())
                move(connection, offset, length)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")

    workers = [threading.Thread(target=work) for _ in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"seconds": time.perf_counter() - started}


CANDIDATES = {
    "push": push,
    "delta": delta,
    "copies": copies,
    "oss2": resumable_upload,
    "bare": bare,
    "sendfile": sendfile,
}


if __name__ == "__main__":
    name, disk_name, sink_url, options = sys.argv[1:]
    result = CANDIDATES[name](Path(disk_name), sink_url, json.loads(options))
    # Not ru_maxrss, because a process inherits it from its parent.
    status = dict(row.split(":", 1) for row in Path("/proc/self/status").read_text().splitlines())
    print(json.dumps(result | {"peak_mib": int(status["VmHWM"].split()[0]) / 1024}))
