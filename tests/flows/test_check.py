"""Tests of the command `check`: it needs no account and no network, and takes several disks."""

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
    """Container, partitions and inferred parameters are on stdout; no request is sent."""
    ran = commands.run("check", disk, environment=OFFLINE)
    assert ran.code == 0, ran.err
    assert "raw, 8 MiB, MBR, 1 partition" in ran.out
    assert "can perhaps be imported" in ran.out
    assert commands.sandbox.requests.entries() == ()


def test_several_disks_are_checked_in_one_call(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """Each disk has its event and its result. One blocking finding makes exit code 3."""
    empty = tmp_path / "empty.raw"
    empty.touch()
    missing = tmp_path / "missing.raw"
    ran = commands.run("check", disk, empty, missing, "--output", "jsonl", environment=OFFLINE)
    assert ran.code == 3
    *started, result = map(json.loads, ran.out.splitlines())
    assert [(event["type"], event["detail"]) for event in started] == [
        ("stage-started", str(disk)),
        ("stage-started", str(empty)),
        ("stage-started", str(missing)),
    ]
    _good, bad, none = result["disks"]
    assert [one["importable"] for one in result["disks"]] == [True, False, False]
    assert [(finding["rule"], finding["severity"]) for finding in none["findings"]] == [("disk-missing", "blocks")]
    assert [finding["rule"] for finding in bad["findings"] if finding["severity"] == "blocks"] == ["file-empty"]


def test_checks_of_booting_do_not_apply_to_data_disks(commands: Commands, tmp_path: Path) -> None:
    """A blank disk is refused as a system disk and accepted as a data disk."""
    blank = tmp_path / "blank.raw"
    with blank.open("wb") as file:
        file.truncate(1 << 30)
    assert commands.run("check", blank, environment=OFFLINE).code == 3
    assert commands.run("check", blank, "--data", environment=OFFLINE).code == 0


def test_a_finding_can_be_skipped_by_name(commands: Commands, tmp_path: Path) -> None:
    """--skip-check takes the id of a check; an unknown id is exit code 2."""
    odd = write_disk(tmp_path / "odd.raw", size_bytes=(8 << 20) + 100)
    assert commands.run("check", odd).code == 3
    assert commands.run("check", odd, "--skip-check", "raw-size-not-512").code == 0
    assert commands.run("check", odd, "--skip-check", "raw-size").code == 2


def test_explain_prints_a_check(commands: Commands) -> None:
    """--explain prints what a check reads, why, and its source."""
    ran = commands.run("check", "--explain", "raw-size-not-512")
    assert ran.code == 0
    assert "Source:" in ran.out


@pytest.mark.parametrize("arguments", [(), ("--output", "json")])
def test_a_missing_disk_is_exit_3(commands: Commands, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The path is in the message, as text and as JSON."""
    ran = commands.run("check", tmp_path / "missing.raw", *arguments)
    assert ran.code == 3
    assert "missing.raw" in ran.out + ran.err


def run_with_fresh_readers(commands: Commands, *arguments: str | Path, environment: dict[str, str]) -> Ran:
    """Run a command that reads disks in fresh interpreters, as for users."""
    forked = commands.start(*arguments, environment=environment, has_warm_children=False)
    return Ran(*forked.communicate(limit_s=LIMIT_S))


def test_a_killed_disk_reader_is_one_unknown_finding(commands: Commands, disk: Path, tmp_path: Path) -> None:
    """Neither check nor push ends when the process that reads the disk is killed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'aliyun_import.disk.isolated' in sys.orig_argv:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}
    ran = run_with_fresh_readers(commands, "check", disk, "--output", "json", environment=environment)
    (report,) = ran.json["disks"]
    (finding,) = [finding for finding in report["findings"] if finding["severity"] == "unknown"]
    assert (ran.code, finding["rule"]) == (0, "inspection-incomplete")
    assert "SIGKILL" in finding["seen"]
    assert run_with_fresh_readers(commands, "push", disk, "--dry-run", environment=environment).code == 0


@pytest.mark.parametrize(
    "arguments", [("--boot-timeout", "5m"), ("--boot-log", "console.log"), ("--boot", "--data"), ("--boot-screen", "x")]
)
def test_check_refuses_options_of_a_boot_test_that_is_not_run(
    commands: Commands, disk: Path, arguments: tuple[str, ...]
) -> None:
    """No option is accepted and ignored. An environment variable may stay set."""
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
def test_push_refuses_options_of_a_boot_test_that_is_not_run(
    commands: Commands, disk: Path, arguments: tuple[str, ...], variable: str
) -> None:
    """As `check` refuses them; a variable that `image boot-test` reads may stay set."""
    assert commands.run("push", disk, *arguments).code == 2
    value = "1" if variable == "YES" else arguments[-1]
    assert commands.run("push", disk, "--dry-run", environment={f"ALIYUN_IMPORT_{variable}": value}).code == 0
