"""Tests of the option types, of the environment variables and of the help."""

from pathlib import Path

import click
import click.testing
import pytest

from aliyun_import.cli.commands.push import ImageOptions, data_disk, request_of
from aliyun_import.cli.main import ALIASES, COMMANDS, app
from aliyun_import.cli.params import Bytes, Gib, KeyValue, Seconds
from aliyun_import.cli.settings import EnvironmentOption
from aliyun_import.errors import UsageError
from aliyun_import.model.request import ImportParameters
from tests.rows import each_row


@each_row(
    ("text", "expected"),
    [("512", 512), ("64K", 65536), ("50M", 52428800), ("50MB/s", 52428800), ("1.5GiB", 1610612736), ("2t", 2 << 40)],
)
def test_bytes_are_read_in_powers_of_1024(text: str, expected: int) -> None:
    """Sizes are taken as dd and qemu-img take them."""
    assert Bytes().convert(text, None, None) == expected


@each_row("text", ["", "fast", "-1M", "0", "1X", "9" * 400, f"1.{'9' * 400}G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """A size that can't be read is a usage error, never a guess."""
    with pytest.raises(click.BadParameter):
        Bytes().convert(text, None, None)


@each_row(("text", "expected"), [("40", 40), ("40G", 40), ("40GiB", 40), ("1T", 1024)])
def test_a_disk_size_is_whole_gib(text: str, expected: int) -> None:
    """The unit of DiskImageSize is the GiB, whole."""
    assert Gib().convert(text, None, None) == expected


def test_a_disk_size_in_mib_is_refused() -> None:
    """40960M would be rounded by somebody; it is refused instead."""
    for text in ("40960M", "9" * 5000):
        with pytest.raises(click.BadParameter):
            Gib().convert(text, None, None)


@each_row(("text", "expected"), [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1d", 86400)])
def test_a_duration_has_a_unit(text: str, expected: float) -> None:
    """Minutes are never mistaken for seconds: the unit is said, and seconds without one."""
    assert Seconds().convert(text, None, None) == expected


def test_a_tag_is_split_at_the_first_equals_sign() -> None:
    """A tag's value may hold equals signs, and may be empty."""
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
    """--data-disk is also ALIYUN_IMPORT_DATA_DISK, and so on for every option of every command."""
    for name, command in _all_commands():
        for param in command.params:
            if isinstance(param, click.Option):
                assert isinstance(param, EnvironmentOption), f"{name} {param.name}"
                long_form = next(word for word in param.opts if word.startswith("--"))
                assert param.envvar == "ALIYUN_IMPORT_" + long_form[2:].replace("-", "_").upper()


def test_every_command_and_option_says_what_it_does() -> None:
    """No command without a sentence, no option without help."""
    for name, command in _all_commands():
        assert command.help, name
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, f"{name} {param.name}"


def test_no_option_takes_a_secret() -> None:
    """Keys on the command line end in the shell's history and in `ps`: there is no option for them."""
    for name, command in _all_commands():
        for param in command.params:
            assert not {"secret", "password", "access_key"} & set(str(param.name).split("-")), name


@each_row("option", ["--limit-rate", "--disk-size", "--timeout", "--jobs"])
def test_a_number_without_end_is_a_usage_error(option: str) -> None:
    """And no bug of the tool; the error does not repeat thousands of digits."""
    ran = click.testing.CliRunner().invoke(app, ["push", "disk.raw", option, "9" * 5000])
    assert ran.exit_code == 2, ran.output


@each_row(
    ("disk", "words"),
    [("-", "standard input"), ("https://example.com/disk.raw", "Download it first"), ("s3://b/k", "oss://BUCKET/KEY")],
)
def test_a_source_that_is_no_disk_here_is_named(disk: str, words: str) -> None:
    """What other tools read is no missing file."""
    with pytest.raises(click.UsageError, match=words):
        request_of(disk, ImageOptions(), ImportParameters(), region="cn-hangzhou")


@each_row(("text", "meant"), [("d.raw,sise=10", "size"), ("d.raw,size=10,fromat=VHD", "format")])
def test_a_mistyped_part_of_a_data_disk_is_guessed(text: str, meant: str) -> None:
    """It does not become part of a file name."""
    with pytest.raises(UsageError) as caught:
        data_disk(text)
    assert f"Write {meant}" in str(caught.value.remedy)


def test_a_comma_in_the_name_of_a_data_disk_stays(tmp_path: Path) -> None:
    """Where the file is there, it is the file."""
    path = tmp_path / "d,sise=10"
    path.touch()
    assert data_disk(str(path)).path == path
    assert data_disk("a,b=c.raw").path == Path("a,b=c.raw")


@each_row(
    ("options", "said"),
    [
        (["--boot-test", "cloud", "--no-wait"], "--no-wait and --boot-test cloud exclude each other"),
        (["--boot-test", "cloud"], "pass --yes where there is no terminal to ask at"),
        (["--yes"], "--yes needs --boot-test cloud"),
    ],
)
def test_options_of_a_boot_test_are_refused_before_anything_is_asked(options: list[str], said: str) -> None:
    """A contradiction first: to add --yes would not help."""
    ran = click.testing.CliRunner().invoke(app, ["push", "disk.raw", "--region", "cn-hangzhou", *options])
    assert said in str(ran.exception) + ran.output
    assert ran.exit_code != 0
