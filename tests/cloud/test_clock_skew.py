"""This file tests what is said about a clock that is wrong."""

import time
from email.utils import formatdate

import pytest

from aliyun_import.cloud.clock_skew import clock_difference


@pytest.mark.parametrize(("off_s", "words"), [(1200, "behind"), (-1200, "ahead of")])
def test_the_difference_is_said_in_words(off_s: int, words: str) -> None:
    """From an HTTP date and from OSS's own form, with the side on which this clock is off."""
    then_s = time.time() + off_s
    for text in (formatdate(then_s, usegmt=True), time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(then_s))):
        said = clock_difference(text)
        assert said.startswith(("19 min", "20 min"))
        assert said.endswith(words)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45"])
def test_nothing_is_said_where_nothing_is_known(text: str) -> None:
    """No date, and one that can't be read, say nothing."""
    assert clock_difference(text) == ""


def test_nothing_is_said_of_clocks_that_agree() -> None:
    """The server's time of this very moment is no difference."""
    assert clock_difference(formatdate(usegmt=True)) == ""
