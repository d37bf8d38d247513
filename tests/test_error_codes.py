"""Tests that every error code is declared, used and documented."""

import ast
import runpy
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from aliyun_import import errors
from aliyun_import.cloud.errors.network import FAILURES
from aliyun_import.cloud.errors.translate import TABLE
from aliyun_import.error_codes import ErrorCode
from aliyun_import.errors import WARNING, AliyunImportError, RefusedError
from aliyun_import.warning_codes import WarningCode
from tests.house.source import FILES, PACKAGE, nodes_of
from tests.rows import each_row

ROOT = Path(__file__).resolve().parents[1]
CLASSES = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
CODES = (*ErrorCode, *WarningCode)
PAGES = runpy.run_path(str(ROOT / "docs" / "generate_errors.py"))["PAGES"]


def _nodes(*texts: str) -> Iterator[ast.AST]:
    """Yield the nodes of the modules that contain one of these texts. The sandbox has service codes only."""
    for path in FILES:
        if "sandbox" in path.relative_to(PACKAGE).parts[:1] or path.name in ("error_codes.py", "warning_codes.py"):
            continue
        source = path.read_text()
        if any(text in source for text in texts):
            yield from nodes_of(path)


def _literals(node: ast.expr | None) -> Iterator[str]:
    """Yield the codes that an argument has as literals."""
    match node:
        case ast.Constant(value=str(code)):
            yield code
        case ast.Attribute(value=ast.Name(id="ErrorCode"), attr=name):
            yield ErrorCode[name].value
        case ast.IfExp(body=body, orelse=other):
            yield from _literals(body)
            yield from _literals(other)
        case _:
            pass


@cache
def _used() -> frozenset[tuple[str, str]]:
    """Return each literal code of a created error or warning, with the name of its class."""
    return frozenset(_each_used())


def _each_used() -> Iterator[tuple[str, str]]:
    names = CLASSES | {"Warned"}
    for node in _nodes("code="):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            code = next((keyword.value for keyword in node.keywords if keyword.arg == "code"), None)
            yield from ((one, node.func.id) for one in _literals(code))
    yield from ((failure.code, failure.code.kind.__name__) for failure in FAILURES)
    yield from ((row.code, row.kind.__name__) for row in TABLE)


def test_every_code_is_declared_with_its_class() -> None:
    """The code of each created error or warning is in ErrorCode or WarningCode with that class."""
    declared = {(code.value, kind.__name__ if kind else "Warned") for code in CODES for kind in code.kinds}
    assert sorted(_used() - declared) == []


def test_no_code_is_unused() -> None:
    """Each code is in a module of the package."""
    used = {code for code, _ in _used()}
    left = set(CODES) - used
    for node in _nodes(*(f'"{code}"' for code in left), *(f"ErrorCode.{code.name}" for code in left)):
        if isinstance(node, ast.Constant | ast.Attribute | ast.IfExp):
            used |= set(_literals(node))
    assert sorted(set(CODES) - used) == []


def test_a_code_equals_its_text() -> None:
    """It is named after its text, and the code of an error is a plain string."""
    assert all(code.name == code.value.upper().replace("-", "_") for code in CODES)
    error = RefusedError("No.", code=ErrorCode.REFUSED, remedy=None)
    assert type(error.code) is str
    assert error.code == str(ErrorCode.REFUSED) == "refused"


def test_every_code_has_a_class_and_sentences() -> None:
    """No code is twice; the meaning is one sentence, the remedy complete sentences; only warnings have no class."""
    assert len(set(CODES)) == len(CODES)
    for code in CODES:
        assert code.kinds
        assert code.meaning[0].isupper() or code.meaning.startswith(("qemu-img", "--"))
        assert code.meaning.endswith(".")
        assert code.remedy == "" or code.remedy.endswith(".")
        assert all(kind is WARNING or issubclass(kind, AliyunImportError) for kind in code.kinds)
    assert [code for code in CODES if (code.kinds[0] is WARNING) is not isinstance(code, WarningCode)] == []
    with pytest.raises(ValueError, match="warning"):
        _ = WarningCode.TASK_ODD.kind


@each_row("name", PAGES)
def test_the_generated_documentation_is_current(name: str) -> None:
    """errors.md and the tables of exit-codes.md and permissions.md equal the output of docs/generate_errors.py."""
    assert (ROOT / "docs" / f"{name}.md").read_text() == PAGES[name](), "run `python docs/generate.py`"


def test_the_errors_page_has_every_code() -> None:
    """It lists the codes of the tool and those of the services."""
    page = PAGES["errors"]()
    assert [code for code in CODES if f"`{code}`" not in page] == []
    assert [row.service_code for row in TABLE if f"`{row.service_code}`" not in page] == []
