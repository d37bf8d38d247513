"""Tests of the boot test of an image: an instance in the sandbox, on the steered clock."""

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
    """The process is dead: nothing that it does afterwards has an effect."""


@dataclass
class Fate:
    """Ends a run at its n-th step, before or after it; a step is a call of a service or a line of the journal."""

    die_at: int = 0
    after: bool = False
    steps: list[str] = field(default_factory=list)
    is_dead: bool = False

    def around(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        """Make a step one that may be the last."""

        def stepping(*args: Any, **kwargs: Any) -> Any:
            if self.is_dead:
                raise Killed
            self.steps.append(name)
            is_last = len(self.steps) == self.die_at
            self.is_dead = is_last and not self.after
            if self.is_dead:
                raise Killed
            result = step(*args, **kwargs)
            if is_last:
                self.is_dead = True
                raise Killed
            return result

        return stepping


class Mortal:
    """A service, or a journal, whose every call may be the last."""

    def __init__(self, wrapped: Any, fate: Fate) -> None:
        self._wrapped = wrapped
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        return self._fate.around(name, found) if callable(found) else found


@dataclass
class Place:
    """A sandbox with an image, and the directory of the journals."""

    sandbox: Sandbox
    image_id: str
    directory: Path
    clock: SandboxClock
    key: AccessKey | None = None
    events: list[Event] = field(default_factory=list)

    def cloud(self, fate: Fate | None = None, context: Context | None = None) -> Cloud:
        """Return the services of a run."""
        fate = fate or Fate()
        return Cloud(
            images=Mortal(adapters.images(self.sandbox, key=self.key), fate),
            instances=Mortal(adapters.instances(self.sandbox, key=self.key), fate),
            context=context or Context(clock=self.clock, emit=self.events.append),
            ending=Mortal(adapters.instances(self.sandbox, key=self.key), fate),
            ending_context=Context(clock=self.clock, emit=self.events.append),
            region="cn-hangzhou",
        )

    def journal(self) -> Journal:
        """Open the journal of the test of the image."""
        return open_journal(self.directory, {"name": self.image_id})

    def run(
        self,
        options: CloudBootOptions = OPTIONS,
        *,
        fate: Fate | None = None,
        confirm: Callable[[InstanceOffer], None] = lambda _: None,
        context: Context | None = None,
    ) -> CloudBootTest:
        """Test the image."""
        fate = fate or Fate()
        with self.journal() as journal:
            mortal: Any = Mortal(journal, fate)
            return boot_test_image(self.image_id, options, self.cloud(fate, context), mortal, confirm=confirm)

    def instances(self) -> list[Instance]:
        """Return the instances that run now."""
        sandbox_instances.refresh(self.sandbox.state)
        return list(self.sandbox.state.part(Ecs).instances.values())

    def started(self) -> set[str]:
        """Return the answers to all calls that started an instance."""
        tokens = self.sandbox.state.part(Ecs).tokens.values()
        return {json.dumps(one.answer) for one in tokens if "InstanceIdSets" in one.answer}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Start a sandbox, and import an image."""
    settings = Settings(import_s=0.0, image_ready_s=0.0, instance_pending_s=4.0, instance_start_s=4.0)
    with Sandbox.start(tmp_path / "sandbox", settings=settings, clock=Clock(running=False)) as sandbox:
        prepare(sandbox)
        image_id = str(call(sandbox, "ImportImage", DiskDeviceMappings=[mapping()])["ImageId"])
        clock = SandboxClock(sandbox.clock.advance)
        yield Place(sandbox=sandbox, image_id=image_id, directory=tmp_path / "journals", clock=clock)


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
def test_the_console_decides_and_the_instance_is_deleted(place: Place, console: str, verdict: Verdict) -> None:
    """Each console has its verdict, with the console as evidence; no instance is left."""
    place.sandbox.state.configure(instance_console=console)
    test = place.run(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, timeout_s=60.0))
    assert test.judgement.verdict is verdict, test.judgement
    assert test.judgement.evidence
    assert "scripted console, no guest ran and the image was not started" in test.judgement.reason
    assert not place.instances()
    assert not test.left_over


def test_the_instance_is_the_smallest_without_a_public_address_and_with_a_last_time(place: Place) -> None:
    """It is offered before it is started, and is tagged; the service releases it within 45 minutes."""
    offers: list[InstanceOffer] = []

    def confirm(offer: InstanceOffer) -> None:
        assert not place.instances()
        offers.append(offer)

    with pytest.raises(Killed):
        place.run(fate=_after_start(), confirm=confirm)
    (instance,) = place.instances()
    assert offers[-1].instance_type.name == instance.instance_type == "ecs.t6-c1m1.large"
    assert offers[-1].zone == instance.zone == "cn-hangzhou-a"
    assert "import-boot-test" in instance.tags
    (sent,) = [one.target for one in place.sandbox.requests.entries("RunInstances") if "DryRun" not in one.target]
    assert "InternetMaxBandwidthOut=0" in sent
    assert instance.auto_release_s is not None
    assert 30 * 60 <= instance.auto_release_s - instance.created_s <= 45 * 60


def test_what_is_not_confirmed_is_not_started(place: Place) -> None:
    """A refusal ends the run before anything costs."""

    def confirm(offer: InstanceOffer) -> None:
        raise Interrupted("No.", code="interrupted", remedy=None)

    with pytest.raises(Interrupted):
        place.run(confirm=confirm)
    assert not place.started()


# The steps that change something. Killed before another step, a run leaves what it leaves killed before the next of
# these, and killed after a step what it leaves killed before the next one.
CHANGES = ("run_instance", "write", "delete_instance")


def killed_runs(place: Place, *, at_reads: bool) -> Iterator[Fate]:
    """Kill runs, one before each step that changes something, or before each step."""
    whole = Fate()
    place.run(fate=whole)
    assert [name for name in whole.steps if name in CHANGES] == [
        "run_instance", "write", "run_instance", "write", "write", "write", "delete_instance", "write"
    ]  # fmt: skip
    for number, name in enumerate(whole.steps, 1):
        if at_reads or name in CHANGES:
            fate = Fate(die_at=number)
            with pytest.raises(Killed):
                place.run(fate=fate)
            yield fate


@pytest.mark.parametrize("at_reads", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_killed_at_any_step_it_is_continued_or_ended(place: Place, at_reads: bool) -> None:
    """Run again, there is never a second instance beside the first, and none at the end; the verdict is the same.

    Nor does an instance outlive its release if nobody runs the command again: it has its time from the start.
    """
    for started, fate in enumerate(killed_runs(place, at_reads=at_reads), 2):
        left = place.instances()
        assert len(left) <= 1, fate.steps
        assert all((one.auto_release_s or math.inf) <= one.created_s + 46 * 60 for one in left), fate.steps
        assert place.run().judgement.verdict is Verdict.BOOTS, fate.steps
        assert not place.instances(), fate.steps
        assert len(place.started()) == started, fate.steps


def test_an_instance_that_was_released_is_not_waited_for(place: Place) -> None:
    """Long after a kill, the same command starts an instance of its own."""
    with pytest.raises(Killed):
        place.run(fate=_after_start())
    assert place.instances()
    place.clock.sleep(46 * 60)
    assert not place.instances()
    assert place.run().judgement.verdict is Verdict.BOOTS
    assert len(place.started()) == 2
    assert not place.instances()


def test_another_network_is_another_test(place: Place) -> None:
    """The instance of a killed test in another vSwitch is deleted, not continued with."""
    with pytest.raises(Killed):
        place.run(fate=_after_start())
    (first,) = place.instances()
    other = CloudBootOptions(vswitch_id="vsw-sandbox-cn-hangzhou-b", security_group_id=GROUP)
    test = place.run(other)
    assert test.instance_id != first.id
    assert not place.instances()


def _after_start() -> Fate:
    class AfterStart(Fate):
        def around(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
            if name == "run_instance":
                self.die_at = len(self.steps) + (1 if "write" in self.steps else 0)
            return super().around(name, step)

    return AfterStart(after=True)


def test_cancelled_it_deletes_the_instance(place: Place) -> None:
    """Ctrl-C ends the wait, and the instance with it."""
    context = steered_context(place.sandbox)

    def emit(event: Event) -> None:
        if place.instances():
            context.cancel.set()

    cancelled = Context(clock=context.clock, emit=emit, cancel=context.cancel)
    with pytest.raises(Interrupted):
        place.run(context=cancelled)
    assert place.started()
    assert not place.instances()


def test_a_sold_out_type_makes_way_for_the_next(place: Place) -> None:
    """What is not in stock is not asked for; nothing in stock is a refusal that says what to do."""
    place.sandbox.state.configure(instance_types_sold_out=("ecs.t6-c1m1.large",))
    assert place.run().instance_type == "ecs.g6.large"
    sold_out = ("ecs.t6-c1m1.large", "ecs.g6.large", "ecs.g7.large", "ecs.g9i.large")
    place.sandbox.state.configure(instance_types_sold_out=sold_out)
    with pytest.raises(InstanceTypeUnavailable, match="cn-hangzhou-a") as caught:
        place.run()
    assert "--vswitch" in (caught.value.remedy or "")


@each_row(
    ("options", "code"),
    [
        (CloudBootOptions(vswitch_id="vsw-none", security_group_id=GROUP), "request-invalid"),
        (CloudBootOptions(vswitch_id=VSWITCH, security_group_id="sg-none"), "request-invalid"),
        (CloudBootOptions(vswitch_id=VSWITCH, security_group_id="sg-sandbox2-cn-hangzhou"), "request-invalid"),
    ],
)
def test_a_network_that_is_none_is_refused_before_it_is_asked(
    place: Place, options: CloudBootOptions, code: str
) -> None:
    """A dry run asks the service first."""
    with pytest.raises(RefusedError) as caught:
        place.run(options, confirm=lambda _: pytest.fail("asked"))
    assert caught.value.code == code
    assert re.search("--vswitch|--security-group", caught.value.remedy or "")


def test_an_image_that_is_not_there_is_refused(place: Place) -> None:
    """Nothing is started of it."""
    place.image_id = "m-none"
    with pytest.raises(RefusedError, match="m-none") as caught:
        place.run()
    assert caught.value.code == "image-missing"


def test_the_policy_for_boot_tests_is_enough(place: Place, tmp_path: Path) -> None:
    """A user with this policy and no other tests an image, and saves the screen."""
    policy = json.dumps(boot_test_policy())
    place.key = place.sandbox.state.add_key(AccessKey(id="K", secret="s", principal="user/b", policies=(policy,)))
    screen = tmp_path / "screen.jpg"
    test = place.run(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, screen=screen))
    assert test.judgement.verdict is Verdict.BOOTS
    assert screen.stat().st_size
    assert not place.instances()


def test_windows_is_unproven(place: Place) -> None:
    """ECS offers no console of Windows, and silence is no failure."""
    fields: dict[str, Any] = {"Platform": "Windows Server 2022", "ImageName": "windows"}
    place.image_id = str(call(place.sandbox, "ImportImage", DiskDeviceMappings=[mapping()], **fields)["ImageId"])
    test = place.run()
    assert test.judgement.verdict is Verdict.UNPROVEN
    assert "no console" in test.judgement.reason
    assert not place.instances()


class Losing(Mortal):
    """A service whose answer to RunInstances is lost; `is_listed`: the instance is listed at once."""

    is_listed = True

    def run_instance(self, order: InstanceCall) -> str:
        """Start the instance, and lose the answer."""
        instance_id = str(self._wrapped.run_instance(order))
        if not order.dry_run:
            raise TransientError(f"{instance_id} is lost.", code="connection-lost", remedy=None)
        return instance_id

    def instances(self, *, tags: Mapping[str, str]) -> tuple[object, ...]:
        """List the instances, later."""
        return tuple(self._wrapped.instances(tags=tags)) if self.is_listed else ()


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_lost_answer_starts_no_second_instance(place: Place, is_listed: bool) -> None:
    """An instance that is listed is deleted at once; one that is not yet is the one of the next run."""
    cloud = place.cloud()
    losing: Any = Losing(adapters.instances(place.sandbox), Fate())
    losing.is_listed = is_listed
    lost = Cloud(
        images=cloud.images,
        instances=losing,
        context=cloud.context,
        ending=losing,
        ending_context=cloud.ending_context,
        region="cn-hangzhou",
    )
    with place.journal() as journal, pytest.raises(TransientError, match="is lost"):
        boot_test_image(place.image_id, OPTIONS, lost, journal, confirm=lambda _: None)
    assert len(place.instances()) == (0 if is_listed else 1)
    assert [one.code for one in place.events if isinstance(one, Warned)] == ([] if is_listed else ["instance-left"])
    first = [one.id for one in place.instances()]
    test = place.run()
    assert test.judgement.verdict is Verdict.BOOTS
    assert is_listed or [test.instance_id] == first
    assert not place.instances()


def test_an_instance_that_cannot_be_deleted_is_named(place: Place) -> None:
    """The verdict is kept; the warning names the instance and when it is released."""
    cloud = place.cloud()

    class Denied(Mortal):
        def delete_instance(self, instance_id: str) -> None:
            raise RefusedError(f"{instance_id}: no.", code="no-right", remedy=None)

    denied = Denied(adapters.instances(place.sandbox), Fate())
    with place.journal() as journal:
        stuck = Cloud(
            images=cloud.images,
            instances=cloud.instances,
            context=cloud.context,
            ending=denied,
            ending_context=cloud.ending_context,
            region="cn-hangzhou",
        )
        test = boot_test_image(place.image_id, OPTIONS, stuck, journal, confirm=lambda _: None)
    (left,) = place.instances()
    assert test.judgement.verdict is Verdict.BOOTS
    assert test.left_over == left.id
    (warning,) = [one for one in place.events if isinstance(one, Warned)]
    assert warning.code == "instance-left"
    assert left.id in warning.message
    assert "releases it at 20" in (warning.remedy or "")
    place.run()
    assert not place.instances(), "the next run deletes it"


def test_console_and_screen_are_saved(place: Place, tmp_path: Path) -> None:
    """The whole console as it is, and the picture of the service."""
    log, screen = tmp_path / "console.log", tmp_path / "screen.jpg"
    place.run(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, log=log, screen=screen))
    assert "no guest ran" in log.read_text()
    assert screen.read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize("option", ["log", "screen"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_costs(
    place: Place, tmp_path: Path, option: str
) -> None:
    """The verdict is paid for, so where it goes is known first."""
    files: dict[str, Any] = {option: tmp_path / "missing" / "file"}
    with pytest.raises(LocalStateError) as caught:
        place.run(CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, **files))
    assert caught.value.code == "file-unwritable"
    assert not place.started()


def test_a_full_disk_does_not_hide_the_verdict(place: Place) -> None:
    """What can't be saved is a warning."""
    full = CloudBootOptions(vswitch_id=VSWITCH, security_group_id=GROUP, log=Path("/dev/full"))
    assert place.run(full).judgement.verdict is Verdict.BOOTS
    assert [one.code for one in place.events if isinstance(one, Warned)] == ["file-unwritable"]


def test_small_types_come_first_and_special_hardware_not_at_all() -> None:
    """Sizes decide, then the name."""
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


def test_the_system_disk_holds_the_image() -> None:
    """A category that is too small is not taken."""
    disks = (
        SystemDisk(category="cloud_essd", min_gib=20, max_gib=40),
        SystemDisk(category="cloud_efficiency", min_gib=20, max_gib=2048),
    )
    assert [system_disk(disks, size_gib=size) for size in (40, 41, 4096)] == [*disks, None]


@pytest.fixture
def command(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs the command on the steered clock, and returns its exit code."""

    def steered(*, emit: Any = None, cancel: Any = None) -> Context:
        clock = SandboxClock(place.sandbox.clock.advance, cancel=cancel)
        return Context(clock=clock, emit=emit, **({"cancel": cancel} if cancel else {}))

    monkeypatch.setattr(boot_tests, "system_context", steered)
    for name, value in place.sandbox.environment().items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> int:
        words = ["image", "boot-test", place.image_id, "--vswitch", VSWITCH, "--security-group", GROUP]
        words += ["--state-dir", str(place.directory), "--region", "cn-hangzhou", *arguments]
        return int(app.main(words, standalone_mode=False))

    return run


@pytest.mark.parametrize(("console", "exit_code"), [("boots", 0), ("panic", 7), ("silent", 0)])
def test_the_command_has_the_exit_code_of_the_verdict(
    place: Place, command: Callable[..., int], console: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an image that does not boot is a failure; JSON has the verdict and the evidence."""
    place.sandbox.state.configure(instance_console=console)
    assert command("--yes", "--output", "json", "--boot-timeout", "60") == exit_code
    document = json.loads(capsys.readouterr().out)
    assert document["command"] == "image boot-test"
    assert document["instance_type"] == "ecs.t6-c1m1.large"
    assert document["evidence"]
    assert not place.instances()


def test_the_command_says_what_it_saw(command: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """For people: the verdict, the type and how long it took; before it, when the instance ends."""
    assert command("--yes") == 0
    shown = capsys.readouterr()
    assert " boots after " in shown.out
    assert "(ecs.t6-c1m1.large)" in shown.out
    assert "cn-hangzhou-a, which your account pays for: ecs.t6-c1m1.large (2 processors, 2 GiB)" in shown.err
    assert "for 45 minutes at most" in shown.err


def test_without_a_terminal_it_asks_nobody(place: Place, command: Callable[..., int]) -> None:
    """A script says --yes; nothing is started without it."""
    with pytest.raises(click.UsageError, match="--yes"):
        command()
    assert not place.started()


@pytest.mark.parametrize(("answer", "starts"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False)])
def test_at_a_terminal_it_asks(
    place: Place,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    starts: bool,
) -> None:
    """Only a yes starts the instance; what it costs is said in the question."""
    terminal, end = pty.openpty()
    with os.fdopen(end) as stdin, os.fdopen(terminal, "wb", buffering=0) as keyboard:
        monkeypatch.setattr("sys.stdin", stdin)
        keyboard.write(answer.encode())
        assert command() == (0 if starts else 130)
    assert bool(place.started()) is starts
    assert "for 45 minutes at most. Start it? [y/N]" in capsys.readouterr().err


def tag(place: Place, *names: str) -> None:
    """Give vSwitches and security groups the tag of boot tests, of any value."""
    networks = place.sandbox.state.part(Ecs).networks
    account_id = place.sandbox.access_key.account_id
    for name in names:
        networks[account_id, name] = Network(id=name, tags={"import-boot-test": "yes"})


def test_a_tagged_network_need_not_be_given(place: Place) -> None:
    """The only vSwitch and the only security group with the tag are taken, or the one in the VPC of what is given."""
    tag(place, "vsw-sandbox-cn-hangzhou-b", GROUP, "sg-sandbox2-cn-hangzhou")
    offers: list[InstanceOffer] = []
    place.run(CloudBootOptions(), confirm=offers.append)
    place.run(CloudBootOptions(vswitch_id="vsw-sandbox2-cn-hangzhou-a"), confirm=offers.append)
    place.run(CloudBootOptions(security_group_id=GROUP), confirm=offers.append)
    assert [(one.vswitch_id, one.security_group_id) for one in offers] == [
        ("vsw-sandbox-cn-hangzhou-b", GROUP),
        ("vsw-sandbox2-cn-hangzhou-a", "sg-sandbox2-cn-hangzhou"),
        ("vsw-sandbox-cn-hangzhou-b", GROUP),
    ]


@pytest.mark.parametrize(
    ("tagged", "options", "says"),
    [
        ((), {}, "No vSwitch and no security group in cn-hangzhou has the tag import-boot-test"),
        ((VSWITCH,), {}, "No security group in cn-hangzhou"),
        ((VSWITCH, "vsw-sandbox-cn-hangzhou-b", GROUP), {}, f"Several vSwitches .*{VSWITCH}, "),
        ((VSWITCH, "sg-sandbox2-cn-hangzhou"), {}, "is in vpc-sandbox-cn-hangzhou, the security group"),
        ((GROUP,), {"vswitch_id": "vsw-sandbox2-cn-hangzhou-a"}, "is in vpc-sandbox2-cn-hangzhou"),
    ],
)
def test_a_network_that_is_not_clear_is_asked_for(
    place: Place, tagged: tuple[str, ...], options: dict[str, Any], says: str
) -> None:
    """Nothing is guessed: the error names the options, and how to tag."""
    tag(place, *tagged)
    with pytest.raises(RefusedError, match=says) as caught:
        place.run(CloudBootOptions(**options), confirm=lambda _: pytest.fail("asked"))
    assert re.search("--vswitch|--security-group", caught.value.remedy or "")
    assert caught.value.code != "boot-network-missing" or len(tagged) > 1 or "TagResources" in str(caught.value.remedy)
    assert not place.started()


def test_the_expected_instance_is_known_before_the_image(place: Place) -> None:
    """Network, stock and the right to start instances are asked for; nothing is started."""
    offer = expected_offer(OPTIONS, place.cloud(), architecture="x86_64", has_nvme=False, size_gib=30)
    assert (offer.instance_type.name, offer.zone, offer.disk_gib) == ("ecs.t6-c1m1.large", "cn-hangzhou-a", 30)
    arm = expected_offer(OPTIONS, place.cloud(), architecture="arm64", has_nvme=True, size_gib=None)
    assert (arm.instance_type.name, arm.disk_gib) == ("ecs.g8y.large", 20)
    place.sandbox.state.configure(instance_types_sold_out=("ecs.t6-c1m1.large", "ecs.g6.large", "ecs.g7.large"))
    with pytest.raises(InstanceTypeUnavailable, match="cn-hangzhou-a"):
        expected_offer(OPTIONS, place.cloud(), architecture="x86_64", has_nvme=False, size_gib=None)
    denied = AccessKey(id="D", secret="s", principal="user/d", denied=frozenset({"ecs:RunInstances"}))
    place.key = place.sandbox.state.add_key(denied)
    with pytest.raises(AccessError) as caught:
        expected_offer(OPTIONS, place.cloud(), architecture="arm64", has_nvme=True, size_gib=None)
    assert "ecs:RunInstances; `aliyun-import role policy --for boot-test` prints" in (caught.value.remedy or "")
    assert not place.started()


def test_progress_moves_every_second_in_each_phase(place: Place) -> None:
    """The time, the phase, and the last line of the console."""
    place.run()
    shown = [one for one in place.events if isinstance(one, BootProgress)]
    assert list(dict.fromkeys(one.phase for one in shown)) == ["creating", "starting", "booting"]
    assert all(later.elapsed_s - one.elapsed_s < 1.5 for one, later in itertools.pairwise(shown))
    assert shown[0].line == ""
    assert shown[-1].line.startswith("sandbox login:")


def test_the_deletion_shows_progress(place: Place) -> None:
    """An instance that is being created can't be deleted yet; the wait for it is shown."""
    place.sandbox.state.configure(instance_pending_s=60.0)
    context = steered_context(place.sandbox)

    def emit(event: Event) -> None:
        if isinstance(event, BootProgress):
            context.cancel.set()

    with pytest.raises(Interrupted):
        place.run(context=Context(clock=context.clock, emit=emit, cancel=context.cancel))
    shown = [one for one in place.events if isinstance(one, BootProgress)]
    assert {one.phase for one in shown} == {"deleting"}
    assert len(shown) > 30
    assert not place.instances()


def test_a_verdict_is_not_sought_again_without_need(place: Place) -> None:
    """Known without `repeat`, the verdict is that of the journal, with its evidence; the command tests again."""
    place.sandbox.state.configure(instance_console="no-root")
    first = place.run()
    with place.journal() as journal:
        known = boot_test_image(
            place.image_id, OPTIONS, place.cloud(), journal, confirm=lambda _: pytest.fail("asked"), repeat=False
        )
    assert known.judgement == first.judgement
    assert known.instance_id == first.instance_id
    assert len(place.started()) == 1
    place.run()
    assert len(place.started()) == 2
