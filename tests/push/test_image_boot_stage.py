"""Tests of the boot test of an image by a push: it runs before the image gets its name, and its verdict decides."""

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
from tests.push.push_host import PushHost, write_small_disk
from tests.rows import each_row

NETWORK: Mapping[str, Any] = {
    "boot_test": "cloud",
    "vswitch_id": "vsw-sandbox-cn-hangzhou-a",
    "security_group_id": "sg-sandbox-cn-hangzhou",
}


def names(host: PushHost) -> list[str]:
    """Return the names of the images that exist."""
    return [one.name for one in host.sandbox.state.part(Ecs).images.values()]


def instances(host: PushHost) -> int:
    """Return the number of instances that exist."""
    return len(host.sandbox.state.part(Ecs).instances)


def started(host: PushHost) -> int:
    """Return the number of instances that were ever started."""
    tokens = host.sandbox.state.part(Ecs).tokens.values()
    return len({json.dumps(one.answer) for one in tokens if "InstanceIdSets" in one.answer})


def test_an_image_that_boots_gets_its_name_after_the_test(host: PushHost) -> None:
    """It has a temporary name during the test. The result has the verdict, and no instance is left."""
    seen: list[str] = []

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            seen.extend(names(host))

    host.emit = emit
    result = host.push(**NETWORK)
    assert result.cloud_boot_test is not None
    assert result.cloud_boot_test.judgement.verdict is Verdict.BOOTS
    assert (result.image_name, names(host)) == ("web", ["web"])
    assert {one.rpartition("-")[0] for one in seen} == {"web-new"}
    assert not instances(host)
    stages = [one.stage for one in host.heard.events if isinstance(one, StageFinished)]
    assert stages[-4:] == ["wait", "boot", "finish", "finish"]
    assert [one.instance_type.name for one in host.offers] == ["ecs.t6-c1m1.large"]


def stop_in_wait(host: PushHost, **options: object) -> None:
    """Push, and interrupt it once the import has started."""

    def emit(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "wait":
            raise interrupted()

    host.emit = emit
    host.failure(Interrupted, **options)
    host.emit = ignore


@pytest.mark.parametrize("options", [NETWORK, {"replace": "rename"}])
@pytest.mark.parametrize("is_usable", [True, False])
def test_without_the_journal_the_import_of_a_killed_push_is_found(
    host: PushHost, tmp_path: Path, options: Mapping[str, Any], *, is_usable: bool
) -> None:
    """By its tags: the temporary name does not show which push created it."""
    if options is not NETWORK:
        host.push(force_new=True)
        host.request = replace(host.request, disks=(DiskRequest(path=write_small_disk(tmp_path / "b", seed=5)),))
    stop_in_wait(host, **options)
    if is_usable:
        host.sandbox.clock.advance(3600)
    before, sent = sorted(names(host)), host.count("UploadPart")
    assert any(one.startswith("web-new-") for one in before)
    host.state_dir = tmp_path / "another host"
    assert "which creates" in host.push(dry_run=True, **options).plan["steps"][0]
    stop_in_wait(host, **options)
    result = host.push(**options)
    assert (result.image_name, len(names(host))) == ("web", len(before))
    assert host.count("UploadPart") == sent
    assert host.push(**options).already_there


def test_without_the_journal_only_an_import_of_the_same_disk_is_used(host: PushHost, tmp_path: Path) -> None:
    """Another disk, or --force-new, creates another image."""
    stop_in_wait(host, **NETWORK)
    host.state_dir = tmp_path / "another host"
    result = host.push(force_new=True, **NETWORK)
    assert sorted(one.split("-new-")[0] for one in names(host)) == ["web", "web"]
    host.cloud.services.images.delete_image(result.image_id)
    disk = write_small_disk(tmp_path / "b.raw", seed=5)
    host.request = replace(host.request, disks=(DiskRequest(path=disk),))
    host.push(**NETWORK)
    assert sorted(one.split("-new-")[0] for one in names(host)) == ["web", "web"]


def test_an_image_that_does_not_boot_keeps_its_temporary_name(host: PushHost) -> None:
    """Exit code 7 with evidence and the commands for image and object; the test is not repeated."""
    host.sandbox.state.configure(instance_console="panic")
    error = host.failure(ImportFailed, **NETWORK)
    assert (error.code, int(error.exit_code)) == ("image-does-not-boot", 7)
    assert "Kernel panic - not syncing" in (error.cause or "")
    (name,) = names(host)
    assert name.startswith("web-new-")
    remedy = error.remedy or ""
    assert f"keeps the name {name}" in remedy
    assert f"--remove {error.details['image_id']} --remove aliyun-import/web/" in remedy
    again = f"image boot-test {error.details['image_id']} --region cn-hangzhou --vswitch vsw-sandbox-cn-hangzhou-a"
    assert f"`aliyun-import {again} --security-group sg-sandbox-cn-hangzhou`" in remedy
    assert "--skip-check boot-test gives it the name web" in remedy
    assert [one.stage for one in known_pushes(host.state_dir)] == [PushStage.FAILED]
    assert host.failure(ImportFailed, **NETWORK).cause == error.cause
    assert (started(host), instances(host)) == (1, 0)
    # Without the option, too, and in a dry run.
    assert host.failure(ImportFailed).code == error.code
    assert host.failure(ImportFailed, dry_run=True, **NETWORK).code == error.code
    assert host.push(skip_checks=frozenset({"boot-test"}), **NETWORK).image_name == "web"
    assert names(host) == ["web"]


@pytest.mark.parametrize("console", ["silent", "degraded"])
def test_an_unproven_or_degraded_boot_is_a_finding(host: PushHost, console: str) -> None:
    """The image gets its name."""
    host.sandbox.state.configure(instance_console=console)
    result = host.push(boot_timeout_s=60.0, **NETWORK)
    raised = [one.finding for one in host.heard.events if isinstance(one, FindingRaised)]
    severity = Severity.UNKNOWN if console == "silent" else Severity.WARNS
    assert [one.severity for one in raised if one.rule == "boot-test"] == [severity]
    assert names(host) == [result.image_name] == ["web"]


def test_replace_keeps_the_old_image_until_the_new_one_boots(host: PushHost, tmp_path: Path) -> None:
    """The names are exchanged after the boot test."""
    host.push()
    disk = write_small_disk(tmp_path / "other.raw", seed=5)
    other = PushHost(host.sandbox, tmp_path / "other", disk)
    host.sandbox.state.configure(instance_console="grub")
    failed = other.failure(ImportFailed, replace="delete", **NETWORK)
    assert sorted(names(host)) == ["web", failed.details["image_name"]]
    # A changed disk is another push; a warning names the image of the first one.
    host.sandbox.state.configure(instance_console="boots")
    write_small_disk(disk, seed=6)
    other.push(replace="delete", **NETWORK)
    assert sorted(names(host)) == ["web", failed.details["image_name"]]
    assert any(failed.details["image_id"] in one.message for one in other.heard.events if isinstance(one, Warned))


@each_row(
    ("options", "message"),
    [
        ({**NETWORK, "wait": False}, "--no-wait"),
        ({"vswitch_id": "vsw-x"}, "--vswitch needs --boot-test cloud"),
        ({"boot_test": "local", "security_group_id": "sg-x"}, "--security-group needs --boot-test cloud"),
        ({"boot_log": Path("log")}, "--boot-log needs --boot-test"),
    ],
)
def test_contradictions_are_refused_at_once(host: PushHost, options: Mapping[str, Any], message: str) -> None:
    """Before the first request."""
    error = host.failure(UsageError, **options)
    assert message in error.summary
    assert not host.sandbox.requests.entries()


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
def test_a_boot_test_that_will_be_refused_ends_the_push_before_anything_is_created(
    host: PushHost,
    options: dict[str, Any],
    settings: dict[str, Any],
    denied: str,
    kind: type[AliyunImportError],
) -> None:
    """Because of network, stock or permissions, in a push and in a dry run."""
    host.sandbox.state.configure(**settings)
    if denied:
        host.deny(denied)
    for dry_run in (True, False):
        host.failure(kind, dry_run=dry_run, **{**NETWORK, **options})
    assert not host.offers
    assert [host.count(operation) for operation in ("PutBucket", "CreateRole", "InitiateMultipartUpload")] == [0] * 3
    assert "DryRun=true" in "".join(one.target for one in host.sandbox.requests.entries("RunInstances")) or not (
        host.count("RunInstances")
    )


def test_a_sold_out_instance_type_is_replaced_before_the_upload(host: PushHost) -> None:
    """The list of types in stock may be outdated."""
    host.sandbox.faults.add(Fault(operation="RunInstances", status=403, code="OperationDenied.NoStock", count=1))
    host.push(**NETWORK)
    assert [one.instance_type.name for one in host.offers] == ["ecs.g6.large"]


def test_a_declined_offer_ends_the_push(host: PushHost) -> None:
    """The question is asked before the upload."""

    def decline(offer: object) -> None:
        raise Interrupted("No.", code="interrupted", remedy=None)

    host.confirm = decline
    host.failure(Interrupted, **NETWORK)
    assert not host.count("PutBucket")
    assert not host.count("InitiateMultipartUpload")


def test_a_dry_run_names_the_instance_and_asks_no_question(host: PushHost) -> None:
    """Nothing is started, and no file is created."""
    log = host.state_dir.parent / "console.log"
    plan = host.push(dry_run=True, boot_log=log, **NETWORK).plan["boot_test"]
    assert plan["instance_type"] == "ecs.t6-c1m1.large"
    assert (plan["zone"], plan["longest_life_s"]) == ("cn-hangzhou-a", 2700)
    assert (host.offers, started(host), log.exists()) == ([], 0, False)


def test_an_image_of_an_earlier_push_is_tested(host: PushHost) -> None:
    """An existing image is tested, once."""
    host.push()
    host.sandbox.state.configure(instance_console="panic")
    error = host.failure(ImportFailed, **NETWORK)
    assert "It has its name since an earlier run" in (error.remedy or "")
    host.failure(ImportFailed, **NETWORK)
    host.failure(ImportFailed, dry_run=True, **NETWORK)
    assert (started(host), names(host)) == (1, ["web"])
    assert host.push().already_there


def test_an_unproven_boot_is_tested_again_with_a_longer_timeout_only(host: PushHost) -> None:
    """The remedy is a longer --boot-timeout."""
    host.sandbox.state.configure(instance_console="silent")
    host.push(boot_timeout_s=60.0, **NETWORK)
    host.push(boot_timeout_s=60.0, **NETWORK)
    assert started(host) == 1
    host.sandbox.state.configure(instance_console="boots")
    again = host.push(boot_timeout_s=120.0, **NETWORK)
    assert again.cloud_boot_test is not None
    assert (again.cloud_boot_test.judgement.verdict, started(host)) == (Verdict.BOOTS, 2)
    host.push(boot_timeout_s=180.0, **NETWORK)
    assert started(host) == 2


def test_a_second_instance_is_confirmed_again(host: PushHost) -> None:
    """A push is killed and repeated with another vSwitch: the first instance is deleted, the second one confirmed."""

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            raise KeyboardInterrupt

    host.emit = emit
    host.sandbox.faults.add(Fault(operation="DeleteInstance", status=403, code="Forbidden.RAM", count=None))
    with pytest.raises(KeyboardInterrupt):
        host.push(**NETWORK)
    host.sandbox.faults.clear()
    host.emit = lambda _: None
    assert len(host.offers) == 1
    host.push(**{**NETWORK, "vswitch_id": "vsw-sandbox-cn-hangzhou-b"})
    assert [one.zone for one in host.offers] == ["cn-hangzhou-a", "cn-hangzhou-b"]
    assert (started(host), instances(host)) == (2, 0)


def test_a_name_that_is_taken_during_the_test_is_kept(host: PushHost, tmp_path: Path) -> None:
    """The new image keeps its temporary name until the same command runs with the name free."""
    disk = write_small_disk(tmp_path / "other.raw", seed=5)
    other = PushHost(host.sandbox, tmp_path / "other", disk)

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and not other.count("ImportImage", importing=True) > 1:
            other.push()

    host.emit = emit
    error = host.failure(NameTaken, **NETWORK)
    assert "is usable, and keeps the name web-new-" in (error.remedy or "")
    images = host.sandbox.state.part(Ecs).images
    taken = next(one for one in images.values() if one.name == "web")
    del images[taken.id]
    host.emit = lambda _: None
    assert host.push(**NETWORK).image_name == "web"
    assert started(host) == 1


def test_a_run_without_the_option_replaces_the_temporary_name(host: PushHost) -> None:
    """The image gets the name of the push."""
    host.push(wait=False, replace="rename")
    assert host.push().image_name == "web"
    assert names(host) == ["web"]


def test_an_interrupted_boot_test_deletes_its_instance_and_is_repeated(host: PushHost) -> None:
    """The error has the temporary name of the image; the next run tests it."""

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress) and event.phase == "booting":
            raise interrupted()

    host.emit = emit
    error = host.failure(Interrupted, **NETWORK)
    assert "is usable, and keeps the name web-new-" in (error.remedy or "")
    assert (started(host), instances(host)) == (1, 0)
    host.emit = lambda _: None
    assert host.push(**NETWORK).image_name == "web"
    assert (started(host), instances(host), len(names(host))) == (2, 0, 1)


REFUSALS = (
    ("RunInstances", "QuotaExceed.ElasticQuota", 5),
    ("RunInstances", "OperationDenied.NoStock", 5),
    ("RunInstances", "Account.Arrearage", 4),
    ("RunInstances", "Forbidden.RAM", 4),
    ("RunInstances", "InvalidParameter.NotMatch", 5),
    ("GetInstanceConsoleOutput", "Forbidden.RAM", 4),
)


def test_a_refusal_after_the_import_keeps_the_image(host: PushHost) -> None:
    """The error has its temporary name; the same command continues once the cause is gone."""
    for operation, code, exit_code in REFUSALS:
        fault = Fault(operation=operation, status=403, code=code, count=None)

        def emit(event: Event, fault: Fault = fault) -> None:
            if isinstance(event, StageFinished) and event.stage == "wait":
                host.sandbox.faults.add(fault)

        host.emit = emit
        error = host.failure(AliyunImportError, **NETWORK)
        assert int(error.exit_code) == exit_code, code
        assert "is usable, and keeps the name web-new-" in (error.remedy or ""), code
        assert not instances(host), code
        host.sandbox.faults.clear()
    host.emit = lambda _: None
    assert host.push(**NETWORK).image_name == "web"
    assert host.count("ImportImage", importing=True) == 1


def test_a_leftover_instance_is_deleted_by_the_next_run(host: PushHost) -> None:
    """A warning names the instance. The next run does not repeat the test."""
    host.sandbox.faults.add(Fault(operation="DeleteInstance", status=403, code="Forbidden.RAM", count=None))
    result = host.push(**NETWORK)
    assert result.cloud_boot_test is not None
    instance_id = result.cloud_boot_test.left_over
    assert instance_id
    assert any(instance_id in one.message for one in host.heard.events if isinstance(one, Warned))
    host.sandbox.faults.clear()
    assert host.push(**NETWORK).already_there
    assert (started(host), instances(host), names(host)) == (1, 0, ["web"])


def test_the_printed_policies_are_sufficient(host: PushHost) -> None:
    """A user needs the policy of pushes and that of boot tests, and no other."""
    policies = tuple(json.dumps(one) for one in (user_policy(), boot_test_policy()))
    key = host.sandbox.state.add_key(AccessKey(id="B", secret="s", principal="user/b", policies=policies))
    host.use(key)
    assert host.push(**NETWORK).image_name == "web"
