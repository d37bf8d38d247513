"""Tests of a push killed at each of its steps and run again: one image, one object, no second import.

A step is a call of a service or a line of the journal; death comes before it or right after it. The default run takes a
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

LIVES = 0  # a step number that never comes


class Graveyard:
    """Runs pushes that die, each in a cloud and with a disk of its own."""

    def __init__(self, place: Path, forks: ForkServer) -> None:
        self._place = place
        self._forks = forks
        self.disk = write_disk(place / "disk.raw")

    def order(
        self,
        sandbox: Sandbox,
        state: Path,
        *,
        die_at: int,
        after: bool,
        extra: tuple[str, ...] = (),
        ahead_s: float = 0.0,
    ) -> Any:
        """Run a push, to its end or to its death; `ahead_s` is how far the clock of the sandbox is ahead."""
        arguments = [
            str(self.disk),
            "--endpoint-url",
            sandbox.url,
            "--region",
            "cn-hangzhou",
            "--state-dir",
            str(state),
        ]
        order = {"arguments": [*arguments, "--jobs", "1", *extra], "die_at": die_at, "after": after, "ahead_s": ahead_s}
        forked = self._forks.start(
            [],
            environment=command_environment(self._place / "home", sandbox),
            cwd=self._place,
            call=("tests.flows.mortal:push_or_die", order),
        )
        code, out, err = forked.communicate(limit_s=LIMIT_S)
        return json.loads(out) if code == 0 else {"killed": -code, "err": err}


@pytest.fixture
def graveyard(tmp_path: Path, forks: ForkServer) -> Graveyard:
    """Return what runs pushes that die."""
    return Graveyard(tmp_path / "graveyard", forks)


def die_and_rise(graveyard: Graveyard, place: Path, *, die_at: int, after: bool, extra: tuple[str, ...]) -> None:
    """Kill a push at one step, run it again, and look at what the cloud holds then."""
    with Sandbox.start(place / "cloud", settings=Settings(import_s=5.0)) as sandbox:
        fate = {"die_at": die_at, "after": after, "extra": extra}
        died = graveyard.order(sandbox, place / "state", die_at=die_at, after=after, extra=extra)
        assert died.get("killed") == 9, (fate, died)
        rose = graveyard.order(sandbox, place / "state", die_at=LIVES, after=False, extra=extra)
        assert "image_id" in rose, (fate, rose)
        ecs = sandbox.state.part(Ecs)
        alive = [image.id for image in ecs.images.values() if image.name == "disk"]
        assert alive == [rose["image_id"]], fate
        assert len(ecs.images) == (2 if "rename" in extra else 1), fate
        (bucket,) = sandbox.state.part(OssState).buckets.values()
        assert (list(bucket.versions), list(bucket.uploads)) == ([], []), fate


def steps_of(graveyard: Graveyard, place: Path, *extra: str) -> list[str]:
    """Return the steps of a push that nobody kills."""
    with Sandbox.start(place / "cloud", settings=Settings(import_s=5.0)) as sandbox:
        lived = graveyard.order(sandbox, place / "state", die_at=LIVES, after=False, extra=extra)
    assert "image_id" in lived, lived
    return list(lived["steps"])


def kill_at(graveyard: Graveyard, place: Path, *extra: str, every: int, first: int = 1) -> list[str]:
    """Kill a push before and after every so-manyth step, and return the steps of one that was not killed."""
    steps = steps_of(graveyard, place / "alive", *extra)
    assert len(steps) > 20
    for number in range(first, len(steps) + 1, every):
        for after in (False, True):
            spot = place / f"{number}-{after}"
            die_and_rise(graveyard, spot, die_at=number, after=after, extra=extra)
    return steps


def test_a_push_killed_at_a_step_ends_in_one_image(graveyard: Graveyard, tmp_path: Path) -> None:
    """A sample of the steps, before and after each: one image, no second import, nothing left in the bucket."""
    kill_at(graveyard, tmp_path, every=19, first=5)


@pytest.mark.slow
def test_a_push_killed_at_any_step_ends_in_one_image(graveyard: Graveyard, tmp_path: Path) -> None:
    """Each single step, before and after it. The zeros are long enough to grow the zero object by 32 copies."""
    write_disk(graveyard.disk, size_bytes=64 * MIB, data_at=(1, 40))
    steps = kill_at(graveyard, tmp_path, every=1)
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
QUICK = Settings(import_s=5.0, instance_console="boots", instance_pending_s=3.0, instance_start_s=3.0)


def instances_of(sandbox: Sandbox) -> int:
    """Return the number of instances that exist now."""
    refresh(sandbox.state)
    return len(sandbox.state.part(Ecs).instances)


def started_in(sandbox: Sandbox) -> int:
    """Return the number of instances that were ever started."""
    tokens = sandbox.state.part(Ecs).tokens.values()
    return len({json.dumps(one.answer) for one in tokens if "InstanceIdSets" in one.answer})


def kill_a_boot_test(graveyard: Graveyard, place: Path, *, every: int, sides: tuple[bool, ...]) -> None:
    """Kill a push with a boot test before and after every so-manyth step; each other time nobody runs it soon."""
    with Sandbox.start(place / "alive", settings=QUICK) as sandbox:
        steps = graveyard.order(sandbox, place / "state", die_at=LIVES, after=False, extra=BOOT_TEST)["steps"]
    # What comes before is what other pushes do, too.
    first = steps.index("vswitches") + 1
    for number in range(first, len(steps) + 1, every):
        for after in sides:
            spot, is_late = place / f"{number}-{after}", number % 2 == 0
            fate = {"die_at": number, "after": after, "step": steps[number - 1], "late": is_late}
            with Sandbox.start(spot / "cloud", settings=QUICK) as sandbox:
                died = graveyard.order(sandbox, spot / "state", die_at=number, after=after, extra=BOOT_TEST)
                if "image_id" in died:  # one poll less than in the run that counted the steps
                    assert number > len(steps) - 5, fate
                    continue
                assert died.get("killed") == 9, (fate, died)
                assert instances_of(sandbox) <= 1, fate
                ahead_s = 46 * 60.0 if is_late else 0.0
                sandbox.clock.advance(ahead_s)
                assert instances_of(sandbox) <= (not is_late), fate
                rose = graveyard.order(
                    sandbox, spot / "state", die_at=LIVES, after=False, extra=BOOT_TEST, ahead_s=ahead_s
                )
                assert "image_id" in rose, (fate, rose)
                assert [one.name for one in sandbox.state.part(Ecs).images.values()] == ["disk"], fate
                assert instances_of(sandbox) == 0, fate
                # One that ECS released before its verdict was known makes way for a second one.
                assert started_in(sandbox) <= 1 + is_late, fate


def test_a_boot_test_killed_at_a_step_ends_in_one_image_and_no_instance(graveyard: Graveyard, tmp_path: Path) -> None:
    """A few of the steps: no second instance beside the first, none outlives its release, none at the end."""
    kill_a_boot_test(graveyard, tmp_path, every=19, sides=(True,))


@pytest.mark.slow
def test_a_boot_test_killed_at_any_step_ends_in_one_image_and_no_instance(graveyard: Graveyard, tmp_path: Path) -> None:
    """Each single step, before and after it."""
    kill_a_boot_test(graveyard, tmp_path, every=1, sides=(False, True))
