"""Tests of leftovers: they are listed with their sizes, and removed only if they are named."""

import shlex
from dataclasses import replace

import pytest

from aliyun_import.cleanup import LeftoverKind, Places, find_leftovers, leftovers_command, remove_leftover
from aliyun_import.errors import UploadNotFound
from aliyun_import.upload.context import TransferOptions
from tests.upload.scene import PART, Killed, Scene
from tests.upload.scripted_store import nothing

pytestmark = pytest.mark.usefixtures("small_parts")

HERE = Places(prefix="aliyun-import/")


def killed_push(scene: Scene) -> None:
    """Leave an unfinished upload and a zero object behind."""
    scene.write_disk("abcd..", unit=PART)

    def kill(operation: str, count: int) -> None:
        if operation == "send_part" and count == 2:
            raise Killed

    scene.store.before = kill
    with pytest.raises(Killed):
        scene.push()
    scene.store.before = nothing


def test_a_finished_push_leaves_its_object_alone(scene: Scene) -> None:
    """What the pipeline removes after the import, or the user kept."""
    scene.write_disk("ab" + "." * 8)
    key = scene.push().key
    (left,) = find_leftovers(scene.store, HERE)
    assert (left.kind, left.key, left.size_bytes) == (LeftoverKind.OBJECT, key, 10 * 256 * 1024)
    assert not left.has_manifest


def test_of_two_pushes_at_once_the_second_leaves_no_parts(scene: Scene) -> None:
    """The object of the first one is the disk; the upload of the second is aborted."""
    scene.write_disk("ab")
    other = replace(scene, state="another machine")

    def overtaken(operation: str, _: int) -> None:
        if operation == "start_upload":
            scene.store.before = nothing
            assert other.push().made_by_us

    scene.store.before = overtaken
    assert not scene.push().made_by_us
    assert not scene.store.uploads
    assert [left.kind for left in find_leftovers(scene.store, HERE)] == [LeftoverKind.OBJECT]


def test_a_killed_push_that_another_one_overtook_leaves_no_parts(scene: Scene) -> None:
    """Run again it uses the object of the other push, and aborts the upload that it does not need any more."""
    killed_push(scene)
    key = next(iter(scene.store.uploads.values())).key
    scene.store.put(key, scene.path.read_bytes())
    assert not scene.push().made_by_us
    assert not scene.store.uploads


def test_a_kept_object_and_its_manifest_are_two(scene: Scene) -> None:
    """Each is paid for."""
    scene.options = TransferOptions(keep_object=True)
    scene.write_disk("ab")
    scene.push()
    found = find_leftovers(scene.store, HERE)
    assert [left.kind for left in found] == [LeftoverKind.OBJECT, LeftoverKind.MANIFEST]
    assert found[0].has_manifest


def test_a_killed_push_leaves_what_is_named_and_can_be_removed(scene: Scene) -> None:
    """The unfinished upload with the size of its parts, and the object of zeros."""
    killed_push(scene)
    found = find_leftovers(scene.store, HERE)
    assert {left.kind for left in found} == {LeftoverKind.UPLOAD, LeftoverKind.ZEROS}
    (upload,) = scene.store.uploads.values()
    sizes = {left.kind: left.size_bytes for left in found}
    assert sizes[LeftoverKind.UPLOAD] == sum(len(data) for data, _ in upload.parts.values()) > 0
    for left in found:
        remove_leftover(scene.store, left)
        remove_leftover(scene.store, left)
    assert find_leftovers(scene.store, HERE) == ()
    assert not scene.store.uploads


def test_objects_elsewhere_are_not_found(scene: Scene) -> None:
    """The rest of the bucket is none of our business."""
    scene.store.put("images/other.raw", b"x")
    scene.store.start_upload("images/other.raw")
    assert find_leftovers(scene.store, HERE) == ()


def test_a_disk_elsewhere_is_found_by_its_key_or_below_a_prefix(scene: Scene) -> None:
    """An object counts there when it carries the tag of a push, and so does its manifest; others are not ours."""
    scene.key = "images/web.raw"
    scene.options = TransferOptions(jobs=2, keep_object=True)
    scene.write_disk("ab")
    scene.push()
    scene.store.put("images/web.raw.notes", b"somebody else's")
    scene.store.put("images/web.raw-2", b"somebody else's", metadata={"by": "hand"})
    assert find_leftovers(scene.store, HERE) == ()
    by_key = find_leftovers(scene.store, replace(HERE, keys=("images/web.raw",)))
    assert [left.key for left in by_key] == ["images/web.raw", "images/web.raw.manifest"]
    assert by_key[0].has_manifest
    assert find_leftovers(scene.store, replace(HERE, below=("images/",))) == by_key


def test_an_unfinished_upload_elsewhere_is_found_by_its_key_or_below_a_prefix(scene: Scene) -> None:
    """By its key only that one; below a prefix all of them, because their owners are unknown."""
    scene.key = "images/web.raw"
    killed_push(scene)
    scene.store.start_upload("images/web.raw.another")
    (left,) = find_leftovers(scene.store, replace(HERE, keys=("images/web.raw",)))[1:]
    assert (left.kind, left.key) == (LeftoverKind.UPLOAD, "images/web.raw")
    assert left.size_bytes >= PART
    below = find_leftovers(scene.store, replace(HERE, below=("images/",)))
    assert [left.key for left in below[1:]] == ["images/web.raw", "images/web.raw.another"]


def test_a_place_that_is_named_twice_is_listed_once(scene: Scene) -> None:
    """A key below a prefix that is looked at anyway, and prefixes within each other."""
    killed_push(scene)
    (upload,) = scene.store.uploads.values()
    twice = Places(prefix=HERE.prefix, below=("", "aliyun-import/web"), keys=(upload.key,))
    assert find_leftovers(scene.store, twice) == find_leftovers(scene.store, HERE)


def test_the_command_can_be_typed() -> None:
    """For any keys."""
    command = leftovers_command(region="cn-hangzhou", bucket="example-bucket", keys=["a b", "c"])
    assert shlex.split(command.strip("`"))[2:] == [
        "--region", "cn-hangzhou", "--bucket", "example-bucket", "--remove", "a b", "--remove", "c",
    ]  # fmt: skip


def test_an_upload_that_ends_meanwhile_is_none(scene: Scene) -> None:
    """Between the list and the look at its parts."""
    killed_push(scene)

    def vanish(operation: str, count: int) -> None:
        if operation == "list_parts":
            raise UploadNotFound("Gone.", code="upload-vanished", remedy=None)

    scene.store.before = vanish
    assert LeftoverKind.UPLOAD not in {left.kind for left in find_leftovers(scene.store, HERE)}


def test_removed_leftovers_are_a_fresh_start(scene: Scene) -> None:
    """The same command emits a warning and completes the object."""
    killed_push(scene)
    for left in find_leftovers(scene.store, HERE):
        remove_leftover(scene.store, left)
    assert scene.store.content(scene.push().key) == scene.path.read_bytes()
