"""Tests of the image room through the real adapters, against a sandbox."""

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
from tests.image.connected import Connected
from tests.image.scripted import Heard

BUCKET, KEY = "a-bucket", "aliyun-import/disk.raw"
# A boot sector with one active partition that begins at sector 1: as little as a disk can be.
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
def cloud(sandbox: Sandbox) -> Connected:
    """Connect to it, with the disk in OSS."""
    connected = Connected(sandbox)
    connected.store(BUCKET).put(KEY, DISK)
    return connected


def call(name: str = "disk", *, push_id: str = "push-1", token: str = "") -> ImportCall:
    """Return a call for the disk."""
    return ImportCall(
        request=ImportRequest(region="cn-hangzhou", disks=(DiskRequest(bucket=BUCKET, key=KEY),), name=name),
        mappings=(DiskMapping(bucket=BUCKET, key=KEY, format=DiskFormat.RAW, size_gib=5),),
        client_token=token or new_client_token(),
        tags={PUSH_ID_TAG: push_id, DISK_DIGEST_TAG: "digest-1"},
    )


def ensure(cloud: Connected, *, heard: Heard | None = None) -> bool:
    """Ensure the role; return whether anything was changed."""
    return ensure_role(cloud.roles, cloud.context(heard), OSS_ROLE.default_name, bucket=BUCKET, fix=False).changed


def start(cloud: Connected, one: ImportCall | None = None, *, changed: bool = True) -> StartedImport:
    """Submit a call."""
    return submit(cloud.images, cloud.context(), one or call(), role_changed_recently=changed)


def follow(cloud: Connected, started: StartedImport, *, timeout_s: float | None = None) -> Image:
    """Wait for an import."""
    return wait(
        cloud.images,
        cloud.context(),
        task_id=started.task_id,
        image_id=started.image_id,
        region=cloud.region,
        timeout_s=timeout_s,
    )


def test_role_import_and_wait_lead_to_a_usable_image(sandbox: Sandbox, cloud: Connected) -> None:
    """The whole way, once, and a second look at the role finds nothing to do."""
    assert ensure(cloud)
    assert not ensure(cloud)
    image = follow(cloud, start(cloud))
    assert image.status == "Available"
    assert image.tags[PUSH_ID_TAG] == "push-1"
    assert len(sandbox.requests.entries("ImportImage")) == 1


def test_a_role_that_ecs_sees_late_is_waited_for(sandbox: Sandbox, cloud: Connected) -> None:
    """45 s after the role was made ECS sees it, and the import starts soon after, not at some fixed minute."""
    sandbox.state.configure(role_propagation_s=45.0)
    ensure(cloud)
    assert start(cloud).task_id
    assert 45.0 <= cloud.clock.elapsed_s <= 45.0 + 15.0


def test_a_role_that_is_missing_is_an_error_that_explains(cloud: Connected) -> None:
    """Without a role the service's refusal comes out after the short wait."""
    with pytest.raises(RefusedError) as caught:
        start(cloud, changed=False)
    assert caught.value.code == "role-not-visible"
    assert "aliyun-import role show" in (caught.value.remedy or "")


@pytest.mark.parametrize("effect", ["lose-answer", "cut-before"])
def test_a_lost_answer_makes_no_second_import(sandbox: Sandbox, cloud: Connected, effect: str) -> None:
    """Whether the call took effect or not, there is one image in the end."""
    ensure(cloud)
    sandbox.faults.add(Fault(operation="ImportImage", effect=effect))
    started = start(cloud)
    assert len(cloud.images.images()) == 1
    assert started.image_id == cloud.images.images()[0].image_id


def test_a_lost_answer_and_a_lost_token_make_no_second_import(cloud: Connected) -> None:
    """A new token for the same push finds the image by its tags."""
    ensure(cloud)
    first = start(cloud)
    again = start(cloud, call(token="another-token"))
    assert (again.task_id, again.image_id) == (first.task_id, first.image_id)


def test_another_push_of_the_same_name_is_refused(cloud: Connected) -> None:
    """The other image is named with its id."""
    ensure(cloud)
    first = start(cloud)
    follow(cloud, first)
    with pytest.raises(RefusedError) as caught:
        start(cloud, call(push_id="push-2"))
    assert caught.value.code == "image-name-taken"
    assert caught.value.details["image_id"] == first.image_id


def test_a_failed_import_tells_its_reason_and_can_be_tried_again(sandbox: Sandbox, cloud: Connected) -> None:
    """The image that it left does not stand in the way of the next attempt."""
    ensure(cloud)
    sandbox.state.configure(
        import_s=60.0, import_outcome="failed", import_error=("InvalidImageFormat.Malformed", "Not a disk.")
    )
    with pytest.raises(ImportFailed) as caught:
        follow(cloud, start(cloud))
    assert "InvalidImageFormat.Malformed: Not a disk." in (caught.value.cause or "")
    assert cloud.clock.elapsed_s < 45
    sandbox.state.configure(import_s=5.0, import_outcome="finished")
    assert follow(cloud, start(cloud, call(push_id="push-2"))).status == "Available"
    assert len(cloud.images.images()) == 1


@pytest.mark.parametrize(("outcome", "code"), [("paused", "import-paused"), ("unavailable", "image-failed")])
def test_other_bad_ends_are_told_by_name(sandbox: Sandbox, cloud: Connected, outcome: str, code: str) -> None:
    """Paused and UnAvailable end the wait as well."""
    ensure(cloud)
    sandbox.state.configure(import_outcome=outcome)
    with pytest.raises(ImportFailed) as caught:
        follow(cloud, start(cloud))
    assert caught.value.code == code


def test_a_stuck_import_ends_at_the_deadline(sandbox: Sandbox, cloud: Connected) -> None:
    """Exit 8 after the given time, and the import can be followed on."""
    ensure(cloud)
    sandbox.state.configure(import_outcome="stuck")
    with pytest.raises(StillRunning):
        follow(cloud, start(cloud), timeout_s=60.0)
    assert cloud.clock.elapsed_s == pytest.approx(60.0)


@pytest.mark.parametrize("code", ["Throttling", "Throttling.User", "Throttling.Api"])
def test_throttled_questions_are_asked_again(sandbox: Sandbox, cloud: Connected, code: str) -> None:
    """All three spellings are passing trouble for the wait."""
    ensure(cloud)
    started = start(cloud)
    for operation in ("DescribeImages", "DescribeTaskAttribute"):
        sandbox.faults.add(Fault(operation=operation, status=400, code=code, message="Too often.", nth=2, count=5))
    assert follow(cloud, started).status == "Available"


def test_a_task_that_is_hidden_at_first_is_waited_for(sandbox: Sandbox, cloud: Connected) -> None:
    """A task that the service does not show for half a minute is no error."""
    sandbox.state.configure(task_hidden_s=30.0)
    ensure(cloud)
    assert follow(cloud, start(cloud)).status == "Available"


def test_the_image_check_is_waited_for(cloud: Connected) -> None:
    """The check goes on for minutes after the image is Available, and ends the wait when it is over."""
    ensure(cloud)
    one = call()
    started = start(cloud, replace(one, request=replace(one.request, detection_strategy="Standard")))
    heard = Heard()
    image = wait(
        cloud.images,
        cloud.context(heard),
        task_id=started.task_id,
        image_id=started.image_id,
        region=cloud.region,
    )
    image = wait_for_check(cloud.images, cloud.context(heard), image, region=cloud.region)
    assert image.detection_status == "Finished"
    assert heard.warned() == []


def test_a_cancelled_import_is_reported_as_cancelled(cloud: Connected) -> None:
    """Cancelled elsewhere, the wait ends with its own code."""
    ensure(cloud)
    started = start(cloud)
    cancelled = cancel_task(cloud.images, cloud.context(), started.task_id, region=cloud.region)
    assert cancelled.status is TaskStatus.DELETED
    with pytest.raises(ImportFailed) as caught:
        follow(cloud, started)
    assert caught.value.code == "import-cancelled"


def test_a_finished_task_cannot_be_cancelled(cloud: Connected) -> None:
    """The error states the alternative."""
    ensure(cloud)
    started = start(cloud)
    follow(cloud, started)
    with pytest.raises(RefusedError) as caught:
        cancel_task(cloud.images, cloud.context(), started.task_id, region=cloud.region)
    assert caught.value.code == "task-over"
    assert started.image_id in (caught.value.remedy or "")


def test_tasks_are_listed_and_shown_with_their_images(cloud: Connected) -> None:
    """With a task id alone the image is found, and followed to its end."""
    ensure(cloud)
    started = start(cloud)
    listed = list_tasks(cloud.images)
    assert [task.task_id for task in listed] == [started.task_id]
    shown = show_task(cloud.images, started.task_id, region=cloud.region)
    assert shown.image is not None
    assert shown.image.image_id == started.image_id
    assert follow(cloud, replace(started, image_id="")).image_id == started.image_id


def test_an_import_is_found_by_its_tags(cloud: Connected) -> None:
    """Whatever became of the journal."""
    ensure(cloud)
    started = start(cloud)
    found = find_import(cloud.images, name="disk", tags=call().tags)
    assert found is not None
    assert (found.image_id, found.task_id) == (started.image_id, started.task_id)


@pytest.mark.parametrize("policy", ["rename", "delete"])
def test_a_name_is_handed_over(cloud: Connected, policy: str) -> None:
    """The new image has the name in the end, and the old one is what was asked for."""
    ensure(cloud)
    old = follow(cloud, start(cloud))
    new = follow(cloud, start(cloud, call("disk-new-push2", push_id="push-2")))
    named = replace_image(cloud.images, cloud.context(), new, name="disk", policy=policy, region=cloud.region)
    assert (named.image_id, named.name) == (new.image_id, "disk")
    rest = {image.image_id: image.name for image in cloud.images.images() if image.image_id != new.image_id}
    assert (old.image_id in rest) is (policy == "rename")
    assert all(name.startswith("disk-replaced-2") for name in rest.values())


@pytest.mark.parametrize("code", ["DRYRUN.SUCCESS", "DryRunOperation"])
def test_a_question_is_answered_in_both_spellings(sandbox: Sandbox, cloud: Connected, code: str) -> None:
    """Its success arrives as an error, and nothing is started."""
    sandbox.state.configure(dry_run_code=code)
    ensure(cloud)
    dry_run_import(cloud.images, call())
    assert cloud.images.images() == ()


def test_without_rights_on_ram_the_import_decides(sandbox: Sandbox, cloud: Connected) -> None:
    """No right to look: a warning; the role is there, and the import works."""
    ensure(cloud)
    limited, heard = Connected(sandbox, denied=("ram:*",)), Heard()
    assert not ensure(limited, heard=heard)
    assert heard.warned() == ["role-unseen"]
    assert start(limited, changed=False).task_id


def test_without_the_permission_to_create_the_error_has_steps_for_an_administrator(sandbox: Sandbox) -> None:
    """Exit 4 with the commands and the console page."""
    with pytest.raises(AccessError) as caught:
        ensure(Connected(sandbox, denied=("ram:CreateRole",)))
    assert caught.value.code == "role-rights"
    assert "aliyun ram CreateRole --RoleName AliyunECSImageImportDefaultRole" in (caught.value.remedy or "")
