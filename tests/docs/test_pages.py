"""Tests of the pages: their commands run word for word against a sandbox, and their links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.state import Settings
from aliyun_import.sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    DOCS / "quickstart.md",
    DOCS / "first-image.md",
    *sorted((DOCS / "how-to").glob("*.md")),
    DOCS / "zh" / "quickstart.md",
]
# A block of commands, and the remark above it that it needs what a test does not have.
BLOCK = re.compile(r"(<!-- not run: [^>]* -->\n)?^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SETUP = re.compile(r"<!-- setup: (.*?) -->")
NEEDS = re.compile(r"<!-- needs: (\S+) -->")
DISKS = "aliyun-import sandbox disk disk.raw >/dev/null && aliyun-import sandbox disk golden.raw >/dev/null\n"
PROGRAM = f"""#!/bin/sh
exec {sys.executable} -m aliyun_import "$@"
"""


def commands_of(page: Path) -> str:
    """Return the commands of a page that are run, in their order."""
    return "\n".join(block for skipped, _, block in BLOCK.findall(page.read_text()) if not skipped)


@pytest.mark.parametrize(
    "page",
    # The others are slow together: each of their commands is a process of its own. .ci/run runs all.
    [page if page.parent.name == "zh" else pytest.param(page, marks=pytest.mark.slow) for page in PAGES],
    ids=lambda page: str(page.relative_to(DOCS)),
)
def test_the_commands_of_a_page_run_as_they_stand(page: Path, tmp_path: Path) -> None:
    """Each block in one shell, against a sandbox; what a page needs beforehand is in its source as a remark."""
    text = page.read_text()
    for tool in NEEDS.findall(text):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "aliyun-import").write_text(PROGRAM)
    (programs / "aliyun-import").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    with Sandbox.start(tmp_path / "sandbox", settings=Settings(import_s=0.1)) as sandbox:
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(tmp_path / "home"),
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            "PYTHONPATH": str(ROOT),
            **sandbox.environment(),
        }
        setup = "".join(f"{line}\n" for line in SETUP.findall(text))
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{DISKS}{setup}set -x\n{commands_of(page)}"],
            cwd=work, env=environment, capture_output=True, text=True, timeout=170, check=False,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Traceback" not in ran.stderr


def test_every_page_has_commands_that_run() -> None:
    """A page whose blocks are all left out would pass without a test."""
    assert [page.name for page in PAGES if not commands_of(page).strip()] == []


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """To files that exist, and to heads that are there; the site is built with the same check."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in _anchors(there), target


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
