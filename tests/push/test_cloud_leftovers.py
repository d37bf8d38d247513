"""Tests of the leftovers of boot tests: listed, marked while they are used, and removed by their ids."""

from collections.abc import Iterator
from typing import Any

import pytest

from aliyun_import import api
from aliyun_import.boot.cloud_journal import past_run
from aliyun_import.cleanup import CleanupResult, LeftoverKind
from aliyun_import.cloud.config import CloudConfig
from aliyun_import.cloud.connect import Client, connect
from aliyun_import.cloud.credentials.source import Credentials
from aliyun_import.errors import ImportFailed, RefusedError
from aliyun_import.events import BootProgress, Event, Noted
from aliyun_import.journal import read_journals
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.ecs.state import Ecs
from tests.push.machine import Machine, write_small_disk
from tests.push.test_image_boot_stage import NETWORK, instances, names, started

INSTANCE, IMAGE = LeftoverKind.INSTANCE, LeftoverKind.IMAGE


class Killed(BaseException):
    """The process is dead."""


@pytest.fixture
def client(machine: Machine) -> Iterator[Client]:
    """Connect to the sandbox."""
    key = machine.sandbox.access_key
    credentials = Credentials(key_id=key.id, secret=key.secret)
    url = machine.sandbox.url
    with connect(CloudConfig(region="cn-hangzhou", endpoint_url=url, credentials=credentials)) as connected:
        yield connected


def clean_up(machine: Machine, client: Client, *remove: str, **options: Any) -> CleanupResult:
    """Run the cleanup of the machine."""
    return api.cleanup(client, state_dir=machine.state_dir, remove=remove, **options)


def in_ecs(result: CleanupResult) -> dict[str, str]:
    """Return the kinds of what is left in ECS, by id."""
    return {one.key: one.kind for one in result.leftovers if one.kind.is_in_ecs}


def test_an_image_that_does_not_boot_is_a_leftover(machine: Machine, client: Client) -> None:
    """It is listed with its object, and removed by its id; a pattern for objects does not remove it."""
    machine.sandbox.state.configure(instance_console="panic")
    image_id = machine.failure(ImportFailed, **NETWORK).details["image_id"]
    assert in_ecs(clean_up(machine, client)) == {image_id: IMAGE}
    assert in_ecs(clean_up(machine, client, "*")) == {image_id: IMAGE}
    assert [one.key for one in clean_up(machine, client, "m-*").removed] == [image_id]
    assert not names(machine)
    # The same command imports and tests anew.
    machine.sandbox.state.configure(instance_console="boots")
    assert machine.push(**NETWORK).image_name == "web"
    assert in_ecs(clean_up(machine, client)) == {}


def test_an_instance_that_is_left_is_removed(machine: Machine, client: Client) -> None:
    """By its id or a pattern; the boot test that is run again does not continue with it."""

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            raise Killed

    machine.emit = emit
    denied = Fault(operation="DeleteInstance", status=403, code="Forbidden.RAM", count=None)
    machine.sandbox.faults.add(denied)
    with pytest.raises(Killed):
        machine.push(**NETWORK)
    machine.sandbox.faults.clear()
    (instance,) = machine.sandbox.state.part(Ecs).instances
    (image,) = machine.sandbox.state.part(Ecs).images
    assert in_ecs(clean_up(machine, client)) == {instance: INSTANCE, image: IMAGE}
    result = clean_up(machine, client, "i-*")
    assert [one.kind for one in result.removed] == [INSTANCE]
    assert not instances(machine)
    machine.emit = lambda _: None
    assert machine.push(**NETWORK).image_name == "web"
    assert (started(machine), instances(machine)) == (2, 0)
    assert clean_up(machine, client, instance).removed == ()


def test_what_a_running_test_uses_is_marked_and_refused(machine: Machine, client: Client) -> None:
    """Instance and image are those of the process; --force removes them regardless."""
    seen: list[CleanupResult] = []

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting" and not seen:
            seen.append(clean_up(machine, client))
            for one in seen[0].leftovers[:2]:
                with pytest.raises(RefusedError, match="nothing was removed") as caught:
                    clean_up(machine, client, one.key)
                assert caught.value.code == "object-in-use"
            (instance,) = [key for key, kind in in_ecs(seen[0]).items() if kind is INSTANCE]
            clean_up(machine, client, instance, force=True)

    machine.emit = emit
    machine.push(**NETWORK)
    assert {one.kind for one in seen[0].leftovers if one.used_by.startswith("process ")} == {INSTANCE, IMAGE}
    (tests,) = read_journals(machine.state_dir / "boot-tests")
    past = past_run(tests[1])
    assert past is not None
    assert past.test is not None
    assert "deleted while it was tested" in past.test.judgement.reason
    assert f"image boot-test {past.test.image_id} --region cn-hangzhou --vswitch" in (past.test.judgement.remedy or "")


def test_without_the_permission_the_bucket_is_cleaned_up_all_the_same(machine: Machine) -> None:
    """Who may not start instances has none; that they are not known is noted."""
    machine.push()
    sandbox = machine.sandbox
    key = AccessKey(id="L", secret="s", principal="user/l", denied=frozenset({"ecs:DescribeInstances"}))
    sandbox.state.add_key(key)
    events: list[Event] = []
    config = CloudConfig(
        region="cn-hangzhou", endpoint_url=sandbox.url, credentials=Credentials(key_id="L", secret="s")
    )
    with connect(config) as limited:
        assert clean_up(machine, limited, on_event=events.append).leftovers == ()
    assert any("Leftovers in ECS are not known" in one.message for one in events if isinstance(one, Noted))


def test_a_replaced_image_is_listed_and_removed_by_its_id_only(machine: Machine, client: Client) -> None:
    """It costs money, and it is the one to go back to: a pattern for other images does not remove it."""
    old = machine.push().image_id
    disk = machine.request.disks[0].path
    assert disk is not None
    write_small_disk(disk, seed=2)
    machine.push(replace="rename")
    (left,) = [one for one in clean_up(machine, client).leftovers if one.kind.is_in_ecs]
    assert (left.kind, left.key, left.name[:13]) == (LeftoverKind.REPLACED, old, "web-replaced-")
    assert in_ecs(clean_up(machine, client, "m-*")) == {old: LeftoverKind.REPLACED}
    assert [one.key for one in clean_up(machine, client, old).removed] == [old]
    assert names(machine) == ["web"]
