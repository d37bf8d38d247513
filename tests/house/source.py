"""Outlines of the modules of the package. Syntax trees are not kept, because their nodes slow garbage collection."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "aliyun_import"
FILES = tuple(sorted(PACKAGE.rglob("*.py")))


@dataclass(frozen=True)
class Outline:
    """Docstring, imports and functions of a module. A name imported from a module is `module.name` in `imports`."""

    docstring: str | None
    statements: int
    imports: frozenset[str]
    functions: tuple[tuple[str, int], ...]
    """Each function with its number of lines without the docstring."""


@cache
def outline_of(path: Path) -> Outline:
    """Return the outline of a module."""
    tree = ast.parse(path.read_text())
    statements = tuple(_statements(tree))
    return Outline(
        docstring=ast.get_docstring(tree),
        statements=len(tree.body),
        imports=frozenset(name for one in statements for name in _imported(one)),
        functions=tuple((one.name, _lines(one)) for one in statements if isinstance(one, ast.FunctionDef)),
    )


def nodes_of(path: Path) -> Iterator[ast.AST]:
    """Yield all nodes of a module, parents first."""
    return ast.walk(ast.parse(path.read_text()))


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements below a node, without those for type checking, which are not executed."""
    for block in ("body", "orelse", "handlers", "cases", "finalbody"):
        inner = getattr(node, block, ())
        if block == "body" and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        for one in inner if isinstance(inner, list) else ():
            if isinstance(one, ast.stmt):
                yield one
            yield from _statements(one)


def _imported(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        assert statement.level == 0, "relative imports hide which layer is used"
        yield from (f"{statement.module}.{alias.name}" for alias in statement.names)


def _lines(function: ast.FunctionDef) -> int:
    docstring = function.body[0] if ast.get_docstring(function) else None
    doc_lines = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - doc_lines
