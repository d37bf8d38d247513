"""This file holds what ECS answers about tags, the account, tasks and images.

Codes: the pages of DescribeTasks, DescribeTaskAttribute, CancelTask, DescribeImages, DeleteImage,
ModifyImageAttribute and TagResources, and those codes of ImportImage that are about the account.
"""

from aliyun_import.cloud.errors.mapping import ErrorMapping
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    ImageImporting,
    ImportFailed,
    PermissionDenied,
    RefusedError,
    TransientError,
)

_AGAIN = "Run the same command again; it goes on where it stopped."
_BUG = "Please report this with the request id: the tool should not have sent such a request."
_TICKET = "Open a ticket with Alibaba Cloud that names the request id."


def _row(code: str, kind: type[AliyunImportError], ours: str, means: str, remedy: str | None) -> ErrorMapping:
    return ErrorMapping(code=code, kind=kind, ours=ours, means=means, remedy=remedy, services=("ECS",))


_TAGS = (
    _row("TagKey.Duplication", RefusedError, "tag-duplicate", "Two tags differ by case only.", "Drop one --tag."),
    _row("Duplicate.TagKey", RefusedError, "tag-duplicate", "A tag is given twice.", "Drop one --tag."),
    _row("NumberExceed.Tags", RefusedError, "tag-count", "There are too many tags.", "Pass at most 20 times --tag."),
    _row(
        "InvalidTagKey.Malformed",
        RefusedError,
        "tag-invalid",
        "ECS does not take the key of a tag.",
        "Pass --tag with a key of 1 to 128 characters, not beginning with aliyun or acs:, and without http(s)://.",
    ),
    _row(
        "InvalidTagValue.Malformed",
        RefusedError,
        "tag-invalid",
        "ECS does not take the value of a tag.",
        "Pass --tag with a value of at most 128 characters, not beginning with acs:, and without http(s)://.",
    ),
    _row("InvalidTag.Mismatch", RefusedError, "tag-invalid", "A tag's key and value do not pair.", _BUG),
    _row("InvalidTagCount", RefusedError, "tag-count", "There are too many tags.", "Pass at most 20 times --tag."),
    _row(
        "NoPermission.Tag",
        PermissionDenied,
        "no-right",
        "These credentials may not tag images.",
        "Have an administrator grant ecs:TagResources; `aliyun-import role policy` prints a policy with it.",
    ),
    _row("InvalidResourceId.NotFound", RefusedError, "image-missing", "There is no image {image}.", None),
)

_ACCOUNT = (
    _row(
        "DRYRUN.SUCCESS",
        RefusedError,
        "dry-run-passed",
        "The request would have passed; it was a dry run.",
        "Leave --dry-run out.",
    ),
    _row(
        "DryRunOperation",
        RefusedError,
        "dry-run-passed",
        "The request would have passed; it was a dry run.",
        "Leave --dry-run out.",
    ),
    _row(
        "Account.Arrearage",
        AccessError,
        "account-in-debt",
        "The account has an outstanding payment.",
        "Settle the account's bills in the console, then run the same command again.",
    ),
    _row(
        "InsufficientBalance",
        AccessError,
        "account-in-debt",
        "The account's balance is too low.",
        "Top the account up in the console, then run the same command again.",
    ),
    _row(
        "Forbbiden",  # as the service spells it
        AccessError,
        "import-not-enabled",
        "Importing images is not enabled for the account.",
        "Open a ticket with Alibaba Cloud to have it enabled.",
    ),
    _row(
        "UserNotInTheWhiteList",
        AccessError,
        "import-not-enabled",
        "The account is not invited to this kind of import (VMDK needs an invitation).",
        "Convert the disk to RAW, or open a ticket with Alibaba Cloud.",
    ),
    _row(
        "Forbidden.RAM",
        PermissionDenied,
        "no-right",
        "These credentials may not do {operation}.",
        "Have an administrator grant {action}; `aliyun-import role policy` prints a policy with it. Rights for tasks "
        "hold on all resources only.",
    ),
    _row(
        "Forbidden.RiskControl",
        AccessError,
        "risk-control",
        "Alibaba Cloud's risk control stopped the request.",
        _TICKET,
    ),
    _row(
        "QuotaExceed.Image",
        RefusedError,
        "quota-exceeded",
        "The account has as many images in {region} as it may have.",
        "Delete images that are not needed, or have the quota raised in the Quota Center.",
    ),
    _row(
        "QuotaExceed.Snapshot",
        RefusedError,
        "quota-exceeded",
        "The account has as many snapshots in {region} as it may have.",
        "Delete snapshots that are not needed: deleting an image leaves its snapshot.",
    ),
)

_STATE = (
    _row(
        "ImageIsImporting",
        ImageImporting,
        "image-importing",
        "An image of this name or id is being imported.",
        "Wait for it with `aliyun-import task list` and `task wait`, or pass another --name.",
    ),
    _row("ImportImageFailed", ImportFailed, "import-failed", "ECS could not begin the import.", _TICKET),
    _row(
        "IncorrectImageStatus",
        RefusedError,
        "image-state",
        "The image is not in a state for {operation}.",
        "Wait until the image is Available, then run the same command again.",
    ),
    _row(
        "InvalidTaskId.NotFound",
        RefusedError,
        "task-unknown",
        "There is no task {task} in {region}.",
        "Check the id with `aliyun-import task list --region {region}`.",
    ),
    _row(
        "InvalidTaskId.TaskActionNotSupport",
        RefusedError,
        "task-not-cancellable",
        "The task {task} is of a kind that can't be cancelled.",
        None,
    ),
    _row(
        "InvalidTaskId.IncorrectTaskStatus",
        RefusedError,
        "task-over",
        "The task {task} is not running any more.",
        "Look at it with `aliyun-import task show {task}`.",
    ),
    _row(
        "CancelTaskFailed",
        RefusedError,
        "task-not-cancelled",
        "The task {task} could not be cancelled.",
        "Run the same command again; if that fails as well, open a ticket that names the request id.",
    ),
    _row(
        "InvalidImageId.NotFound",
        RefusedError,
        "image-missing",
        "There is no image {image} in {region}.",
        "Check the id and --region.",
    ),
    _row(
        "ImageUsingByInstance",
        RefusedError,
        "image-in-use",
        "Instances were made from the image {image}.",
        "Delete the image in the console with force, or leave it.",
    ),
    _row(
        "ImageUseShared",
        RefusedError,
        "image-in-use",
        "The image {image} is shared with other accounts.",
        "Stop sharing it in the console first.",
    ),
    _row(
        "OperationDenied.ImageCopying",
        RefusedError,
        "image-in-use",
        "The image {image} is being copied.",
        "Wait until the copy is done, then run the same command again.",
    ),
    _row(
        "ImageIsExporting",
        RefusedError,
        "image-in-use",
        "The image {image} is being exported.",
        "Wait until the export is done, then run the same command again.",
    ),
    *(
        _row(code, RefusedError, "request-invalid", "ECS does not take a filter of {operation}.", _BUG)
        for code in (
            "InvalidImageOwnerAlias.ValueNotSupported",
            "InvalidInstanceType.ValueNotSupported",
            "InvalidFilterKey.NotFound",
            "InvalidUsage",
            "InvalidOSType",
            "InvalidArchitecture",
        )
    ),
    _row(
        "OperationConflict",
        TransientError,
        "service-busy",
        "ECS is busy with an earlier request to the same thing.",
        _AGAIN,
    ),
    _row(
        "LastTokenProcessing",
        TransientError,
        "service-busy",
        "ECS is still working on the first request with this client token.",
        _AGAIN,
    ),
)

ECS_ROWS: tuple[ErrorMapping, ...] = (*_TAGS, *_ACCOUNT, *_STATE)
