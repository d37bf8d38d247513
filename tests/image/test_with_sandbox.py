"""Tests of the image package through the real adapters, with a sandbox."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aliyun_import.errors import AccessError, ImportFailed, RefusedError, StillRunning
from aliyun_import.image.find_existing import find_import
from aliyun_import.image.replace import replace_image
from aliyun_import.image.submit import dry_run_import, new_client_token, submit
from aliyun_import.image.tasks import cancel_task, list_tasks, show_task
from aliyun_import.image.wait import wait, wait_for_check
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, Image, StartedImport, TaskStatus
from aliyun_import.model.request import DiskFormat, DiskMapping, DiskRequest, ImportCall, ImportRequest
from aliyun_import.role.ensure import ensure_role
from aliyun_import.role.spec import OSS_ROLE
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.state import Clock, Settings
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.image.sandbox_services import SandboxServices
from tests.image.scripted_services import EventRecorder

BUCKET, KEY = "a-bucket", "aliyun-import/disk.raw"
# A boot sector with one active partition that begins at sector 1: the smallest valid disk.
DISK = (
    bytes(446) + bytes([0x80, 0, 2, 0, 0x83, 0, 3, 0, 1, 0, 0, 0, 7, 0, 0, 0]) + bytes(48) + b"\x55\xaa" + bytes(3584)
)


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """Start a sandbox whose time only advances when it is steered."""
    with Sandbox.start(
        tmp_path, settings=Settings(import_s=5.0, image_ready_s=0.0), clock=Clock(running=False)
    ) as running:
        running.state.part(OssState).add_bucket(BUCKET, region="cn-hangzhou", owner_id=running.account_id)
        yield running


@pytest.fixture
def cloud(sandbox: Sandbox) -> SandboxServices:
    """Return the services of the sandbox, with the disk in OSS."""
    connected = SandboxServices(sandbox)
    connected.store(BUCKET).put(KEY, DISK)
    return connected


def call(name: str = "disk", *, push_id: str = "push-1", token: str = "") -> ImportCall:
    """Return the ImportImage call for the disk."""
    return ImportCall(
        request=ImportRequest(region="cn-hangzhou", disks=(DiskRequest(bucket=BUCKET, key=KEY),), name=name),
        mappings=(DiskMapping(bucket=BUCKET, key=KEY, format=DiskFormat.RAW, size_gib=5),),
        client_token=token or new_client_token(),
        tags={PUSH_ID_TAG: push_id, DISK_DIGEST_TAG: "digest-1"},
    )


def ensure(cloud: SandboxServices, *, recorder: EventRecorder | None = None) -> bool:
    """Ensure the role; return whether anything was changed."""
    return ensure_role(cloud.roles, cloud.context(recorder), OSS_ROLE.default_name, bucket=BUCKET, fix=False).changed


def start(cloud: SandboxServices, import_call: ImportCall | None = None, *, changed: bool = True) -> StartedImport:
    """Submit a call."""
    return submit(cloud.images, cloud.context(), import_call or call(), role_changed_recently=changed)


def wait_for(cloud: SandboxServices, started: StartedImport, *, timeout_s: float | None = None) -> Image:
    """Wait for an import."""
    return wait(
        cloud.images,
        cloud.context(),
        task_id=started.task_id,
        image_id=started.image_id,
        region=cloud.region,
        timeout_s=timeout_s,
    )


def test_role_import_and_wait_lead_to_a_usable_image(sandbox: Sandbox, cloud: SandboxServices) -> None:
    """All steps succeed, and a second inspection of the role changes nothing."""
    assert ensure(cloud)
    assert not ensure(cloud)
    image = wait_for(cloud, start(cloud))
    assert image.status == "Available"
    assert image.tags[PUSH_ID_TAG] == "push-1"
    assert len(sandbox.requests.entries("ImportImage")) == 1


def test_a_role_that_becomes_visible_late_is_waited_for(sandbox: Sandbox, cloud: SandboxServices) -> None:
    """ECS sees it 45 s after its creation, and the import starts at most 15 s later."""
    sandbox.state.configure(role_propagation_s=45.0)
    ensure(cloud)
    assert start(cloud).task_id
    assert 45.0 <= cloud.clock.elapsed_s <= 45.0 + 15.0


def test_a_missing_role_is_an_error_with_a_remedy(cloud: SandboxServices) -> None:
    """The service's refusal is raised after the short wait."""
    with pytest.raises(RefusedError) as caught:
        start(cloud, changed=False)
    assert caught.value.code == "role-not-visible"
    assert "aliyun-import role show" in (caught.value.remedy or "")


@pytest.mark.parametrize("effect", ["lose-answer", "cut-before"])
def test_a_lost_answer_starts_no_second_import(sandbox: Sandbox, cloud: SandboxServices, effect: str) -> None:
    """One image exists in the end, whether the call took effect or not."""
    ensure(cloud)
    sandbox.faults.add(Fault(operation="ImportImage", effect=effect))
    started = start(cloud)
    assert len(cloud.images.images()) == 1
    assert started.image_id == cloud.images.images()[0].image_id


def test_a_new_client_token_for_the_same_push_starts_no_second_import(cloud: SandboxServices) -> None:
    """The image is found by its tags."""
    ensure(cloud)
    first = start(cloud)
    again = start(cloud, call(token="another-token"))
    assert (again.task_id, again.image_id) == (first.task_id, first.image_id)


def test_another_push_of_the_same_name_is_refused(cloud: SandboxServices) -> None:
    """The error has the id of the other image."""
    ensure(cloud)
    first = start(cloud)
    wait_for(cloud, first)
    with pytest.raises(RefusedError) as caught:
        start(cloud, call(push_id="push-2"))
    assert caught.value.code == "image-name-taken"
    assert caught.value.details["image_id"] == first.image_id


def test_a_failed_import_has_its_reason_and_can_be_repeated(sandbox: Sandbox, cloud: SandboxServices) -> None:
    """The remaining image does not prevent the next attempt."""
    ensure(cloud)
    sandbox.state.configure(
        import_s=60.0, import_outcome="failed", import_error=("InvalidImageFormat.Malformed", "Not a disk.")
    )
    with pytest.raises(ImportFailed) as caught:
        wait_for(cloud, start(cloud))
    assert "InvalidImageFormat.Malformed: Not a disk." in (caught.value.cause or "")
    assert cloud.clock.elapsed_s < 45
    sandbox.state.configure(import_s=5.0, import_outcome="finished")
    assert wait_for(cloud, start(cloud, call(push_id="push-2"))).status == "Available"
    assert len(cloud.images.images()) == 1


@pytest.mark.parametrize(("outcome", "code"), [("paused", "import-paused"), ("unavailable", "image-failed")])
def test_other_failures_end_the_wait_with_their_codes(
    sandbox: Sandbox, cloud: SandboxServices, outcome: str, code: str
) -> None:
    """They are Paused and UnAvailable."""
    ensure(cloud)
    sandbox.state.configure(import_outcome=outcome)
    with pytest.raises(ImportFailed) as caught:
        wait_for(cloud, start(cloud))
    assert caught.value.code == code


def test_the_wait_for_an_import_that_does_not_end_stops_at_the_deadline(
    sandbox: Sandbox, cloud: SandboxServices
) -> None:
    """It is exit 8."""
    ensure(cloud)
    sandbox.state.configure(import_outcome="stuck")
    with pytest.raises(StillRunning):
        wait_for(cloud, start(cloud), timeout_s=60.0)
    assert cloud.clock.elapsed_s == pytest.approx(60.0)


@pytest.mark.parametrize("code", ["Throttling", "Throttling.User", "Throttling.Api"])
def test_throttled_requests_of_the_wait_are_repeated(sandbox: Sandbox, cloud: SandboxServices, code: str) -> None:
    """All three spellings of the code are transient failures."""
    ensure(cloud)
    started = start(cloud)
    for operation in ("DescribeImages", "DescribeTaskAttribute"):
        sandbox.faults.add(Fault(operation=operation, status=400, code=code, message="Too often.", nth=2, count=5))
    assert wait_for(cloud, started).status == "Available"


def test_a_task_that_is_hidden_at_first_is_waited_for(sandbox: Sandbox, cloud: SandboxServices) -> None:
    """The service may not return a new task for half a minute."""
    sandbox.state.configure(task_hidden_s=30.0)
    ensure(cloud)
    assert wait_for(cloud, start(cloud)).status == "Available"


def test_the_image_check_is_waited_for(cloud: SandboxServices) -> None:
    """The check continues for minutes after the image is Available."""
    ensure(cloud)
    import_call = call()
    started = start(cloud, replace(import_call, request=replace(import_call.request, detection_strategy="Standard")))
    recorder = EventRecorder()
    image = wait(
        cloud.images,
        cloud.context(recorder),
        task_id=started.task_id,
        image_id=started.image_id,
        region=cloud.region,
    )
    image = wait_for_check(cloud.images, cloud.context(recorder), image, region=cloud.region)
    assert image.detection_status == "Finished"
    assert recorder.warned() == []


def test_a_cancelled_import_ends_the_wait_with_its_code(cloud: SandboxServices) -> None:
    """It may be cancelled by another process."""
    ensure(cloud)
    started = start(cloud)
    cancelled = cancel_task(cloud.images, cloud.context(), started.task_id, region=cloud.region)
    assert cancelled.status is TaskStatus.DELETED
    with pytest.raises(ImportFailed) as caught:
        wait_for(cloud, started)
    assert caught.value.code == "import-cancelled"


def test_a_finished_task_cannot_be_cancelled(cloud: SandboxServices) -> None:
    """The remedy names the image."""
    ensure(cloud)
    started = start(cloud)
    wait_for(cloud, started)
    with pytest.raises(RefusedError) as caught:
        cancel_task(cloud.images, cloud.context(), started.task_id, region=cloud.region)
    assert caught.value.code == "task-over"
    assert started.image_id in (caught.value.remedy or "")


def test_tasks_are_listed_and_shown_with_their_images(cloud: SandboxServices) -> None:
    """A wait with a task id alone finds the image."""
    ensure(cloud)
    started = start(cloud)
    listed = list_tasks(cloud.images)
    assert [task.task_id for task in listed] == [started.task_id]
    shown = show_task(cloud.images, started.task_id, region=cloud.region)
    assert shown.image is not None
    assert shown.image.image_id == started.image_id
    assert wait_for(cloud, replace(started, image_id="")).image_id == started.image_id


def test_an_import_is_found_by_its_tags(cloud: SandboxServices) -> None:
    """The journal is not needed."""
    ensure(cloud)
    started = start(cloud)
    found = find_import(cloud.images, name="disk", tags=call().tags)
    assert found is not None
    assert (found.image_id, found.task_id) == (started.image_id, started.task_id)


@pytest.mark.parametrize("policy", ["rename", "delete"])
def test_the_new_image_takes_the_name(cloud: SandboxServices, policy: str) -> None:
    """The old image is renamed or deleted, as the policy requires."""
    ensure(cloud)
    old = wait_for(cloud, start(cloud))
    new = wait_for(cloud, start(cloud, call("disk-new-push2", push_id="push-2")))
    named = replace_image(cloud.images, cloud.context(), new, name="disk", policy=policy, region=cloud.region)
    assert (named.image_id, named.name) == (new.image_id, "disk")
    rest = {image.image_id: image.name for image in cloud.images.images() if image.image_id != new.image_id}
    assert (old.image_id in rest) is (policy == "rename")
    assert all(name.startswith("disk-replaced-2") for name in rest.values())


@pytest.mark.parametrize("code", ["DRYRUN.SUCCESS", "DryRunOperation"])
def test_a_dry_run_succeeds_with_both_spellings_of_its_code(
    sandbox: Sandbox, cloud: SandboxServices, code: str
) -> None:
    """The success is answered as an error, and no import is started."""
    sandbox.state.configure(dry_run_code=code)
    ensure(cloud)
    dry_run_import(cloud.images, call())
    assert cloud.images.images() == ()


def test_without_rights_on_ram_the_import_starts_with_a_warning(sandbox: Sandbox, cloud: SandboxServices) -> None:
    """The role exists, so the import succeeds."""
    ensure(cloud)
    limited, recorder = SandboxServices(sandbox, denied=("ram:*",)), EventRecorder()
    assert not ensure(limited, recorder=recorder)
    assert recorder.warned() == ["role-unseen"]
    assert start(limited, changed=False).task_id


def test_without_the_right_to_create_the_role_the_error_has_the_commands(sandbox: Sandbox) -> None:
    """It is exit 4, with commands for an administrator."""
    with pytest.raises(AccessError) as caught:
        ensure(SandboxServices(sandbox, denied=("ram:CreateRole",)))
    assert caught.value.code == "role-rights"
    assert "aliyun ram CreateRole --RoleName AliyunECSImageImportDefaultRole" in (caught.value.remedy or "")
