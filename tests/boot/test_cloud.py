"""Tests of the boot test of an image, with an instance in a sandbox and a steered clock."""

import itertools
import json
import math
import os
import pty
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest

from aliyun_import import boot_tests
from aliyun_import.boot.cloud import boot_test_image
from aliyun_import.boot.instance_choice import (
    Cloud,
    CloudBootOptions,
    InstanceOffer,
    expected_offer,
    smallest,
    system_disk,
)
from aliyun_import.cli.main import app
from aliyun_import.context import Context
from aliyun_import.errors import (
    AccessError,
    InstanceTypeUnavailable,
    Interrupted,
    LocalStateError,
    RefusedError,
    TransientError,
)
from aliyun_import.events import BootProgress, Event, Warned
from aliyun_import.journal import Journal, open_journal
from aliyun_import.model.boot import CloudBootTest, InstanceCall, InstanceType, SystemDisk, Verdict
from aliyun_import.role.spec import boot_test_policy
from aliyun_import.sandbox.core.state import AccessKey, Clock, Settings
from aliyun_import.sandbox.ecs import instances as sandbox_instances
from aliyun_import.sandbox.ecs.state import Ecs, Instance, Network
from aliyun_import.sandbox.server import Sandbox
from tests.clocks import SandboxClock, steered_context
from tests.cloud import adapters
from tests.rows import each_row
from tests.sandbox.prepared import mapping, prepare
from tests.sandbox.vendor_sdk import call

VSWITCH, GROUP = "vsw-sandbox-cn-hangzhou-a", "sg-sandbox-cn-hangzhou"
OPTIONS = CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP)


class Killed(BaseException):
    """Simulated kill of the process; later calls have no effect."""


@dataclass
class KillPoint:
    """Count the steps of a run, and kill it before or after one. A step is a call of a service or the journal."""

    number: int = 0
    after: bool = False
    steps: list[str] = field(default_factory=list)
    is_killed: bool = False

    def wrap(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that counts the call of a step, and may kill the run before or after it."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.is_killed:
                raise Killed
            self.steps.append(name)
            is_last = len(self.steps) == self.number
            self.is_killed = is_last and not self.after
            if self.is_killed:
                raise Killed
            result = step(*args, **kwargs)
            if is_last:
                self.is_killed = True
                raise Killed
            return result

        return wrapped


class Killable:
    """Service or journal whose calls are steps of the run."""

    def __init__(self, wrapped: Any, kill_point: KillPoint) -> None:
        self._wrapped = wrapped
        self._kill_point = kill_point

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return self._kill_point.wrap(name, found) if callable(found) else found


@dataclass
class ImportedImage:
    """Image in a sandbox, and the directory of the journals of its boot tests."""

    sandbox: Sandbox
    image_id: str
    directory: Path
    clock: SandboxClock
    key: AccessKey | None = None
    events: list[Event] = field(default_factory=list)

    def cloud(self, kill_point: KillPoint | None = None, context: Context | None = None) -> Cloud:
        """Return the services of a run."""
        kill_point = kill_point or KillPoint()
        return Cloud(
            images=Killable(adapters.images(self.sandbox, key=self.key), kill_point),
            instances=Killable(adapters.instances(self.sandbox, key=self.key), kill_point),
            context=context or Context(clock=self.clock, emit=self.events.append),
            deleting=Killable(adapters.instances(self.sandbox, key=self.key), kill_point),
            deleting_context=Context(clock=self.clock, emit=self.events.append),
            region="cn-hangzhou",
        )

    def journal(self) -> Journal:
        """Open the journal of the boot tests of the image."""
        return open_journal(self.directory, {"name": self.image_id})

    def boot_test(
        self,
        options: CloudBootOptions = OPTIONS,
        *,
        kill_point: KillPoint | None = None,
        confirm: Callable[[InstanceOffer], None] = lambda _: None,
        context: Context | None = None,
    ) -> CloudBootTest:
        """Run a boot test of the image."""
        kill_point = kill_point or KillPoint()
        with self.journal() as journal:
            killable: Any = Killable(journal, kill_point)
            return boot_test_image(self.image_id, options, self.cloud(kill_point, context), killable, confirm=confirm)

    def instances(self) -> list[Instance]:
        """Return the instances that run now."""
        sandbox_instances.refresh(self.sandbox.state)
        return list(self.sandbox.state.part(Ecs).instances.values())

    def started(self) -> set[str]:
        """Return the responses to all calls that started an instance."""
        tokens = self.sandbox.state.part(Ecs).tokens.values()
        return {json.dumps(one.answer) for one in tokens if "InstanceIdSets" in one.answer}


@pytest.fixture
def image(tmp_path: Path) -> Iterator[ImportedImage]:
    """Import an image into a sandbox."""
    settings = Settings(import_s=0.0, image_ready_s=0.0, instance_pending_s=4.0, instance_start_s=4.0)
    with Sandbox.start(tmp_path / "sandbox", settings=settings, clock=Clock(running=False)) as sandbox:
        prepare(sandbox)
        image_id = str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()])["ImageId"])
        clock = SandboxClock(sandbox.clock.advance)
        yield ImportedImage(sandbox=sandbox, image_id=image_id, directory=tmp_path / "journals", clock=clock)


@pytest.mark.parametrize(
    ("console", "verdict"),
    [
        ("boots", Verdict.BOOTS),
        ("degraded", Verdict.DEGRADED),
        ("panic", Verdict.FAILS),
        ("no-root", Verdict.FAILS),
        ("emergency", Verdict.FAILS),
        ("grub", Verdict.FAILS),
        ("silent", Verdict.UNPROVEN),
    ],
)
def test_the_console_decides_and_the_instance_is_deleted(image: ImportedImage, console: str, verdict: Verdict) -> None:
    """The console is the evidence of the verdict."""
    image.sandbox.state.configure(instance_console=console)
    test = image.boot_test(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, timeout_s=60.0))
    assert test.judgement.verdict is verdict, test.judgement
    assert test.judgement.evidence
    assert "scripted console, no guest ran and the image was not started" in test.judgement.reason
    assert not image.instances()
    assert not test.left_over


def test_the_instance_is_small_has_no_public_address_and_is_released(image: ImportedImage) -> None:
    """It is confirmed before its start, and tagged; ECS releases it within 45 minutes."""
    offers: list[InstanceOffer] = []

    def confirm(offer: InstanceOffer) -> None:
        assert not image.instances()
        offers.append(offer)

    with pytest.raises(Killed):
        image.boot_test(kill_point=_after_start(), confirm=confirm)
    (instance,) = image.instances()
    assert offers[-1].instance_type.name == instance.instance_type == "ecs.t6-c1m1.large"
    assert offers[-1].zone == instance.zone == "cn-hangzhou-a"
    assert "import-boot-test" in instance.tags
    (sent,) = [one.target for one in image.sandbox.requests.entries("RunInstances") if "DryRun" not in one.target]
    assert "InternetMaxBandwidthOut=0" in sent
    assert instance.auto_release_s is not None
    assert 30 * 60 <= instance.auto_release_s - instance.created_s <= 45 * 60


def test_a_declined_offer_starts_no_instance(image: ImportedImage) -> None:
    """The run ends before the instance is started."""

    def confirm(offer: InstanceOffer) -> None:
        raise Interrupted("No.", code="interrupted", remedy=None)

    with pytest.raises(Interrupted):
        image.boot_test(confirm=confirm)
    assert not image.started()


# Steps that change the state. A kill before another step leaves the same state as a kill before the next of these.
# A kill after a step leaves the same state as a kill before the next step.
CHANGES = ("run_instance", "write", "delete_instance")


def killed_runs(image: ImportedImage, *, at_reads: bool) -> Iterator[KillPoint]:
    """Kill one run before each step, or only before each step that changes the state; yield after each kill."""
    whole = KillPoint()
    image.boot_test(kill_point=whole)
    assert [name for name in whole.steps if name in CHANGES] == [
        "run_instance", "write", "run_instance", "write", "write", "write", "delete_instance", "write"
    ]  # fmt: skip
    for number, name in enumerate(whole.steps, 1):
        if at_reads or name in CHANGES:
            kill_point = KillPoint(number=number)
            with pytest.raises(Killed):
                image.boot_test(kill_point=kill_point)
            yield kill_point


@pytest.mark.parametrize("at_reads", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_boot_test_killed_at_any_step_is_resumed_or_repeated(image: ImportedImage, at_reads: bool) -> None:
    """There are never two instances at once, none is left at the end, and the verdict is the same.

    An instance has its release time from the start, so it ends also if the command is not repeated.
    """
    for started, kill_point in enumerate(killed_runs(image, at_reads=at_reads), 2):
        left = image.instances()
        assert len(left) <= 1, kill_point.steps
        assert all((one.auto_release_s or math.inf) <= one.created_s + 46 * 60 for one in left), kill_point.steps
        assert image.boot_test().judgement.verdict is Verdict.BOOTS, kill_point.steps
        assert not image.instances(), kill_point.steps
        assert len(image.started()) == started, kill_point.steps


def test_an_instance_that_was_released_is_not_waited_for(image: ImportedImage) -> None:
    """After the release of the first instance, the same command starts another one."""
    with pytest.raises(Killed):
        image.boot_test(kill_point=_after_start())
    assert image.instances()
    image.clock.sleep(46 * 60)
    assert not image.instances()
    assert image.boot_test().judgement.verdict is Verdict.BOOTS
    assert len(image.started()) == 2
    assert not image.instances()


def test_an_instance_in_another_network_is_not_reused(image: ImportedImage) -> None:
    """The instance of a killed run in another vSwitch is deleted."""
    with pytest.raises(Killed):
        image.boot_test(kill_point=_after_start())
    (first,) = image.instances()
    other = CloudBootOptions(vswitch_id="vsw-sandbox-cn-hangzhou-b", security_group_id=GROUP)
    test = image.boot_test(other)
    assert test.instance_id != first.id
    assert not image.instances()


def _after_start() -> KillPoint:
    class AfterStart(KillPoint):
        def wrap(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
            if name == "run_instance":
                self.number = len(self.steps) + (1 if "write" in self.steps else 0)
            return super().wrap(name, step)

    return AfterStart(after=True)


def test_an_interrupt_deletes_the_instance(image: ImportedImage) -> None:
    """Ctrl-C ends the wait and deletes the instance."""
    context = steered_context(image.sandbox)

    def emit(event: Event) -> None:
        if image.instances():
            context.cancel.set()

    cancelled = Context(clock=context.clock, emit=emit, cancel=context.cancel)
    with pytest.raises(Interrupted):
        image.boot_test(context=cancelled)
    assert image.started()
    assert not image.instances()


def test_a_sold_out_type_is_replaced_by_the_next(image: ImportedImage) -> None:
    """If no type is in stock, the remedy names --vswitch."""
    image.sandbox.state.configure(instance_types_sold_out=("ecs.t6-c1m1.large",))
    assert image.boot_test().instance_type == "ecs.g6.large"
    sold_out = ("ecs.t6-c1m1.large", "ecs.g6.large", "ecs.g7.large", "ecs.g9i.large")
    image.sandbox.state.configure(instance_types_sold_out=sold_out)
    with pytest.raises(InstanceTypeUnavailable, match="cn-hangzhou-a") as caught:
        image.boot_test()
    assert "--vswitch" in (caught.value.remedy or "")


@each_row(
    ("options", "code"),
    [
        (CloudBootOptions(vswitch_id="vsw-none", security_group_id=GROUP), "request-invalid"),
        (CloudBootOptions(vswitch_id=VSWITCH, security_group_id="sg-none"), "request-invalid"),
        (CloudBootOptions(vswitch_id=VSWITCH, security_group_id="sg-sandbox2-cn-hangzhou"), "request-invalid"),
    ],
)
def test_an_invalid_network_is_refused_before_the_question(
    image: ImportedImage, options: CloudBootOptions, code: str
) -> None:
    """A dry run of RunInstances comes first."""
    with pytest.raises(RefusedError) as caught:
        image.boot_test(options, confirm=lambda _: pytest.fail("confirm was called"))
    assert caught.value.code == code
    assert re.search("--vswitch|--security-group", caught.value.remedy or "")


def test_a_missing_image_is_refused(image: ImportedImage) -> None:
    """No instance is started."""
    image.image_id = "m-none"
    with pytest.raises(RefusedError, match="m-none") as caught:
        image.boot_test()
    assert caught.value.code == "image-missing"


def test_the_policy_for_boot_tests_is_sufficient(image: ImportedImage, tmp_path: Path) -> None:
    """A user with this policy alone can run a boot test and save the screen."""
    policy = json.dumps(boot_test_policy())
    image.key = image.sandbox.state.add_key(AccessKey(id="K", secret="s", principal="user/b", policies=(policy,)))
    screen = tmp_path / "screen.jpg"
    test = image.boot_test(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, screen=screen))
    assert test.judgement.verdict is Verdict.BOOTS
    assert screen.stat().st_size
    assert not image.instances()


def test_windows_is_unproven(image: ImportedImage) -> None:
    """ECS has no console output of Windows."""
    fields: dict[str, Any] = {"Platform": "Windows Server 2022", "ImageName": "windows"}
    image.image_id = str(call(image.sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)["ImageId"])
    test = image.boot_test()
    assert test.judgement.verdict is Verdict.UNPROVEN
    assert "no console" in test.judgement.reason
    assert not image.instances()


class LostResponse(Killable):
    """Service that loses the response to RunInstances. With `is_listed` the instance is listed at once."""

    is_listed = True

    def run_instance(self, order: InstanceCall) -> str:
        """Start the instance, and raise TransientError."""
        instance_id = str(self._wrapped.run_instance(order))
        if not order.dry_run:
            raise TransientError(f"{instance_id} is lost.", code="connection-lost", remedy=None)
        return instance_id

    def instances(self, *, tags: Mapping[str, str]) -> tuple[object, ...]:
        """List the instances if `is_listed`."""
        return tuple(self._wrapped.instances(tags=tags)) if self.is_listed else ()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_lost_response_starts_no_second_instance(image: ImportedImage, is_listed: bool) -> None:
    """A listed instance is deleted at once; one that is not listed yet is used by the next run."""
    cloud = image.cloud()
    lost_response: Any = LostResponse(adapters.instances(image.sandbox), KillPoint())
    lost_response.is_listed = is_listed
    lost = Cloud(
        images=cloud.images,
        instances=lost_response,
        context=cloud.context,
        deleting=lost_response,
        deleting_context=cloud.deleting_context,
        region="cn-hangzhou",
    )
    with image.journal() as journal, pytest.raises(TransientError, match="is lost"):
        boot_test_image(image.image_id, OPTIONS, lost, journal, confirm=lambda _: None)
    assert len(image.instances()) == (0 if is_listed else 1)
    assert [one.code for one in image.events if isinstance(one, Warned)] == ([] if is_listed else ["instance-left"])
    first = [one.id for one in image.instances()]
    test = image.boot_test()
    assert test.judgement.verdict is Verdict.BOOTS
    assert is_listed or [test.instance_id] == first
    assert not image.instances()


def test_an_instance_that_cannot_be_deleted_is_named(image: ImportedImage) -> None:
    """The verdict is returned; a warning has the instance and the time of its release."""
    cloud = image.cloud()

    class Denied(Killable):
        def delete_instance(self, instance_id: str) -> None:
            raise RefusedError(f"{instance_id}: no.", code="no-right", remedy=None)

    denied = Denied(adapters.instances(image.sandbox), KillPoint())
    with image.journal() as journal:
        stuck = Cloud(
            images=cloud.images,
            instances=cloud.instances,
            context=cloud.context,
            deleting=denied,
            deleting_context=cloud.deleting_context,
            region="cn-hangzhou",
        )
        test = boot_test_image(image.image_id, OPTIONS, stuck, journal, confirm=lambda _: None)
    (left,) = image.instances()
    assert test.judgement.verdict is Verdict.BOOTS
    assert test.left_over == left.id
    (warning,) = [one for one in image.events if isinstance(one, Warned)]
    assert warning.code == "instance-left"
    assert left.id in warning.message
    assert "releases it at 20" in (warning.remedy or "")
    image.boot_test()
    assert not image.instances(), "the next run deletes it"


def test_console_and_screen_are_saved(image: ImportedImage, tmp_path: Path) -> None:
    """The complete console, and the image from ECS."""
    log, screen = tmp_path / "console.log", tmp_path / "screen.jpg"
    image.boot_test(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, log=log, screen=screen))
    assert "no guest ran" in log.read_text()
    assert screen.read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize("option", ["log", "screen"])
def test_a_file_that_cannot_be_written_is_refused_before_the_start(
    image: ImportedImage, tmp_path: Path, option: str
) -> None:
    """No instance is started."""
    files: dict[str, Any] = {option: tmp_path / "missing" / "file"}
    with pytest.raises(LocalStateError) as caught:
        image.boot_test(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, **files))
    assert caught.value.code == "file-unwritable"
    assert not image.started()


def test_a_full_disk_is_a_warning(image: ImportedImage) -> None:
    """The verdict is returned."""
    full = CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, log=Path("/dev/full"))
    assert image.boot_test(full).judgement.verdict is Verdict.BOOTS
    assert [one.code for one in image.events if isinstance(one, Warned)] == ["file-unwritable"]


def test_instance_types_are_sorted_by_size() -> None:
    """Then by name. Types with special hardware are left out."""
    types = tuple(
        InstanceType(name=name, processors=processors, memory_gib=memory)
        for name, processors, memory in (
            ("ecs.g7.large", 2, 8.0),
            ("ecs.gn6i.small", 1, 4.0),
            ("ecs.t5-lc2m1.nano", 1, 0.5),
        )
    )
    everything = frozenset(one.name for one in types)
    assert [one.name for one in smallest(types, everything)] == ["ecs.t5-lc2m1.nano", "ecs.g7.large"]
    assert smallest(types, frozenset()) == []


def test_the_category_of_the_system_disk_fits_the_image() -> None:
    """Categories that are too small are not chosen."""
    disks = (
        SystemDisk(category="cloud_essd", min_gib=20, max_gib=40),
        SystemDisk(category="cloud_efficiency", min_gib=20, max_gib=2048),
    )
    assert [system_disk(disks, size_gib=size) for size in (40, 41, 4096)] == [*disks, None]


@pytest.fixture
def command(image: ImportedImage, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs the command on the steered clock, and returns its exit code."""

    def steered(*, emit: Any = None, cancel: Any = None) -> Context:
        clock = SandboxClock(image.sandbox.clock.advance, cancel=cancel)
        return Context(clock=clock, emit=emit, **({"cancel": cancel} if cancel else {}))

    monkeypatch.setattr(boot_tests, "system_context", steered)
    for name, value in image.sandbox.environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> int:
        words = ["image", "boot-test", image.image_id, "--vswitch", VSWITCH, "--security-group", GROUP]
        words += ["--state-dir", str(image.directory), "--region", "cn-hangzhou", *arguments]
        return int(app.main(words, standalone_mode=False))

    return run


@pytest.mark.parametrize(("console", "exit_code"), [("boots", 0), ("panic", 7), ("silent", 0)])
def test_the_command_has_the_exit_code_of_the_verdict(
    image: ImportedImage, command: Callable[..., int], console: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an image that does not boot is a failure. JSON has instance type and evidence."""
    image.sandbox.state.configure(instance_console=console)
    assert command("--yes", "--output", "json", "--boot-timeout", "60") == exit_code
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "image boot-test"
    assert document["instance_type"] == "ecs.t6-c1m1.large"
    assert document["evidence"]
    assert not image.instances()


def test_the_command_prints_verdict_type_and_time(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the start it prints who pays and the maximum time."""
    assert command("--yes") == 0
    shown = capsys.readouterr()
    assert " boots after " in shown.out
    assert "(ecs.t6-c1m1.large)" in shown.out
    assert "cn-hangzhou-a, which your account pays for: ecs.t6-c1m1.large (2 processors, 2 GiB)" in shown.err
    assert "for 45 minutes at most" in shown.err


def test_without_a_terminal_the_command_needs_yes(image: ImportedImage, command: Callable[..., int]) -> None:
    """Without --yes no instance is started."""
    with pytest.raises(click.UsageError, match="--yes"):
        command()
    assert not image.started()


@pytest.mark.parametrize(("answer", "starts"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False)])
def test_at_a_terminal_the_command_asks_a_question(
    image: ImportedImage,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    starts: bool,
) -> None:
    """Only a yes starts the instance. The question has the maximum time."""
    terminal, end = pty.openpty()
    with os.fdopen(end) as stdin, os.fdopen(terminal, "wb", buffering=0) as keyboard:
        monkeypatch.setattr("sys.stdin", stdin)
        keyboard.write(answer.encode())
        assert command() == (0 if starts else 130)
    assert bool(image.started()) is starts
    assert "for 45 minutes at most. Start it? [y/N]" in capsys.readouterr().err


def tag(image: ImportedImage, *names: str) -> None:
    """Add the tag of boot tests to vSwitches and security groups."""
    networks = image.sandbox.state.part(Ecs).networks
    account_id = image.sandbox.access_key.account_id
    for name in names:
        networks[account_id, name] = Network(id=name, tags={"import-boot-test": "yes"})


def test_a_tagged_network_is_the_default(image: ImportedImage) -> None:
    """The only vSwitch and security group with the tag, or those in the VPC of the given option."""
    tag(image, "vsw-sandbox-cn-hangzhou-b", GROUP, "sg-sandbox2-cn-hangzhou")
    offers: list[InstanceOffer] = []
    image.boot_test(CloudBootOptions(), confirm=offers.append)
    image.boot_test(CloudBootOptions(vswitch_id="vsw-sandbox2-cn-hangzhou-a"), confirm=offers.append)
    image.boot_test(CloudBootOptions(security_group_id=GROUP), confirm=offers.append)
    assert [(one.vswitch_id, one.security_group_id) for one in offers] == [
        ("vsw-sandbox-cn-hangzhou-b", GROUP),
        ("vsw-sandbox2-cn-hangzhou-a", "sg-sandbox2-cn-hangzhou"),
        ("vsw-sandbox-cn-hangzhou-b", GROUP),
    ]


@pytest.mark.parametrize(
    ("tagged", "options", "message"),
    [
        ((), {}, "No vSwitch and no security group in cn-hangzhou has the tag import-boot-test"),
        ((VSWITCH,), {}, "No security group in cn-hangzhou"),
        ((VSWITCH, "vsw-sandbox-cn-hangzhou-b", GROUP), {}, f"Several vSwitches .*{VSWITCH}, "),
        ((VSWITCH, "sg-sandbox2-cn-hangzhou"), {}, "is in vpc-sandbox-cn-hangzhou, the security group"),
        ((GROUP,), {"vswitch_id": "vsw-sandbox2-cn-hangzhou-a"}, "is in vpc-sandbox2-cn-hangzhou"),
    ],
)
def test_an_ambiguous_or_missing_network_is_refused(
    image: ImportedImage, tagged: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    """The error has the options, and the command that adds the tag."""
    tag(image, *tagged)
    with pytest.raises(RefusedError, match=message) as caught:
        image.boot_test(CloudBootOptions(**options), confirm=lambda _: pytest.fail("confirm was called"))
    assert re.search("--vswitch|--security-group", caught.value.remedy or "")
    assert caught.value.code != "boot-network-missing" or len(tagged) > 1 or "TagResources" in str(caught.value.remedy)
    assert not image.started()


def test_the_expected_instance_is_determined_without_the_image(image: ImportedImage) -> None:
    """Network, stock and permissions are checked; no instance is started."""
    offer = expected_offer(OPTIONS, image.cloud(), architecture="x86_64", has_nvme=False, size_gib=30)
    assert (offer.instance_type.name, offer.zone, offer.disk_gib) == ("ecs.t6-c1m1.large", "cn-hangzhou-a", 30)
    arm = expected_offer(OPTIONS, image.cloud(), architecture="arm64", has_nvme=True, size_gib=None)
    assert (arm.instance_type.name, arm.disk_gib) == ("ecs.g8y.large", 20)
    image.sandbox.state.configure(instance_types_sold_out=("ecs.t6-c1m1.large", "ecs.g6.large", "ecs.g7.large"))
    with pytest.raises(InstanceTypeUnavailable, match="cn-hangzhou-a"):
        expected_offer(OPTIONS, image.cloud(), architecture="x86_64", has_nvme=False, size_gib=None)
    denied = AccessKey(id="D", secret="s", principal="user/d", denied=frozenset({"ecs:RunInstances"}))
    image.key = image.sandbox.state.add_key(denied)
    with pytest.raises(AccessError) as caught:
        expected_offer(OPTIONS, image.cloud(), architecture="arm64", has_nvme=True, size_gib=None)
    assert "ecs:RunInstances; `aliyun-import role policy --for boot-test` prints" in (caught.value.remedy or "")
    assert not image.started()


def test_progress_is_reported_every_second_in_each_phase(image: ImportedImage) -> None:
    """With the elapsed time and the last line of the console."""
    image.boot_test()
    shown = [one for one in image.events if isinstance(one, BootProgress)]
    assert list(dict.fromkeys(one.phase for one in shown)) == ["creating", "starting", "booting"]
    assert all(later.elapsed_s - one.elapsed_s < 1.5 for one, later in itertools.pairwise(shown))
    assert shown[0].line == ""
    assert shown[-1].line.startswith("sandbox login:")


def test_the_deletion_reports_progress(image: ImportedImage) -> None:
    """An instance that is being created cannot be deleted yet, so the run waits."""
    image.sandbox.state.configure(instance_pending_s=60.0)
    context = steered_context(image.sandbox)

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress):
            context.cancel.set()

    with pytest.raises(Interrupted):
        image.boot_test(context=Context(clock=context.clock, emit=emit, cancel=context.cancel))
    shown = [one for one in image.events if isinstance(one, BootProgress)]
    assert {one.phase for one in shown} == {"deleting"}
    assert len(shown) > 30
    assert not image.instances()


def test_a_known_verdict_is_returned_without_repeat(image: ImportedImage) -> None:
    """It comes from the journal, with its evidence. With `repeat`, the default, the image is tested again."""
    image.sandbox.state.configure(instance_console="no-root")
    first = image.boot_test()
    with image.journal() as journal:
        known = boot_test_image(
            image.image_id,
            OPTIONS,
            image.cloud(),
            journal,
            confirm=lambda _: pytest.fail("confirm was called"),
            repeat=False,
        )
    assert known.judgement == first.judgement
    assert known.instance_id == first.instance_id
    assert len(image.started()) == 1
    image.boot_test()
    assert len(image.started()) == 2
