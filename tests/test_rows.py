"""Tests of tables of cases: every wrong row is reported, and a test can have fixtures."""

from pathlib import Path

import pytest

from tests.rows import each_row


def test_every_wrong_row_is_reported() -> None:
    """The failure is a wrong assertion, an error, or a missing error; the following rows are tested, too."""

    @each_row(("number", "expected"), [(1, 1), (2, 3), (4, 4), (5, 6)])
    def equal(number: int, expected: int) -> None:
        assert number == expected

    @each_row("text", ["1", "2", "x"])
    def no_number(text: str) -> None:
        with pytest.raises(ValueError, match="invalid"):
            int(text)

    with pytest.raises(ExceptionGroup, match="wrong in 2 of 4 rows") as caught:
        equal()
    assert [error.__notes__ for error in caught.value.exceptions] == [["in the row 2, 3"], ["in the row 5, 6"]]
    with pytest.raises(BaseExceptionGroup, match="wrong in 2 of 3 rows"):
        no_number()


def test_a_row_may_have_an_id() -> None:
    """A row that skips does not skip the others."""

    @each_row("number", [1, pytest.param(2, id="two"), 3])
    def one(number: int) -> None:
        if number == 3:
            pytest.skip("three")
        assert number == 1

    @each_row("number", [1, 2], ids=["one", "two"])
    def two(number: int) -> None:
        assert number == 2

    for table, names in ((one, ["two", "3"]), (two, ["one"])):
        with pytest.raises(BaseExceptionGroup) as caught:
            table()
        assert [error.__notes__ for error in caught.value.exceptions] == [[f"in the row {name}"] for name in names]


def test_a_table_without_rows_is_refused() -> None:
    """Its test could not fail."""
    with pytest.raises(ValueError, match="no rows"):
        each_row("text", [])


@each_row("name", ["a", "b"])
def test_rows_and_fixtures_can_be_combined(name: str, tmp_path: Path) -> None:
    """All rows share the fixtures."""
    (tmp_path / name).touch()
    assert (tmp_path / "a").exists()
