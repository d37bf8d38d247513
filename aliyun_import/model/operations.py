"""API operations that the adapters send, and the RAM permissions that they need.

An adapter can't send an operation that is missing here. The least-privilege policy and docs/permissions.md are derived
from the permissions. Sources: "RAM authorization" of ECS and RAM, "Overview of bucket and object operations" of OSS.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum


class Operation(StrEnum):
    """The name of an API operation."""

    # OSS
    ABORT_MULTIPART_UPLOAD = "AbortMultipartUpload"
    COMPLETE_MULTIPART_UPLOAD = "CompleteMultipartUpload"
    DELETE_OBJECT = "DeleteObject"
    GET_BUCKET_INFO = "GetBucketInfo"
    GET_BUCKET_LIFECYCLE = "GetBucketLifecycle"
    GET_OBJECT = "GetObject"
    HEAD_OBJECT = "HeadObject"
    INITIATE_MULTIPART_UPLOAD = "InitiateMultipartUpload"
    LIST_MULTIPART_UPLOADS = "ListMultipartUploads"
    LIST_OBJECTS_V2 = "ListObjectsV2"
    LIST_PARTS = "ListParts"
    PUT_BUCKET = "PutBucket"
    PUT_BUCKET_LIFECYCLE = "PutBucketLifecycle"
    PUT_OBJECT = "PutObject"
    UPLOAD_PART = "UploadPart"
    UPLOAD_PART_COPY = "UploadPartCopy"
    # ECS
    CANCEL_TASK = "CancelTask"
    DELETE_IMAGE = "DeleteImage"
    DELETE_INSTANCE = "DeleteInstance"
    DESCRIBE_AVAILABLE_RESOURCE = "DescribeAvailableResource"
    DESCRIBE_IMAGE_SUPPORT_INSTANCE_TYPES = "DescribeImageSupportInstanceTypes"
    DESCRIBE_IMAGES = "DescribeImages"
    DESCRIBE_INSTANCES = "DescribeInstances"
    DESCRIBE_REGIONS = "DescribeRegions"
    DESCRIBE_TASK_ATTRIBUTE = "DescribeTaskAttribute"
    DESCRIBE_TASKS = "DescribeTasks"
    DESCRIBE_VSWITCHES = "DescribeVSwitches"
    GET_INSTANCE_CONSOLE_OUTPUT = "GetInstanceConsoleOutput"
    GET_INSTANCE_SCREENSHOT = "GetInstanceScreenshot"
    IMPORT_IMAGE = "ImportImage"
    MODIFY_IMAGE_ATTRIBUTE = "ModifyImageAttribute"
    RUN_INSTANCES = "RunInstances"
    # RAM
    ATTACH_POLICY_TO_ROLE = "AttachPolicyToRole"
    CREATE_ROLE = "CreateRole"
    GET_POLICY = "GetPolicy"
    GET_ROLE = "GetRole"
    LIST_POLICIES_FOR_ROLE = "ListPoliciesForRole"
    UPDATE_ROLE = "UpdateRole"
    # STS; needs no permission
    GET_CALLER_IDENTITY = "GetCallerIdentity"


class Resource(Enum):
    """A kind of resource that a permission is granted on; the value is its name in docs/permissions.md."""

    IMAGE = "image"
    ALL = "`*` only"
    ROLE = "role"
    ANY_ROLE = "any role"
    ROLE_AND_POLICY = "role, policy"
    POLICY = "policy"
    BUCKET = "bucket"
    OBJECT = "objects"
    INSTANCE = "instance"
    INSTANCE_PARTS = "instance and its parts"


@dataclass(frozen=True, slots=True)
class Permission:
    """A RAM permission: the operations that need it, its purpose, and what happens without it.

    `conditional` means that the operations need it in some calls only, so that errors do not name it for them.
    """

    name: str
    resource: Resource
    operations: tuple[Operation, ...]
    purpose: str
    without: str
    conditional: bool = False


_REQUIRED = "required"
_UPLOAD = (
    Operation.PUT_OBJECT,
    Operation.INITIATE_MULTIPART_UPLOAD,
    Operation.UPLOAD_PART,
    Operation.UPLOAD_PART_COPY,
    Operation.COMPLETE_MULTIPART_UPLOAD,
)
_READ = (Operation.GET_OBJECT, Operation.HEAD_OBJECT, Operation.UPLOAD_PART_COPY)
_PROGRESS = "progress of the import, and the reason of a failure"
_REPLACE = "`--replace`"
_ROLE_CHECK = "check the import's role"
_WARNS = "optional: a warning"
_ROLE_THERE = "optional once the role is set up"
_LIFECYCLE = "the lifecycle rule that aborts unfinished uploads"
_FIND = "resume an upload without its journal; `cleanup`"
_REMOVE = "remove what a push created; `cleanup`"

# One line each, in the order of the policy that is printed.
# fmt: off
PERMISSIONS: tuple[Permission, ...] = (
    Permission("ecs:ImportImage", Resource.IMAGE, (Operation.IMPORT_IMAGE,), "start the import", _REQUIRED),
    Permission("ecs:TagResources", Resource.IMAGE, (Operation.IMPORT_IMAGE,),
               "tag the image; a push recognizes its own image by its tags", _REQUIRED, conditional=True),
    Permission("ecs:DescribeImages", Resource.IMAGE, (Operation.DESCRIBE_IMAGES,),
               "check whether the name is free; wait until the image is available", _REQUIRED),
    Permission("ecs:ModifyImageAttribute", Resource.IMAGE, (Operation.MODIFY_IMAGE_ATTRIBUTE,),
               "`--replace`; `--boot-mode UEFI-Preferred`", "optional"),
    Permission("ecs:DeleteImage", Resource.IMAGE, (Operation.DELETE_IMAGE,), _REPLACE, "optional"),
    Permission("ecs:DescribeTasks", Resource.ALL, (Operation.DESCRIBE_TASKS,), _PROGRESS,
               "optional: the image is polled"),
    Permission("ecs:DescribeTaskAttribute", Resource.ALL, (Operation.DESCRIBE_TASK_ATTRIBUTE,), _PROGRESS,
               "optional: the image is polled"),
    Permission("ecs:CancelTask", Resource.ALL, (Operation.CANCEL_TASK,), "`task cancel`, `--cancel-on-interrupt`",
               "optional"),
    Permission("ecs:DescribeRegions", Resource.ALL, (Operation.DESCRIBE_REGIONS,),
               "check `--region` before anything is sent", _WARNS),
    Permission("ram:GetRole", Resource.ROLE, (Operation.GET_ROLE,), _ROLE_CHECK, _WARNS),
    Permission("ram:ListPoliciesForRole", Resource.ROLE, (Operation.LIST_POLICIES_FOR_ROLE,), _ROLE_CHECK, _WARNS),
    Permission("ram:UpdateRole", Resource.ROLE, (Operation.UPDATE_ROLE,), "`--fix`", "optional"),
    Permission("ram:CreateRole", Resource.ANY_ROLE, (Operation.CREATE_ROLE,), "create the role", _ROLE_THERE),
    Permission("ram:AttachPolicyToRole", Resource.ROLE_AND_POLICY, (Operation.ATTACH_POLICY_TO_ROLE,),
               "attach the system policy to the role", _ROLE_THERE),
    Permission("ram:GetPolicy", Resource.POLICY, (Operation.GET_POLICY,), _ROLE_CHECK, _WARNS),
    Permission("oss:GetBucketInfo", Resource.BUCKET, (Operation.GET_BUCKET_INFO,),
               "check region, owner and encryption before a byte is sent", _REQUIRED),
    Permission("oss:PutBucket", Resource.BUCKET, (Operation.PUT_BUCKET,), "create the bucket",
               "optional once the bucket exists"),
    Permission("oss:GetBucketLifecycle", Resource.BUCKET, (Operation.GET_BUCKET_LIFECYCLE,), _LIFECYCLE, _WARNS),
    Permission("oss:PutBucketLifecycle", Resource.BUCKET, (Operation.PUT_BUCKET_LIFECYCLE,), _LIFECYCLE, _WARNS),
    Permission("oss:ListObjects", Resource.BUCKET, (Operation.LIST_OBJECTS_V2,), _FIND, "optional"),
    Permission("oss:ListMultipartUploads", Resource.BUCKET, (Operation.LIST_MULTIPART_UPLOADS,), _FIND, "optional"),
    Permission("oss:PutObject", Resource.OBJECT, _UPLOAD, "upload", _REQUIRED),
    Permission("oss:GetObject", Resource.OBJECT, _READ, "compare the object with the disk; copy parts", _REQUIRED),
    Permission("oss:ListParts", Resource.OBJECT, (Operation.LIST_PARTS,), "compare and resume uploads", _REQUIRED),
    Permission("oss:AbortMultipartUpload", Resource.OBJECT, (Operation.ABORT_MULTIPART_UPLOAD,), _REMOVE, _REQUIRED),
    Permission("oss:DeleteObject", Resource.OBJECT, (Operation.DELETE_OBJECT,), _REMOVE, _REQUIRED),
    Permission("oss:DeleteObjectVersion", Resource.OBJECT, (Operation.DELETE_OBJECT,),
               "remove the version that a push created in a bucket with versioning", _REQUIRED, conditional=True),
)

# Those of boot tests in the cloud are a policy of their own: who imports images need not be able to start instances.
_TYPE = "choose the instance type and its disk"
BOOT_TEST_PERMISSIONS: tuple[Permission, ...] = (
    Permission("ecs:DescribeImages", Resource.IMAGE, (Operation.DESCRIBE_IMAGES,), "find the image", _REQUIRED),
    Permission("ecs:DescribeImageSupportInstanceTypes", Resource.IMAGE,
               (Operation.DESCRIBE_IMAGE_SUPPORT_INSTANCE_TYPES,), _TYPE, _REQUIRED),
    Permission("ecs:DescribeAvailableResource", Resource.ALL, (Operation.DESCRIBE_AVAILABLE_RESOURCE,), _TYPE,
               _REQUIRED),
    Permission("ecs:DescribeVSwitches", Resource.ALL, (Operation.DESCRIBE_VSWITCHES,), "find the zone", _REQUIRED),
    Permission("ecs:RunInstances", Resource.INSTANCE_PARTS, (Operation.RUN_INSTANCES,), "start the instance",
               _REQUIRED),
    Permission("ecs:TagResources", Resource.INSTANCE, (Operation.RUN_INSTANCES,),
               "tag the instance; a boot test recognizes its own instance by the tag", _REQUIRED, conditional=True),
    Permission("ecs:DescribeInstances", Resource.INSTANCE, (Operation.DESCRIBE_INSTANCES,), "watch the instance",
               _REQUIRED),
    Permission("ecs:GetInstanceConsoleOutput", Resource.INSTANCE, (Operation.GET_INSTANCE_CONSOLE_OUTPUT,),
               "read the console", _REQUIRED),
    Permission("ecs:GetInstanceScreenshot", Resource.INSTANCE, (Operation.GET_INSTANCE_SCREENSHOT,),
               "`--boot-screen`", "optional"),
    Permission("ecs:DeleteInstance", Resource.INSTANCE, (Operation.DELETE_INSTANCE,), "delete the instance",
               _REQUIRED),
)
# fmt: on


def permissions_of(operation: str) -> tuple[str, ...]:
    """Return the names of the permissions that each call of an operation needs."""
    needed = {
        permission.name
        for permission in (*PERMISSIONS, *BOOT_TEST_PERMISSIONS)
        if operation in permission.operations and not permission.conditional
    }
    return tuple(sorted(needed))
