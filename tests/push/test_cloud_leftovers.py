"""Tests of leftovers in ECS: listed, marked while they are in use, and removed by their ids."""

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
from tests.push.push_host import PushHost, write_small_disk
from tests.push.test_image_boot_stage import NETWORK, instances, names, started

INSTANCE, IMAGE = LeftoverKind.INSTANCE, LeftoverKind.IMAGE


class Killed(BaseException):
    """Simulated kill of the process."""


@pytest.fixture
def client(host: PushHost) -> Iterator[Client]:
    """Connect to the sandbox."""
    key = host.sandbox.access_key
    credentials = Credentials(key_id=key.id, secret=key.secret)
    url = host.sandbox.url
    with connect(CloudConfig(region="cn-hangzhou", endpoint_url=url, credentials=credentials)) as connected:
        yield connected


def clean_up(host: PushHost, client: Client, *remove: str, **options: Any) -> CleanupResult:
    """Clean up with the journals of the host."""
    return api.cleanup(client, state_dir=host.state_dir, remove=remove, **options)


def in_ecs(result: CleanupResult) -> dict[str, str]:
    """Return the kinds of the leftovers in ECS by id."""
    return {one.key: one.kind for one in result.leftovers if one.kind.is_in_ecs}


def test_an_image_that_does_not_boot_is_a_leftover(host: PushHost, client: Client) -> None:
    """It is listed, and removed by its id or a pattern of ids, not by a pattern for objects."""
    host.sandbox.state.configure(instance_console="panic")
    image_id = host.failure(ImportFailed, **NETWORK).details["image_id"]
    assert in_ecs(clean_up(host, client)) == {image_id: IMAGE}
    assert in_ecs(clean_up(host, client, "*")) == {image_id: IMAGE}
    assert [one.key for one in clean_up(host, client, "m-*").removed] == [image_id]
    assert not names(host)
    # The same command imports and tests again.
    host.sandbox.state.configure(instance_console="boots")
    assert host.push(**NETWORK).image_name == "web"
    assert in_ecs(clean_up(host, client)) == {}


def test_a_leftover_instance_is_removed(host: PushHost, client: Client) -> None:
    """By its id or a pattern; a repeated boot test starts another instance."""

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            raise Killed

    host.emit = emit
    denied = Fault(operation="DeleteInstance", status=403, code="Forbidden.RAM", count=None)
    host.sandbox.faults.add(denied)
    with pytest.raises(Killed):
        host.push(**NETWORK)
    host.sandbox.faults.clear()
    (instance,) = host.sandbox.state.part(Ecs).instances
    (image,) = host.sandbox.state.part(Ecs).images
    assert in_ecs(clean_up(host, client)) == {instance: INSTANCE, image: IMAGE}
    result = clean_up(host, client, "i-*")
    assert [one.kind for one in result.removed] == [INSTANCE]
    assert not instances(host)
    host.emit = lambda _: None
    assert host.push(**NETWORK).image_name == "web"
    assert (started(host), instances(host)) == (2, 0)
    assert clean_up(host, client, instance).removed == ()


def test_a_resource_in_use_by_a_boot_test_is_not_removed(host: PushHost, client: Client) -> None:
    """Instance and image are listed with the process that uses them; --force removes them."""
    seen: list[CleanupResult] = []

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting" and not seen:
            seen.append(clean_up(host, client))
            for one in seen[0].leftovers[:2]:
                with pytest.raises(RefusedError, match="nothing was removed") as caught:
                    clean_up(host, client, one.key)
                assert caught.value.code == "object-in-use"
            (instance,) = [key for key, kind in in_ecs(seen[0]).items() if kind is INSTANCE]
            clean_up(host, client, instance, force=True)

    host.emit = emit
    host.push(**NETWORK)
    assert {one.kind for one in seen[0].leftovers if one.used_by.startswith("process ")} == {INSTANCE, IMAGE}
    (tests,) = read_journals(host.state_dir / "boot-tests")
    past = past_run(tests[1])
    assert past is not None
    assert past.test is not None
    assert "deleted while it was tested" in past.test.judgement.reason
    assert f"image boot-test {past.test.image_id} --region cn-hangzhou --vswitch" in (past.test.judgement.remedy or "")


def test_without_permission_for_ecs_the_bucket_is_cleaned_up(host: PushHost) -> None:
    """A note says that leftovers in ECS are unknown."""
    host.push()
    sandbox = host.sandbox
    key = AccessKey(id="L", secret="s", principal="user/l", denied=frozenset({"ecs:DescribeInstances"}))
    sandbox.state.add_key(key)
    events: list[Event] = []
    config = CloudConfig(
        region="cn-hangzhou", endpoint_url=sandbox.url, credentials=Credentials(key_id="L", secret="s")
    )
    with connect(config) as limited:
        assert clean_up(host, limited, on_event=events.append).leftovers == ()
    assert any("Leftovers in ECS are not known" in one.message for one in events if isinstance(one, Noted))


def test_a_replaced_image_is_listed_and_removed_by_its_id_only(host: PushHost, client: Client) -> None:
    """It can be needed to go back, so a pattern does not remove it."""
    old = host.push().image_id
    disk = host.request.disks[0].path
    assert disk is not None
    write_small_disk(disk, seed=2)
    host.push(replace="rename")
    (left,) = [one for one in clean_up(host, client).leftovers if one.kind.is_in_ecs]
    assert (left.kind, left.key, left.name[:13]) == (LeftoverKind.REPLACED, old, "web-replaced-")
    assert in_ecs(clean_up(host, client, "m-*")) == {old: LeftoverKind.REPLACED}
    assert [one.key for one in clean_up(host, client, old).removed] == [old]
    assert names(host) == ["web"]
