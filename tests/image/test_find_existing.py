"""Tests of how an import is found again, and proven to be ours."""

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
from tests.image.scripted import TAGS, Heard, ScriptedImages, context_of, image, lost, retrying, task
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
    """Other tags don't matter, and an empty proof proves nothing."""
    assert proves(image(tags=tags), proof) is expected


def test_the_best_image_is_the_usable_one() -> None:
    """Available before Creating, never a failed one."""
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
    """The tags prove it, also after it was renamed."""
    images = ScriptedImages(None)
    images.add(image("Available", name="renamed"), task(TaskStatus.FINISHED, image_id="m-1"))
    found = find_import(images, name="disk", tags=TAGS)
    assert found is not None
    assert (found.image_id, found.task_id) == ("m-1", "t-1")


def test_a_name_alone_is_no_proof() -> None:
    """An image of the name without our tags is not found, and nothing is found without a proof to look for."""
    images = ScriptedImages(None)
    images.add(image("Available", tags={"team": "x"}))
    assert find_import(images, name="disk", tags=TAGS) is None
    assert find_import(images, name="disk", tags={"team": "x"}) is None


def test_the_digest_alone_finds_an_image_of_the_same_disk() -> None:
    """Where the push's own id is not known (a lost journal), the disk's digest is the proof."""
    images = ScriptedImages(None)
    images.add(image("Available"))
    assert find_import(images, name="disk", tags={DISK_DIGEST_TAG: "digest-1"}) is not None


def test_passing_trouble_is_not_absence() -> None:
    """A dropped line while looking is repeated, and never read as "there is none"."""
    images = ScriptedImages(None)
    images.then("images", lost(), lost())
    images.add(image())
    assert find_import(retrying(images, context_of()), name="disk", tags=TAGS) is not None


def test_the_task_of_an_image_is_the_one_that_did_not_fail() -> None:
    """Several tasks may have made the same image's attempt; a failed one is the last choice."""
    failed = task(TaskStatus.FAILED, task_id="t-0", image_id="m-1")
    running = task(task_id="t-1", image_id="m-1")
    assert task_id_of("m-1", (failed, running)) == "t-1"
    assert task_id_of("m-1", (failed,)) == "t-0"
    assert task_id_of("m-2", (failed, running)) == ""


def test_a_remnant_is_what_a_failed_import_of_this_tool_left() -> None:
    """CreateFailed with any push's id, UnAvailable with this push's id; no other image."""
    another = {PUSH_ID_TAG: "push-9"}
    assert is_remnant(image("CreateFailed", tags=another), TAGS)
    assert is_remnant(image("UnAvailable"), TAGS)
    assert not is_remnant(image("UnAvailable", tags=another), TAGS)
    assert not is_remnant(image("CreateFailed", tags={}), TAGS)
    assert not is_remnant(image("Available"), TAGS)


def test_clearing_touches_only_the_remnant_of_the_name() -> None:
    """The failed image of the name goes, one of another name stays, and a healthy one too."""
    images, heard = ScriptedImages(None), Heard()
    images.add(image("CreateFailed"), image("CreateFailed", image_id="m-2", name="other"))
    holder = name_holder(images, "disk")
    assert holder is not None
    assert clear_failed(images, context_of(emit=heard), holder, tags=TAGS)
    assert set(images.images_now) == {"m-2"}
    assert heard.changed() == ["deleted failed image"]
    images.add(image("Available"))
    assert not clear_failed(images, context_of(), image("Available"), tags=TAGS)
    assert set(images.images_now) == {"m-1", "m-2"}


def test_the_holder_of_a_name_is_found_in_any_status() -> None:
    """A name is taken by any image of it, also by one that is being made."""
    images = ScriptedImages(None)
    assert name_holder(images, "disk") is None
    images.add(image("Creating", tags={}))
    holder = name_holder(images, "disk")
    assert holder is not None
    assert holder.image_id == "m-1"
