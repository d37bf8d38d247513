"""Protocols of the services, and the permissions that their operations require.

`cloud/` implements the protocols; tests have in-memory doubles. Every method raises only AliyunImportError.
TransientError means that the same call may succeed later; any other class is final. No method retries; `retry.py`
adds retries. All methods are thread-safe.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from aliyun_import.model.boot import Instance, InstanceCall, InstanceType, SecurityGroup, SystemDisk, VSwitch
from aliyun_import.model.image import Image, StartedImport, Task
from aliyun_import.model.objects import BucketInfo, RemoteObject, RemotePart, RemoteUpload
from aliyun_import.model.request import BootMode, ImportCall
from aliyun_import.model.roles import CallerIdentity, Policy, Role


class PartBody(Protocol):
    """Body of one part, of known length; each iteration reads the chunks again.

    Iterating may raise AliyunImportError (a read error, a cancelled run); `send_part` raises that error unchanged.
    """

    def __len__(self) -> int:
        """Return the exact number of bytes that iterating yields."""

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes from the first to the last."""


class ObjectStore(Protocol):
    """One bucket of OSS, through one endpoint."""

    @property
    def bucket(self) -> str:
        """Return the name of the bucket."""

    def bucket_info(self) -> BucketInfo | None:
        """Return the properties of the bucket, None if it does not exist. AccessError if another account owns it."""

    def create_bucket(self) -> None:
        """Create the bucket, private, class Standard. Succeeds if this account already owns it."""

    def ensure_abort_rule(self, *, prefix: str, days: int) -> bool:
        """Ensure a lifecycle rule that aborts unfinished uploads below `prefix` after `days` days.

        Keeps every existing rule. Returns whether a rule was added.
        """

    def head(self, key: str) -> RemoteObject | None:
        """Return the properties of an object, None if it does not exist."""

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a small range of an object (manifests, zero objects) into memory."""

    def put(self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None) -> RemoteObject:
        """Write a small object; an existing one is replaced."""

    def delete(self, key: str, *, version_id: str | None = None) -> None:
        """Delete an object; succeeds if it does not exist."""

    def list_objects(self, prefix: str) -> tuple[RemoteObject, ...]:
        """Return all objects below prefix, all pages, by key. `crc64` and `metadata` are not filled."""

    def start_upload(self, key: str, *, metadata: Mapping[str, str] | None = None) -> str:
        """Start a multipart upload (class Standard) and return its upload id."""

    def send_part(self, key: str, upload_id: str, *, number: int, body: PartBody) -> RemotePart:
        """Send one part, one attempt. RefusedError "upload-vanished" if the server has no such upload."""

    def copy_part(
        self, key: str, upload_id: str, *, number: int, source_key: str, start: int, length: int, if_match: str
    ) -> RemotePart:
        """Make one part on the server from a range of an object of the same bucket.

        Raises RefusedError "base-changed" if the ETag of the source is not `if_match`, "copy-refused" if the store does
        not make such copies, "upload-vanished" as send_part.
        """

    def list_parts(self, key: str, upload_id: str) -> tuple[RemotePart, ...]:
        """Return all parts of an upload, all pages, by number. RefusedError "upload-vanished" as send_part."""

    def list_uploads(self, prefix: str) -> tuple[RemoteUpload, ...]:
        """Return all unfinished uploads below prefix, all pages."""

    def complete(
        self, key: str, upload_id: str, parts: tuple[RemotePart, ...], *, overwrite: bool = False
    ) -> RemoteObject:
        """Make the object of these parts, in ascending order; size_bytes and crc64 are those that the server reports.

        With overwrite=False an existing object raises RefusedError "object-exists".
        """

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload and free its parts; succeeds if the server has no such upload."""


class RoleService(Protocol):
    """Operations of RAM on the role of the import."""

    def role(self, name: str) -> Role | None:
        """Return a role, None if it does not exist. AccessError "no-right" without the permission to read it."""

    def create_role(self, name: str, *, trust_policy: str, description: str) -> Role:
        """Create a role. RefusedError "role-exists" if it already exists."""

    def update_trust_policy(self, name: str, *, trust_policy: str) -> None:
        """Replace a role's trust policy."""

    def attached_policies(self, name: str) -> tuple[Policy, ...]:
        """Return the policies attached to a role, without their documents."""

    def attach_policy(self, policy: Policy, *, role_name: str) -> None:
        """Attach a policy to a role; succeeds if it is already attached."""

    def policy_document(self, policy: Policy) -> str:
        """Return the JSON text of a policy's default version."""


class ImageService(Protocol):
    """Operations of ECS on images and import tasks, in one region."""

    def import_image(self, call: ImportCall) -> StartedImport | None:
        """Call ImportImage once. Returns None for a dry run that would have passed."""

    def task(self, task_id: str) -> Task | None:
        """Return a task, None if it does not exist, or not yet."""

    def tasks(self) -> tuple[Task, ...]:
        """Return the ImportImage tasks of the account in this region, newest first, all pages."""

    def cancel_task(self, task_id: str) -> None:
        """Cancel a running task."""

    def image(self, image_id: str) -> Image | None:
        """Return an image in any status, None if it does not exist."""

    def images(self, *, name: str | None = None, tags: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Return the account's own images with this exact name and these tags, in any status."""

    def rename_image(self, image_id: str, *, name: str) -> None:
        """Rename an image."""

    def set_boot_mode(self, image_id: str, *, mode: BootMode) -> None:
        """Change the boot mode of an image."""

    def delete_image(self, image_id: str) -> None:
        """Delete an image, but not its snapshot; succeeds if it does not exist."""

    def regions(self) -> tuple[str, ...]:
        """Return the ids of the regions that this account can use."""


class InstanceService(Protocol):
    """Operations of ECS and VPC for boot tests of images, in one region."""

    def vswitches(self, vswitch_id: str | None = None) -> tuple[VSwitch, ...]:
        """Return the vSwitch with an id, if it exists; without one, the vSwitches with the tag of boot tests."""

    def security_groups(self, group_id: str | None = None) -> tuple[SecurityGroup, ...]:
        """Return the security group with an id, if it exists; without one, those with the tag of boot tests."""

    def small_types(self, architecture: str) -> tuple[InstanceType, ...]:
        """Return the instance types of an architecture with few processors, in stock or not."""

    def instance_types(self, image_id: str) -> tuple[InstanceType, ...]:
        """Return the instance types that can start an image, in stock or not."""

    def types_in_stock(self, zone: str) -> frozenset[str]:
        """Return the names of the instance types that a zone sells now."""

    def system_disks(self, instance_type: str, *, zone: str) -> tuple[SystemDisk, ...]:
        """Return the system disks that a zone sells now with an instance type."""

    def run_instance(self, call: InstanceCall) -> str:
        """Call RunInstances once and return the instance id; empty for a dry run that would have passed.

        Raises InstanceTypeUnavailable if the type is sold out, or can't start the image.
        """

    def instance(self, instance_id: str) -> Instance | None:
        """Return an instance, None if it does not exist."""

    def instances(self, *, tags: Mapping[str, str]) -> tuple[Instance, ...]:
        """Return the instances with these tags, at most 100; an empty value stands for any."""

    def console(self, instance_id: str) -> bytes | None:
        """Return the console output of an instance since its start, None if the instance has no console."""

    def screenshot(self, instance_id: str) -> bytes:
        """Return a picture of the screen of a running instance, as JPEG."""

    def delete_instance(self, instance_id: str) -> None:
        """Delete an instance and its disks, running or not; succeeds if it does not exist."""


class Identity(Protocol):
    """Operation of STS for the caller's identity."""

    def whoami(self) -> CallerIdentity:
        """Return the identity of the credentials; requires no permission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services of one region. `store` returns the store of the bucket with the given name.

    `endpoint` is "" for Alibaba Cloud itself, else the URL that replaces it, so that pushes to different clouds never
    share a journal. `credentials` describes the source of the credentials, for people.
    """

    identity: Identity
    store: Callable[[str], ObjectStore]
    roles: RoleService
    images: ImageService
    instances: InstanceService
    endpoint: str = ""
    credentials: str = ""


class Resource(Enum):
    """Kind of resource on which a permission is granted; the value is its name in docs/permissions.md."""

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
    SECURITY_GROUP = "security group"


@dataclass(frozen=True, slots=True)
class Permission:
    """A RAM permission: its purpose, the effect of its lack, and the operations that require it.

    Without `needed_by`, the operation of the same name requires it. `conditional` means that the operations require it
    in some calls only; errors do not name it then.
    """

    name: str
    resource: Resource
    purpose: str
    without: str
    needed_by: tuple[str, ...] = ()
    conditional: bool = False

    @property
    def operations(self) -> tuple[str, ...]:
        """Return the operations that require it."""
        return self.needed_by or (self.name.partition(":")[2],)


_PROGRESS = "progress of the import, and the reason of a failure"
_ROLE_CHECK = "check the import's role"
_LIFECYCLE = "the lifecycle rule that aborts unfinished uploads"
_FIND = "resume an upload without its journal; `cleanup`"
_REMOVE = "remove what a push created; `cleanup`"
_STAYS = "optional: it stays and is billed"
_ROLE_THERE = "optional once the role is set up"
_POLLED = "optional: the image is polled"
_WARNS = "optional: a warning"
_UPLOAD = ("PutObject", "InitiateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload")
_READ = ("GetObject", "HeadObject", "UploadPartCopy")

# In the order of the printed policy. Sources: "RAM authorization" of ECS and RAM, "Overview of
# bucket and object operations" of OSS. docs/permissions.md and the policy are derived from them.
# fmt: off
PERMISSIONS: tuple[Permission, ...] = (
    Permission("ecs:ImportImage", Resource.IMAGE, "start the import", "required"),
    Permission("ecs:TagResources", Resource.IMAGE, "tag the image; a push recognizes its own image by its tags",
               "required", ("ImportImage",), conditional=True),
    Permission("ecs:DescribeImages", Resource.IMAGE,
               "check whether the name is free; wait until the image is available", "required"),
    Permission("ecs:ModifyImageAttribute", Resource.IMAGE, "`--replace`; `--boot-mode UEFI-Preferred`", "optional"),
    Permission("ecs:DeleteImage", Resource.IMAGE, "`--replace`", "optional"),
    Permission("ecs:DescribeTasks", Resource.ALL, _PROGRESS, _POLLED),
    Permission("ecs:DescribeTaskAttribute", Resource.ALL, _PROGRESS, _POLLED),
    Permission("ecs:CancelTask", Resource.ALL, "`task cancel`, `--cancel-on-interrupt`", "optional"),
    Permission("ecs:DescribeRegions", Resource.ALL, "check `--region` before anything is sent", _WARNS),
    Permission("ram:GetRole", Resource.ROLE, _ROLE_CHECK, _WARNS),
    Permission("ram:ListPoliciesForRole", Resource.ROLE, _ROLE_CHECK, _WARNS),
    Permission("ram:UpdateRole", Resource.ROLE, "`--fix`", "optional"),
    Permission("ram:CreateRole", Resource.ANY_ROLE, "create the role", _ROLE_THERE),
    Permission("ram:AttachPolicyToRole", Resource.ROLE_AND_POLICY, "attach the system policy to the role", _ROLE_THERE),
    Permission("ram:GetPolicy", Resource.POLICY, _ROLE_CHECK, _WARNS),
    Permission("oss:GetBucketInfo", Resource.BUCKET, "check region, owner and encryption before a byte is sent",
               "required"),
    Permission("oss:PutBucket", Resource.BUCKET, "create the bucket", "optional once the bucket exists"),
    Permission("oss:GetBucketLifecycle", Resource.BUCKET, _LIFECYCLE, _WARNS),
    Permission("oss:PutBucketLifecycle", Resource.BUCKET, _LIFECYCLE, _WARNS),
    Permission("oss:ListObjects", Resource.BUCKET, _FIND, "optional", ("ListObjectsV2",)),
    Permission("oss:ListMultipartUploads", Resource.BUCKET, _FIND, "optional"),
    Permission("oss:PutObject", Resource.OBJECT, "upload", "required", _UPLOAD),
    Permission("oss:GetObject", Resource.OBJECT, "compare the object with the disk; copy parts", "required", _READ),
    Permission("oss:ListParts", Resource.OBJECT, "compare and resume uploads", "required"),
    Permission("oss:AbortMultipartUpload", Resource.OBJECT, _REMOVE, _STAYS),
    Permission("oss:DeleteObject", Resource.OBJECT, _REMOVE, _STAYS),
    Permission("oss:DeleteObjectVersion", Resource.OBJECT,
               "remove the version that a push created in a bucket with versioning", _STAYS, ("DeleteObject",),
               conditional=True),
)

# Boot tests in the cloud have a separate policy, because a user who imports images need not start instances.
_TYPE = "choose the instance type and its disk"
BOOT_TEST_PERMISSIONS: tuple[Permission, ...] = (
    Permission("ecs:DescribeImages", Resource.IMAGE, "find the image", "required"),
    Permission("ecs:DescribeImageSupportInstanceTypes", Resource.IMAGE, _TYPE, "required"),
    Permission("ecs:DescribeAvailableResource", Resource.ALL, _TYPE, "required"),
    Permission("ecs:DescribeInstanceTypes", Resource.ALL,
               "`push --boot-test cloud`: name the instance type before the upload", "required"),
    Permission("vpc:DescribeVSwitches", Resource.ALL, "find the vSwitch and its zone", "required"),
    Permission("ecs:DescribeSecurityGroups", Resource.SECURITY_GROUP, "find the security group", "required"),
    Permission("ecs:RunInstances", Resource.INSTANCE_PARTS, "start the instance", "required"),
    Permission("ecs:TagResources", Resource.INSTANCE,
               "tag the instance; a boot test recognizes its own instance by the tag", "required", ("RunInstances",),
               conditional=True),
    Permission("ecs:DescribeInstances", Resource.INSTANCE, "poll the instance", "required"),
    Permission("ecs:GetInstanceConsoleOutput", Resource.INSTANCE, "read the console", "required"),
    Permission("ecs:GetInstanceScreenshot", Resource.INSTANCE, "`--boot-screen`", "optional"),
    Permission("ecs:DeleteInstance", Resource.INSTANCE, "delete the instance", "required"),
)
# fmt: on
# All operations that cloud/ may send; it refuses any other. GetCallerIdentity requires no permission.
OPERATIONS = frozenset({"GetCallerIdentity"}).union(
    *(permission.operations for permission in (*PERMISSIONS, *BOOT_TEST_PERMISSIONS))
)


def policy_command(operation: str) -> str:
    """Return the command that prints a policy with the permissions of an operation."""
    is_of_push = any(operation in one.operations for one in PERMISSIONS)
    return "aliyun-import role policy" if is_of_push else "aliyun-import role policy --for boot-test"


def permissions_of(operation: str) -> tuple[str, ...]:
    """Return the names of the permissions that every call of an operation requires."""
    declared = (*PERMISSIONS, *BOOT_TEST_PERMISSIONS)
    return tuple(sorted({one.name for one in declared if operation in one.operations and not one.conditional}))
