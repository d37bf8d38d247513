"""Tests of `check` as a command: without account or network, many disks in one call, for people and scripts."""

import json
from pathlib import Path

import pytest

from tests.flows.commands import LIMIT_S, Commands, Ran
from tests.flows.disks import write_disk

OFFLINE = {
    "ALIYUN_IMPORT_ENDPOINT_URL": None,
    "ALIYUN_IMPORT_REGION": None,
    "ALIBABA_CLOUD_ACCESS_KEY_ID": None,
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": None,
}


def test_a_disk_is_described_without_account_or_network(commands: Commands, disk: Path) -> None:
    """Container, partitions and what would be filled in stand on stdout; nothing is asked of anybody."""
    ran = commands.run("check", disk, environment=OFFLINE)
    assert ran.code == 0, ran.err
    assert "raw, 8 MiB, MBR, 1 partition" in ran.out
    assert "can perhaps be imported" in ran.out
    assert commands.sandbox.requests.entries() == ()


def test_many_disks_in_one_call(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """Each disk is announced and has its block; one that blocks makes exit 3, and the others are shown all the same."""
    empty = tmp_path / "empty.raw"
    empty.touch()
    missing = tmp_path / "missing.raw"
    ran = commands.run("check", disk, empty, missing, "--output", "jsonl", environment=OFFLINE)
    assert ran.code == 3
    *begun, result = map(json.loads, ran.out.splitlines())
    assert [(event["type"], event["detail"]) for event in begun] == [
        ("stage-started", str(disk)),
        ("stage-started", str(empty)),
        ("stage-started", str(missing)),
    ]
    _good, bad, none = result["disks"]
    assert [one["importable"] for one in result["disks"]] == [True, False, False]
    assert [(finding["rule"], finding["severity"]) for finding in none["findings"]] == [("disk-missing", "blocks")]
    assert [finding["rule"] for finding in bad["findings"] if finding["severity"] == "blocks"] == ["file-empty"]


def test_boot_rules_are_not_for_data_disks(commands: Commands, tmp_path: Path) -> None:
    """A blank disk is refused as a system disk and fine as a data disk."""
    blank = tmp_path / "blank.raw"
    with blank.open("wb") as file:
        file.truncate(1 << 30)
    assert commands.run("check", blank, environment=OFFLINE).code == 3
    assert commands.run("check", blank, "--data", environment=OFFLINE).code == 0


def test_a_finding_can_be_skipped_by_name(commands: Commands, tmp_path: Path) -> None:
    """--skip-check takes a rule's name; a name that no rule has is exit 2."""
    odd = write_disk(tmp_path / "odd.raw", size_bytes=(8 << 20) + 100)
    assert commands.run("check", odd).code == 3
    assert commands.run("check", odd, "--skip-check", "raw-size-not-512").code == 0
    assert commands.run("check", odd, "--skip-check", "raw-size").code == 2


def test_a_rule_explains_itself(commands: Commands) -> None:
    """--explain says what a rule looks at, why, and from which document it is."""
    ran = commands.run("check", "--explain", "raw-size-not-512")
    assert ran.code == 0
    assert "Source:" in ran.out


@pytest.mark.parametrize("arguments", [(), ("--output", "json")])
def test_a_missing_disk_is_exit_3(commands: Commands, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """A path that is not there is told as such, in words and in JSON."""
    ran = commands.run("check", tmp_path / "missing.raw", *arguments)
    assert ran.code == 3
    assert "missing.raw" in ran.out + ran.err


def in_real_children(commands: Commands, *arguments: str | Path, environment: dict[str, str]) -> Ran:
    """Run a command that reads disks as the tool does: in fresh interpreters."""
    forked = commands.start(*arguments, environment=environment, has_warm_children=False)
    return Ran(*forked.communicate(limit_s=LIMIT_S))


def test_the_end_of_the_look_at_a_disk_is_one_unknown(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """The process that reads the disk may be killed (or worse, see test_bounded): neither check nor push is."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'aliyun_import.disk.isolated' in sys.orig_argv:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    ran = in_real_children(commands, "check", disk, "--output", "json", environment=environment)
    (report,) = ran.json["disks"]
    (finding,) = [finding for finding in report["findings"] if finding["severity"] == "unknown"]
    assert (ran.code, finding["rule"]) == (0, "inspection-incomplete")
    assert "SIGKILL" in finding["seen"]
    assert in_real_children(commands, "push", disk, "--dry-run", environment=environment).code == 0


@pytest.mark.parametrize(
    "arguments", [("--boot-timeout", "5m"), ("--boot-log", "console.log"), ("--boot", "--data"), ("--boot-screen", "x")]
)
def test_options_of_a_boot_test_that_is_not_made_are_refused(
    commands: Commands, disk: Path, arguments: tuple[str, ...]
) -> None:
    """An option is never accepted and ignored; a variable of the environment may stay set."""
    ran = commands.run("check", disk, *arguments)
    assert (ran.code, "--boot" in ran.err) == (2, True)
    assert commands.run("check", disk, environment={"ALIYUN_IMPORT_BOOT_TIMEOUT": "5m"}).code == 0


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (("--boot-timeout", "5m"), "BOOT_TIMEOUT"),
        (("--boot-log", "x"), "BOOT_LOG"),
        (("--vswitch", "vsw-x"), "VSWITCH"),
        (("--boot-test", "local", "--security-group", "sg-x"), "SECURITY_GROUP"),
        (("--yes",), "YES"),
    ],
)
def test_options_of_a_boot_test_that_is_not_made_are_refused_by_push(
    commands: Commands, disk: Path, arguments: tuple[str, ...], variable: str
) -> None:
    """As by check; a variable that `image boot-test` reads may stay set."""
    assert commands.run("push", disk, *arguments).code == 2
    value = "1" if variable == "YES" else arguments[-1]
    assert commands.run("push", disk, "--dry-run", environment={f"ALIYUN_IMPORT_{variable}": value}).code == 0
