"""Tests of the submission: one import is started, however often the call is sent."""

from dataclasses import replace

import pytest

from aliyun_import.errors import AccessError, RefusedError, RoleNotAuthorized, RoleNotVisible, TransientError
from aliyun_import.image.submit import (
    ROLE_NEW_WAIT_S,
    ROLE_OLD_WAIT_S,
    dry_run_import,
    new_client_token,
    role_wait_s,
    submit,
)
from aliyun_import.limits import MAX_TOKEN_CHARS
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, StartedImport, TaskStatus
from tests.clocks import SteeredClock
from tests.image.scripted_services import (
    STARTED,
    EventRecorder,
    ScriptedImages,
    connection_lost,
    context_of,
    image,
    import_call,
    permission_denied,
    refused,
    retrying,
    task,
)
from tests.rows import each_row


def start(
    images: ScriptedImages,
    *,
    clock: SteeredClock | None = None,
    role_changed: bool = False,
    recorder: EventRecorder | None = None,
    accept_same_disk: bool = False,
) -> StartedImport:
    """Submit the call with retries."""
    context = context_of(clock, recorder)
    return submit(
        retrying(images, context),
        context,
        import_call(),
        role_changed_recently=role_changed,
        accept_same_disk=accept_same_disk,
    )


def test_an_import_is_started() -> None:
    """The answer of the service is returned after one call."""
    images = ScriptedImages(STARTED)
    assert start(images) == STARTED
    assert len(images.calls) == 1


def test_every_repetition_has_the_same_client_token() -> None:
    """After a lost answer the same call is sent, so that the service starts one import."""
    images = ScriptedImages(connection_lost(), connection_lost(), STARTED)
    assert start(images) == STARTED
    assert {call.client_token for call in images.calls} == {"token-1"}
    assert images.calls[0] == images.calls[2]


def test_a_new_role_is_waited_for() -> None:
    """The wait ends with the first answer that is not about the role."""
    clock, recorder = SteeredClock(), EventRecorder()
    images = ScriptedImages(*[refused("role-not-visible")] * 5, STARTED)
    assert start(images, clock=clock, role_changed=True, recorder=recorder) == STARTED
    assert recorder.warned() == ["role-not-visible-yet"]
    assert len(clock.slept) == 5
    assert clock.slept == sorted(clock.slept)


@each_row(("role_changed", "limit_s"), [(True, ROLE_NEW_WAIT_S), (False, ROLE_OLD_WAIT_S)])
def test_a_role_that_stays_invisible_is_an_error_with_a_remedy(role_changed: bool, limit_s: float) -> None:
    """The deadline is longer if the role is new; then the refusal is raised."""
    clock = SteeredClock()
    images = ScriptedImages(
        RoleNotVisible("No role.", code="role-not-visible", remedy=None, details={"request_id": "R"})
    )
    with pytest.raises(RoleNotVisible) as caught:
        start(images, clock=clock, role_changed=role_changed)
    assert limit_s <= clock.elapsed_s <= limit_s + 15
    assert caught.value.code == "role-not-visible"
    assert caught.value.details == {"request_id": "R"}
    assert "role show" in (caught.value.remedy or "")
    assert caught.value.resumable


def test_the_pauses_of_the_wait_for_the_role_grow_to_a_bound() -> None:
    """The first is at most 2 s, and none is longer than 15 s."""
    assert role_wait_s(1, share=lambda: 1.0) == 2.0
    assert role_wait_s(100, share=lambda: 1.0) == 15.0
    assert role_wait_s(3, share=lambda: 0.0) < role_wait_s(3, share=lambda: 1.0)


def test_missing_rights_are_waited_for_only_when_the_role_was_changed() -> None:
    """A policy that was just attached may not be visible yet; without a change the refusal is final."""
    images = ScriptedImages(refused("oss-not-authorized"), STARTED)
    assert start(images, role_changed=True) == STARTED
    with pytest.raises(RoleNotAuthorized):
        start(ScriptedImages(refused("oss-not-authorized"), STARTED), role_changed=False)


@each_row("code", ["image-name-taken", "image-importing", "client-token-reused"])
def test_an_import_whose_answer_was_lost_is_found_by_its_tags(code: str) -> None:
    """The name belongs to our own image, which is that import."""
    images, recorder = ScriptedImages(connection_lost(), refused(code)), EventRecorder()
    images.add(image(), task(image_id="m-1"))
    assert start(images, recorder=recorder) == StartedImport(task_id="t-1", image_id="m-1", request_id="")
    assert recorder.changed() == ["found the import that was started before"]


def test_a_client_token_of_another_request_is_refused() -> None:
    """The refusal is that of the service, and nothing is deleted."""
    images = ScriptedImages(refused("client-token-reused"))
    images.add(image("CreateFailed"))
    with pytest.raises(RefusedError) as caught:
        start(images)
    assert caught.value.code == "client-token-reused"
    assert "delete_image" not in images.operations


def test_a_name_of_another_image_is_refused_with_its_id() -> None:
    """An image without our tags is not ours: exit 5, with its id."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image("Available", image_id="m-other", tags={}))
    with pytest.raises(RefusedError) as caught:
        start(images)
    assert caught.value.code == "image-name-taken"
    assert caught.value.details == {
        "image_id": "m-other",
        "image_name": "disk",
        "image_status": "Available",
        "request_id": "R-1",
    }
    assert "m-other" in (caught.value.remedy or "")
    assert images.stored_images


def test_an_image_of_another_push_of_the_same_disk_is_not_ours() -> None:
    """Both tags must be equal."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image("Available", tags={**image().tags, "import-push-id": "push-2"}))
    with pytest.raises(RefusedError):
        start(images)


@each_row("status", ["Creating", "Available"])
@each_row("code", ["image-name-taken", "image-importing"])
def test_the_same_command_on_two_machines_makes_one_image(status: str, code: str) -> None:
    """The later push waits for the import of the earlier one: the digest in its tag proves the same disk."""
    images, recorder = ScriptedImages(refused(code)), EventRecorder()
    images.add(image(status, tags={**image().tags, PUSH_ID_TAG: "push-2"}), task(image_id="m-1"))
    started = start(images, recorder=recorder, accept_same_disk=True)
    assert started == StartedImport(task_id="t-1", image_id="m-1", request_id="")
    assert recorder.changed() == ["found the import that was started before"]


@each_row("status", ["Creating", "Available"])
def test_the_image_of_another_disk_is_refused(status: str) -> None:
    """Another digest means another disk, and only a usable image may be replaced."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image(status, tags={PUSH_ID_TAG: "push-2", DISK_DIGEST_TAG: "digest-2"}))
    with pytest.raises(RefusedError) as caught:
        start(images, accept_same_disk=True)
    assert caught.value.code == "image-name-taken"
    assert ("--replace" in (caught.value.remedy or "")) is (status == "Available")


def test_an_image_in_creation_without_a_digest_is_transient() -> None:
    """The tag may appear later and prove the same disk: exit 6, and no advice to replace the image."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image("Creating", tags={}))
    with pytest.raises(TransientError) as caught:
        start(images, accept_same_disk=True)
    assert caught.value.code == "image-creating"
    assert "--replace" not in (caught.value.remedy or "")


def test_the_image_of_a_failed_import_is_deleted() -> None:
    """Our CreateFailed image has the name; it is deleted with an event, and the call is repeated."""
    images, recorder = ScriptedImages(refused("image-name-taken"), STARTED), EventRecorder()
    images.add(image("CreateFailed"))
    assert start(images, recorder=recorder) == STARTED
    assert recorder.changed() == ["deleted failed image"]
    assert not images.stored_images


def test_a_failed_image_of_another_user_is_kept() -> None:
    """It does not have our tags."""
    images = ScriptedImages(refused("image-name-taken"), STARTED)
    images.add(image("CreateFailed", tags={"owner": "x"}))
    with pytest.raises(RefusedError):
        start(images)
    assert "delete_image" not in images.operations


def test_after_lost_answers_to_all_attempts_the_import_is_searched_for() -> None:
    """If it is found, it is returned; otherwise the error is raised."""
    found = ScriptedImages(connection_lost())
    found.add(image(), task(image_id="m-1"))
    assert start(found).task_id == "t-1"
    with pytest.raises(TransientError):
        start(ScriptedImages(connection_lost()))


def test_other_refusals_are_raised_at_once() -> None:
    """A refused parameter is not sent again."""
    images = ScriptedImages(refused("platform-refused"))
    with pytest.raises(RefusedError):
        start(images)
    assert len(images.calls) == 1


def test_a_dry_run_is_not_submitted() -> None:
    """Dry runs have their own function; the call is a bug of the caller."""
    images = ScriptedImages(STARTED)
    with pytest.raises(ValueError, match="dry run"):
        submit(images, context_of(), replace(import_call(), dry_run=True), role_changed_recently=False)


def test_an_answer_without_an_import_is_an_error() -> None:
    """The answer to a dry run does not count as a started import."""
    with pytest.raises(RefusedError) as caught:
        start(ScriptedImages(None))
    assert caught.value.code == "import-not-started"


def test_a_dry_run_starts_nothing() -> None:
    """The call has DryRun, is repeated after a transient failure, and returns nothing."""
    images = ScriptedImages(connection_lost(), None)
    dry_run_import(retrying(images, context_of()), import_call())
    assert [call.dry_run for call in images.calls] == [True, True]


def test_a_dry_run_raises_the_refusal_of_the_service() -> None:
    """The refusal of the service is raised."""
    with pytest.raises(AccessError):
        dry_run_import(ScriptedImages(permission_denied()), import_call())


def test_a_dry_run_that_started_an_import_is_an_error() -> None:
    """The remedy has the command that cancels the task."""
    with pytest.raises(RefusedError) as caught:
        dry_run_import(ScriptedImages(STARTED), import_call())
    assert "task cancel t-1 --region cn-hangzhou" in (caught.value.remedy or "")


def test_client_tokens_are_valid_and_differ() -> None:
    """They are ASCII and have at most 64 characters."""
    tokens = {new_client_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.isascii() and len(token) <= MAX_TOKEN_CHARS for token in tokens)


def test_a_finished_import_is_found_as_well() -> None:
    """The image is Available, and its task may be unknown."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image("Available"), task(TaskStatus.FINISHED, task_id="t-9", image_id="m-9"))
    assert start(images) == StartedImport(task_id="", image_id="m-1", request_id="")
