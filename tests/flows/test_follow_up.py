"""Tests of follow-up commands in messages, and of the option --sandbox."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import click.testing

from aliyun_import.cli.commands.push import push
from aliyun_import.cli.context import for_same_services
from aliyun_import.cli.main import app
from aliyun_import.cli.settings import ACCOUNT_OPTIONS, TARGET_OPTIONS
from aliyun_import.sandbox.sample import write_sample_disk
from tests.flows.commands import Commands

OPTIONS = ("--profile=my prod", "--endpoint-url=http://127.0.0.1:1", "--oss-cname", "--state-dir=/j", "--region=r")
NONSENSE = "nonsense"
VARIABLES = (
    "REGION_ID", "PROFILE", "CREDENTIALS_URI", "CREDENTIALS_FILE", "ROLE_ARN", "OIDC_TOKEN_FILE", "ECS_METADATA",
    "ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN", "CA_BUNDLE", "CLI_PROFILE_DISABLED",
)  # fmt: skip


def follow_up(text: str) -> list[str]:
    """Return the words of the command in a text, with the options added."""
    with click.Context(app):
        return shlex.split(for_same_services(text, OPTIONS).strip("`"))


def test_a_follow_up_command_reaches_the_same_services() -> None:
    """Each command gets the options that it accepts and lacks."""
    waits = follow_up("`aliyun-import task wait t-1 --region x`")
    assert waits == ["aliyun-import", "task", "wait", "t-1", "--region", "x", *OPTIONS[:2]]
    cleans = follow_up("`aliyun-import cleanup --region x --bucket b`")
    assert cleans[6:] == list(OPTIONS[:4])
    assert follow_up("`aliyun-import role ensure`")[3:] == [*OPTIONS[:2], OPTIONS[4]]
    assert follow_up("`aliyun-import check d.raw`") == ["aliyun-import", "check", "d.raw"]


def test_remedies_of_a_push_repeat_its_options(commands: Commands, tmp_path: Path) -> None:
    """The command in the remedy works in a shell without the variables."""
    disk = write_sample_disk_in(tmp_path)
    url, state = commands.sandbox.url, str(tmp_path / "journals")
    options = ("--endpoint-url", url, "--state-dir", state, "--region", "cn-hangzhou")
    ran = commands.run(
        "push", disk, *options, "--no-wait", "--output", "plain", environment={"ALIYUN_IMPORT_ENDPOINT_URL": None}
    )
    assert ran.code == 0, ran.err
    (command,) = [word for word in ran.err.split("`") if word.startswith("aliyun-import cleanup")]
    commands.sandbox.clock.advance(60.0)  # the command is meant for the time after the import
    again = commands.run(*shlex.split(command)[1:], environment={"ALIYUN_IMPORT_ENDPOINT_URL": None})
    assert again.code == 0, again.err
    assert f"--state-dir={state}" in command


def write_sample_disk_in(directory: Path) -> Path:
    """Write a sample disk of 8 MiB."""
    path = directory / "demo.raw"
    write_sample_disk(path, size_bytes=8 << 20)
    return path


def push_with_sandbox(
    home: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Push with --sandbox in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "aliyun_import", "push", str(write_sample_disk_in(home)), "--sandbox", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_nothing_of_the_environment_leads_out_of_the_sandbox(tmp_path: Path) -> None:
    """With nonsense in every variable that names an endpoint or credentials, the push goes to the sandbox."""
    own = {
        str(param.envvar): NONSENSE
        for param in push.params
        if isinstance(param, click.Option) and param.name in (*TARGET_OPTIONS, *ACCOUNT_OPTIONS)
    }
    own |= {f"ALIYUN_IMPORT_ENDPOINT_URL_{name}": "http://127.0.0.1:9" for name in ("OSS", "ECS", "RAM", "STS")}
    vendor = {f"{prefix}_{name}": NONSENSE for prefix in ("ALIBABA_CLOUD", "ALIBABACLOUD") for name in VARIABLES}
    ran = push_with_sandbox(tmp_path, environment={**own, **vendor})
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("m-sandbox")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.raw"]


def test_no_variable_leads_out_of_the_sandbox(tmp_path: Path) -> None:
    """Each variable of an option is set to nonsense. It is ignored if it selects a cloud or an account.

    Nonsense in another one is refused, or the push goes to the sandbox.
    """
    arguments = ["push", str(write_sample_disk_in(tmp_path)), "--sandbox", "--dry-run", "-q"]
    wrong = {}
    for param in push.params:
        if not isinstance(param, click.Option) or param.name in ("sandbox", "output"):
            continue
        nonsense = str(tmp_path / "directory") if param.name in ("state_dir", "work_dir") else "http://192.0.2.1:9"
        ran = click.testing.CliRunner(env={str(param.envvar): nonsense}).invoke(app, arguments)
        is_ignored = param.name in (*TARGET_OPTIONS, *ACCOUNT_OPTIONS)
        if ran.exit_code not in ((0,) if is_ignored else (0, 2, 3, 5)):
            wrong[param.name] = ran.output
    assert not wrong


def test_an_option_that_names_another_target_is_refused(tmp_path: Path) -> None:
    """No option is ignored: --sandbox and the option exclude each other."""
    wrong = {}
    for name in TARGET_OPTIONS:
        (param,) = [one for one in push.params if one.name == name]
        value = ["auto"] if name == "oss_endpoint_type" else [] if getattr(param, "is_flag", False) else ["x"]
        arguments = ["push", str(tmp_path / "d.raw"), "--sandbox", param.opts[0], *value]
        ran = click.testing.CliRunner().invoke(app, arguments)
        if ran.exit_code == 0 or f"--sandbox and {param.opts[0]} don't go together" not in str(ran.exception):
            wrong[name] = (ran.exit_code, ran.exception)
    assert not wrong
