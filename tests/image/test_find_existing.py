"""Tests of how an earlier import is found and proven to be ours."""

from aliyun_import.image.find_existing import (
    best_of,
    clear_failed,
    find_import,
    is_remnant,
    name_holder,
    proves,
    task_id_of,
)
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG, TaskStatus
from tests.image.scripted_services import (
    TAGS,
    EventRecorder,
    ScriptedImages,
    connection_lost,
    context_of,
    image,
    retrying,
    task,
)
from tests.rows import each_row


@each_row(
    ("tags", "proof", "expected"),
    [
        (TAGS, TAGS, True),
        ({**TAGS, "team": "x"}, TAGS, True),
        (TAGS, {PUSH_ID_TAG: "push-1"}, True),
        ({PUSH_ID_TAG: "push-1"}, TAGS, False),
        ({**TAGS, DISK_DIGEST_TAG: "digest-2"}, TAGS, False),
        ({}, TAGS, False),
        (TAGS, {}, False),
    ],
)
def test_an_image_is_ours_when_every_tag_of_the_proof_agrees(
    tags: dict[str, str], proof: dict[str, str], expected: bool
) -> None:
    """Other tags do not matter, and an empty proof proves nothing."""
    assert proves(image(tags=tags), proof) is expected


def test_the_best_image_is_the_usable_one() -> None:
    """An Available image is preferred to one in creation, and a failed one is never returned."""
    found = (
        image("CreateFailed", image_id="m-1"),
        image("Creating", image_id="m-2"),
        image("Available", image_id="m-3"),
    )
    best = best_of(found, proof=TAGS)
    assert best is not None
    assert best.image_id == "m-3"
    assert best_of(found[:1], proof=TAGS) is None


def test_an_import_is_found_under_another_name() -> None:
    """The tags prove it, after a rename, too."""
    images = ScriptedImages(None)
    images.add(image("Available", name="renamed"), task(TaskStatus.FINISHED, image_id="m-1"))
    found = find_import(images, name="disk", tags=TAGS)
    assert found is not None
    assert (found.image_id, found.task_id) == ("m-1", "t-1")


def test_a_name_alone_is_no_proof() -> None:
    """An image with the name but without our tags is not found, nor is any without tags of a push."""
    images = ScriptedImages(None)
    images.add(image("Available", tags={"team": "x"}))
    assert find_import(images, name="disk", tags=TAGS) is None
    assert find_import(images, name="disk", tags={"team": "x"}) is None


def test_the_digest_alone_finds_an_image_of_the_same_disk() -> None:
    """If the push id is unknown (a lost journal), the digest of the disk is the proof."""
    images = ScriptedImages(None)
    images.add(image("Available"))
    assert find_import(images, name="disk", tags={DISK_DIGEST_TAG: "digest-1"}) is not None


def test_a_transient_failure_is_not_a_missing_image() -> None:
    """The call is repeated after a lost connection."""
    images = ScriptedImages(None)
    images.fail_next("images", connection_lost(), connection_lost())
    images.add(image())
    assert find_import(retrying(images, context_of()), name="disk", tags=TAGS) is not None


def test_the_task_of_an_image_is_the_one_that_did_not_fail() -> None:
    """An image may have several tasks; a failed one is the last choice."""
    failed = task(TaskStatus.FAILED, task_id="t-0", image_id="m-1")
    running = task(task_id="t-1", image_id="m-1")
    assert task_id_of("m-1", (failed, running)) == "t-1"
    assert task_id_of("m-1", (failed,)) == "t-0"
    assert task_id_of("m-2", (failed, running)) == ""


def test_a_remnant_is_a_failed_image_of_this_tool() -> None:
    """It is CreateFailed with any push id, or UnAvailable with this push id."""
    another = {PUSH_ID_TAG: "push-9"}
    assert is_remnant(image("CreateFailed", tags=another), TAGS)
    assert is_remnant(image("UnAvailable"), TAGS)
    assert not is_remnant(image("UnAvailable", tags=another), TAGS)
    assert not is_remnant(image("CreateFailed", tags={}), TAGS)
    assert not is_remnant(image("Available"), TAGS)


def test_only_the_remnant_with_the_name_is_deleted() -> None:
    """A failed image with another name and a usable image are kept."""
    images, recorder = ScriptedImages(None), EventRecorder()
    images.add(image("CreateFailed"), image("CreateFailed", image_id="m-2", name="other"))
    holder = name_holder(images, "disk")
    assert holder is not None
    assert clear_failed(images, context_of(emit=recorder), holder, tags=TAGS)
    assert set(images.stored_images) == {"m-2"}
    assert recorder.changed() == ["deleted failed image"]
    images.add(image("Available"))
    assert not clear_failed(images, context_of(), image("Available"), tags=TAGS)
    assert set(images.stored_images) == {"m-1", "m-2"}


def test_the_holder_of_a_name_is_found_in_any_status() -> None:
    """An image in creation has the name, too."""
    images = ScriptedImages(None)
    assert name_holder(images, "disk") is None
    images.add(image("Creating", tags={}))
    holder = name_holder(images, "disk")
    assert holder is not None
    assert holder.image_id == "m-1"
