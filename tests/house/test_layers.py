"""This file keeps the doors of the house: which room may import which."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "aliyun_import"

# Room or single file -> what it may import of this package, besides itself. docs/architecture.md draws the same.
BOTTOM = {"errors", "redact", "limits", "model", "sizes", "__init__"}
BELOW_STAGES = BOTTOM | {"events", "ports", "journal", "retry", "disk"}
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": {"redact"},
    "redact": set(),
    "limits": set(),
    "model": set(),
    "sizes": {"limits"},
    "events": {"model"},
    "ports": BOTTOM,
    "journal": BOTTOM,
    "retry": BOTTOM | {"ports"},
    "disk": BOTTOM | {"events"},
    "preflight": BELOW_STAGES,
    "upload": BELOW_STAGES,
    "image": BELOW_STAGES,
    "cloud": BELOW_STAGES - {"disk", "journal"},
    "pipeline": BELOW_STAGES | {"preflight", "upload", "image"},
    "cli": BELOW_STAGES | {"preflight", "upload", "image", "cloud", "pipeline", "sandbox"},
    "sandbox": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which door is used"
            if node.module == "aliyun_import":
                yield from (f"aliyun_import.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    """No room imports one above it or beside it."""
    room = _room(path)
    for name in _imports(path):
        if name.startswith("aliyun_import.") and name != "aliyun_import.__version__":
            target = name.split(".")[1]
            assert target == room or target in MAY_IMPORT[room], f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_inner_init_files_hold_a_docstring_only(path: Path) -> None:
    """Re-exports make import cycles; one imports the leaf."""
    if path.name == "__init__.py" and path.parent != PACKAGE:
        assert len(ast.parse(path.read_text()).body) == 1


def test_the_sandbox_is_known_to_one_file_of_the_command_line() -> None:
    """Only one file of cli/ starts the sandbox."""
    users = {
        path.name
        for path in FILES
        if _room(path) == "cli"
        for name in _imports(path)
        if name.startswith("aliyun_import.sandbox")
    }
    assert len(users) <= 1
