"""Errors of failed imports: the service's reason, its probable cause, and the remedy.

The codes of failed tasks are not published (except one example, ParameterInvalid). They are assumed to be those of
ImportImage. The code is looked up first, then words of the message; the service's text is always kept.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aliyun_import.errors import ImportFailed
from aliyun_import.model.image import Image, Task

# `with_commands` replaces these by complete commands.
CHECK_DISK = "aliyun-import check"
ENSURE_ROLE = "aliyun-import role ensure"
TICKET = "https://smartservice.console.aliyun.com/service/create-ticket-intl"


@dataclass(frozen=True, slots=True)
class Advice:
    """Probable cause and remedy; `codes` are the service's, `words` are what its message may contain."""

    codes: tuple[str, ...]
    words: tuple[str, ...]
    cause: str
    remedy: str


CATALOGUE: tuple[Advice, ...] = (
    Advice(
        ("InvalidVHDImage.IncorrectSize", "InvalidBlockSize.NotSupport"),
        ("maxtableentries", "blocksize", "block size"),
        "The VHD's size does not match its block table.",
        "Convert the disk again, with `qemu-img convert -O vpc` or to QCOW2, and push the result.",
    ),
    Advice(
        ("InvalidImageFormat.Malformed", "InvalidFormat.Malformed"),
        ("image format", "wrongly formed", "not a valid"),
        "The bytes are not a disk of the given format.",
        f"Check the disk with {CHECK_DISK}, and omit --format so that it is detected from the content.",
    ),
    Advice(
        ("InvalidImageSize", "InvalidDataDiskSize"),
        ("size", "too small"),
        "The disk is larger than the requested size, or out of range.",
        f"Omit --disk-size, or pass at least the disk's virtual size, which {CHECK_DISK} shows.",
    ),
    Advice(
        ("InvalidOSS.NotAuthorized", "NoSetRoletoECSServiceAcount", "NoSetRoletoECSServiceAccount"),
        ("not authorized", "no right", "not allowed"),
        "ECS was not allowed to read the object.",
        f"Run {ENSURE_ROLE}, check that no policy of the bucket denies it, and run the same command again.",
    ),
    Advice(
        ("InvalidOSSObject.NotFound", "InvalidOSSBucket.NotFound"),
        ("does not exist", "cannot be retrieved", "removed"),
        "The object was removed while ECS read it.",
        "Run the same command again, and ensure that nothing removes objects below aliyun-import/ meanwhile.",
    ),
    Advice(
        ("InvalidOSSObject.NeedRestore",),
        ("restore",),
        "The object is of an archive class and was not restored.",
        "Restore it, or push the local disk so that this tool uploads it.",
    ),
    Advice(
        ("InvalidOSSBucket.EncryptUnsupported",),
        ("encrypt",),
        "ECS can't read encrypted objects.",
        "Use a --bucket without default encryption and push again.",
    ),
    Advice(
        ("InvalidOSSBucket.FlowLimit",),
        ("flow limit", "bandwidth"),
        "The bandwidth of the bucket was exhausted.",
        "Run the same command again when the bucket has less traffic.",
    ),
    Advice(
        ("QuotaExceed.Image", "QuotaExceed.Snapshot"),
        ("quota", "maximum number"),
        "The account has the maximum number of images or snapshots.",
        "Delete some in the console, or have the quota raised, and run the same command again.",
    ),
    Advice(
        ("Account.Arrearage", "InvalidAccountStatus.OSSDisabled", "InsufficientBalance"),
        ("payment", "arrear", "balance"),
        "The account has unpaid bills, or OSS is disabled.",
        "Pay the bills and run the same command again.",
    ),
    Advice(
        ("ParameterInvalid",),
        (),
        "The service rejected a parameter, which may contradict the disk.",
        f"Check the disk with {CHECK_DISK}, compare --platform, --architecture and --boot-mode with what it shows, and "
        "push again.",
    ),
    Advice(
        ("InternalError", "ServiceUnavailable"),
        ("internal error", "unknown error"),
        "The service had an internal error.",
        "Run the same command again.",
    ),
)


def with_commands(error: ImportFailed, *, disks: Sequence[Path], bucket: str, region: str) -> ImportFailed:
    """Return the error with complete commands in its remedy, with the disks and the bucket."""
    commands = {ENSURE_ROLE: [*ENSURE_ROLE.split(), "--bucket", bucket, "--region", region] if bucket else []}
    commands[CHECK_DISK] = [*CHECK_DISK.split(), *map(str, disks)] if disks else []
    remedy = error.remedy or ""
    for words, command in commands.items():
        if command:
            remedy = remedy.replace(words, f"`{shlex.join(command)}`")
    return ImportFailed(
        error.summary, code=error.code, cause=error.cause, remedy=remedy or None, details=error.details,
        resumable=error.resumable,
    )  # fmt: skip


def advice_for(code: str, message: str) -> Advice | None:
    """Return the advice for a reason, by its code or by words of its message; None if there is none."""
    by_code = next((advice for advice in CATALOGUE if code in advice.codes), None)
    if by_code is not None or not message:
        return by_code
    lower = message.lower()
    return next((advice for advice in CATALOGUE if any(word in lower for word in advice.words)), None)


def task_failed(task: Task, *, region: str) -> ImportFailed:
    """Return the error of a task that is Failed."""
    code, message = task.error_code, task.error_message
    reason = ": ".join(part for part in (code, message) if part)
    advice = advice_for(code, message)
    if advice is None:
        fallback = (
            f"Show the task with `aliyun-import task show {task.task_id} --region {region}`, check the disk with "
            f"{CHECK_DISK}, and if neither explains it open a ticket ({TICKET}) with the task id."
        )
        return _failed(task, "import-failed", reason or "The service gave no reason.", fallback)
    likely = f"{reason}\n{advice.cause}" if reason else advice.cause
    return _failed(task, "import-failed", likely, advice.remedy)


def task_cancelled(task: Task) -> ImportFailed:
    """Return the error of a task that is Deleted, the service's status of cancelled tasks."""
    cause = "It was cancelled, with this tool or in the console."
    return _failed(task, "import-cancelled", cause, "Run the same command again to import the disk again.")


def task_paused(task: Task) -> ImportFailed:
    """Return the error of a task that is Paused: no call resumes it, and CancelTask accepts running tasks only."""
    cause = "The service paused it, and no call of its API resumes it."
    image = f" {task.image_id}" if task.image_id else ""
    remedy = (
        f"Delete the image{image} in the console and run the same command again, or pass another --name; if it is "
        f"paused again, open a ticket ({TICKET}) with the task id."
    )
    return _failed(task, "import-paused", cause, remedy)


def image_failed(image: Image, task: Task | None, *, region: str) -> ImportFailed:
    """Return the error of an image that is CreateFailed or UnAvailable, with the task's reason if there is one."""
    if task is not None and (task.error_code or task.error_message):
        return task_failed(task, region=region)
    return ImportFailed(
        f"The image {image.image_id} is {image.status}.",
        code="image-failed",
        cause="The service gave no reason.",
        remedy=f"Check the disk with {CHECK_DISK} and run the same command again; if it fails again, open a "
        f"ticket ({TICKET}) with the image id.",
        details={"image_id": image.image_id, "image_status": str(image.status)},
    )


def image_gone(image_id: str, task: Task | None) -> ImportFailed:
    """Return the error of an image that does not exist any more, or should exist."""
    details = {"image_id": image_id} | ({"task_id": task.task_id} if task else {})
    what = f"The image {image_id}" if image_id else f"The image of task {task.task_id if task else 'unknown'}"
    return ImportFailed(
        f"{what} is gone.",
        code="image-gone",
        cause="It was deleted, or the import was cancelled.",
        remedy="Run the same command again to import the disk again.",
        details=details,
    )


def _failed(task: Task, code: str, cause: str, remedy: str) -> ImportFailed:
    how = {"import-cancelled": "was cancelled", "import-paused": "is paused"}.get(code, "failed")
    details = {"task_id": task.task_id, "task_status": task.status_text}
    details |= {"image_id": task.image_id} if task.image_id else {}
    details |= {"service_code": task.error_code} if task.error_code else {}
    return ImportFailed(
        f"The import task {task.task_id} {how}.", code=code, cause=cause, remedy=remedy, details=details
    )
