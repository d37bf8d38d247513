"""Tests of the table of refusals: it has every code that the services return."""

import ast
from collections.abc import Iterator
from pathlib import Path

from aliyun_import import sandbox
from aliyun_import.sandbox.core.rpc_errors import REFUSALS, Refusal
from tests.rows import each_row

SANDBOX = Path(sandbox.__file__).parent
PATTERNS = ("core/rpc*.py", "auth/rpc*.py", "ecs/*.py", "ram/*.py", "importer/*.py")
FILES = [path for pattern in PATTERNS for path in SANDBOX.glob(pattern) if path.stem != "__init__"]


@each_row("path", sorted(FILES))
def test_every_code_in_the_source_is_in_the_table(path: Path) -> None:
    """The first argument of Refusal, and each argument that begins with "Invalid", by position or by keyword."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    missing = {code for node in calls for code in _codes(node)} - set(REFUSALS)
    assert not missing, f"without a row in REFUSALS of aliyun_import/sandbox/core/rpc_errors.py: {sorted(missing)}"


def _codes(node: ast.Call) -> Iterator[str]:
    is_refusal = isinstance(node.func, ast.Name) and node.func.id == "Refusal"
    for number, argument in enumerate([*node.args, *(keyword.value for keyword in node.keywords)]):
        value = argument.value if isinstance(argument, ast.Constant) else None
        if isinstance(value, str) and ((is_refusal and number == 0) or value.startswith("Invalid")):
            yield value


def test_the_variable_part_of_a_message_is_filled_in() -> None:
    """A code without a template has the given text as its message."""
    assert Refusal("MissingParameter", "RegionId").message == (
        'An input parameter "RegionId" that is mandatory for processing the request is not supplied.'
    )
    assert Refusal("InvalidImageSize", "Too small.").message == "Too small."
    assert Refusal("InvalidImageSize", "Too small.").status == 400
