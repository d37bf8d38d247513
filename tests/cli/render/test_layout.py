"""Tests of the layout of lines."""

from aliyun_import.cli.render.layout import Line, laid_out, wrapped


def test_a_path_longer_than_the_line_is_broken_after_a_slash() -> None:
    """A segment that is too long is broken after a hyphen; a shorter path is not broken."""
    url = "oss://a-bucket/aliyun-import/web/system-0123456789ab.raw"
    lines = ["the object oss://a-bucket/", "  aliyun-import/web/", "  system-0123456789ab.raw stays"]
    assert wrapped(f"the object {url} stays", 31, indent="  ") == lines
    assert wrapped(f"the object {url} stays", None, indent="  ") == [f"the object {url} stays"]
    assert wrapped("in a-b/c-d of it", 12, indent="  ") == ["in a-b/c-d", "  of it"]
    assert wrapped("aliyun-import-1000000000000000-cn-hangzhou", 33, indent="") == [
        "aliyun-import-1000000000000000-",
        "cn-hangzhou",
    ]


def test_a_number_keeps_its_unit() -> None:
    """They are not separated by a line break."""
    assert wrapped("it took 2.4 s in all", 11, indent="") == ["it took", "2.4 s in", "all"]
    assert wrapped("of 40 GiB", 6, indent="") == ["of", "40 GiB"]
    assert wrapped("of 40 GiBs", 6, indent="") == ["of 40", "GiBs"]


def test_a_url_is_not_broken() -> None:
    """A terminal makes it a link."""
    url = "https://ecs.console.aliyun.com/image/region/cn-hangzhou/imageList"
    assert wrapped(f"at {url} now", 20, indent=" ") == ["at", f" {url}", " now"]


def test_commands_are_on_lines_of_their_own() -> None:
    """Without backticks and punctuation. A single word in backticks stays in its line."""
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
    """Commands for an administrator are lines of a remedy."""
    command = 'aliyun ram CreateRole --RoleName a-role --AssumeRolePolicyDocument \'{"Version": "1"}\''
    assert laid_out("", f"Run this:\n{command}", 20) == [Line("Run this:"), Line(f"  {command}", is_command=True)]


def test_a_long_word_begins_after_its_label() -> None:
    """Also in a narrow terminal."""
    url = "oss://a-bucket/web/system-0123456789ab.raw"
    assert [one.text for one in laid_out("stays  ", f"{url}, 40 GiB", 24)] == [
        "stays  oss://a-bucket/",
        "       web/system-",
        "       0123456789ab.raw,",
        "       40 GiB",
    ]
