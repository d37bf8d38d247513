"""Fixtures of the tests of disks."""

from collections.abc import Iterator

import pytest

from aliyun_import.checks.run import known_ids
from aliyun_import.disk.report import Problem


@pytest.fixture(autouse=True)
def registered_problems(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Assert that every problem a test creates is declared as a check, which explains it."""
    codes: set[str] = set()
    create = Problem.__init__

    def record(self: Problem, **fields: object) -> None:
        create(self, **fields)  # type: ignore[arg-type]
        codes.add(self.code)

    monkeypatch.setattr(Problem, "__init__", record)
    yield
    assert codes <= known_ids()
