"""Tests of leftovers: each is listed with its size, and removed only on request."""

import shlex
from dataclasses import replace

import pytest

from aliyun_import.cleanup import LeftoverKind, Places, find_leftovers, remove_leftover
from aliyun_import.errors import UploadNotFound
from aliyun_import.upload.context import TransferOptions
from aliyun_import.upload.removal import leftovers_command
from tests.upload.scripted_store import no_hook
from tests.upload.upload_setup import PART, Killed, UploadSetup

pytestmark = pytest.mark.usefixtures("small_parts")

DEFAULT_PLACES = Places(prefix="aliyun-import/")


def killed_push(setup: UploadSetup) -> None:
    """Run a push that is killed, and leaves an unfinished upload and a zero object."""
    setup.write_disk("abcd..", unit=PART)

    def kill(operation: str, count: int) -> None:
        if operation == "send_part" and count == 2:
            raise Killed

    setup.store.before = kill
    with pytest.raises(Killed):
        setup.push()
    setup.store.before = no_hook


def test_a_finished_push_leaves_only_its_object(setup: UploadSetup) -> None:
    """The object is listed, with its size and without a manifest."""
    setup.write_disk("ab" + "." * 8)
    key = setup.push().key
    (left,) = find_leftovers(setup.store, DEFAULT_PLACES)
    assert (left.kind, left.key, left.size_bytes) == (LeftoverKind.OBJECT, key, 10 * 256 * 1024)
    assert not left.has_manifest


def test_of_two_pushes_at_once_the_second_leaves_no_parts(setup: UploadSetup) -> None:
    """The second uses the object of the first, and aborts its own upload."""
    setup.write_disk("ab")
    other = replace(setup, state="another machine")

    def push_other_first(operation: str, _: int) -> None:
        if operation == "start_upload":
            setup.store.before = no_hook
            assert other.push().made_by_us

    setup.store.before = push_other_first
    assert not setup.push().made_by_us
    assert not setup.store.uploads
    assert [left.kind for left in find_leftovers(setup.store, DEFAULT_PLACES)] == [LeftoverKind.OBJECT]


def test_a_killed_push_whose_object_another_push_made_leaves_no_parts(setup: UploadSetup) -> None:
    """Run again, it uses the object of the other push and aborts its own upload."""
    killed_push(setup)
    key = next(iter(setup.store.uploads.values())).key
    setup.store.put(key, setup.path.read_bytes())
    assert not setup.push().made_by_us
    assert not setup.store.uploads


def test_a_kept_object_and_its_manifest_are_two_leftovers(setup: UploadSetup) -> None:
    """Each is stored and paid for."""
    setup.options = TransferOptions(keep_object=True)
    setup.write_disk("ab")
    setup.push()
    found = find_leftovers(setup.store, DEFAULT_PLACES)
    assert [left.kind for left in found] == [LeftoverKind.OBJECT, LeftoverKind.MANIFEST]
    assert found[0].has_manifest


def test_the_leftovers_of_a_killed_push_are_listed_and_can_be_removed(setup: UploadSetup) -> None:
    """They are the unfinished upload, with the size of its parts, and the zero object; a second removal is no error."""
    killed_push(setup)
    found = find_leftovers(setup.store, DEFAULT_PLACES)
    assert {left.kind for left in found} == {LeftoverKind.UPLOAD, LeftoverKind.ZEROS}
    (upload,) = setup.store.uploads.values()
    sizes = {left.kind: left.size_bytes for left in found}
    assert sizes[LeftoverKind.UPLOAD] == sum(len(data) for data, _ in upload.parts.values()) > 0
    for left in found:
        remove_leftover(setup.store, left)
        remove_leftover(setup.store, left)
    assert find_leftovers(setup.store, DEFAULT_PLACES) == ()
    assert not setup.store.uploads


def test_objects_outside_the_prefix_are_not_leftovers(setup: UploadSetup) -> None:
    """The rest of the bucket is not listed."""
    setup.store.put("images/other.raw", b"x")
    setup.store.start_upload("images/other.raw")
    assert find_leftovers(setup.store, DEFAULT_PLACES) == ()


def test_an_object_outside_the_prefix_is_found_by_its_key_or_another_prefix(setup: UploadSetup) -> None:
    """It must carry the tag of a push; its manifest is found with it, and no other object is."""
    setup.key = "images/web.raw"
    setup.options = TransferOptions(jobs=2, keep_object=True)
    setup.write_disk("ab")
    setup.push()
    setup.store.put("images/web.raw.notes", b"of another user")
    setup.store.put("images/web.raw-2", b"of another user", metadata={"by": "hand"})
    assert find_leftovers(setup.store, DEFAULT_PLACES) == ()
    by_key = find_leftovers(setup.store, replace(DEFAULT_PLACES, keys=("images/web.raw",)))
    assert [left.key for left in by_key] == ["images/web.raw", "images/web.raw.manifest"]
    assert by_key[0].has_manifest
    assert find_leftovers(setup.store, replace(DEFAULT_PLACES, below=("images/",))) == by_key


def test_an_upload_outside_the_prefix_is_found_by_its_key_or_another_prefix(setup: UploadSetup) -> None:
    """A key finds its own upload only; a prefix finds all below it, because their owners are unknown."""
    setup.key = "images/web.raw"
    killed_push(setup)
    setup.store.start_upload("images/web.raw.another")
    (left,) = find_leftovers(setup.store, replace(DEFAULT_PLACES, keys=("images/web.raw",)))[1:]
    assert (left.kind, left.key) == (LeftoverKind.UPLOAD, "images/web.raw")
    assert left.size_bytes >= PART
    below = find_leftovers(setup.store, replace(DEFAULT_PLACES, below=("images/",)))
    assert [left.key for left in below[1:]] == ["images/web.raw", "images/web.raw.another"]


def test_a_leftover_named_by_a_key_and_by_prefixes_is_listed_once(setup: UploadSetup) -> None:
    """The key is below a prefix, and one prefix is below another."""
    killed_push(setup)
    (upload,) = setup.store.uploads.values()
    twice = Places(prefix=DEFAULT_PLACES.prefix, below=("", "aliyun-import/web"), keys=(upload.key,))
    assert find_leftovers(setup.store, twice) == find_leftovers(setup.store, DEFAULT_PLACES)


def test_the_printed_command_quotes_its_keys() -> None:
    """A shell splits the command into the options and keys."""
    command = leftovers_command(region="cn-hangzhou", bucket="example-bucket", keys=["a b", "c"])
    assert shlex.split(command.strip("`"))[2:] == [
        "--region", "cn-hangzhou", "--bucket", "example-bucket", "--remove", "a b", "--remove", "c",
    ]  # fmt: skip


def test_an_upload_that_ends_during_the_search_is_not_a_leftover(setup: UploadSetup) -> None:
    """It is in the list of uploads, and its parts can't be listed any more."""
    killed_push(setup)

    def lose_upload(operation: str, count: int) -> None:
        if operation == "list_parts":
            raise UploadNotFound("No such upload.", code="upload-vanished", remedy=None)

    setup.store.before = lose_upload
    assert LeftoverKind.UPLOAD not in {left.kind for left in find_leftovers(setup.store, DEFAULT_PLACES)}


def test_after_removal_of_leftovers_the_same_command_starts_again(setup: UploadSetup) -> None:
    """The push uploads the whole disk."""
    killed_push(setup)
    for left in find_leftovers(setup.store, DEFAULT_PLACES):
        remove_leftover(setup.store, left)
    assert setup.store.content(setup.push().key) == setup.path.read_bytes()
