"""Tests of a push that is killed at a step and repeated: one image, no second import, nothing left in the bucket.

A step is a call of a service or a write to the journal; the push is killed before or after it. The default run takes a
sample of the steps, `pytest -m slow tests/flows/test_killed.py` all of them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.ecs.instances import refresh
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import LIMIT_S, command_environment
from tests.flows.disks import MIB, write_disk
from tests.flows.fork_server import ForkServer

NEVER = 0  # no step has this number


class KilledPushes:
    """Pushes of one disk, to sandboxes of the caller."""

    def __init__(self, directory: Path, forks: ForkServer) -> None:
        self._directory = directory
        self._forks = forks
        self.disk = write_disk(directory / "disk.raw")

    def push(
        self,
        sandbox: Sandbox,
        state: Path,
        *,
        kill_at: int = NEVER,
        after: bool = False,
        extra: tuple[str, ...] = (),
        ahead_s: float = 0.0,
    ) -> Any:
        """Push until the end or until the kill, and return the result; the clock of the sandbox is `ahead_s` ahead."""
        arguments = [
            str(self.disk),
            "--endpoint-url",
            sandbox.url,
            "--region",
            "cn-hangzhou",
            "--name",
            "disk",
            "--state-dir",
            str(state),
        ]
        job = {"arguments": [*arguments, "--jobs", "1", *extra], "kill_at": kill_at, "after": after, "ahead_s": ahead_s}
        forked = self._forks.start(
            [],
            environment=command_environment(self._directory / "home", sandbox),
            cwd=self._directory,
            call=("tests.flows.killed_push:run", job),
        )
        code, out, err = forked.communicate(limit_s=LIMIT_S)
        return json.loads(out) if code == 0 else {"killed": -code, "err": err}


@pytest.fixture
def pushes(tmp_path: Path, forks: ForkServer) -> KilledPushes:
    """Return pushes of a disk of 8 MiB."""
    return KilledPushes(tmp_path / "pushes", forks)


def kill_and_repeat(pushes: KilledPushes, directory: Path, *, kill_at: int, after: bool) -> None:
    """Kill a push at a step, repeat it, and check images, objects and uploads."""
    with Sandbox.start(directory / "cloud", settings=Settings(import_s=5.0)) as sandbox:
        case = {"kill_at": kill_at, "after": after}
        killed = pushes.push(sandbox, directory / "state", kill_at=kill_at, after=after)
        assert killed.get("killed") == 9, (case, killed)
        repeated = pushes.push(sandbox, directory / "state")
        assert "image_id" in repeated, (case, repeated)
        ecs = sandbox.state.part(Ecs)
        found = [image.id for image in ecs.images.values() if image.name == "disk"]
        assert found == [repeated["image_id"]], case
        assert len(ecs.images) == 1, case
        (bucket,) = sandbox.state.part(OssState).buckets.values()
        assert (list(bucket.versions), list(bucket.uploads)) == ([], []), case


def steps_of(pushes: KilledPushes, directory: Path) -> list[str]:
    """Return the steps of a push that is not killed."""
    with Sandbox.start(directory / "cloud", settings=Settings(import_s=5.0)) as sandbox:
        whole = pushes.push(sandbox, directory / "state")
    assert "image_id" in whole, whole
    return list(whole["steps"])


def kill_at_steps(pushes: KilledPushes, directory: Path, *, every: int, first: int = 1) -> list[str]:
    """Kill a push before and after each `every`-th step, and return the steps of a push that is not killed."""
    steps = steps_of(pushes, directory / "whole")
    assert len(steps) > 20
    for number in range(first, len(steps) + 1, every):
        for after in (False, True):
            kill_and_repeat(pushes, directory / f"{number}-{after}", kill_at=number, after=after)
    return steps


def test_a_push_killed_at_a_step_ends_in_one_image(pushes: KilledPushes, tmp_path: Path) -> None:
    """For a sample of the steps: one image, no second import, nothing left in the bucket."""
    kill_at_steps(pushes, tmp_path, every=19, first=5)


@pytest.mark.slow
def test_a_push_killed_at_any_step_ends_in_one_image(pushes: KilledPushes, tmp_path: Path) -> None:
    """For all steps. The zeros of the disk are so long that the zero object is grown by 32 copies."""
    write_disk(pushes.disk, size_bytes=64 * MIB, data_at=(1, 40))
    steps = kill_at_steps(pushes, tmp_path, every=1)
    assert steps.count("copy_part") > 32, steps


BOOT_TEST = (
    "--boot-test",
    "cloud",
    "--yes",
    "--vswitch",
    "vsw-sandbox-cn-hangzhou-a",
    "--security-group",
    "sg-sandbox-cn-hangzhou",
)
BOOT_SETTINGS = Settings(import_s=5.0, instance_console="boots", instance_pending_s=3.0, instance_start_s=3.0)


def count_instances(sandbox: Sandbox) -> int:
    """Return the number of instances that exist now."""
    refresh(sandbox.state)
    return len(sandbox.state.part(Ecs).instances)


def count_started(sandbox: Sandbox) -> int:
    """Return the number of instances that were ever started."""
    tokens = sandbox.state.part(Ecs).tokens.values()
    return len({json.dumps(one.answer) for one in tokens if "InstanceIdSets" in one.answer})


def kill_boot_test_at_steps(pushes: KilledPushes, directory: Path, *, every: int, sides: tuple[bool, ...]) -> None:
    """Kill a push with a boot test at each `every`-th step; after an even step, repeat it 46 minutes later.

    `sides` has the cases: it is killed before (False), after (True) the step.
    """
    with Sandbox.start(directory / "whole", settings=BOOT_SETTINGS) as sandbox:
        steps = pushes.push(sandbox, directory / "state", extra=BOOT_TEST)["steps"]
    # The steps before are those of a push without a boot test.
    first = steps.index("vswitches") + 1
    for number in range(first, len(steps) + 1, every):
        for after in sides:
            run, is_late = directory / f"{number}-{after}", number % 2 == 0
            case = {"kill_at": number, "after": after, "step": steps[number - 1], "late": is_late}
            with Sandbox.start(run / "cloud", settings=BOOT_SETTINGS) as sandbox:
                killed = pushes.push(sandbox, run / "state", kill_at=number, after=after, extra=BOOT_TEST)
                if "image_id" in killed:  # one poll less than in the run that counted the steps
                    assert number > len(steps) - 5, case
                    continue
                assert killed.get("killed") == 9, (case, killed)
                assert count_instances(sandbox) <= 1, case
                ahead_s = 46 * 60.0 if is_late else 0.0
                sandbox.clock.advance(ahead_s)
                assert count_instances(sandbox) <= (not is_late), case
                repeated = pushes.push(sandbox, run / "state", extra=BOOT_TEST, ahead_s=ahead_s)
                assert "image_id" in repeated, (case, repeated)
                assert [one.name for one in sandbox.state.part(Ecs).images.values()] == ["disk"], case
                assert count_instances(sandbox) == 0, case
                # If ECS released the first one before its verdict was known, a second one is started.
                assert count_started(sandbox) <= 1 + is_late, case


def test_a_boot_test_killed_at_a_step_ends_in_one_image_and_no_instance(pushes: KilledPushes, tmp_path: Path) -> None:
    """For a sample of the steps: no two instances at once, none after its release time, none at the end."""
    kill_boot_test_at_steps(pushes, tmp_path, every=19, sides=(True,))


@pytest.mark.slow
def test_a_boot_test_killed_at_any_step_ends_in_one_image_and_no_instance(pushes: KilledPushes, tmp_path: Path) -> None:
    """For all steps, before and after each."""
    kill_boot_test_at_steps(pushes, tmp_path, every=1, sides=(False, True))
