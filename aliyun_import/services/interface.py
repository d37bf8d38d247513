"""This file says what the engine needs of the world: the Protocols that `cloud/` fulfils and tests can script.

Every method raises AliyunImportError and nothing else. TransientError means that the same call may succeed later;
any other kind is final. No method retries by itself: `retry.py` is the one policy, and its callers are the engine's.
All are safe to call from several threads at once.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

from aliyun_import.model.image import Image, StartedImport, Task
from aliyun_import.model.objects import BucketInfo, RemoteObject, RemotePart, RemoteUpload
from aliyun_import.model.request import ImportCall
from aliyun_import.model.roles import CallerIdentity, Policy, Role


class PartBody(Protocol):
    """The bytes of one part: a length known before, and chunks read afresh at each iteration.

    Iterating may raise AliyunImportError (a read error, a stop); that error comes out of `send_part` unchanged.
    """

    def __len__(self) -> int:
        """Give the exact number of bytes that iterating yields."""
        ...

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Read the bytes from the first to the last."""
        ...


class ObjectStore(Protocol):
    """One bucket of OSS, through one endpoint."""

    @property
    def bucket(self) -> str:
        """Name the bucket."""
        ...

    def bucket_info(self) -> BucketInfo | None:
        """Tell what the bucket is; None when there is none of that name. Raises when it is somebody else's."""
        ...

    def create_bucket(self) -> None:
        """Create the bucket, private, class Standard. Fine when it is ours already."""
        ...

    def ensure_abort_rule(self, *, prefix: str, days: int) -> bool:
        """See to it that unfinished uploads below prefix are aborted after so many days.

        Keeps every rule that is there. True when a rule was added, False when one served already.
        """
        ...

    def head(self, key: str) -> RemoteObject | None:
        """Tell what the object is; None when there is none."""
        ...

    def read(self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None) -> bytes:
        """Read a small range of an object (manifests, zero objects): the whole of it comes into memory."""
        ...

    def put(
        self,
        key: str,
        data: bytes,
        *,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = True,
    ) -> RemoteObject:
        """Write a small object. With overwrite=False one that is there raises RefusedError "object-exists"."""
        ...

    def delete(self, key: str, *, version_id: str | None = None) -> None:
        """Remove an object; fine when there is none."""
        ...

    def list_objects(self, prefix: str) -> tuple[RemoteObject, ...]:
        """List all objects below prefix, all pages, by key. `crc64` and `metadata` are not filled."""
        ...

    def start_upload(self, key: str, *, metadata: Mapping[str, str] | None = None) -> str:
        """Start a multipart upload (class Standard) and give its upload id."""
        ...

    def send_part(
        self, key: str, upload_id: str, *, number: int, body: PartBody, timeout_s: float | None = None
    ) -> RemotePart:
        """Send one part, one attempt. Raises RefusedError "upload-vanished" when the server forgot the upload.

        `timeout_s` bounds each wait on the socket, not the whole part.
        """
        ...

    def copy_part(
        self,
        key: str,
        upload_id: str,
        *,
        number: int,
        source_key: str,
        start: int,
        length: int,
        if_match: str,
    ) -> RemotePart:
        """Make one part on the server from a range of an object of the same bucket.

        Raises RefusedError "base-changed" when the source is not `if_match` any more, "copy-refused" when the
        store does not do such copies, "upload-vanished" as send_part.
        """
        ...

    def list_parts(self, key: str, upload_id: str) -> tuple[RemotePart, ...]:
        """List all parts of an upload, all pages, by number; raises RefusedError "upload-vanished"."""
        ...

    def list_uploads(self, prefix: str) -> tuple[RemoteUpload, ...]:
        """List all unfinished uploads below prefix, all pages."""
        ...

    def complete(
        self, key: str, upload_id: str, parts: tuple[RemotePart, ...], *, overwrite: bool = False
    ) -> RemoteObject:
        """Make the object of these parts (ascending numbers). size_bytes and crc64 are what the server answered.

        With overwrite=False an object that is there raises RefusedError "object-exists".
        """
        ...

    def abort(self, key: str, upload_id: str) -> None:
        """Give an upload up and free its parts; fine when the server forgot it."""
        ...


class RoleService(Protocol):
    """RAM, as far as the import's role goes."""

    def role(self, name: str) -> Role | None:
        """Tell what the role is; None when there is none. AccessError "no-right" when we may not look."""
        ...

    def create_role(self, name: str, *, trust_policy: str, description: str) -> Role:
        """Create a role. RefusedError "role-exists" when somebody was faster."""
        ...

    def update_trust_policy(self, name: str, *, trust_policy: str) -> None:
        """Replace a role's trust policy."""
        ...

    def attached_policies(self, name: str) -> tuple[Policy, ...]:
        """List the policies attached to a role, without their documents."""
        ...

    def attach_policy(self, policy: Policy, *, role_name: str) -> None:
        """Attach a policy to a role; fine when it is attached already."""
        ...

    def policy_document(self, policy: Policy) -> str:
        """Give the JSON text of a policy's default version."""
        ...


class ImageService(Protocol):
    """ECS in one region, as far as importing goes."""

    def import_image(self, call: ImportCall) -> StartedImport | None:
        """Call ImportImage once. None is the answer to a dry run that would have passed (in both spellings)."""
        ...

    def task(self, task_id: str) -> Task | None:
        """Tell how a task stands; None when the service does not know it (yet)."""
        ...

    def tasks(self, *, statuses: tuple[str, ...] = ()) -> tuple[Task, ...]:
        """List the ImportImage tasks of the account in this region, newest first, all pages."""
        ...

    def cancel_task(self, task_id: str) -> None:
        """Cancel a task that is running."""
        ...

    def image(self, image_id: str) -> Image | None:
        """Tell how an image stands, whatever its status; None when there is none."""
        ...

    def images(self, *, name: str | None = None, tags: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Find our own images by exact name and/or tags, whatever their status."""
        ...

    def rename_image(self, image_id: str, *, name: str) -> None:
        """Give an image another name."""
        ...

    def delete_image(self, image_id: str) -> None:
        """Delete an image; fine when there is none. Its snapshot stays."""
        ...

    def regions(self) -> tuple[str, ...]:
        """List the region ids open to this account."""
        ...


class Identity(Protocol):
    """STS, as far as asking who we are goes."""

    def whoami(self) -> CallerIdentity:
        """Ask who the credentials are; needs no right."""
        ...
