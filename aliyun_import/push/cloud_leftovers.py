"""Leftovers in ECS: instances of boot tests, images that did not get their names, and images that were replaced.

An instance is found by the tag of boot tests, an image by its temporary name, which ends with the push id in its tag,
or by the name of a replaced image. What a process of this machine uses is marked with that process; what another
machine uses is listed like a leftover.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from aliyun_import.boot.cloud_journal import past_run, tests_directory
from aliyun_import.cleanup import Leftover, LeftoverKind
from aliyun_import.context import Context
from aliyun_import.errors import LocalStateError, PermissionDenied
from aliyun_import.events import Noted
from aliyun_import.image.replace import has_temporary_name, was_replaced
from aliyun_import.journal import copy_journal, open_journal, read_journals
from aliyun_import.model.boot import BOOT_TEST_TAG
from aliyun_import.push.state import fold
from aliyun_import.services import Services


def find_in_ecs(services: Services, context: Context, state_dir: Path) -> tuple[Leftover, ...]:
    """Return the leftovers in ECS in the region; what these credentials can't list is noted."""
    found: list[Leftover] = []
    for list_some in (_instances, _images):
        try:
            found += list_some(services, state_dir)
        except PermissionDenied as error:
            context.emit(Noted(message=f"Leftovers in ECS are not known: {error.summary}"))
    return tuple(found)


def remove_from_ecs(services: Services, leftover: Leftover, state_dir: Path) -> None:
    """Delete an instance or an image; succeeds if it does not exist. Later boot tests do not reuse the instance."""
    if leftover.kind is not LeftoverKind.INSTANCE:
        services.images.delete_image(leftover.key)
        return
    services.instances.delete_instance(leftover.key)
    for identity, entries in _tests(state_dir):
        past = past_run(entries)
        if past is not None and past.instance_id == leftover.key and not past.is_ended:
            # A journal that is locked is one of a running test, which ends by itself. One that can't be written does
            # not matter: nothing runs any more.
            with suppress(LocalStateError), open_journal(tests_directory(state_dir), identity) as journal:
                journal.write("instance-ended")


def _instances(services: Services, state_dir: Path) -> Iterator[Leftover]:
    tests = {past.call.client_token: identity for identity, entries in _tests(state_dir) if (past := past_run(entries))}
    for instance in services.instances.instances(tags={BOOT_TEST_TAG: ""}):
        identity = tests.get(instance.tags.get(BOOT_TEST_TAG, ""))
        yield Leftover(
            kind=LeftoverKind.INSTANCE,
            key=instance.instance_id,
            size_bytes=0,
            since_s=instance.created_s,
            used_by=_user(tests_directory(state_dir), identity),
        )


def _images(services: Services, state_dir: Path) -> Iterator[Leftover]:
    pushes = {fold(entries).image_id: entries[0]["identity"] for _, entries in read_journals(state_dir) if entries}
    for image in services.images.images():
        replaced = was_replaced(image)
        if replaced or (has_temporary_name(image) and image.status.usable):
            yield Leftover(
                kind=LeftoverKind.REPLACED if replaced else LeftoverKind.IMAGE,
                key=image.image_id,
                name=image.name,
                size_bytes=0,
                since_s=_seconds(image.created),
                used_by=_user(state_dir, pushes.get(image.image_id)),
            )


def _tests(state_dir: Path) -> Iterator[tuple[Mapping[str, str], tuple[Mapping[str, Any], ...]]]:
    for _, entries in read_journals(tests_directory(state_dir)):
        if entries:
            yield entries[0]["identity"], entries


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _user(directory: Path, identity: Mapping[str, str] | None) -> str:
    """Return the process that has locked a journal, or ""."""
    try:
        if identity is not None:
            copy_journal(directory, identity)
    except LocalStateError as error:
        return f"process {error.details['pid']}" if "pid" in error.details else ""
    return ""
