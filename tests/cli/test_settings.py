"""Tests of configuration files and of unknown variables."""

import json
from pathlib import Path

import click.testing
import pytest

from aliyun_import.cli.main import COMMANDS, app, requested_output
from aliyun_import.errors import UsageError


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty directory, with an empty home directory and no variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


def run(*arguments: str, **environment: str) -> click.testing.Result:
    """Run a command in this process."""
    return click.testing.CliRunner(env=environment).invoke(app, arguments, prog_name="aliyun-import")


def settings(*arguments: str, **environment: str) -> dict[str, tuple[str, str]]:
    """Return value and origin of each option, as `config show` prints them."""
    ran = run("config", "show", *arguments, "--output", "json", **environment)
    assert ran.exit_code == 0, ran.output
    return {one["option"]: (one["value"], one["from"]) for one in json.loads(ran.stdout)["settings"]}


def write(path: Path, text: str) -> Path:
    """Write a file; create its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_settings_have_an_order_of_precedence(directory: Path) -> None:
    """Environment, section of the local file, local file, section of the user's file, user's file, default."""
    user_file = write(
        directory / "home/.config/aliyun-import/aliyun-import.toml",
        'region = "a"\njobs = 1\nbucket = "b"\nname = "n"\n',
    )
    assert settings()["--region"] == ("a", str(user_file))
    write(
        directory / "aliyun-import.toml",
        'region = "c"\njobs = 2\nbucket = "d"\n\n[profiles.prod]\nregion = "e"\njobs = 3\n',
    )
    assert settings()["--region"] == ("c", "aliyun-import.toml")
    found = settings("--profile", "prod", ALIYUN_IMPORT_JOBS="4")
    assert found["--region"] == ("e", "[profiles.prod] of aliyun-import.toml")
    assert found["--jobs"] == ("4", "ALIYUN_IMPORT_JOBS")
    assert found["--bucket"] == ("d", "aliyun-import.toml")
    assert found["--name"] == ("n", str(user_file))
    assert found["--timeout"] == ("no limit", "the default")


def test_the_profile_may_be_set_in_the_file_or_the_environment(directory: Path) -> None:
    """Its section applies without the option."""
    write(
        directory / "aliyun-import.toml",
        'profile = "prod"\n[profiles.prod]\nregion = "e"\n[profiles.test]\nregion = "t"\n',
    )
    assert settings()["--region"][0] == "e"
    assert settings(ALIYUN_IMPORT_PROFILE="test")["--region"][0] == "t"


def test_a_command_reads_its_options_from_the_file(directory: Path) -> None:
    """Lists and flags included. An option on the command line has precedence."""
    write(directory / "aliyun-import.toml", 'output = "json"\nskip-check = ["no-such-check"]\nkeep-object = true\n')
    ran = run("check", "missing.raw")
    assert json.loads(ran.stdout)["code"] == "unknown-check"
    assert not run("check", "missing.raw", "--output", "plain").stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('regoin = "x"', "Write region."),
        ('limit_rate = "5M"', "Write limit-rate."),
        ('[profiles.prod]\nregoin = "x"', "Write region."),
        ("jobs = true", "text, a number or a list"),
        ('keep-object = "yes"', "true or false"),
        ("jobs = 900", "jobs"),
        ("region = ", "TOML"),
        ("profiles = 3", "not a section"),
        ("[profiles]\nprod = 3", "not a section"),
        ("[foo]\njobs = 3", "Name sections [profiles.NAME]."),
    ],
)
def test_an_invalid_file_is_refused(directory: Path, text: str, message: str) -> None:
    """For an unknown key the error suggests the most similar one."""
    write(directory / "aliyun-import.toml", text)
    ran = run("push", "disk.raw", "--region", "cn-hangzhou")
    error = ran.exception
    assert isinstance(error, UsageError)
    assert error.code == "config-invalid"
    assert message in f"{error.cause} {error.remedy}"


def test_a_file_that_others_can_write_to_is_refused(directory: Path) -> None:
    """The file decides where credentials and disks are sent."""
    write(directory / "aliyun-import.toml", 'region = "x"').chmod(0o666)
    error = run("pushes").exception
    assert isinstance(error, UsageError)
    assert "chmod o-w" in str(error.remedy)


def test_a_usage_error_has_the_output_set_in_the_file(directory: Path) -> None:
    """Also for a command line that cannot be parsed."""
    write(directory / "aliyun-import.toml", 'output = "json"')
    assert requested_output(["push", "--no-such-option"], {}) == "json"
    write(directory / "aliyun-import.toml", "nonsense")
    assert requested_output(["push"], {}) == "human"


def test_help_works_with_an_invalid_file(directory: Path) -> None:
    """The help does not read the file."""
    write(directory / "aliyun-import.toml", "nonsense")
    assert run("push", "--help").exit_code == 0


def test_an_unknown_variable_is_a_warning() -> None:
    """The warning suggests the most similar name. Variables of other commands are known."""
    ran = run(
        "pushes", ALIYUN_IMPORT_REGOIN="x", ALIYUN_IMPORT_ENDPOINT_URL_RAM="http://127.0.0.1:9", ALIYUN_IMPORT_JOBS="3"
    )
    assert ran.exit_code == 0
    assert ran.stderr.count("Nothing reads the variable") == 1
    assert "ALIYUN_IMPORT_REGOIN. Unset it, or set ALIYUN_IMPORT_REGION." in ran.stderr
    assert "or set" not in run("pushes", ALIYUN_IMPORT_NONSENSE="1").stderr


def test_config_show_covers_every_command() -> None:
    """`config show` works for each command, and leaves its arguments required."""
    usage = run("push", "--help").output
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        inner = list(command.commands) if isinstance(command, click.Group) else [""]
        for one in inner:
            assert run("config", "show", *[word for word in (name, one) if word]).exit_code == 0, (name, one)
    assert run("push", "--help").output == usage
    assert "Missing argument 'DISK'" in run("push").output
