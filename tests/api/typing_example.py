"""Program that uses the library as another project does; mypy --strict checks it."""

import threading
from pathlib import Path
from typing import assert_type

import aliyun_import
from aliyun_import import (
    BootMode,
    BootTest,
    CheckResult,
    CleanupResult,
    Client,
    CloudBootOptions,
    CloudBootTest,
    CloudConfig,
    Credentials,
    Diagnosis,
    DiskRequest,
    Event,
    Finding,
    Image,
    ImportRequest,
    KnownPush,
    PushOptions,
    PushResult,
    RoleChange,
    RoleState,
    Task,
    TaskWithImage,
    TransferOptions,
    TransientError,
    UploadedObject,
    events,
)


def main(url: str) -> str:
    """Push a disk."""
    config = CloudConfig(region="cn-hangzhou", endpoint_url=url, credentials=Credentials(key_id="id", secret="secret"))
    checked = aliyun_import.check("disk.raw", skip_checks={"ssh-port"})
    assert_type(checked, CheckResult)
    assert_type(checked.findings, tuple[Finding, ...])
    request = ImportRequest(
        region=config.region, name="web-1", disks=(DiskRequest(path=Path("disk.raw")),), boot_mode=BootMode.UEFI
    )
    options = PushOptions(transfer=TransferOptions(jobs=4), state_dir=Path("state"), timeout_s=7200)
    with aliyun_import.connect(config) as client:
        assert_type(client, Client)
        try:
            pushed = aliyun_import.push(client, request, options=options, on_event=show, cancel=threading.Event())
        except TransientError as error:
            return error.code
        assert_type(pushed, PushResult)
        assert_type(aliyun_import.wait(client, pushed.task_id, timeout_s=60.0), Image)
        use_others(client, checked, image_id=pushed.image_id)
        return pushed.image_id


def use_others(client: Client, checked: CheckResult, *, image_id: str) -> None:
    """Use each of the other functions of the API."""
    assert_type(aliyun_import.from_environment(), CloudConfig)
    assert_type(aliyun_import.upload(client, "data.raw", bucket="my-bucket"), UploadedObject)
    assert_type(aliyun_import.cleanup(client, remove=["aliyun-import/web-1/*"]), CleanupResult)
    assert_type(aliyun_import.list_tasks(client, statuses=["Processing"]), tuple[Task, ...])
    assert_type(aliyun_import.show_task(client, "t-1"), TaskWithImage)
    assert_type(aliyun_import.cancel_task(client, "t-1"), Task)
    assert_type(aliyun_import.show_role(client), RoleState)
    assert_type(aliyun_import.prepare_role(client, bucket="my-bucket"), RoleChange)
    assert_type(aliyun_import.diagnose(client), tuple[Diagnosis, ...])
    assert_type(aliyun_import.list_pushes(), tuple[KnownPush, ...])
    assert_type(aliyun_import.forget_finished(aliyun_import.list_pushes()), tuple[KnownPush, ...])
    assert_type(aliyun_import.boot_test(checked), BootTest)
    assert_type(aliyun_import.boot_test_image(client, image_id, options=CloudBootOptions()), CloudBootTest)


def show(event: Event) -> None:
    """Print the progress of an upload."""
    match event:
        case events.UploadProgress(done_bytes=done, total_bytes=total):
            print(f"{100 * done // total} %")
        case _:
            pass
