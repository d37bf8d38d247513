"""Tests of the table of refusals: it has every code that the services return."""

import ast
from pathlib import Path

from aliyun_import import sandbox
from aliyun_import.sandbox.core.rpc_errors import REFUSALS, Refusal
from tests.rows import each_row

SANDBOX = Path(sandbox.__file__).parent
PATTERNS = ("core/rpc*.py", "auth/rpc*.py", "ecs/*.py", "ram/*.py", "importer/*.py")
FILES = [path for pattern in PATTERNS for path in SANDBOX.glob(pattern) if path.stem != "__init__"]


@each_row("path", sorted(FILES))
def test_every_code_in_the_source_is_in_the_table(path: Path) -> None:
    """The first argument of Refusal, and strings that begin with "Invalid", are in the table."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    for node in calls:
        for argument in node.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                if (name == "Refusal" and argument is node.args[0]) or argument.value.startswith("Invalid"):
                    assert argument.value in REFUSALS, argument.value


def test_the_variable_part_of_a_message_is_filled_in() -> None:
    """A code without a template has the given text as its message."""
    assert Refusal("MissingParameter", "RegionId").message == (
        'An input parameter "RegionId" that is mandatory for processing the request is not supplied.'
    )
    assert Refusal("InvalidImageSize", "Too small.").message == "Too small."
    assert Refusal("InvalidImageSize", "Too small.").status == 400
