"""In-memory RAM and ECS whose answers a test sets, and the context of a run on a steered clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aliyun_import.context import Context
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    ClientTokenReused,
    ImageImporting,
    NameTaken,
    PermissionDenied,
    RefusedError,
    RoleExists,
    RoleNotAuthorized,
    RoleNotVisible,
    TransientError,
)
from aliyun_import.events import Changed, Emit, Event, Warned, ignore
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image, ImageStatus, StartedImport, Task, TaskStatus
from aliyun_import.model.request import BootMode, DiskMapping, DiskRequest, ImportCall, ImportRequest
from aliyun_import.model.roles import Policy, Role
from aliyun_import.retry import Retrier, with_retries
from aliyun_import.services import ImageService
from tests.clocks import SteeredClock
from tests.partial import Partial

REGION = "cn-hangzhou"
TAGS = {PUSH_ID_TAG: "push-1", DISK_DIGEST_TAG: "digest-1"}


def context_of(clock: SteeredClock | None = None, emit: Emit | None = None) -> Context:
    """Return the context of a run with a steered clock."""
    return Context(clock=clock or SteeredClock(), emit=emit or ignore)


def retrying(images: ImageService, context: Context) -> ImageService:
    """Return the image service with the retries of a push."""
    return with_retries(images, Retrier(context))


class EventRecorder:
    """An Emit that records the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Record an event."""
        self.events.append(event)

    def warned(self) -> list[str]:
        """Return the codes of all warnings."""
        return [event.code for event in self.events if isinstance(event, Warned)]

    def changed(self) -> list[str]:
        """Return the descriptions of all changes, in order."""
        return [event.what for event in self.events if isinstance(event, Changed)]


_REFUSALS: dict[str, type[AliyunImportError]] = {
    "client-token-reused": ClientTokenReused,
    "image-importing": ImageImporting,
    "image-name-taken": NameTaken,
    "oss-not-authorized": RoleNotAuthorized,
    "role-exists": RoleExists,
    "role-not-visible": RoleNotVisible,
}


def permission_denied() -> AccessError:
    """Return the error of a missing permission."""
    return PermissionDenied("These credentials may not do this.", code="no-right", remedy="Have it granted.")


def connection_lost() -> TransientError:
    """Return the transient error of a lost connection."""
    return TransientError("The connection was lost.", code="network", remedy=None)


def refused(code: str, summary: str = "") -> AliyunImportError:
    """Return a refusal of the service."""
    kind = _REFUSALS.get(code, RefusedError)
    return kind(summary or f"The service answered {code}.", code=code, remedy=None, details={"request_id": "R-1"})


@dataclass
class ScriptedRoles(Partial):  # type: ignore[misc]
    """In-memory RAM. `fails` has the error of each operation that always fails; `before` runs once before a call."""

    roles: dict[str, Role] = field(default_factory=dict)
    attached: dict[str, list[Policy]] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    fails: dict[str, AliyunImportError] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    before: dict[str, Callable[[], None]] = field(default_factory=dict)

    def _call(self, what: str) -> None:
        self.calls.append(what)
        self.before.pop(what, lambda: None)()
        if what in self.fails:
            raise self.fails[what]

    def role(self, name: str) -> Role | None:
        """Return the role."""
        self._call("role")
        return self.roles.get(name)

    def create_role(self, name: str, *, trust_policy: str, description: str) -> Role:  # noqa: ARG002 -- as in RoleService
        """Create the role, unless it exists."""
        self._call("create_role")
        if name in self.roles:
            raise refused("role-exists")
        self.roles[name] = Role(name=name, arn=f"acs:ram::1:role/{name}", trust_policy=trust_policy)
        return self.roles[name]

    def update_trust_policy(self, name: str, *, trust_policy: str) -> None:
        """Replace the trust policy of a role."""
        self._call("update_trust_policy")
        self.roles[name] = replace(self.roles[name], trust_policy=trust_policy)

    def attached_policies(self, name: str) -> tuple[Policy, ...]:
        """List the attached policies."""
        self._call("attached_policies")
        return tuple(self.attached.get(name, ()))

    def attach_policy(self, policy: Policy, *, role_name: str) -> None:
        """Attach a policy."""
        self._call("attach_policy")
        if policy not in self.attached.setdefault(role_name, []):
            self.attached[role_name].append(policy)

    def policy_document(self, policy: Policy) -> str:
        """Return the document of a policy."""
        self._call("policy_document")
        return self.documents[policy.name]


class ScriptedImages(Partial):  # type: ignore[misc]
    """In-memory ECS: the given answers to ImportImage in turn, or imports of its own; tasks and images.

    `fail_next` lets the next calls of an operation fail. One of `steps` is called before each read of an image, so
    that the state changes during a wait. `listed` has the image ids that only the list of tasks contains.
    """

    def __init__(self, *answers: StartedImport | AliyunImportError | None) -> None:
        self.answers = list(answers)
        self.calls: list[ImportCall] = []
        self.operations: list[str] = []
        self.stored_tasks: dict[str, Task] = {}
        self.stored_images: dict[str, Image] = {}
        self.steps: list[Callable[[], None]] = []
        self.listed: dict[str, str] = {}
        self.known_regions: tuple[str, ...] = (REGION, "cn-shanghai")
        self._errors: dict[str, list[AliyunImportError]] = {}
        self._started: dict[str, StartedImport] = {}

    def fail_next(self, what: str, *errors: AliyunImportError) -> None:
        """Let the next calls of an operation fail with these errors, in turn."""
        self._errors.setdefault(what, []).extend(errors)

    def _record(self, what: str) -> None:
        self.operations.append(what)
        if self._errors.get(what):
            raise self._errors[what].pop(0)

    def import_image(self, call: ImportCall) -> StartedImport | None:
        """Return the next answer, and the last one repeatedly; without answers, start an import as ECS does."""
        self.calls.append(call)
        if not self.answers:
            return self._start(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, AliyunImportError):
            raise answer
        return answer

    def _start(self, call: ImportCall) -> StartedImport | None:
        if call.dry_run:
            return None
        if call.client_token in self._started:
            return self._started[call.client_token]
        name = call.request.name
        if any(one.name == name for one in self.stored_images.values()):
            raise refused("image-name-taken", f'An image "{name}" exists.')
        number = len(self._started) + 1
        started = StartedImport(task_id=f"t-{number}", image_id=f"m-{number}", request_id=f"R-{number}")
        self._started[call.client_token] = started
        self.add(
            task(TaskStatus.WAITING, task_id=started.task_id, image_id=started.image_id),
            image("Creating", image_id=started.image_id, name=name, tags=dict(call.tags)),
        )
        return started

    def finish(self) -> None:
        """Finish all imports."""
        for one in list(self.stored_tasks.values()):
            if one.status.running:
                self.add(
                    replace(one, status=TaskStatus.FINISHED, status_text="Finished", percent=100, can_cancel=False)
                )
                made = self.stored_images[one.image_id]
                self.add(replace(made, status=ImageStatus.AVAILABLE, size_gib=5))

    def task(self, task_id: str) -> Task | None:
        """Return the task."""
        self._record("task")
        return self.stored_tasks.get(task_id)

    def tasks(self) -> tuple[Task, ...]:
        """List the tasks."""
        self._record("tasks")
        return tuple(
            replace(one, image_id=self.listed.get(one.task_id, one.image_id)) for one in self.stored_tasks.values()
        )

    def cancel_task(self, task_id: str) -> None:
        """Cancel the task."""
        self._record("cancel_task")
        if not self.stored_tasks[task_id].status.running:
            raise refused("task-over")
        self.stored_tasks[task_id] = task(TaskStatus.DELETED, task_id=task_id)

    def image(self, image_id: str) -> Image | None:
        """Apply the next step, then return the image."""
        if self.steps:
            self.steps.pop(0)()
        self._record("image")
        return self.stored_images.get(image_id)

    def images(self, *, name: str | None = None, tags: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Find images by name and tags."""
        self._record("images")
        return tuple(
            one
            for one in self.stored_images.values()
            if (name is None or one.name == name)
            and all(one.tags.get(key) == value for key, value in (tags or {}).items())
        )

    def rename_image(self, image_id: str, *, name: str) -> None:
        """Rename the image, unless another one has the name."""
        self._record("rename_image")
        if any(one.name == name for one in self.stored_images.values()):
            raise refused("image-name-taken")
        self.stored_images[image_id] = replace(self.stored_images[image_id], name=name)

    def set_boot_mode(self, image_id: str, *, mode: BootMode) -> None:
        """Change the boot mode."""
        self._record("set_boot_mode")
        self.stored_images[image_id] = replace(self.stored_images[image_id], boot_mode=mode)

    def delete_image(self, image_id: str) -> None:
        """Delete the image."""
        self._record("delete_image")
        self.stored_images.pop(image_id, None)

    def regions(self) -> tuple[str, ...]:
        """List the regions."""
        self._record("regions")
        return self.known_regions

    def add(self, *things: Image | Task) -> None:
        """Add or replace images and tasks."""
        for thing in things:
            if isinstance(thing, Image):
                self.stored_images[thing.image_id] = thing
            else:
                self.stored_tasks[thing.task_id] = thing


def task(status: TaskStatus = TaskStatus.PROCESSING, *, word: str = "", **fields: Any) -> Task:
    """Return the task t-1 in a status; `word` is the service's text if it differs."""
    return replace(Task(task_id="t-1", action="ImportImage", status=status, status_text=word or status.value), **fields)


def image(status: str = "Creating", **fields: Any) -> Image:
    """Return the image m-1, which has our tags, in a status."""
    return replace(Image(image_id="m-1", name="disk", status=ImageStatus(status), tags=TAGS), **fields)


def import_call() -> ImportCall:
    """Return a call for one object in OSS."""
    disk = DiskRequest(bucket="a-bucket", key="aliyun-import/disk.raw")
    return ImportCall(
        request=ImportRequest(region=REGION, disks=(disk,), name="disk"),
        mappings=(DiskMapping(bucket="a-bucket", key="aliyun-import/disk.raw", format=None, size_gib=None),),
        client_token="token-1",
        tags=TAGS,
    )


STARTED = StartedImport(task_id="t-1", image_id="m-1", request_id="R-2")
