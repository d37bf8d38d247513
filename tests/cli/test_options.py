"""Tests of option types, of environment variables, and of rules for options."""

from pathlib import Path

import click
import click.testing
import pytest

from aliyun_import.cli.commands.push import ImageOptions, data_disk, push, request_of
from aliyun_import.cli.main import ALIASES, COMMANDS, app
from aliyun_import.cli.params import Bytes, Gib, KeyValue, Seconds
from aliyun_import.cli.settings import EnvironmentOption
from aliyun_import.errors import UsageError
from aliyun_import.model.request import ImportParameters
from tests.rows import each_row

OBJECT = "oss://a-bucket/disk.raw"
SYSTEM_UPLOAD = (["--key", "z.raw"], ["--base", "another.raw"])
UPLOAD = (
    *SYSTEM_UPLOAD,
    ["--bucket", "another-bucket"],
    ["--jobs", "3"],
    ["--limit-rate", "1M"],
    ["--send-zeros"],
    ["--keep-object"],
    ["--work-dir", "/tmp"],
)


@each_row(
    ("text", "expected"),
    [("512", 512), ("64K", 65536), ("50M", 52428800), ("50MB/s", 52428800), ("1.5GiB", 1610612736), ("2t", 2 << 40)],
)
def test_bytes_are_read_in_powers_of_1024(text: str, expected: int) -> None:
    """As dd and qemu-img read them."""
    assert Bytes().convert(text, None, None) == expected


@each_row("text", ["", "fast", "-1M", "0", "0.5", "0.9B", "1X", "9" * 400, f"1.{'9' * 400}G"])
def test_an_invalid_size_is_refused(text: str) -> None:
    """It is a usage error."""
    with pytest.raises(click.BadParameter):
        Bytes().convert(text, None, None)


@each_row(("text", "expected"), [("40", 40), ("40G", 40), ("40GiB", 40), ("1T", 1024)])
def test_a_disk_size_is_whole_gib(text: str, expected: int) -> None:
    """DiskImageSize is a whole number of GiB."""
    assert Gib().convert(text, None, None) == expected


def test_a_disk_size_in_mib_is_refused() -> None:
    """40960M is refused instead of being rounded."""
    for text in ("40960M", "9" * 5000):
        with pytest.raises(click.BadParameter):
            Gib().convert(text, None, None)


@each_row(("text", "expected"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1d", 86400)])
def test_a_duration_has_a_unit(text: str, expected: float) -> None:
    """A number without a unit is seconds."""
    assert Seconds().convert(text, None, None) == expected


def test_a_tag_is_split_at_the_first_equals_sign() -> None:
    """The value of a tag may contain equals signs, and may be empty."""
    assert KeyValue().convert("a=b=c", None, None) == ("a", "b=c")
    assert KeyValue().convert("a=", None, None) == ("a", "")
    with pytest.raises(click.BadParameter):
        KeyValue().convert("a", None, None)


def _all_commands() -> list[tuple[str, click.Command]]:
    context = click.Context(app)
    found: list[tuple[str, click.Command]] = []
    for name in (*COMMANDS, *ALIASES):
        command = app.get_command(context, name)
        assert command is not None
        found.append((name, command))
        if isinstance(command, click.Group):
            found += [(f"{name} {inner}", each) for inner, each in command.commands.items()]
    return found


def test_every_option_can_be_set_as_aliyun_import_option() -> None:
    """--data-disk is ALIYUN_IMPORT_DATA_DISK; the rule holds for every option of every command."""
    for name, command in _all_commands():
        for param in command.params:
            if isinstance(param, click.Option):
                assert isinstance(param, EnvironmentOption), f"{name} {param.name}"
                long_form = next(word for word in param.opts if word.startswith("--"))
                assert param.envvar == "ALIYUN_IMPORT_" + long_form[2:].replace("-", "_").upper()


def test_every_command_and_option_has_help() -> None:
    """No help text is empty."""
    for name, command in _all_commands():
        assert command.help, name
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, f"{name} {param.name}"


def test_no_option_takes_a_secret() -> None:
    """Command lines are visible in the history of the shell and in `ps`."""
    for name, command in _all_commands():
        for param in command.params:
            assert not {"secret", "password", "access_key"} & set(str(param.name).split("-")), name


@each_row("option", ["--limit-rate", "--disk-size", "--timeout", "--jobs"])
def test_a_number_of_5000_digits_is_a_usage_error(option: str) -> None:
    """It is not reported as a bug."""
    ran = click.testing.CliRunner().invoke(app, ["push", "disk.raw", option, "9" * 5000])
    assert ran.exit_code == 2, ran.output


@each_row(
    ("disk", "message"),
    [("-", "standard input"), ("https://example.com/disk.raw", "Download it first"), ("s3://b/k", "oss://BUCKET/KEY")],
)
def test_an_unsupported_source_has_its_own_error(disk: str, message: str) -> None:
    """Standard input and URLs of other services are not reported as missing files."""
    with pytest.raises(click.UsageError, match=message):
        request_of(disk, ImageOptions(), ImportParameters(), region="cn-hangzhou")


@each_row(("text", "expected"), [("40", 40), ("40g", 40), ("40GiB", 40), ("1T", 1024)])
def test_the_size_of_a_data_disk_is_read_like_disk_size(text: str, expected: int) -> None:
    """Units and lower case included."""
    assert data_disk(f"d.raw,size={text}").size_gib == expected


@each_row("text", ["d.raw,size=40960M", "d.raw,size=", f"d.raw,size={'9' * 5000}", "d.raw,format=ISO"])
def test_an_invalid_value_of_a_data_disk_is_refused(text: str) -> None:
    """It is a usage error with the form of a data disk."""
    with pytest.raises(UsageError) as caught:
        data_disk(text)
    assert caught.value.code == "data-disk-malformed"


@each_row(
    "options",
    [
        *([OBJECT, *option] for option in UPLOAD),
        *([OBJECT, "--data-disk", OBJECT, *option] for option in UPLOAD),
        *([OBJECT, "--data-disk", "d.raw", *option] for option in SYSTEM_UPLOAD),
        ["d.raw", "--no-wait", "--timeout", "1h"],
        ["d.raw", "--no-wait", "--cancel-on-interrupt"],
        ["d.raw", "--no-wait", "--keep-object", "--keep-last", "1"],
    ],
)
def test_an_option_without_effect_is_refused(options: list[str]) -> None:
    """The error names the last option that has none, or the one that excludes it."""
    ran = click.testing.CliRunner().invoke(app, ["push", *options, "--region", "cn-hangzhou"])
    assert ran.exit_code == 2, ran.output
    assert "has no effect with" in ran.output
    assert any(word in ran.output for word in options if word.startswith("--"))


@each_row(
    "options",
    [
        ["cleanup", "--force"],
        *(
            [*command, *endpoint, "--oss-endpoint-type", "internal"]
            for command in (["push", "d.raw"], ["cleanup"], ["doctor"])
            for endpoint in (["--oss-endpoint", "https://a.example"], ["--endpoint-url", "http://127.0.0.1:9"])
        ),
    ],
)
def test_an_option_without_effect_is_refused_by_each_command(options: list[str]) -> None:
    """An endpoint has no type, and --force is for --remove."""
    ran = click.testing.CliRunner().invoke(app, [*options, "--region", "cn-hangzhou"])
    assert ran.exit_code == 2, ran.output
    assert "has no effect with" in ran.output + str(ran.exception)


@each_row("options", [[OBJECT, "--data-disk", "d.raw", *option] for option in UPLOAD if option not in SYSTEM_UPLOAD])
def test_an_option_of_the_upload_has_effect_with_one_local_disk(options: list[str]) -> None:
    """The data disk is uploaded, so that the push begins; this disk does not exist."""
    ran = click.testing.CliRunner().invoke(app, ["push", *options, "--sandbox", "-q"])
    assert "has no effect" not in ran.output + str(ran.exception)


def test_an_option_without_effect_is_ignored_in_the_environment() -> None:
    """The push continues, here until it finds that the sandbox does not have the object."""
    options = (*UPLOAD, ["--keep-last", "1"], ["--timeout", "1h"])
    variables = {f"ALIYUN_IMPORT_{one[0][2:].replace('-', '_').upper()}": one[-1].lstrip("-") for one in options}
    variables |= {"ALIYUN_IMPORT_SEND_ZEROS": "1", "ALIYUN_IMPORT_KEEP_OBJECT": "1"}
    ran = click.testing.CliRunner(env=variables).invoke(app, ["push", OBJECT, "--sandbox", "--no-wait", "-q"])
    assert "There is no bucket a-bucket" in ran.output


def test_keep_last_alone_is_refused_on_the_command_line_only() -> None:
    """Nothing is kept without --keep-object or --replace. A variable may set it for other pushes."""
    ran = click.testing.CliRunner().invoke(app, ["push", "d.raw", "--region", "cn-hangzhou", "--keep-last", "1"])
    assert "--keep-last needs --keep-object or --replace" in str(ran.exception)
    ran = click.testing.CliRunner(env={"ALIYUN_IMPORT_KEEP_LAST": "1"}).invoke(app, ["push", OBJECT, "--sandbox", "-q"])
    assert "There is no bucket a-bucket" in ran.output


def test_an_invalid_choice_is_answered_with_the_choices_of_the_help() -> None:
    """In the spelling of the service, for each option with choices."""
    wrong = []
    for param in push.params:
        if isinstance(param.type, click.Choice):
            ran = click.testing.CliRunner().invoke(app, ["push", "d.raw", param.opts[0], "nonsense"])
            shown = param.make_metavar(click.Context(push)).strip("[]").split("|")
            if f"not one of {', '.join(map(repr, shown))}" not in " ".join(ran.output.split()):
                wrong.append((param.name, ran.output))
    assert not wrong


@each_row(("text", "suggestion"), [("d.raw,sise=10", "size"), ("d.raw,size=10,fromat=VHD", "format")])
def test_a_mistyped_key_of_a_data_disk_has_a_suggestion(text: str, suggestion: str) -> None:
    """It is not taken for a part of the file name."""
    with pytest.raises(UsageError) as caught:
        data_disk(text)
    assert f"Write {suggestion}" in str(caught.value.remedy)


def test_a_data_disk_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    """An existing file has precedence over keys."""
    path = tmp_path / "d,sise=10"
    path.touch()
    assert data_disk(str(path)).path == path
    assert data_disk("a,b=c.raw").path == Path("a,b=c.raw")


@each_row(
    ("options", "message"),
    [
        (["--boot-test", "cloud", "--no-wait"], "--no-wait and --boot-test cloud exclude each other"),
        (["--boot-test", "cloud"], "pass --yes where there is no terminal to ask at"),
        (["--yes"], "--yes needs --boot-test cloud"),
    ],
)
def test_contradicting_options_of_a_boot_test_are_refused_before_the_question(options: list[str], message: str) -> None:
    """A contradiction is reported before a missing --yes."""
    ran = click.testing.CliRunner().invoke(app, ["push", "disk.raw", "--region", "cn-hangzhou", *options])
    assert message in str(ran.exception) + ran.output
    assert ran.exit_code != 0
