"""Tests of how the import is started once, however often the call is sent."""

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
from tests.image.scripted import (
    STARTED,
    Heard,
    ScriptedImages,
    context_of,
    image,
    import_call,
    lost,
    no_right,
    refused,
    retrying,
    task,
)
from tests.rows import each_row
from tests.steered import SteeredClock


def start(
    images: ScriptedImages,
    *,
    clock: SteeredClock | None = None,
    changed: bool = False,
    heard: Heard | None = None,
    accept_same_disk: bool = False,
) -> StartedImport:
    """Submit the call."""
    context = context_of(clock, heard)
    return submit(
        retrying(images, context),
        context,
        import_call(),
        role_changed_recently=changed,
        accept_same_disk=accept_same_disk,
    )


def test_an_import_is_started() -> None:
    """The refusal of the service is raised after one call."""
    images = ScriptedImages(STARTED)
    assert start(images) == STARTED
    assert len(images.calls) == 1


def test_every_repetition_carries_the_same_token() -> None:
    """Lost answers are followed by the very same call, so that the service makes one import of it."""
    images = ScriptedImages(lost(), lost(), STARTED)
    assert start(images) == STARTED
    assert {call.client_token for call in images.calls} == {"token-1"}
    assert images.calls[0] == images.calls[2]


def test_a_new_role_is_waited_for_on_the_exact_answer() -> None:
    """The wait ends with the first answer that is not about the role, and never sleeps on."""
    clock, heard = SteeredClock(), Heard()
    images = ScriptedImages(*[refused("role-not-visible")] * 5, STARTED)
    assert start(images, clock=clock, changed=True, heard=heard) == STARTED
    assert heard.warned() == ["role-not-visible-yet"]
    assert len(clock.slept) == 5
    assert clock.slept == sorted(clock.slept)


@each_row(("changed", "limit_s"), [(True, ROLE_NEW_WAIT_S), (False, ROLE_OLD_WAIT_S)])
def test_a_role_that_stays_unseen_is_an_error_that_explains(changed: bool, limit_s: float) -> None:
    """After the deadline, which is longer for a new role, the refusal is raised with the duration of the wait."""
    clock = SteeredClock()
    images = ScriptedImages(
        RoleNotVisible("No role.", code="role-not-visible", remedy=None, details={"request_id": "R"})
    )
    with pytest.raises(RoleNotVisible) as caught:
        start(images, clock=clock, changed=changed)
    assert limit_s <= clock.elapsed_s <= limit_s + 15
    assert caught.value.code == "role-not-visible"
    assert caught.value.details == {"request_id": "R"}
    assert "role show" in (caught.value.remedy or "")
    assert caught.value.resumable


def test_the_wait_for_the_role_starts_short_and_stays_bounded() -> None:
    """2 s at first, 15 s at most."""
    assert role_wait_s(1, share=lambda: 1.0) == 2.0
    assert role_wait_s(100, share=lambda: 1.0) == 15.0
    assert role_wait_s(3, share=lambda: 0.0) < role_wait_s(3, share=lambda: 1.0)


def test_missing_rights_are_waited_for_only_when_the_role_was_changed() -> None:
    """A policy attached a moment ago may not be seen yet; one that was never there is an answer."""
    images = ScriptedImages(refused("oss-not-authorized"), STARTED)
    assert start(images, changed=True) == STARTED
    with pytest.raises(RoleNotAuthorized):
        start(ScriptedImages(refused("oss-not-authorized"), STARTED), changed=False)


@each_row("code", ["image-name-taken", "image-importing", "client-token-reused"])
def test_an_import_whose_answer_was_lost_is_found_by_its_tags(code: str) -> None:
    """The name is taken by our own image: that is the import, with its ids."""
    images, heard = ScriptedImages(lost(), refused(code)), Heard()
    images.add(image(), task(image_id="m-1"))
    assert start(images, heard=heard) == StartedImport(task_id="t-1", image_id="m-1", request_id="")
    assert heard.changed() == ["found the import that was started before"]


def test_a_token_that_began_nothing_of_ours_is_refused() -> None:
    """A token of the user's that served another request is the service's refusal, and nothing is deleted for it."""
    images = ScriptedImages(refused("client-token-reused"))
    images.add(image("CreateFailed"))
    with pytest.raises(RefusedError) as caught:
        start(images)
    assert caught.value.code == "client-token-reused"
    assert "delete_image" not in images.asked


def test_a_name_of_another_image_is_refused_with_its_id() -> None:
    """An image without our tags is not ours, with any name: exit 5, with its id."""
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
    assert images.images_now


def test_another_push_of_the_same_disk_is_not_ours() -> None:
    """Both tags must agree: another push's image of the same disk is not taken for this push's."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image("Available", tags={**image().tags, "import-push-id": "push-2"}))
    with pytest.raises(RefusedError):
        start(images)


@each_row("status", ["Creating", "Available"])
@each_row("code", ["image-name-taken", "image-importing"])
def test_the_same_command_on_two_machines_makes_one_image(status: str, code: str) -> None:
    """The later push follows the import of the earlier one: the digest in its tag proves that the disk is the same."""
    images, heard = ScriptedImages(refused(code)), Heard()
    images.add(image(status, tags={**image().tags, PUSH_ID_TAG: "push-2"}), task(image_id="m-1"))
    started = start(images, heard=heard, accept_same_disk=True)
    assert started == StartedImport(task_id="t-1", image_id="m-1", request_id="")
    assert heard.changed() == ["found the import that was started before"]


@each_row("status", ["Creating", "Available"])
def test_the_image_of_another_disk_is_refused(status: str) -> None:
    """Another digest is another disk, and only a usable image may be replaced."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image(status, tags={PUSH_ID_TAG: "push-2", DISK_DIGEST_TAG: "digest-2"}))
    with pytest.raises(RefusedError) as caught:
        start(images, accept_same_disk=True)
    assert caught.value.code == "image-name-taken"
    assert ("--replace" in (caught.value.remedy or "")) is (status == "Available")


def test_an_image_in_creation_that_shows_no_disk_yet_is_transient() -> None:
    """Its tags may appear later and prove that it is this disk: exit 6, and no advice to replace it."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image("Creating", tags={}))
    with pytest.raises(TransientError) as caught:
        start(images, accept_same_disk=True)
    assert caught.value.code == "image-creating"
    assert "--replace" not in (caught.value.remedy or "")


def test_what_a_failed_import_left_makes_room() -> None:
    """A CreateFailed image of ours has the name; it is deleted, an event is emitted, and the call is repeated."""
    images, heard = ScriptedImages(refused("image-name-taken"), STARTED), Heard()
    images.add(image("CreateFailed"))
    assert start(images, heard=heard) == STARTED
    assert heard.changed() == ["deleted failed image"]
    assert not images.images_now


def test_a_failed_image_of_another_user_is_kept() -> None:
    """Without our tags even a failed image is not touched."""
    images = ScriptedImages(refused("image-name-taken"), STARTED)
    images.add(image("CreateFailed", tags={"owner": "x"}))
    with pytest.raises(RefusedError):
        start(images)
    assert "delete_image" not in images.asked


def test_when_no_answer_comes_the_import_is_looked_for() -> None:
    """If all answers are lost, a running import is found; otherwise the failure is raised."""
    found = ScriptedImages(lost())
    found.add(image(), task(image_id="m-1"))
    assert start(found).task_id == "t-1"
    with pytest.raises(TransientError):
        start(ScriptedImages(lost()))


def test_other_refusals_come_out_at_once() -> None:
    """A refused parameter is not asked again."""
    images = ScriptedImages(refused("platform-refused"))
    with pytest.raises(RefusedError):
        start(images)
    assert len(images.calls) == 1


def test_a_question_is_not_submitted() -> None:
    """A dry run has its own function; submitting one is a bug of the caller."""
    images = ScriptedImages(STARTED)
    with pytest.raises(ValueError, match="dry run"):
        submit(images, context_of(), replace(import_call(), dry_run=True), role_changed_recently=False)


def test_an_answer_without_an_import_is_an_error() -> None:
    """An import that is answered like a dry run is not taken for one that was started."""
    with pytest.raises(RefusedError) as caught:
        start(ScriptedImages(None))
    assert caught.value.code == "import-not-started"


def test_asking_starts_nothing() -> None:
    """The question carries DryRun, repeats passing trouble, and a yes is no value."""
    images = ScriptedImages(lost(), None)
    dry_run_import(retrying(images, context_of()), import_call())
    assert [call.dry_run for call in images.calls] == [True, True]


def test_asking_passes_the_services_no_on() -> None:
    """The refusal of the service is raised."""
    with pytest.raises(AccessError):
        dry_run_import(ScriptedImages(no_right()), import_call())


def test_a_question_that_started_an_import_is_named() -> None:
    """Should the service pass over DryRun, the task is named together with how to cancel it."""
    with pytest.raises(RefusedError) as caught:
        dry_run_import(ScriptedImages(STARTED), import_call())
    assert "task cancel t-1 --region cn-hangzhou" in (caught.value.remedy or "")


def test_client_tokens_are_within_the_rules_and_differ() -> None:
    """ASCII, at most 64 characters, never the same twice."""
    tokens = {new_client_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.isascii() and len(token) <= MAX_TOKEN_CHARS for token in tokens)


def test_a_finished_import_is_found_as_well() -> None:
    """An image that is Available by now is found again, also when no task of it is known any more."""
    images = ScriptedImages(refused("image-name-taken"))
    images.add(image("Available"), task(TaskStatus.FINISHED, task_id="t-9", image_id="m-9"))
    assert start(images) == StartedImport(task_id="", image_id="m-1", request_id="")
