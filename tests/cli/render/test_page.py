"""Tests of the layout of pages on a terminal."""

from aliyun_import.cli.render.page import lay_out


def test_prose_is_wrapped_and_commands_are_not() -> None:
    """A command is copied as one line."""
    command = f"aliyun-import push disk.raw {'--tag name=value ' * 10}--name last"
    lines = lay_out(f"# Head\n\n{'word ' * 40}\n\n```sh\n{command}\n```\n", columns=60).splitlines()
    assert command in lines
    assert max(len(line) for line in lines if "word" in line) <= 60


def test_a_link_shows_its_page_and_an_image_is_omitted() -> None:
    """The page is an argument of `docs`."""
    shown = lay_out("![A picture](a.svg)\n\nSee [errors](errors.md).\n", columns=60)
    assert "errors (errors.md)" in shown
    assert "a.svg" not in shown
