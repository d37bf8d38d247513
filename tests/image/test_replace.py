"""Tests of how the new image takes the name of the old one: make, verify, then replace."""

from dataclasses import replace

import pytest

from aliyun_import.errors import AliyunImportError, RefusedError
from aliyun_import.image.replace import (
    Delete,
    Rename,
    next_replacement,
    replace_image,
    retired_name,
    temporary_name,
    was_replaced,
)
from aliyun_import.limits import MAX_NAME_CHARS
from aliyun_import.model.image import Image, ImageStatus
from tests.image.scripted_services import (
    REGION,
    EventRecorder,
    ScriptedImages,
    connection_lost,
    context_of,
    image,
    refused,
    retrying,
)
from tests.rows import each_row

NEW = image("Available", image_id="m-new", name="disk-new-push1", created="2026-11-24T03:45:10Z")
OLD = image("Available", image_id="m-old", name="disk", tags={})
RETIRED = "disk-replaced-20261124mnew"


def images_with(*found: Image) -> ScriptedImages:
    """Return an image service with these images."""
    images = ScriptedImages(None)
    images.add(*found)
    return images


def replace_by_new(images: ScriptedImages, *, policy: str = "rename", recorder: EventRecorder | None = None) -> Image:
    """Give the new image the name "disk", with retries, and return it."""
    context = context_of(emit=recorder)
    return replace_image(retrying(images, context), context, NEW, name="disk", policy=policy, region=REGION)


def names(images: ScriptedImages) -> dict[str, str]:
    """Return the names of all images."""
    return {one.image_id: one.name for one in images.stored_images.values()}


@each_row(
    ("holder", "retired", "policy", "expected"),
    [
        (OLD, None, "rename", Rename("m-old", RETIRED, retires=True)),
        (OLD, None, "delete", Rename("m-old", RETIRED, retires=True)),
        (None, replace(OLD, name=RETIRED), "rename", Rename("m-new", "disk", retires=False)),
        (None, replace(OLD, name=RETIRED), "delete", Rename("m-new", "disk", retires=False)),
        (None, None, "rename", Rename("m-new", "disk", retires=False)),
        (NEW, replace(OLD, name=RETIRED), "rename", None),
        (NEW, replace(OLD, name=RETIRED), "delete", Delete("m-old")),
        (NEW, None, "delete", None),
    ],
)
def test_the_next_step_follows_from_the_existing_images(
    holder: Image | None, retired: Image | None, policy: str, expected: object
) -> None:
    """Nothing is deleted before the new image has the name."""
    assert next_replacement(NEW, name="disk", holder=holder, retired=retired, policy=policy) == expected


def test_the_old_image_is_renamed_and_the_new_one_gets_the_name() -> None:
    """Both images remain."""
    images, recorder = images_with(OLD, NEW), EventRecorder()
    assert replace_by_new(images, recorder=recorder).name == "disk"
    assert names(images) == {"m-new": "disk", "m-old": RETIRED}
    assert recorder.changed() == ["renamed the image that had the name", "named image"]


def test_the_old_image_is_deleted_last() -> None:
    """With the policy "delete" it is deleted when the new one has the name."""
    images = images_with(OLD, NEW)
    replace_by_new(images, policy="delete")
    assert names(images) == {"m-new": "disk"}
    effects = [what for what in images.operations if what in ("rename_image", "delete_image")]
    assert effects == ["rename_image", "rename_image", "delete_image"]


@each_row("policy", ["rename", "delete"])
@each_row("kill_at", range(1, 9))
def test_a_replacement_killed_at_any_call_is_completed_by_the_next(policy: str, kill_at: int) -> None:
    """After a kill before or after each call, the same call has the same result."""

    class Killed(Exception):
        """Raised in place of a kill."""

    images = images_with(OLD, NEW)
    expected = images_with(OLD, NEW)
    replace_by_new(expected, policy=policy)
    for moment in ("before", "after"):
        images = images_with(OLD, NEW)
        count = 0

        def record_or_kill(what: str, *, target: ScriptedImages = images, moment: str = moment) -> None:
            nonlocal count
            count += 1
            ScriptedImages._record(target, what)
            if count == kill_at and moment == "before":
                raise Killed
            if count == kill_at + 1 and moment == "after":
                raise Killed

        images._record = record_or_kill  # type: ignore[method-assign]
        try:
            replace_by_new(images, policy=policy)
        except Killed:
            del images._record
            replace_by_new(images, policy=policy)
        assert names(images) == names(expected)


def test_a_second_replacement_changes_nothing() -> None:
    """The images have their names already."""
    images = images_with(OLD, NEW)
    replace_by_new(images)
    recorder = EventRecorder()
    replace_by_new(images, recorder=recorder)
    assert recorder.changed() == []


def test_the_new_image_gets_a_free_name() -> None:
    """If no image has the name, no image is retired."""
    images = images_with(NEW)
    assert replace_by_new(images).name == "disk"


def test_a_rename_with_a_lost_answer_is_completed() -> None:
    """It is repeated, or found done."""
    images = images_with(OLD, NEW)
    images.fail_next("rename_image", connection_lost())
    replace_by_new(images)
    assert names(images) == {"m-new": "disk", "m-old": RETIRED}


def test_an_old_image_in_use_is_kept_with_a_warning() -> None:
    """Instances use it, so it can't be deleted; the push succeeds."""
    images, recorder = images_with(OLD, NEW), EventRecorder()
    images.fail_next("delete_image", refused("image-in-use"))
    assert replace_by_new(images, policy="delete", recorder=recorder).name == "disk"
    assert recorder.warned() == ["old-image-kept"]
    assert "m-old" in names(images)


@each_row("unusable", [replace(NEW, status=ImageStatus.CREATING), replace(NEW, usable=False)])
def test_an_image_that_is_not_usable_replaces_nothing(unusable: Image) -> None:
    """The old image keeps its name."""
    images = images_with(OLD, unusable)
    with pytest.raises(RefusedError) as caught:
        replace_image(images, context_of(), unusable, name="disk", policy="rename", region=REGION)
    assert caught.value.code == "replacement-not-usable"
    assert names(images)["m-old"] == "disk"


def test_a_name_that_is_taken_repeatedly_is_an_error() -> None:
    """The number of attempts is bounded, and the error names the new image."""
    images = images_with(OLD, NEW)
    images.fail_next("rename_image", *[refused("image-name-taken")] * 20)
    with pytest.raises(AliyunImportError) as caught:
        replace_by_new(images)
    assert caught.value.code == "name-not-free"
    assert "m-new" in (caught.value.cause or "")


def test_an_unknown_policy_is_a_value_error() -> None:
    """A policy may delete an image, so it is not guessed."""
    with pytest.raises(ValueError, match="policy"):
        replace_by_new(images_with(OLD, NEW), policy="destroy")


@each_row("name", ["disk", "x" * MAX_NAME_CHARS])
def test_temporary_and_retired_names_are_within_the_limit(name: str) -> None:
    """Both are deterministic, differ from the name, and have at most 128 characters."""
    for made in (temporary_name(name, "0f9a-push"), retired_name(name, NEW)):
        assert len(made) <= MAX_NAME_CHARS
        assert made != name
    assert temporary_name(name, "0f9a-push") == temporary_name(name, "0f9a-push")
    assert retired_name("disk", replace(NEW, created="")) == "disk-replaced-mnew"


def test_two_images_of_the_same_second_have_different_retired_names() -> None:
    """Two pushes may replace images of one name one after the other, by images that ECS created in the same second."""
    ids = ["m-bp1fake0000000000001", "m-bp1fake0000000000002"]
    first, second = (retired_name("disk", replace(NEW, image_id=one)) for one in ids)
    assert first != second
    assert all(was_replaced(replace(OLD, name=one), "disk") for one in (first, second))


def test_an_image_with_a_similar_name_was_not_replaced() -> None:
    """Its name has no date."""
    assert not was_replaced(replace(OLD, name="disk-replaced-yesterday1234"))
