"""The vendor's clients against the sandbox: none of their calls is answered wrongly."""

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
def test_a_client_gets_what_the_page_says(name: str) -> None:
    """No operation is answered wrongly, and the generated page is up to date."""
    from tests.conformance import matrix

    if name in matrix.NODE_CLIENTS and matrix.missing_node():
        pytest.skip(matrix.missing_node())
    if name == "tea" and importlib.util.find_spec("alibabacloud_ecs20140526") is None:
        pytest.skip("run: pip install -e '.[clients]'")
    results = matrix.outcomes(name)
    assert {operation: result for operation, result in results.items() if result not in ("ok", "501")} == {}
    assert results == matrix.columns()[name]


def test_the_page_has_every_client() -> None:
    """A client that is added is shown."""
    from tests.conformance import matrix

    assert list(matrix.CLIENTS) == NAMES
    assert set(matrix.columns()) == set(NAMES)


def test_the_worst_outcome_of_an_operation_counts() -> None:
    """Wrong before 501 before ok."""
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


def test_what_a_step_ends_in() -> None:
    """The expected code, a refusal by name, or anything else."""
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
