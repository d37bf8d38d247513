"""This file tests that every rule is explained, once, under the name that its findings have."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aliyun_import.checks.disk import ANY_DISK_RULES, SYSTEM_DISK_RULES
from aliyun_import.checks.explain_disk import CONTAINER_TEXTS, DISK_TEXTS
from aliyun_import.checks.explain_guest import GUEST_TEXTS
from aliyun_import.checks.explain_request import REQUEST_TEXTS
from aliyun_import.checks.registry import explain, explanation, known_rules
from aliyun_import.checks.request import rule_names
from aliyun_import.disk import report
from aliyun_import.errors import UsageError
from aliyun_import.model.finding import Severity
from tests.checks.disks_page import with_tables

ROOT = Path(__file__).resolve().parents[2]
RULES = ANY_DISK_RULES | SYSTEM_DISK_RULES
# Made of a container's name, or given on from the tools of QEMU and from the opening of the file.
_COMPOSED = {"container-tar", "container-7z", "container-lz4"}
_GIVEN_ON = {"not-whole", "conversion-failed", "disk-missing", "disk-unreadable", "disk-kind"}


def test_every_rule_about_disks_has_its_text_and_no_text_is_left_over() -> None:
    """`--explain` answers for each rule, and for nothing that is not one."""
    assert set(DISK_TEXTS) | set(GUEST_TEXTS) == set(RULES)
    assert set(REQUEST_TEXTS) == rule_names()


def test_no_two_rules_share_a_name() -> None:
    """Skipping one check must not skip another."""
    groups = [set(CONTAINER_TEXTS), set(DISK_TEXTS), set(GUEST_TEXTS), set(REQUEST_TEXTS)]
    assert sum(len(group) for group in groups) == len(set().union(*groups))


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_is_called_what_its_findings_are_called(name: str) -> None:
    """The function, its place in the table and the rule in its findings have one name."""
    function = RULES[name]
    assert function.__name__.replace("_", "-") == name
    named = re.findall(r'subject\.finding\(\s*"([^"]+)"', inspect.getsource(function))
    assert named
    assert set(named) == {name}


def test_every_problem_of_a_container_is_explained() -> None:
    """What the disk room finds wrong with containers and tables has its text too, and nothing else has."""
    made = {code for path in Path(report.__file__).parent.rglob("*.py") for code in _codes(path)}
    assert made | _COMPOSED | _GIVEN_ON == set(CONTAINER_TEXTS)


@pytest.mark.parametrize("name", sorted(known_rules()))
def test_an_explanation_says_class_reason_and_source(name: str) -> None:
    """People read what happens, why, and who says so."""
    known = explanation(name)
    assert known.classes.replace("a note", "note").split(",")[0].split()[0] in set(Severity)
    assert known.text.endswith(".")
    assert known.source
    assert f"--skip-check {name}" in explain(name)


def test_an_unknown_rule_is_refused_with_what_is_near() -> None:
    """A typo is told apart from a rule."""
    with pytest.raises(UsageError) as caught:
        explain("virtio-driver")
    assert caught.value.code == "unknown-check"
    assert "virtio-drivers" in (caught.value.cause or "")
    assert "--explain virtio-drivers" in (caught.value.remedy or "")


def test_the_page_about_disks_has_a_row_for_every_check() -> None:
    """docs/disks.md says what `--explain` says; `python -m tests.checks.disks_page` with its path mends it."""
    page = (ROOT / "docs" / "disks.md").read_text()
    assert with_tables(page) == page
    assert page.count("\n| `") == len(CONTAINER_TEXTS | DISK_TEXTS | GUEST_TEXTS)


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
            [keyword.value for keyword in node.keywords if keyword.arg == "code"] if node.func.id in ("Problem", "Promise") else []
        )
        values += node.args[:1] if node.func.id == "_of_header" else []
        for value in values:
            options = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
            for option in options:
                if isinstance(option, ast.Constant) and isinstance(option.value, str):
                    yield option.value
                elif isinstance(option, ast.Name) and option.id in names:
                    yield names[option.id]
