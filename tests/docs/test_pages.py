"""Tests of the pages: their commands run against a sandbox, and their links resolve."""

import re
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.server import Sandbox
from tests.docs.page import DOCS, ROOT, User, blocks, has_commands, steps_of
from tests.rows import each_row

PAGES = [page for page in sorted(DOCS.rglob("*.md")) if blocks(page, "sh")]
DISKS = "aliyun-import sandbox disk disk.raw >/dev/null && aliyun-import sandbox disk golden.raw >/dev/null\n"


# Each of their commands is a process of its own; .ci/run runs them.
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """All blocks of a page run in one shell. Comments in the page have the setup that it assumes."""
    with Sandbox.start(tmp_path / "sandbox", settings=Settings(import_s=0.1, instance_console="boots")) as sandbox:
        user = User(tmp_path / "home", sandbox).install_programs()
        ran = user.run(f"{DISKS}set -x\n{steps_of(page)}")
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Traceback" not in ran.stderr


def test_the_pages_for_newcomers_have_commands_that_run() -> None:
    """A page of which no block is run would pass the test above."""
    named = [DOCS / "quickstart.md", DOCS / "first-image.md", *(DOCS / "how-to").glob("*.md")]
    assert [page.name for page in named if not has_commands(page)] == []


def test_commands_are_in_fenced_sh_blocks() -> None:
    """Only such blocks are run. The pages with indented commands show usage lines."""
    indented = re.compile(r"^ {4}(aliyun-import|variables=|curl|pipx?) ", re.MULTILINE)
    fenced = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
    found = {
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if indented.search(fenced.sub("", page.read_text()))
    }
    assert found == {"index.md", "commands.md", "zh/index.md"}


@each_row("name", ["quickstart.md", "first-image.md"])
def test_a_chinese_page_has_the_commands_of_the_english_one(name: str) -> None:
    """Block by block, in the same order."""
    assert blocks(DOCS / "zh" / name, "sh") == blocks(DOCS / name, "sh")


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@each_row("page", sorted(DOCS.rglob("*.md")))
def test_the_links_of_a_page_resolve(page: Path) -> None:
    """To existing files and headings. `mkdocs build --strict` checks the same."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in _anchors(linked), target


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    """The site lists each page once."""
    listed = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_pages_that_the_package_names_exist() -> None:
    """Comments and docstrings name pages of this folder only."""
    named = {
        name
        for path in (ROOT / "aliyun_import").rglob("*.py")
        for name in re.findall(r"docs/([\w/-]+\.md)", path.read_text())
    }
    assert named
    assert [name for name in sorted(named) if not (DOCS / name).exists()] == []
