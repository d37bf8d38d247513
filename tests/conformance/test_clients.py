"""Tests of the results of the vendor's clients against the sandbox."""

import importlib.util

import pytest

from tests.conformance.steps import Outcome, Step, merged, run

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("default")]

NAMES = [
    *(f"{name} {version}" for version in ("V4", "V1") for name in ("oss2", "oss-v2", "ali-oss")),
    "core",
    "tea",
    "pop-core",
    "tea for Node",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_results_of_a_client_are_those_on_the_page(name: str) -> None:
    """No operation has a wrong response, and the generated page is up to date."""
    from tests.conformance import matrix

    if name in matrix.NODE_CLIENTS and matrix.missing_node():
        pytest.skip(matrix.missing_node())
    if name == "tea" and importlib.util.find_spec("alibabacloud_ecs20140526") is None:
        pytest.skip("run: pip install -e '.[clients]'")
    results = matrix.outcomes(name)
    assert {operation: result for operation, result in results.items() if result not in ("ok", "501")} == {}
    assert results == matrix.documented_results()[name]


def test_the_page_has_every_client() -> None:
    """A new client has a column on the page."""
    from tests.conformance import matrix

    assert list(matrix.CLIENTS) == NAMES
    assert set(matrix.documented_results()) == set(NAMES)


def test_the_worst_outcome_of_an_operation_counts() -> None:
    """A wrong result takes precedence over 501, and 501 over ok."""
    outcomes = [
        Outcome("a", "ok"),
        Outcome("a", "wrong: x"),
        Outcome("a", "501"),
        Outcome("b", "501"),
        Outcome("b", "ok"),
    ]
    assert merged(outcomes) == {"a": "wrong: x", "b": "501"}


def _raise(code: str) -> None:
    raise LookupError(code)


def test_the_outcome_of_a_step() -> None:
    """The expected code is ok, "not implemented" is 501, and everything else is wrong."""
    steps = [
        Step("ok", lambda: None),
        Step("refused", lambda: _raise("NoSuchKey"), "NoSuchKey"),
        Step("501", lambda: _raise("NotImplemented")),
        Step("other code", lambda: _raise("AccessDenied"), "NoSuchKey"),
        Step("not refused", lambda: None, "NoSuchKey"),
        Step("false", lambda: False),
    ]
    results = [outcome.result.partition(":")[0] for outcome in run(steps, lambda error: str(error))]
    assert results == ["ok", "ok", "501", "wrong", "wrong", "wrong"]
