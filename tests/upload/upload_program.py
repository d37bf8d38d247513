"""Program that uploads one disk to a sandbox in real time, in a child process that a test can kill.

Arguments: disk, state directory, endpoint URL, key id, secret. The program imports the tool once, and forks a child
for each line of stdin: the rate limit in bytes per second, 0 for none. A child prints its process id, a line at each
progress event, and the object's key at the end. Then the program prints "ended" and the exit code (negative: a signal).
"""

import os
import sys
import traceback
from pathlib import Path

from aliyun_import.cloud.credentials.source import load_credentials
from aliyun_import.cloud.endpoints import resolve_endpoints
from aliyun_import.cloud.oss.store import OssStore
from aliyun_import.context import system_context
from aliyun_import.disk.disk import open_disk
from aliyun_import.events import Event, UploadProgress
from aliyun_import.journal import open_journal
from aliyun_import.upload import plan
from aliyun_import.upload.context import TransferOptions, UploadRequest
from aliyun_import.upload.upload import upload_disk
from tests.upload.upload_setup import PART

WORKERS = 2


def print_progress(event: Event) -> None:
    """Print the sent bytes of a progress event."""
    if isinstance(event, UploadProgress):
        print(event.sent_bytes, flush=True)


def upload_once(rate: float) -> None:
    """Upload the disk."""
    disk, state, url, key_id, secret = sys.argv[1:]
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key_id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
    store = OssStore(
        "example-bucket",
        endpoints=resolve_endpoints("cn-hangzhou", endpoint_url=url),
        credentials=load_credentials(environment=keys),
    )
    request = UploadRequest(
        disk_index=0,
        region="cn-hangzhou",
        key=None,
        key_stem="aliyun-import/web/system",
        suffix=".raw",
        base_key=None,
    )
    with open_disk(Path(disk)) as source, open_journal(Path(state), {"name": "web"}) as journal:
        print(os.getpid(), flush=True)
        uploaded = upload_disk(
            source,
            request,
            system_context(emit=print_progress),
            store=store,
            journal=journal,
            options=TransferOptions(jobs=WORKERS, limit_rate_bytes_s=rate or None),
        )
    print(uploaded.key, flush=True)


def main() -> None:
    """Fork a child for each line of stdin and print its exit code."""
    plan.MIN_SEND_BYTES = PART
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                upload_once(float(line))
            except BaseException:  # noqa: BLE001 -- a child must not continue as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
