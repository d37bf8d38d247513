"""Tests of the structure of the package: layers, sizes, siblings."""

import re
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from tests.house.source import FILES, PACKAGE, outline_of

# Package or module -> the others that it may import. docs/architecture.md has the same as a figure.
VALUES = {"errors", "limits", "model", "sizes"}
RUN = VALUES | {"context", "events", "retry", "services"}
STAGES = {"account", "checks", "cleanup", "image", "role", "upload"}
ENGINE = RUN | STAGES | {"boot", "cloud", "disk", "journal", "user_directories"}
MAY_IMPORT: dict[str, set[str]] = {
    "__main__": {"cli"},
    "__init__": ENGINE | {"api", "boot_tests", "push"},
    "cli": ENGINE | {"__init__", "api", "boot_tests", "error_codes", "push", "redact", "sandbox", "system_limits"},
    "api": ENGINE | {"boot_tests", "push"},
    "boot_tests": ENGINE - {"account", "cleanup", "image", "role", "upload"},
    "push": ENGINE - {"cloud"} | {"error_codes"},
    "cleanup": RUN | {"upload"},
    "account": RUN,
    "checks": VALUES | {"disk"},  # pure
    "image": RUN,
    "role": RUN,
    "upload": RUN | {"disk", "journal", "system_limits"},
    "boot": RUN | {"disk", "journal"},
    "cloud": RUN - {"retry"} | {"error_codes", "redact", "system_limits", "user_directories"},
    "disk": VALUES | {"events"},
    "retry": VALUES | {"context", "events", "services"},
    "services": VALUES,
    "journal": {"error_codes", "errors", "journal_form", "system_limits", "user_directories"},
    "context": {"errors", "events"},
    "events": {"model"},
    "system_limits": {"error_codes", "errors"},
    "journal_form": {"limits"},
    "sizes": {"limits"},
    "error_codes": {"errors"},
    "warning_codes": {"errors"},
    "errors": {"redact"},
    "redact": set(),
    "limits": set(),
    "model": {"errors"},
    "user_directories": set(),
    "sandbox": set(),
}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_SIBLINGS = 20


def _area(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _name(path: Path) -> str:
    return ".".join(("aliyun_import", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def _imports(path: Path) -> Iterator[str]:
    """Yield the modules that a module imports; for a name of a module, that module."""
    for name in outline_of(path).imports:
        yield name if name in MODULES or name.rpartition(".")[0] not in MODULES else name.rpartition(".")[0]


MODULES = {_name(path) for path in FILES}


def test_imports_go_down_only() -> None:
    """No package imports one above it or beside it."""
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in FILES
        for name in _imports(path)
        if name.startswith("aliyun_import.")
        and (target := name.split(".")[1]) != _area(path)
        and target not in MAY_IMPORT[_area(path)]
    ]
    assert not wrong


def test_there_is_no_import_cycle() -> None:
    """Imports within functions count, too."""
    graph = {_name(path): set(_imports(path)) & MODULES - {_name(path), "aliyun_import"} for path in FILES}
    tuple(TopologicalSorter(graph).static_order())


def test_inner_init_files_have_only_a_docstring() -> None:
    """Re-exports cause import cycles."""
    inner = [path for path in FILES if path.name == "__init__.py" and path.parent != PACKAGE]
    assert [path for path in inner if outline_of(path).statements != 1] == []


def test_one_module_of_the_command_line_imports_the_sandbox() -> None:
    """Only one module of cli/ starts the sandbox."""
    users = {
        path.name
        for path in FILES
        if _area(path) == "cli" and any(name.startswith("aliyun_import.sandbox") for name in _imports(path))
    }
    assert len(users) == 1


def test_every_module_is_short_and_documented() -> None:
    """A module has a docstring and at most 400 lines."""
    assert [path for path in FILES if not outline_of(path).docstring] == []
    lines = {path.relative_to(PACKAGE): path.read_text().count("\n") for path in FILES}
    long = {path: count for path, count in lines.items() if count > MAX_MODULE_LINES}
    assert not long, "; ".join(f"{path}: {count} lines, at most {MAX_MODULE_LINES}" for path, count in long.items())


def test_every_function_has_at_most_60_lines() -> None:
    """The docstring is not counted."""
    long = [
        f"{path.relative_to(PACKAGE)}:{name}"
        for path in FILES
        for name, lines in outline_of(path).functions
        if lines > MAX_FUNCTION_LINES
    ]
    assert not long


def test_no_folder_has_more_than_20_modules() -> None:
    """A reader can scan 20 names."""
    crowded = {str(folder): count for folder, count in Counter(path.parent for path in FILES).items()}
    assert {folder: count for folder, count in crowded.items() if count > MAX_SIBLINGS} == {}


def test_the_paths_in_the_docs_exist() -> None:
    """They are paths of the package, the docs and the tests."""
    root = PACKAGE.parent
    named = {
        (page.name, path)
        for page in (root / "docs").glob("*.md")
        for path in re.findall(r"`((?:aliyun_import|docs|tests)/[\w./-]*)`", page.read_text())
    }
    assert len(named) > 20
    assert {(page, path) for page, path in named if not (root / path).exists()} == set()
