"""In-memory services: a steered clock, and RAM and ECS whose answers a test sets."""

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
from tests.partial import Partial
from tests.steered import SteeredClock

REGION = "cn-hangzhou"
TAGS = {PUSH_ID_TAG: "push-1", DISK_DIGEST_TAG: "digest-1"}


def context_of(clock: SteeredClock | None = None, emit: Emit | None = None) -> Context:
    """Return the context of a run with a steered clock."""
    return Context(clock=clock or SteeredClock(), emit=emit or ignore)


def retrying(images: ImageService, context: Context) -> ImageService:
    """Return images with retries, as a push has them."""
    return with_retries(images, Retrier(context))


class Heard:
    """An Emit that records the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)

    def warned(self) -> list[str]:
        """Return the codes of all warnings."""
        return [event.code for event in self.events if isinstance(event, Warned)]

    def changed(self) -> list[str]:
        """Return what was changed, in order."""
        return [event.what for event in self.events if isinstance(event, Changed)]


_REFUSALS: dict[str, type[AliyunImportError]] = {
    "client-token-reused": ClientTokenReused,
    "image-importing": ImageImporting,
    "image-name-taken": NameTaken,
    "oss-not-authorized": RoleNotAuthorized,
    "role-exists": RoleExists,
    "role-not-visible": RoleNotVisible,
}


def no_right() -> AccessError:
    """Return the error of a missing right."""
    return PermissionDenied("These credentials may not do this.", code="no-right", remedy="Have it granted.")


def lost() -> TransientError:
    """Return the error of a dropped line."""
    return TransientError("The line dropped.", code="network", remedy=None)


def refused(code: str, summary: str = "") -> AliyunImportError:
    """Return a refusal of the service."""
    kind = _REFUSALS.get(code, RefusedError)
    return kind(summary or f"The service said {code}.", code=code, remedy=None, details={"request_id": "R-1"})


@dataclass
class ScriptedRoles(Partial):  # type: ignore[misc]
    """RAM in memory. `fails` names calls and the error that each answers with, for ever."""

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

    def create_role(self, name: str, *, trust_policy: str, description: str) -> Role:  # noqa: ARG002 -- the port's own
        """Create it, unless it is there."""
        self._call("create_role")
        if name in self.roles:
            raise refused("role-exists")
        self.roles[name] = Role(name=name, arn=f"acs:ram::1:role/{name}", trust_policy=trust_policy)
        return self.roles[name]

    def update_trust_policy(self, name: str, *, trust_policy: str) -> None:
        """Replace its trust policy."""
        self._call("update_trust_policy")
        self.roles[name] = replace(self.roles[name], trust_policy=trust_policy)

    def attached_policies(self, name: str) -> tuple[Policy, ...]:
        """List what is attached."""
        self._call("attached_policies")
        return tuple(self.attached.get(name, ()))

    def attach_policy(self, policy: Policy, *, role_name: str) -> None:
        """Attach one more."""
        self._call("attach_policy")
        if policy not in self.attached.setdefault(role_name, []):
            self.attached[role_name].append(policy)

    def policy_document(self, policy: Policy) -> str:
        """Return a document."""
        self._call("policy_document")
        return self.documents[policy.name]


class ScriptedImages(Partial):  # type: ignore[misc]
    """ECS as a test wrote it down: answers to ImportImage in turn, tasks and images in memory.

    `then(what, *errors)` has the next calls of one operation fail, in turn. `steps` are called before each look at an
    image, so that things change while one waits. `listed` has the image ids that only the list of tasks tells.
    """

    def __init__(self, *answers: StartedImport | AliyunImportError | None) -> None:
        self.answers = list(answers)
        self.calls: list[ImportCall] = []
        self.asked: list[str] = []
        self.tasks_now: dict[str, Task] = {}
        self.images_now: dict[str, Image] = {}
        self.steps: list[Callable[[], None]] = []
        self.listed: dict[str, str] = {}
        self.known_regions: tuple[str, ...] = (REGION, "cn-shanghai")
        self._errors: dict[str, list[AliyunImportError]] = {}
        self._started: dict[str, StartedImport] = {}

    def then(self, what: str, *errors: AliyunImportError) -> None:
        """Have the next calls of an operation fail."""
        self._errors.setdefault(what, []).extend(errors)

    def _asked(self, what: str) -> None:
        self.asked.append(what)
        if self._errors.get(what):
            raise self._errors[what].pop(0)

    def import_image(self, call: ImportCall) -> StartedImport | None:
        """Return the next answer; the last one stays. Without answers, start an import as ECS does."""
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
        if any(one.name == name for one in self.images_now.values()):
            raise refused("image-name-taken", f'There is an image "{name}" already.')
        number = len(self._started) + 1
        started = StartedImport(task_id=f"t-{number}", image_id=f"m-{number}", request_id=f"R-{number}")
        self._started[call.client_token] = started
        self.add(
            task(TaskStatus.WAITING, task_id=started.task_id, image_id=started.image_id),
            image("Creating", image_id=started.image_id, name=name, tags=dict(call.tags)),
        )
        return started

    def finish(self) -> None:
        """Let all imports finish."""
        for one in list(self.tasks_now.values()):
            if one.status.running:
                self.add(
                    replace(one, status=TaskStatus.FINISHED, status_text="Finished", percent=100, can_cancel=False)
                )
                made = self.images_now[one.image_id]
                self.add(replace(made, status=ImageStatus.AVAILABLE, size_gib=5))

    def task(self, task_id: str) -> Task | None:
        """Return the task."""
        self._asked("task")
        return self.tasks_now.get(task_id)

    def tasks(self) -> tuple[Task, ...]:
        """List the tasks."""
        self._asked("tasks")
        return tuple(
            replace(one, image_id=self.listed.get(one.task_id, one.image_id)) for one in self.tasks_now.values()
        )

    def cancel_task(self, task_id: str) -> None:
        """Cancel at once."""
        self._asked("cancel_task")
        if not self.tasks_now[task_id].status.running:
            raise refused("task-over")
        self.tasks_now[task_id] = task(TaskStatus.DELETED, task_id=task_id)

    def image(self, image_id: str) -> Image | None:
        """Apply the next step, then return the image."""
        if self.steps:
            self.steps.pop(0)()
        self._asked("image")
        return self.images_now.get(image_id)

    def images(self, *, name: str | None = None, tags: Mapping[str, str] | None = None) -> tuple[Image, ...]:
        """Find images by name and tags."""
        self._asked("images")
        return tuple(
            one
            for one in self.images_now.values()
            if (name is None or one.name == name)
            and all(one.tags.get(key) == value for key, value in (tags or {}).items())
        )

    def rename_image(self, image_id: str, *, name: str) -> None:
        """Rename, unless the name is taken."""
        self._asked("rename_image")
        if any(one.name == name for one in self.images_now.values()):
            raise refused("image-name-taken")
        self.images_now[image_id] = replace(self.images_now[image_id], name=name)

    def set_boot_mode(self, image_id: str, *, mode: BootMode) -> None:
        """Change the boot mode."""
        self._asked("set_boot_mode")
        self.images_now[image_id] = replace(self.images_now[image_id], boot_mode=mode)

    def delete_image(self, image_id: str) -> None:
        """Delete."""
        self._asked("delete_image")
        self.images_now.pop(image_id, None)

    def regions(self) -> tuple[str, ...]:
        """List the regions."""
        self._asked("regions")
        return self.known_regions

    def add(self, *things: Image | Task) -> None:
        """Put images and tasks there."""
        for thing in things:
            if isinstance(thing, Image):
                self.images_now[thing.image_id] = thing
            else:
                self.tasks_now[thing.task_id] = thing


def task(status: TaskStatus = TaskStatus.PROCESSING, *, word: str = "", **fields: Any) -> Task:
    """Return the task t-1 in a status; `word` is the service's own where it differs."""
    return replace(Task(task_id="t-1", action="ImportImage", status=status, status_text=word or status.value), **fields)


def image(status: str = "Creating", **fields: Any) -> Image:
    """Return the image m-1, which is ours, in a status."""
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
