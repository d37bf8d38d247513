"""Tables of cases without fixtures of their own: one test for all rows, which reports every wrong row."""

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest


def each_row(
    names: str | tuple[str, ...], rows: Iterable[Any], *, ids: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test once with each row of a table as its parameters, and raise all failures together.

    `pytest.mark.parametrize` makes an item of each row, which takes 3 ms of processor time with xdist; a row is free.
    All rows share the fixtures of the test; rows that change a fixture need parametrize. `ids` names rows whose values
    do not identify them, as pytest.param does.
    """
    columns = (names,) if isinstance(names, str) else names
    table = [_row(row, len(columns)) for row in rows]
    if ids:
        table = [(name, values) for name, (_, values) in zip(ids, table, strict=True)]
    if not table:
        raise ValueError("a table with no rows tests nothing")

    def over_rows(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def all_rows(**fixtures: Any) -> None:
            wrong = []
            for name, values in table:
                try:
                    test(**dict(zip(columns, values, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - raised below
                    # The text is made for wrong rows only, because a value may be a whole disk.
                    error.add_note("in the row " + (name or ", ".join(f"{value!r:.300}" for value in values)))
                    wrong.append(error)
            if wrong:
                raise BaseExceptionGroup(f"wrong in {len(wrong)} of {len(table)} rows", wrong)

        signature = inspect.signature(test)
        others = [one for name, one in signature.parameters.items() if name not in columns]
        vars(all_rows)["__signature__"] = signature.replace(parameters=others)
        return all_rows

    return over_rows


def _row(row: Any, count: int) -> tuple[str, tuple[Any, ...]]:
    """Return the id of a row, or an empty one, and its values."""
    if not isinstance(row, type(pytest.param())):
        return "", (row,) if count == 1 else tuple(row)
    if row.marks:
        raise ValueError("a row can't have marks")
    return str(row.id or ""), tuple(row.values)
