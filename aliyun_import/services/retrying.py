"""Services that repeat transient failures, around services that do not.

A call site makes a plain call. Some calls go through once, because their callers know better when to repeat:

    send_part, copy_part    the scheduler of the upload: other parts continue while one waits
    complete                `complete_upload`: an answer that was lost is settled by the object, before another attempt
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, cast

from aliyun_import.context import Context
from aliyun_import.model.boot import Instance, InstanceCall, InstanceType, SystemDisk
from aliyun_import.model.image import Image, StartedImport, Task
from aliyun_import.model.objects import BucketInfo, RemoteObject, RemotePart, RemoteUpload
from aliyun_import.model.request import BootMode, ImportCall
from aliyun_import.model.roles import CallerIdentity, Policy, Role
from aliyun_import.retry import DEFAULT, Retrier, RetryPolicy
from aliyun_import.services.interface import (
    Identity,
    ImageService,
    InstanceService,
    ObjectStore,
    PartBody,
    RoleService,
    Services,
)

S = TypeVar("S")


def add_retries(services: Services, context: Context, *, policy: RetryPolicy = DEFAULT) -> Services:
    """Return the services with transient failures retried; services that retry already are returned as they are.

    The first contact counts per service and not per bucket. Waits are emitted as
    CallRetried events on the calling thread: a thread that may not emit uses `without_retries`.
    """
    if isinstance(services.identity, RetryingIdentity):
        return services
    oss = Retrier(context, policy)
    return replace(
        services,
        identity=RetryingIdentity(services.identity, Retrier(context, policy)),
        store=lambda bucket: RetryingStore(services.store(bucket), oss),
        roles=RetryingRoles(services.roles, Retrier(context, policy)),
        images=RetryingImages(services.images, Retrier(context, policy)),
        instances=RetryingInstances(services.instances, Retrier(context, policy)),
    )


def without_retries(service: S) -> S:
    """Return the service behind a retrying one, or the service itself if it does not retry."""
    if isinstance(service, RetryingIdentity | RetryingStore | RetryingRoles | RetryingImages | RetryingInstances):
        return cast("S", service.wrapped)
    return service


class RetryingIdentity:
    """Identity with retries. Thread-safe as the identity that it wraps."""

    def __init__(self, identity: Identity, retry: Retrier) -> None:
        self.wrapped = identity
        self._retry = retry

    def whoami(self) -> CallerIdentity:
        """Return the identity of the credentials."""
        return self._retry(self.wrapped.whoami)


class RetryingStore:
    """ObjectStore with retries. Thread-safe as the store that it wraps."""

    def __init__(self, store: ObjectStore, retry: Retrier) -> None:
        self.wrapped = store
        self._retry = retry

    @property
    def bucket(self) -> str:
        """Return the name of the bucket."""
        return self.wrapped.bucket

    def bucket_info(self) -> BucketInfo | None:
        """Return the properties of the bucket."""
        return self._retry(self.wrapped.bucket_info)

    def create_bucket(self) -> None:
        """Create the bucket."""
        self._retry(self.wrapped.create_bucket)

    def ensure_abort_rule(self, *, prefix: str, days: int) -> bool:
        """Ensure the lifecycle rule."""
        return self._retry(self.wrapped.ensure_abort_rule, prefix=prefix, days=days)

    def head(self, key: str) -> RemoteObject | None:
        """Return the properties of an object."""
        return self._retry(self.wrapped.head, key)

    def read(self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None) -> bytes:
        """Read a range of an object."""
        return self._retry(self.wrapped.read, key, start=start, length=length, if_match=if_match)

    def put(
        self, key: str, data: bytes, *, metadata: Mapping[str, str] | None = None, overwrite: bool = True
    ) -> RemoteObject:
        """Write a small object."""
        return self._retry(self.wrapped.put, key, data, metadata=metadata, overwrite=overwrite)

    def delete(self, key: str, *, version_id: str | None = None) -> None:
        """Delete an object."""
        self._retry(self.wrapped.delete, key, version_id=version_id)

    def list_objects(self, prefix: str) -> tuple[RemoteObject, ...]:
        """Return all objects below prefix."""
        return self._retry(self.wrapped.list_objects, prefix)

    def start_upload(self, key: str, *, metadata: Mapping[str, str] | None = None) -> str:
        """Start a multipart upload."""
        return self._retry(self.wrapped.start_upload, key, metadata=metadata)

    def send_part(
        self, key: str, upload_id: str, *, number: int, body: PartBody, timeout_s: float | None = None
    ) -> RemotePart:
        """Send one part, one attempt."""
        return self.wrapped.send_part(key, upload_id, number=number, body=body, timeout_s=timeout_s)

    def copy_part(
        self, key: str, upload_id: str, *, number: int, source_key: str, start: int, length: int, if_match: str
    ) -> RemotePart:
        """Make one part on the server, one attempt."""
        return self.wrapped.copy_part(
            key, upload_id, number=number, source_key=source_key, start=start, length=length, if_match=if_match
        )

    def list_parts(self, key: str, upload_id: str) -> tuple[RemotePart, ...]:
        """Return all parts of an upload."""
        return self._retry(self.wrapped.list_parts, key, upload_id)

    def list_uploads(self, prefix: str) -> tuple[RemoteUpload, ...]:
        """Return all unfinished uploads below prefix."""
        return self._retry(self.wrapped.list_uploads, prefix)

    def complete(
        self, key: str, upload_id: str, parts: tuple[RemotePart, ...], *, overwrite: bool = False
    ) -> RemoteObject:
        """Make the object of its parts, one attempt."""
        return self.wrapped.complete(key, upload_id, parts, overwrite=overwrite)

    def abort(self, key: str, upload_id: str) -> None:
        """Abort an upload."""
        self._retry(self.wrapped.abort, key, upload_id)


class RetryingRoles:
    """RoleService with retries. Thread-safe as the service that it wraps."""

    def __init__(self, roles: RoleService, retry: Retrier) -> None:
        self.wrapped = roles
        self._retry = retry

    def role(self, name: str) -> Role | None:
        """Return a role."""
        return self._retry(self.wrapped.role, name)

    def create_role(self, name: str, *, trust_policy: str, description: str) -> Role:
        """Create a role."""
        return self._retry(self.wrapped.create_role, name, trust_policy=trust_policy, description=description)

    def update_trust_policy(self, name: str, *, trust_policy: str) -> None:
        """Replace a role's trust policy."""
        self._retry(self.wrapped.update_trust_policy, name, trust_policy=trust_policy)

    def attached_policies(self, name: str) -> tuple[Policy, ...]:
        """Return the policies attached to a role."""
        return self._retry(self.wrapped.attached_policies, name)

    def attach_policy(self, policy: Policy, *, role_name: str) -> None:
        """Attach a policy to a role."""
        self._retry(self.wrapped.attach_policy, policy, role_name=role_name)

    def policy_document(self, policy: Policy) -> str:
        """Return the JSON text of a policy."""
        return self._retry(self.wrapped.policy_document, policy)


class RetryingImages:
    """ImageService with retries. Thread-safe as the service that it wraps."""

    def __init__(self, images: ImageService, retry: Retrier) -> None:
        self.wrapped = images
        self._retry = retry

    def import_image(self, call: ImportCall) -> StartedImport | None:
        """Call ImportImage; every attempt carries the client token, so there is one import."""
        return self._retry(self.wrapped.import_image, call)

    def task(self, task_id: str) -> Task | None:
        """Return a task."""
        return self._retry(self.wrapped.task, task_id)

    def tasks(self) -> tuple[Task, ...]:
        """Return the ImportImage tasks."""
        return self._retry(self.wrapped.tasks)

    def cancel_task(self, task_id: str) -> None:
        """Cancel a running task."""
        self._retry(self.wrapped.cancel_task, task_id)

    def image(self, image_id: str) -> Image | None:
        """Return an image."""
        return self._retry(self.wrapped.image, image_id)

    def images(self, *, name: str | None = None, tags: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Return images by name and tags."""
        return self._retry(self.wrapped.images, name=name, tags=tags)

    def rename_image(self, image_id: str, *, name: str) -> None:
        """Rename an image."""
        self._retry(self.wrapped.rename_image, image_id, name=name)

    def set_boot_mode(self, image_id: str, *, mode: BootMode) -> None:
        """Change the boot mode of an image."""
        self._retry(self.wrapped.set_boot_mode, image_id, mode=mode)

    def delete_image(self, image_id: str) -> None:
        """Delete an image."""
        self._retry(self.wrapped.delete_image, image_id)

    def regions(self) -> tuple[str, ...]:
        """Return the region ids."""
        return self._retry(self.wrapped.regions)


class RetryingInstances:
    """InstanceService with retries. Thread-safe as the service that it wraps."""

    def __init__(self, instances: InstanceService, retry: Retrier) -> None:
        self.wrapped = instances
        self._retry = retry

    def zone_of(self, vswitch_id: str) -> str | None:
        """Return the zone of a vSwitch."""
        return self._retry(self.wrapped.zone_of, vswitch_id)

    def instance_types(self, image_id: str) -> tuple[InstanceType, ...]:
        """Return the instance types that can start an image."""
        return self._retry(self.wrapped.instance_types, image_id)

    def types_in_stock(self, zone: str) -> frozenset[str]:
        """Return the names of the instance types that a zone sells now."""
        return self._retry(self.wrapped.types_in_stock, zone)

    def system_disks(self, instance_type: str, *, zone: str) -> tuple[SystemDisk, ...]:
        """Return the system disks that a zone sells now with an instance type."""
        return self._retry(self.wrapped.system_disks, instance_type, zone=zone)

    def run_instance(self, call: InstanceCall) -> str:
        """Call RunInstances; every attempt carries the client token, so there is one instance."""
        return self._retry(self.wrapped.run_instance, call)

    def instance(self, instance_id: str) -> Instance | None:
        """Return an instance."""
        return self._retry(self.wrapped.instance, instance_id)

    def instances(self, *, tags: Mapping[str, str]) -> tuple[Instance, ...]:
        """Return the instances with these tags."""
        return self._retry(self.wrapped.instances, tags=tags)

    def console(self, instance_id: str) -> bytes | None:
        """Return what an instance wrote to its console."""
        return self._retry(self.wrapped.console, instance_id)

    def screenshot(self, instance_id: str) -> bytes:
        """Return a picture of the screen."""
        return self._retry(self.wrapped.screenshot, instance_id)

    def delete_instance(self, instance_id: str) -> None:
        """Delete an instance."""
        self._retry(self.wrapped.delete_instance, instance_id)
