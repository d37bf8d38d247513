"""Tests of the distributions: their content, and their installation with each Python."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from email.message import Message
from pathlib import Path

import pytest

import aliyun_import

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command outside the checkout, and return its stdout."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    ran = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and from it the wheel, and return their folder."""
    pytest.importorskip("build", reason="needs the extra `release`")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--quiet", "--outdir", folder, ROOT)
    return folder


def only(folder: Path, pattern: str) -> Path:
    """Return the only file that matches a pattern."""
    (path,) = folder.glob(pattern)
    return path


def metadata(wheel: Path) -> Message:
    """Return the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_changelog_has_the_version_of_the_package() -> None:
    """Below the section of unreleased changes, with its date."""
    text = (ROOT / "docs" / "changelog.md").read_text()
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    heads = re.findall(r"^## \[(.*?)\](.*)$", text, re.MULTILINE)
    assert heads[0] == ("Unreleased", "")
    assert heads[1][0] == aliyun_import.__version__
    assert all(re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date) for _, date in heads[1:])


@pytest.mark.slow
def test_twine_accepts_sdist_and_wheel(built: Path) -> None:
    """It checks metadata and description as a package index does."""
    pytest.importorskip("twine")
    run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir())


@pytest.mark.slow
def test_the_wheel_has_its_data_files_and_metadata(built: Path) -> None:
    """Types, schema, pages, man pages, license and classifiers; no tests."""
    wheel = only(built, "*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    stem = f"aliyun_import-{aliyun_import.__version__}"
    for name in ("aliyun_import/py.typed", "aliyun_import/schema.json", f"{stem}.dist-info/licenses/LICENSE"):
        assert name in names
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert {name.removeprefix("aliyun_import/docs/") for name in names if name.endswith(".md")} == pages
    manuals = {path.name for path in (ROOT / "docs" / "man").iterdir()}
    assert {name.rpartition("/")[2] for name in names if "/share/man/man1/" in name} == manuals
    tops = {name.split("/")[0] for name in names}
    assert tops == {"aliyun_import", f"{stem}.data", f"{stem}.dist-info"}
    about = metadata(wheel)
    classifiers = about.get_all("Classifier") or []
    assert [one for one in classifiers if re.search(r":: 3\.\d+$", one)] == [
        f"Programming Language :: Python :: {version}" for version in PYTHONS
    ]
    assert (about["License-Expression"], about["Requires-Python"]) == ("Apache-2.0", ">=3.11")
    assert about["Author"]


@pytest.mark.slow
def test_the_tests_of_the_sdist_are_collected(built: Path, tmp_path: Path) -> None:
    """Packagers run the tests from the sdist, so it has every file that git tracks."""
    with tarfile.open(only(built, "*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    if (ROOT / ".git").exists():
        tracked = set(run("git", "ls-files", cwd=ROOT).splitlines())
        packed = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert packed - tracked == {"PKG-INFO"}
        assert tracked - packed == set()
    collected = run(
        sys.executable, "-m", "pytest", "--collect-only", "-qq", "-n", "0", "-p", "no:cacheprovider", cwd=folder
    )
    assert "tests/test_errors.py" in collected


def _interpreters() -> list[str]:
    """Return the supported Pythons that are installed."""
    found = []
    for version in PYTHONS:
        names = (sys.executable,) if sys.version.startswith(f"{version}.") else (f"python{version}",)
        for name in names:
            path = shutil.which(name)
            if path and subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
                found.append(path)
    return found


def use(program: Sequence[str | Path], place: Path) -> None:
    """Use an installed tool: its version, a page, a disk, and a push of it."""
    place.mkdir()
    assert run(*program, "--version", cwd=place).split() == ["aliyun-import", aliyun_import.__version__]
    assert run(*program, "docs", "quickstart", cwd=place).startswith("# Quickstart\n")
    run(*program, "sandbox", "disk", "demo.raw", cwd=place)
    assert run(*program, "push", "demo.raw", "--sandbox", cwd=place).startswith("m-sandbox")


@pytest.mark.slow
@pytest.mark.parametrize("python", _interpreters())
def test_the_wheel_installs_in_an_empty_environment(built: Path, python: str, tmp_path: Path) -> None:
    """With what the index has now; the environment is consistent, and the tool works."""
    run(python, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/python", "-m", "pip", "install", "-q", only(built, "*.whl"))
    run(tmp_path / "venv/bin/python", "-m", "pip", "check")
    assert (tmp_path / "venv/share/man/man1/aliyun-import-push.1").is_file()
    use([tmp_path / "venv/bin/aliyun-import"], tmp_path / "work")


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["pipx run --spec", "uvx --from"])
def test_the_wheel_runs_without_being_installed(built: Path, runner: str, tmp_path: Path) -> None:
    """By pipx and by uv, which create an environment of their own."""
    if shutil.which(runner.split()[0]) is None:
        pytest.skip(f"{runner.split()[0]} is not installed")
    use([*runner.split(), only(built, "*.whl"), "aliyun-import"], tmp_path / "work")
