"""Functions of the public API; the command line calls them too."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from aliyun_import.account.staging_bucket import check_encryption, derived_bucket, refuse_unsuitable
from aliyun_import.boot.instance_choice import Confirm
from aliyun_import.boot_tests import cloud_of
from aliyun_import.checks.names import default_name
from aliyun_import.checks.run import CheckResult, check_disk
from aliyun_import.cleanup import CleanupResult, Places, clean_up
from aliyun_import.context import Context, system_context
from aliyun_import.disk.disk import open_disk
from aliyun_import.disk.inspect import inspect_opened
from aliyun_import.errors import BucketMissing, PermissionDenied, UsageError
from aliyun_import.events import Emit, Warned, ignore
from aliyun_import.image import tasks
from aliyun_import.image.tasks import TaskWithImage
from aliyun_import.image.wait import wait as wait_for_image
from aliyun_import.journal import open_journal
from aliyun_import.model.arguments import converted, refuse_argument, require_in_range, texts
from aliyun_import.model.image import Image, Task
from aliyun_import.model.objects import KEY_PREFIX, UploadedObject
from aliyun_import.model.request import DiskFormat, DiskRequest, ImportRequest
from aliyun_import.push.account_diagnosis import diagnose as diagnose_account
from aliyun_import.push.cloud_leftovers import find_in_ecs, remove_from_ecs
from aliyun_import.push.diagnosis import (
    Diagnosis,
    clock_diagnosis,
    credentials_diagnosis,
    endpoint_diagnosis,
)
from aliyun_import.push.options import PushOptions, PushResult
from aliyun_import.push.push import push as run_push
from aliyun_import.push.state import KnownPush, UsedKeys, image_ids_by_url, keys_by_bucket, known_pushes
from aliyun_import.push.state import forget_finished as remove_finished
from aliyun_import.retry import add_retries
from aliyun_import.role.ensure import RoleChange, RoleState, ensure_role, inspect_role
from aliyun_import.role.spec import OSS_ROLE
from aliyun_import.services import Services
from aliyun_import.upload.context import TransferOptions, UploadRequest
from aliyun_import.upload.upload import upload_disk
from aliyun_import.user_directories import state_directory

if TYPE_CHECKING:
    from aliyun_import.cloud.connect import Client

__all__ = [
    "cancel_task", "check", "cleanup", "diagnose", "forget_finished", "list_pushes", "list_tasks", "prepare_role",
    "push", "show_role", "show_task", "upload", "wait",
]  # fmt: skip

OSS_URL = "oss://"


def check(disk: str | PathLike[str], *, is_data_disk: bool = False, skip_checks: Collection[str] = ()) -> CheckResult:
    """Inspect and check a disk; return its report, the parameters inferred from it, and the findings.

    Needs no account, no network and no root. A child process with bounded memory and time parses the disk.
    `skip_checks` names checks whose findings are omitted. Raises DiskError for a file that can't be opened or read,
    and UsageError "unknown-check".
    """
    return check_disk(Path(disk), is_data_disk=is_data_disk, skip_checks=texts("skip_checks", skip_checks))


def push(
    client: "Client",
    request: ImportRequest | str | PathLike[str],
    *,
    options: PushOptions | None = None,
    confirm: Confirm = lambda _: None,
    on_event: Emit = ignore,
    cancel: threading.Event | None = None,
) -> PushResult:
    """Upload the disks of a request and import them as a custom image; a path or oss://BUCKET/KEY means one disk.

    Blocks until the image is usable (hours for a large disk), unless `options` state otherwise. `on_event` is called
    on the calling thread only. Setting `cancel`, from any thread, ends the push with Interrupted. No uploaded data is
    lost after an error: the same call resumes, in another process too, as long as `options.state_dir` is kept. With
    `boot_test="cloud"` in the options the account pays for an instance: `confirm` is called with an `InstanceOffer`
    before anything is sent, and raises an error to refuse it.

    Raises AliyunImportError of every class; its `resumable` is true if the same call resumes. Two pushes of the same
    disks and name can't run at once: the second raises LocalStateError "journal-locked".
    """
    if not isinstance(request, ImportRequest):
        request = request_of(request, region=client.region)
    if request.region != client.region:
        raise UsageError(
            f"The request is for {request.region}, the client for {client.region}.",
            code="region-mismatch",
            remedy=f'Connect with CloudConfig(region="{request.region}").',
        )
    if not request.disks:
        refuse_argument("disks", "is empty", "Pass the system disk as a DiskRequest.")
    named = request if request.name else replace(request, name=_name_after(request.disks[0]))
    context, options = system_context(emit=on_event, cancel=cancel), options or PushOptions()
    services = _services(client, context)
    cloud = cloud_of(client, services, context) if options.boot_test == "cloud" else None
    return run_push(named, options, services, context, is_name_given=bool(request.name), cloud=cloud, confirm=confirm)


def upload(
    client: "Client",
    disk: str | PathLike[str],
    *,
    bucket: str,
    key: str | None = None,
    options: TransferOptions | None = None,
    state_dir: Path | None = None,
    on_event: Emit = ignore,
    cancel: threading.Event | None = None,
) -> UploadedObject:
    """Upload a disk unchanged to an existing bucket, without importing it, and return the proven object.

    Resumes where an earlier call with the same disk, bucket and key stopped. Without `key` the object is named after
    the file and its content. The object remains until the caller removes it. Threads, cancellation and errors as in
    `push`; RefusedError "bucket-missing" and "bucket-region" for a bucket from which ECS can't import.
    """
    context, path = system_context(emit=on_event, cancel=cancel), Path(disk)
    services = _services(client, context)
    account_id = services.identity.whoami().account_id
    store = services.store(bucket)
    info = store.bucket_info()
    if info is None:
        raise BucketMissing(
            f"There is no bucket {bucket}.",
            code="bucket-missing",
            remedy=f"Create the bucket {bucket} in {client.region}, or name another one.",
            details={"bucket": bucket},
        )
    refuse_unsuitable(info, region=client.region, account_id=account_id)
    check_encryption(info, emit=on_event)
    name = default_name(path)
    identity = {
        "name": f"upload-{name}",
        "region": client.region,
        "account": account_id,
        "bucket": bucket,
        "disks": f"{path.absolute()}\n{key or ''}",
        "endpoint": services.endpoint,
    }
    with open_disk(path) as opened, open_journal(_directory(state_dir), identity) as journal:
        request = UploadRequest(
            disk_index=0,
            region=client.region,
            key=key,
            key_stem=f"{KEY_PREFIX}{name}/system",
            suffix=f".{(inspect_opened(opened).format or DiskFormat.RAW).lower()}",
        )
        return upload_disk(opened, request, context, store=store, journal=journal, options=options or TransferOptions())


def wait(
    client: "Client",
    task_id: str,
    *,
    timeout_s: float | None = None,
    on_event: Emit = ignore,
    cancel: threading.Event | None = None,
) -> Image:
    """Wait until the image of an import task is usable, and return it.

    Raises ImportFailed with the reason of the service, StillRunning after `timeout_s` (the import continues),
    Interrupted when `cancel` is set, and RefusedError "task-unknown".
    """
    require_in_range("timeout_s", converted("timeout_s", timeout_s, float | None), 0)
    context = system_context(emit=on_event, cancel=cancel)
    images = _services(client, context).images
    known = tasks.show_task(images, task_id, region=client.region).task
    with context.stage("wait", f"task {task_id}") as report:
        image = wait_for_image(
            images,
            context,
            task_id=task_id,
            image_id=known.image_id,
            region=client.region,
            timeout_s=timeout_s,
        )
        report.detail = f"image {image.image_id} is usable"
    return image


def list_tasks(
    client: "Client", *, statuses: Collection[str] = (), cancel: threading.Event | None = None
) -> tuple[Task, ...]:
    """Return the import tasks of the account in the region, newest first; `statuses` ("Processing", ...) filter."""
    wanted = texts("statuses", statuses)
    return tasks.list_tasks(_services(client, system_context(cancel=cancel)).images, statuses=wanted)


def show_task(client: "Client", task_id: str, *, cancel: threading.Event | None = None) -> TaskWithImage:
    """Return a task and its image. Raises RefusedError "task-unknown"."""
    return tasks.show_task(_services(client, system_context(cancel=cancel)).images, task_id, region=client.region)


def cancel_task(
    client: "Client", task_id: str, *, on_event: Emit = ignore, cancel: threading.Event | None = None
) -> Task:
    """Cancel a running task and return it; the service removes its unfinished image.

    A task that is already cancelled is returned unchanged. Raises RefusedError "task-unknown", and "task-over" when
    the task has ended.
    """
    context = system_context(emit=on_event, cancel=cancel)
    return tasks.cancel_task(_services(client, context).images, context, task_id, region=client.region)


def show_role(
    client: "Client", name: str | None = None, *, bucket: str | None = None, cancel: threading.Event | None = None
) -> RoleState:
    """Return the state of the role with which ECS reads a bucket (None: any bucket), without changing it."""
    roles = _services(client, system_context(cancel=cancel)).roles
    return inspect_role(roles, name or OSS_ROLE.default_name, bucket=bucket)


def prepare_role(
    client: "Client",
    name: str | None = None,
    *,
    bucket: str | None = None,
    fix: bool = False,
    on_event: Emit = ignore,
    cancel: threading.Event | None = None,
) -> RoleChange:
    """Create the role with which ECS reads a bucket, or attach the missing policy; nothing is overwritten.

    With `fix`, a statement is added to a trust policy that does not let ECS assume the role. Raises RefusedError
    "role-trust", AccessError "role-denied" and "role-rights".
    """
    context = system_context(emit=on_event, cancel=cancel)
    roles = _services(client, context).roles
    return ensure_role(roles, context, name or OSS_ROLE.default_name, bucket=bucket, fix=fix)


def cleanup(
    client: "Client",
    *,
    bucket: str | None = None,
    prefixes: Collection[str] = (),
    remove: Collection[str] = (),
    force: bool = False,
    state_dir: Path | None = None,
    on_event: Emit = ignore,
    cancel: threading.Event | None = None,
) -> CleanupResult:
    """List the leftovers of earlier pushes, and remove those that `remove` names by key or pattern.

    In the bucket, aliyun-import/, the keys in the journals of `state_dir`, and each of `prefixes` are searched. The
    default bucket is that of a push without a bucket. In ECS, the list has instances of boot tests in the region,
    images that still have their temporary names, and replaced images. Nothing is removed that `remove` does not
    name, because an unfinished upload may belong to a running push. RefusedError "object-in-use" if a running import
    reads a named object, or a process of this machine uses a named instance or image, unless `force`.
    """
    prefixes, remove = texts("prefixes", prefixes), texts("remove", remove)
    context = system_context(emit=on_event, cancel=cancel)
    services = _services(client, context)
    name = bucket or derived_bucket(services.identity.whoami().account_id, client.region)
    directory, endpoint = _directory(state_dir), client.config.endpoint_url or ""
    known = keys_by_bucket(directory, region=client.region, endpoint=endpoint)
    in_use: Mapping[str, str] = {}
    try:
        in_use = tasks.objects_in_use(services.images, known=image_ids_by_url(directory, endpoint=endpoint))
    except PermissionDenied as error:
        if remove and not force:
            raise error.with_remedy("--force removes the object even if a running import reads it.") from error
        message = f"The objects that running imports read could not be listed: {error.summary}"
        on_event(Warned(code="imports-unseen", message=message, remedy=error.remedy))
    places = Places(prefix=KEY_PREFIX, below=prefixes, keys=tuple(sorted(known.get(name, UsedKeys()).used)))
    return clean_up(
        services.store(name),
        context,
        places,
        remove=remove,
        other_buckets=tuple(sorted(bucket for bucket, keys in known.items() if keys.left and bucket != name)),
        in_use=in_use,
        force=force,
        region=client.region,
        in_ecs=find_in_ecs(services, context, directory),
        remove_from_ecs=lambda one: remove_from_ecs(services, one, directory),
    )


def diagnose(
    client: "Client",
    *,
    bucket: str | None = None,
    on_result: Callable[[Diagnosis], None] = lambda _: None,
    cancel: threading.Event | None = None,
) -> tuple[Diagnosis, ...]:
    """Check what a push requires of this machine and account, without changing it; return the results.

    `on_result` is called with each result as soon as it is known, on the calling thread.
    """
    from aliyun_import.cloud.connect import reach_endpoints

    keys = client.credentials

    def known() -> Iterator[Diagnosis]:
        yield credentials_diagnosis(keys.describe(), keys.get, keys.expires_s)
        reached = reach_endpoints(client.config, client.endpoints, cancel=cancel)
        yield from (endpoint_diagnosis(one.service, one.url, one.problem, is_used=one.is_used) for one in reached)
        yield clock_diagnosis([one.clock_ahead_s for one in reached if one.clock_ahead_s is not None])
        yield from diagnose_account(client.services(cancel), region=client.region, bucket=bucket)

    results = []
    for result in known():
        on_result(result)
        results.append(result)
    return tuple(results)


def list_pushes(*, state_dir: Path | None = None) -> tuple[KnownPush, ...]:
    """Return the pushes that have a journal on this machine, the latest first. Needs no account."""
    return known_pushes(_directory(state_dir))


def forget_finished(pushes: Collection[KnownPush], *, state_dir: Path | None = None) -> tuple[KnownPush, ...]:
    """Remove the journals of those pushes that are finished, and return these pushes; journals in use are kept."""
    return remove_finished(_directory(state_dir), converted("pushes", pushes, tuple[KnownPush, ...]))


def request_of(disk: str | PathLike[str], *, region: str) -> ImportRequest:
    """Return the request for an image of one disk, a path or oss://BUCKET/KEY, without a name."""
    return ImportRequest(region=region, disks=(disk_of(disk),))


def disk_of(
    disk: str | PathLike[str], *, disk_format: DiskFormat | None = None, size_gib: int | None = None
) -> DiskRequest:
    """Return the request for the disk at a path or oss://BUCKET/KEY. Raises UsageError "oss-url-malformed"."""
    text = str(disk)
    if not text.startswith(OSS_URL):
        return DiskRequest(path=Path(disk), format=disk_format, size_gib=size_gib)
    bucket, _, key = text.removeprefix(OSS_URL).partition("/")
    if not bucket or not key:
        raise UsageError(
            f"{text} does not name an object.",
            code="oss-url-malformed",
            remedy="Write it as oss://BUCKET/KEY.",
        )
    return DiskRequest(bucket=bucket, key=key, format=disk_format, size_gib=size_gib)


def _name_after(disk: DiskRequest) -> str:
    return default_name(disk.path or disk.key or "")


def _directory(state_dir: str | PathLike[str] | None) -> Path:
    return state_directory() if state_dir is None else Path(state_dir)


def _services(client: "Client", context: Context) -> Services:
    """Return the services of a client, with retries."""
    return add_retries(client.services(context.cancel), context)
