"""Tests of the boot test of a pushed image: it comes before the image gets its name, and its verdict counts."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.context import interrupted
from aliyun_import.errors import (
    AccessError,
    AliyunImportError,
    ImportFailed,
    InstanceTypeUnavailable,
    Interrupted,
    NameTaken,
    RefusedError,
    UsageError,
)
from aliyun_import.events import BootProgress, Event, FindingRaised, StageFinished, StageStarted, Warned, ignore
from aliyun_import.model.boot import Verdict
from aliyun_import.model.finding import Severity
from aliyun_import.model.request import DiskRequest
from aliyun_import.push.state import PushStage, known_pushes
from aliyun_import.role.spec import boot_test_policy, user_policy
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.state import AccessKey
from aliyun_import.sandbox.ecs.state import Ecs
from tests.push.machine import Machine, write_small_disk
from tests.rows import each_row

NETWORK: Mapping[str, Any] = {
    "boot_test": "cloud",
    "vswitch_id": "vsw-sandbox-cn-hangzhou-a",
    "security_group_id": "sg-sandbox-cn-hangzhou",
}


def names(machine: Machine) -> list[str]:
    """Return the names of the images that exist."""
    return [one.name for one in machine.sandbox.state.part(Ecs).images.values()]


def instances(machine: Machine) -> int:
    """Return the number of instances that exist."""
    return len(machine.sandbox.state.part(Ecs).instances)


def started(machine: Machine) -> int:
    """Return how many instances were started so far."""
    tokens = machine.sandbox.state.part(Ecs).tokens.values()
    return len({json.dumps(one.answer) for one in tokens if "InstanceIdSets" in one.answer})


def test_an_image_that_boots_gets_its_name_after_the_test(machine: Machine) -> None:
    """While it is tested it has a temporary name; the result has the verdict, and no instance is left."""
    seen: list[str] = []

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            seen.extend(names(machine))

    machine.emit = emit
    result = machine.push(**NETWORK)
    assert result.cloud_boot_test is not None
    assert result.cloud_boot_test.judgement.verdict is Verdict.BOOTS
    assert (result.image_name, names(machine)) == ("web", ["web"])
    assert {one.rpartition("-")[0] for one in seen} == {"web-new"}
    assert not instances(machine)
    stages = [one.stage for one in machine.heard.events if isinstance(one, StageFinished)]
    assert stages[-4:] == ["wait", "boot", "finish", "finish"]
    assert [one.instance_type.name for one in machine.offers] == ["ecs.t6-c1m1.large"]


def stop_in_wait(machine: Machine, **options: object) -> None:
    """Push, and stop when the import has begun."""

    def emit(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "wait":
            raise interrupted()

    machine.emit = emit
    machine.failure(Interrupted, **options)
    machine.emit = ignore


@pytest.mark.parametrize("options", [NETWORK, {"replace": "rename"}])
@pytest.mark.parametrize("is_usable", [True, False])
def test_without_the_journal_the_import_of_a_killed_push_is_found(
    machine: Machine, tmp_path: Path, options: Mapping[str, Any], *, is_usable: bool
) -> None:
    """By its tags: while it has its temporary name, nothing else shows that this push made it."""
    if options is not NETWORK:
        machine.push(force_new=True)
        machine.request = replace(machine.request, disks=(DiskRequest(path=write_small_disk(tmp_path / "b", seed=5)),))
    stop_in_wait(machine, **options)
    if is_usable:
        machine.sandbox.clock.advance(3600)
    before, sent = sorted(names(machine)), machine.count("UploadPart")
    assert any(one.startswith("web-new-") for one in before)
    machine.state_dir = tmp_path / "another machine"
    assert "which creates" in machine.push(dry_run=True, **options).plan["steps"][0]
    stop_in_wait(machine, **options)
    result = machine.push(**options)
    assert (result.image_name, len(names(machine))) == ("web", len(before))
    assert machine.count("UploadPart") == sent
    assert machine.push(**options).already_there


def test_without_the_journal_only_an_import_of_the_same_disk_is_taken(machine: Machine, tmp_path: Path) -> None:
    """Another disk, or --force-new, makes an image of its own."""
    stop_in_wait(machine, **NETWORK)
    machine.state_dir = tmp_path / "another machine"
    result = machine.push(force_new=True, **NETWORK)
    assert sorted(one.split("-new-")[0] for one in names(machine)) == ["web", "web"]
    machine.cloud.services.images.delete_image(result.image_id)
    disk = write_small_disk(tmp_path / "b.raw", seed=5)
    machine.request = replace(machine.request, disks=(DiskRequest(path=disk),))
    machine.push(**NETWORK)
    assert sorted(one.split("-new-")[0] for one in names(machine)) == ["web", "web"]


def test_an_image_that_does_not_boot_keeps_its_temporary_name(machine: Machine) -> None:
    """Exit code 7 with the evidence; image and object stay, the commands name them; the test is not repeated."""
    machine.sandbox.state.configure(instance_console="panic")
    error = machine.failure(ImportFailed, **NETWORK)
    assert (error.code, int(error.exit_code)) == ("image-does-not-boot", 7)
    assert "Kernel panic - not syncing" in (error.cause or "")
    (name,) = names(machine)
    assert name.startswith("web-new-")
    remedy = error.remedy or ""
    assert f"keeps the name {name}" in remedy
    assert f"--remove {error.details['image_id']} --remove aliyun-import/web/" in remedy
    again = f"image boot-test {error.details['image_id']} --region cn-hangzhou --vswitch vsw-sandbox-cn-hangzhou-a"
    assert f"`aliyun-import {again} --security-group sg-sandbox-cn-hangzhou`" in remedy
    assert "--skip-check boot-test gives it the name web" in remedy
    assert [one.stage for one in known_pushes(machine.state_dir)] == [PushStage.FAILED]
    assert machine.failure(ImportFailed, **NETWORK).cause == error.cause
    assert (started(machine), instances(machine)) == (1, 0)
    # Without the option, too, and in a dry run.
    assert machine.failure(ImportFailed).code == error.code
    assert machine.failure(ImportFailed, dry_run=True, **NETWORK).code == error.code
    assert machine.push(skip_checks=frozenset({"boot-test"}), **NETWORK).image_name == "web"
    assert names(machine) == ["web"]


@pytest.mark.parametrize("console", ["silent", "degraded"])
def test_without_failure_the_image_gets_its_name_with_a_finding(machine: Machine, console: str) -> None:
    """As with the boot test of a disk: what is not proven is no failure, and is said."""
    machine.sandbox.state.configure(instance_console=console)
    result = machine.push(boot_timeout_s=60.0, **NETWORK)
    raised = [one.finding for one in machine.heard.events if isinstance(one, FindingRaised)]
    severity = Severity.UNKNOWN if console == "silent" else Severity.WARNS
    assert [one.severity for one in raised if one.rule == "boot-test"] == [severity]
    assert names(machine) == [result.image_name] == ["web"]


def test_the_image_that_has_the_name_is_untouched_until_the_new_one_boots(machine: Machine, tmp_path: Path) -> None:
    """--replace exchanges the names after the test only."""
    machine.push()
    disk = write_small_disk(tmp_path / "other.raw", seed=5)
    other = Machine(machine.sandbox, tmp_path / "other", disk)
    machine.sandbox.state.configure(instance_console="grub")
    failed = other.failure(ImportFailed, replace="delete", **NETWORK)
    assert sorted(names(machine)) == ["web", failed.details["image_name"]]
    # A repaired disk is another push; the image of the first stays, and is named.
    machine.sandbox.state.configure(instance_console="boots")
    write_small_disk(disk, seed=6)
    other.push(replace="delete", **NETWORK)
    assert sorted(names(machine)) == ["web", failed.details["image_name"]]
    assert any(failed.details["image_id"] in one.message for one in other.heard.events if isinstance(one, Warned))


@each_row(
    ("options", "says"),
    [
        ({**NETWORK, "wait": False}, "--no-wait"),
        ({"vswitch_id": "vsw-x"}, "--vswitch needs --boot-test cloud"),
        ({"boot_test": "local", "security_group_id": "sg-x"}, "--security-group needs --boot-test cloud"),
        ({"boot_log": Path("log")}, "--boot-log needs --boot-test"),
    ],
)
def test_contradictions_are_refused_at_once(machine: Machine, options: Mapping[str, Any], says: str) -> None:
    """In the first second, before anything is asked of a service."""
    error = machine.failure(UsageError, **options)
    assert says in error.summary
    assert not machine.sandbox.requests.entries()


@pytest.mark.parametrize(
    ("options", "settings", "denied", "kind"),
    [
        ({"vswitch_id": "vsw-none"}, {}, "", RefusedError),
        ({"security_group_id": "sg-none"}, {}, "", RefusedError),
        ({"security_group_id": "sg-sandbox2-cn-hangzhou"}, {}, "", RefusedError),
        ({"vswitch_id": None}, {}, "", RefusedError),
        (
            {},
            {"instance_types_sold_out": ("ecs.t6-c1m1.large", "ecs.g6.large", "ecs.g7.large")},
            "",
            InstanceTypeUnavailable,
        ),
        ({}, {}, "ecs:RunInstances", AccessError),
        ({}, {}, "vpc:DescribeVSwitches", AccessError),
        ({}, {}, "ecs:DescribeInstanceTypes", AccessError),
    ],
)
def test_what_is_refused_is_known_before_anything_is_made(
    machine: Machine,
    options: dict[str, Any],
    settings: dict[str, Any],
    denied: str,
    kind: type[AliyunImportError],
) -> None:
    """Network, stock and rights, in the push and in its dry run; nothing is asked for, sent or created."""
    machine.sandbox.state.configure(**settings)
    if denied:
        machine.deny(denied)
    for dry_run in (True, False):
        machine.failure(kind, dry_run=dry_run, **{**NETWORK, **options})
    assert not machine.offers
    assert [machine.count(operation) for operation in ("PutBucket", "CreateRole", "InitiateMultipartUpload")] == [0] * 3
    assert "DryRun=true" in "".join(one.target for one in machine.sandbox.requests.entries("RunInstances")) or not (
        machine.count("RunInstances")
    )


def test_a_type_that_is_sold_out_makes_way_for_the_next_before_the_upload_too(machine: Machine) -> None:
    """The list of what is in stock may lag behind what is sold."""
    machine.sandbox.faults.add(Fault(operation="RunInstances", status=403, code="OperationDenied.NoStock", count=1))
    machine.push(**NETWORK)
    assert [one.instance_type.name for one in machine.offers] == ["ecs.g6.large"]


def test_what_is_not_confirmed_is_not_pushed(machine: Machine) -> None:
    """The question comes before the upload, and not hours later."""

    def decline(offer: object) -> None:
        raise Interrupted("No.", code="interrupted", remedy=None)

    machine.confirm = decline
    machine.failure(Interrupted, **NETWORK)
    assert not machine.count("PutBucket")
    assert not machine.count("InitiateMultipartUpload")


def test_a_dry_run_names_the_instance_and_asks_nobody(machine: Machine) -> None:
    """Nothing is started, and no file is created."""
    log = machine.state_dir.parent / "console.log"
    plan = machine.push(dry_run=True, boot_log=log, **NETWORK).plan["boot_test"]
    assert plan["instance_type"] == "ecs.t6-c1m1.large"
    assert (plan["zone"], plan["longest_life_s"]) == ("cn-hangzhou-a", 2700)
    assert (machine.offers, started(machine), log.exists()) == ([], 0, False)


def test_an_image_of_an_earlier_push_is_tested(machine: Machine) -> None:
    """The option is not ignored because the image is there already; the verdict is sought once."""
    machine.push()
    machine.sandbox.state.configure(instance_console="panic")
    error = machine.failure(ImportFailed, **NETWORK)
    assert "It has its name since an earlier run" in (error.remedy or "")
    machine.failure(ImportFailed, **NETWORK)
    machine.failure(ImportFailed, dry_run=True, **NETWORK)
    assert (started(machine), names(machine)) == (1, ["web"])
    assert machine.push().already_there


def test_what_was_not_proven_is_tested_again_with_more_time_only(machine: Machine) -> None:
    """The remedy of a boot that takes too long is a longer --boot-timeout, which the same command then obeys."""
    machine.sandbox.state.configure(instance_console="silent")
    machine.push(boot_timeout_s=60.0, **NETWORK)
    machine.push(boot_timeout_s=60.0, **NETWORK)
    assert started(machine) == 1
    machine.sandbox.state.configure(instance_console="boots")
    again = machine.push(boot_timeout_s=120.0, **NETWORK)
    assert again.cloud_boot_test is not None
    assert (again.cloud_boot_test.judgement.verdict, started(machine)) == (Verdict.BOOTS, 2)
    machine.push(boot_timeout_s=180.0, **NETWORK)
    assert started(machine) == 2


def test_an_instance_beside_one_that_cannot_be_continued_is_asked_for(machine: Machine) -> None:
    """Killed, and run again in another vSwitch: the first instance is deleted, and the second is paid for, too."""

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            raise KeyboardInterrupt

    machine.emit = emit
    machine.sandbox.faults.add(Fault(operation="DeleteInstance", status=403, code="Forbidden.RAM", count=None))
    with pytest.raises(KeyboardInterrupt):
        machine.push(**NETWORK)
    machine.sandbox.faults.clear()
    machine.emit = lambda _: None
    assert len(machine.offers) == 1
    machine.push(**{**NETWORK, "vswitch_id": "vsw-sandbox-cn-hangzhou-b"})
    assert [one.zone for one in machine.offers] == ["cn-hangzhou-a", "cn-hangzhou-b"]
    assert (started(machine), instances(machine)) == (2, 0)


def test_a_name_that_is_taken_meanwhile_is_not_taken_away(machine: Machine, tmp_path: Path) -> None:
    """The new image keeps its temporary name, and the same command gives it its own once that is free."""
    disk = write_small_disk(tmp_path / "other.raw", seed=5)
    other = Machine(machine.sandbox, tmp_path / "other", disk)

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and not other.count("ImportImage", importing=True) > 1:
            other.push()

    machine.emit = emit
    error = machine.failure(NameTaken, **NETWORK)
    assert "is usable, and keeps the name web-new-" in (error.remedy or "")
    images = machine.sandbox.state.part(Ecs).images
    taken = next(one for one in images.values() if one.name == "web")
    del images[taken.id]
    machine.emit = lambda _: None
    assert machine.push(**NETWORK).image_name == "web"
    assert started(machine) == 1


def test_a_temporary_name_is_given_up_by_a_run_without_the_option(machine: Machine) -> None:
    """A push that began with a boot test, and ends without, gives the image its name."""
    machine.push(wait=False, replace="rename")
    assert machine.push().image_name == "web"
    assert names(machine) == ["web"]


def test_interrupted_it_deletes_the_instance_and_is_resumed(machine: Machine) -> None:
    """The error says which name the image has; the next run tests it."""

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            raise interrupted()

    machine.emit = emit
    error = machine.failure(Interrupted, **NETWORK)
    assert "is usable, and keeps the name web-new-" in (error.remedy or "")
    assert (started(machine), instances(machine)) == (1, 0)
    machine.emit = lambda _: None
    assert machine.push(**NETWORK).image_name == "web"
    assert (started(machine), instances(machine), len(names(machine))) == (2, 0, 1)


REFUSALS = (
    ("RunInstances", "QuotaExceed.ElasticQuota", 5),
    ("RunInstances", "OperationDenied.NoStock", 5),
    ("RunInstances", "Account.Arrearage", 4),
    ("RunInstances", "Forbidden.RAM", 4),
    ("RunInstances", "InvalidParameter.NotMatch", 5),
    ("GetInstanceConsoleOutput", "Forbidden.RAM", 4),
)


def test_a_refusal_after_the_import_keeps_the_image(machine: Machine) -> None:
    """The error says that the image is usable and under which name; once it is mended the same command goes on."""
    for operation, code, exit_code in REFUSALS:
        fault = Fault(operation=operation, status=403, code=code, count=None)

        def emit(event: Event, fault: Fault = fault) -> None:
            if isinstance(event, StageFinished) and event.stage == "wait":
                machine.sandbox.faults.add(fault)

        machine.emit = emit
        error = machine.failure(AliyunImportError, **NETWORK)
        assert int(error.exit_code) == exit_code, code
        assert "is usable, and keeps the name web-new-" in (error.remedy or ""), code
        assert not instances(machine), code
        machine.sandbox.faults.clear()
    machine.emit = lambda _: None
    assert machine.push(**NETWORK).image_name == "web"
    assert machine.count("ImportImage", importing=True) == 1


def test_an_instance_that_is_left_is_deleted_by_the_next_run(machine: Machine) -> None:
    """The image gets its name, the warning names the instance; the same command deletes it and tests no second time."""
    machine.sandbox.faults.add(Fault(operation="DeleteInstance", status=403, code="Forbidden.RAM", count=None))
    result = machine.push(**NETWORK)
    assert result.cloud_boot_test is not None
    left = result.cloud_boot_test.left_over
    assert left
    assert any(left in one.message for one in machine.heard.events if isinstance(one, Warned))
    machine.sandbox.faults.clear()
    assert machine.push(**NETWORK).already_there
    assert (started(machine), instances(machine), names(machine)) == (1, 0, ["web"])


def test_the_policies_are_enough(machine: Machine) -> None:
    """A user with the policy of a push and that of boot tests, and no other, pushes and tests."""
    policies = tuple(json.dumps(one) for one in (user_policy(), boot_test_policy()))
    key = machine.sandbox.state.add_key(AccessKey(id="B", secret="s", principal="user/b", policies=policies))
    machine.use(key)
    assert machine.push(**NETWORK).image_name == "web"
