"""Tests of the layout of lines."""

from aliyun_import.cli.render.layout import Line, laid_out, wrapped


def test_words_longer_than_the_line_stay_whole() -> None:
    """A URL can be copied."""
    url = "oss://a-bucket/aliyun-import/web/system-0123456789ab.raw"
    assert wrapped(f"the object {url} stays", 30, indent="  ") == ["the object", f"  {url}", "  stays"]
    assert wrapped(f"the object {url} stays", None, indent="  ") == [f"the object {url} stays"]


def test_commands_stand_on_lines_of_their_own() -> None:
    """Without backticks and without the punctuation that joined them; a single word in backticks stays."""
    text = "Wait with `aliyun-import task wait t-1`; `aliyun-import task cancel t-1` cancels it. See `push`."
    assert laid_out("do: ", text, 40) == [
        Line("do: Wait with"),
        Line("      aliyun-import task wait t-1", is_command=True),
        Line("      aliyun-import task cancel t-1", is_command=True),
        Line("    cancels it. See `push`."),
    ]


def test_a_text_that_begins_with_a_command_keeps_its_label() -> None:
    """The label is above the command."""
    assert laid_out("do:  ", "`aliyun-import push x` resumes.", 40) == [
        Line("do:"),
        Line("       aliyun-import push x", is_command=True),
        Line("     resumes."),
    ]


def test_a_line_that_is_a_command_is_not_broken() -> None:
    """Steps for an administrator are lines of several."""
    command = 'aliyun ram CreateRole --RoleName a-role --AssumeRolePolicyDocument \'{"Version": "1"}\''
    assert laid_out("", f"Run this:\n{command}", 20) == [Line("Run this:"), Line(f"  {command}", is_command=True)]


def test_a_long_word_after_a_label_is_whole() -> None:
    """An object's URL begins beside its label, however narrow the terminal."""
    url = "oss://a-bucket/aliyun-import/web/system-0123456789ab.raw"
    assert laid_out("stays  ", f"{url}, 40 GiB", 20) == [Line(f"stays  {url},"), Line("       40 GiB")]
