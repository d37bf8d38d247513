"""Tests of handing a name over: make, verify, then replace."""

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
from tests.image.scripted import REGION, Heard, ScriptedImages, context_of, image, lost, refused, retrying
from tests.rows import each_row

NEW = image("Available", image_id="m-new", name="disk-new-push1", created="2026-11-24T03:45:10Z")
OLD = image("Available", image_id="m-old", name="disk", tags={})
RETIRED = "disk-replaced-20261124mnew"


def there(*found: Image) -> ScriptedImages:
    """Have these images."""
    images = ScriptedImages(None)
    images.add(*found)
    return images


def hand_over(images: ScriptedImages, *, policy: str = "rename", heard: Heard | None = None) -> Image:
    """Return the new image the name."""
    context = context_of(emit=heard)
    return replace_image(retrying(images, context), context, NEW, name="disk", policy=policy, region=REGION)


def names(images: ScriptedImages) -> dict[str, str]:
    """Return the names of all images."""
    return {one.image_id: one.name for one in images.images_now.values()}


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
def test_the_next_step_follows_from_what_is_there(
    holder: Image | None, retired: Image | None, policy: str, expected: object
) -> None:
    """Nothing is deleted before the new image has the name."""
    assert next_replacement(NEW, name="disk", holder=holder, retired=retired, policy=policy) == expected


def test_the_old_image_is_renamed_and_the_new_one_named() -> None:
    """Both stay, each under its name."""
    images, heard = there(OLD, NEW), Heard()
    assert hand_over(images, heard=heard).name == "disk"
    assert names(images) == {"m-new": "disk", "m-old": RETIRED}
    assert heard.changed() == ["renamed the image that had the name", "named image"]


def test_the_old_image_is_deleted_last() -> None:
    """With delete it goes after the new one has the name."""
    images = there(OLD, NEW)
    hand_over(images, policy="delete")
    assert names(images) == {"m-new": "disk"}
    effects = [what for what in images.asked if what in ("rename_image", "delete_image")]
    assert effects == ["rename_image", "rename_image", "delete_image"]


@each_row("policy", ["rename", "delete"])
@each_row("kill_at", range(1, 9))
def test_a_push_killed_anywhere_resumes(policy: str, kill_at: int) -> None:
    """Killed before or after each call, the same call brings it to the same end."""

    class Killed(Exception):
        """A kill."""

    images = there(OLD, NEW)
    wanted = there(OLD, NEW)
    hand_over(wanted, policy=policy)
    for when in ("before", "after"):
        images = there(OLD, NEW)
        count = 0

        def dying(what: str, *, doomed: ScriptedImages = images, when: str = when) -> None:
            nonlocal count
            count += 1
            ScriptedImages._asked(doomed, what)
            if count == kill_at and when == "before":
                raise Killed
            if count == kill_at + 1 and when == "after":
                raise Killed

        images._asked = dying  # type: ignore[method-assign]
        try:
            hand_over(images, policy=policy)
        except Killed:
            del images._asked
            hand_over(images, policy=policy)
        assert names(images) == names(wanted)


def test_running_again_changes_nothing() -> None:
    """Once done, a repetition finds everything in place."""
    images = there(OLD, NEW)
    hand_over(images)
    heard = Heard()
    hand_over(images, heard=heard)
    assert heard.changed() == []


def test_a_name_that_is_free_is_taken() -> None:
    """If no image has the name, no image is retired."""
    images = there(NEW)
    assert hand_over(images).name == "disk"


def test_lost_answers_are_no_harm() -> None:
    """A rename whose answer is lost is repeated or found done."""
    images = there(OLD, NEW)
    images.then("rename_image", lost())
    hand_over(images)
    assert names(images) == {"m-new": "disk", "m-old": RETIRED}


def test_an_old_image_in_use_stays_with_a_warning() -> None:
    """An image that instances use can't be deleted; the push has succeeded all the same."""
    images, heard = there(OLD, NEW), Heard()
    images.then("delete_image", refused("image-in-use"))
    assert hand_over(images, policy="delete", heard=heard).name == "disk"
    assert heard.warned() == ["old-image-kept"]
    assert "m-old" in names(images)


@each_row("unusable", [replace(NEW, status=ImageStatus.CREATING), replace(NEW, usable=False)])
def test_an_image_that_is_not_usable_replaces_nothing(unusable: Image) -> None:
    """Verify, then replace: nothing is touched."""
    images = there(OLD, unusable)
    with pytest.raises(RefusedError) as caught:
        replace_image(images, context_of(), unusable, name="disk", policy="rename", region=REGION)
    assert caught.value.code == "replacement-not-usable"
    assert names(images)["m-old"] == "disk"


def test_a_name_that_is_taken_repeatedly_is_an_error() -> None:
    """No endless race; the new image is named in the error."""
    images = there(OLD, NEW)
    images.then("rename_image", *[refused("image-name-taken")] * 20)
    with pytest.raises(AliyunImportError) as caught:
        hand_over(images)
    assert caught.value.code == "name-not-free"
    assert "m-new" in (caught.value.cause or "")


def test_an_unknown_policy_is_a_bug_of_the_caller() -> None:
    """Nothing is guessed where something is deleted."""
    with pytest.raises(ValueError, match="policy"):
        hand_over(there(OLD, NEW), policy="destroy")


@each_row("name", ["disk", "x" * MAX_NAME_CHARS])
def test_temporary_and_retired_names_are_within_the_limit(name: str) -> None:
    """Both are deterministic, different from the name, and at most 128 characters."""
    for made in (temporary_name(name, "0f9a-push"), retired_name(name, NEW)):
        assert len(made) <= MAX_NAME_CHARS
        assert made != name
    assert temporary_name(name, "0f9a-push") == temporary_name(name, "0f9a-push")
    assert retired_name("disk", replace(NEW, created="")) == "disk-replaced-mnew"


def test_two_images_of_one_second_give_two_retired_names() -> None:
    """Two pushes may replace images of one name one after the other, by images that ECS created in the same second."""
    ids = ["m-bp1fake0000000000001", "m-bp1fake0000000000002"]
    first, second = (retired_name("disk", replace(NEW, image_id=one)) for one in ids)
    assert first != second
    assert all(was_replaced(replace(OLD, name=one), "disk") for one in (first, second))


def test_an_image_that_the_user_named_so_was_not_replaced() -> None:
    """Its name has no date."""
    assert not was_replaced(replace(OLD, name="disk-replaced-yesterday1234"))
