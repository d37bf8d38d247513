"""Program that uploads one disk to a sandbox in real time, in a child that a test can kill.

Arguments: disk, state directory, endpoint URL, key id, secret. It imports the tool once, and forks a child for each
line that it reads: bytes a second (0 for as fast as it goes). A child prints its process id, a line at each progress,
and the object's key at the end; after it there is a line "ended" with its exit code, negative for the signal.
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
from tests.upload.scene import PART

WORKERS = 2


def tell(event: Event) -> None:
    """Print the progress."""
    if isinstance(event, UploadProgress):
        print(event.sent_bytes, flush=True)


def deliver(rate: float) -> None:
    """Upload the disk, or be killed during it."""
    disk, state, url, key_id, secret = sys.argv[1:]
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key_id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": secret}
    store = OssStore(
        "example-bucket",
        endpoints=resolve_endpoints("cn-hangzhou", endpoint_url=url),
        credentials=load_credentials(environment=keys),
    )
    delivery = UploadRequest(
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
            delivery,
            system_context(emit=tell),
            store=store,
            journal=journal,
            options=TransferOptions(jobs=WORKERS, limit_rate_bytes_s=rate or None),
        )
    print(uploaded.key, flush=True)


def main() -> None:
    """Fork a child for each line, and write how it ended."""
    plan.MIN_SEND_BYTES = PART
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                deliver(float(line))
            except BaseException:  # noqa: BLE001 -- a child must not go on as its parent
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
