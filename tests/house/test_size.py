"""This file keeps modules and functions small enough to be read."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "aliyun_import"
FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    """At most 400 lines, and a first line that completes "This file ..." ("This room ...", "This package ...")."""
    text = path.read_text()
    assert text.count("\n") <= 400
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert docstring.startswith(("This file ", "This room ", "This package ")), docstring[:60]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_function_fits_a_screen(path: Path) -> None:
    """At most 60 lines a function, its docstring not counted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) else None
            doc_lines = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
            lines = (node.end_lineno or 0) - node.lineno + 1 - doc_lines
            assert lines <= 60, f"{node.name} has {lines} lines"
