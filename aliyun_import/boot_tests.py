"""Functions of the public API that start disks and images."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from aliyun_import.boot.cloud import boot_test_image as run_cloud_boot_test
from aliyun_import.boot.cloud_journal import identity_of, tests_directory
from aliyun_import.boot.instance_choice import Cloud, CloudBootOptions, Confirm
from aliyun_import.boot.run import BootOptions, subject_of
from aliyun_import.boot.run import boot_test as run_boot_test
from aliyun_import.checks.run import CheckResult, check_disk
from aliyun_import.context import Context, system_context
from aliyun_import.disk.containers.interface import Upload
from aliyun_import.disk.containers.registry import format_named
from aliyun_import.disk.convert import needs_preparing, prepare
from aliyun_import.events import Emit, ignore
from aliyun_import.journal import open_journal
from aliyun_import.model.boot import BootTest, CloudBootTest
from aliyun_import.model.request import DiskRequest, ImportRequest
from aliyun_import.retry import add_retries
from aliyun_import.services import Services
from aliyun_import.user_directories import state_directory

if TYPE_CHECKING:
    from aliyun_import.cloud.connect import Client

__all__ = ["boot_test", "boot_test_image"]


def boot_test(
    checked: CheckResult,
    *,
    options: BootOptions | None = None,
    on_event: Emit = ignore,
    cancel: threading.Event | None = None,
) -> BootTest:
    """Start a checked disk in QEMU, as an instance would start it, and return whether it boots.

    Runs the code on the disk in a virtual machine without a network, with bounded memory, processors and time, as the
    user of this process. The disk is opened read-only. Takes a minute under emulation, and at most `options.timeout_s`
    for each boot. Events and cancellation as in `push`.

    Raises DiskError "boot-test-impossible", the errors of unpacking a compressed disk, LocalStateError "qemu-missing"
    and "qemu-failed", and Interrupted.
    """
    context, options, report = system_context(emit=on_event, cancel=cancel), options or BootOptions(), checked.report
    path = report.path
    with ExitStack() as stack:
        if needs_preparing(report) and format_named(report.container).upload is Upload.UNPACKED:
            path = stack.enter_context(prepare(path, report, work_dir=options.work_dir, emit=on_event))
            checked = check_disk(path, name=report.path)
        request = ImportRequest(region="", name="", disks=(DiskRequest(path=path),))
        subject = subject_of(path, checked.report, checked.parameters.merged_into(request))
        return run_boot_test(subject, options, context)


def boot_test_image(
    client: "Client",
    image_id: str,
    *,
    options: CloudBootOptions,
    confirm: Confirm = lambda _: None,
    state_dir: Path | None = None,
    on_event: Emit = ignore,
    cancel: threading.Event | None = None,
) -> CloudBootTest:
    """Start an instance of a custom image, and return whether it boots; the instance is deleted.

    The account pays for the instance: the smallest type that can start the image, without a public address. `confirm`
    is called with an `InstanceOffer` before that, and raises an error to refuse it. The instance is always deleted,
    also after an error and if `cancel` is set, and ECS releases it automatically after 45 minutes (20 minutes after
    `options.timeout_s` if that is later). `left_over` of the result is not empty if it could not be deleted. After a
    kill, the same call continues with the instance, or deletes it.

    Events and cancellation as in `push`. Raises RefusedError "image-missing", "image-state",
    "instance-type-unavailable" and other refusals of ECS, and LocalStateError "journal-locked" while the same test
    runs.
    """
    context = system_context(emit=on_event, cancel=cancel)
    services = add_retries(client.services(context.cancel), context)
    cloud = cloud_of(client, services, context)
    account_id = services.identity.whoami().account_id
    identity = identity_of(image_id, region=client.region, account_id=account_id, endpoint=services.endpoint)
    directory = tests_directory(state_directory() if state_dir is None else Path(state_dir))
    with open_journal(directory, identity) as journal:
        return run_cloud_boot_test(image_id, options, cloud, journal, confirm=confirm)


def cloud_of(client: "Client", services: Services, context: Context) -> Cloud:
    """Return the services of boot tests of images; instances are deleted even after `context` is cancelled."""
    deleting_context = system_context(emit=context.emit)
    return Cloud(
        images=services.images,
        instances=services.instances,
        context=context,
        deleting=add_retries(client.services(), deleting_context).instances,
        deleting_context=deleting_context,
        region=client.region,
    )
