"""Tests of the explanations of problems."""

import ast
from collections.abc import Iterator
from pathlib import Path

from aliyun_import.disk.problems import PROBLEMS
from aliyun_import.disk.report import Container

ROOM = Path(__file__).resolve().parents[2] / "aliyun_import" / "disk"
# Made of a container's name, or given on from the tools of QEMU.
_COMPOSED = {f"container-{container}" for container in (Container.TAR, Container.SEVEN_ZIP, Container.LZ4)}
_GIVEN_ON = {"not-whole", "conversion-failed"}


def _codes(path: Path) -> Iterator[str]:
    """Find the codes that a module makes Problems with: literals, conditional ones, and module constants."""
    tree = ast.parse(path.read_text())
    names = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        values = (
            [keyword.value for keyword in node.keywords if keyword.arg == "code"] if node.func.id == "Problem" else []
        )
        values += node.args[:1] if node.func.id == "_of_header" else []
        for value in values:
            options = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
            for option in options:
                if isinstance(option, ast.Constant) and isinstance(option.value, str):
                    yield option.value
                elif isinstance(option, ast.Name) and option.id in names:
                    yield names[option.id]


def test_every_problem_is_explained_and_nothing_else_is() -> None:
    """`check --explain` knows each code that a report can hold."""
    made = {code for path in ROOM.glob("*.py") for code in _codes(path)}
    assert made | _COMPOSED | _GIVEN_ON == set(PROBLEMS)
