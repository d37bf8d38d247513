"""Pages of the documentation: their blocks of commands, and a user who runs them."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from aliyun_import.sandbox.server import Sandbox

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# What is run, in the order of the page: blocks of commands, and comments with the setup that a page assumes. A comment
# before a block says why it is not run.
_STEP = re.compile(
    r"<!-- setup: (?P<setup>.*?) -->|(?P<left_out><!-- not run: [^>]* -->\n)?^ *```sh\n(?P<commands>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_NEEDS = re.compile(r"<!-- needs: (\S+) -->")
# Values for the words in capitals, which the user replaces.
_FILLED_IN = re.compile(r"<!-- fill in: (.*?) -->")
# Replacements for the programs that pages call. pip and pipx would install this project, which is installed already.
_PROGRAMS = {
    "aliyun-import": f'exec {sys.executable} -m aliyun_import "$@"',
    "aliyun": f'exec {sys.executable} {ROOT / "tests/docs/aliyun_cli.py"} "$@"',
    "pipx": '[ "$1 $2" = "run aliyun-import" ] && shift 2 && exec aliyun-import "$@"',
    "pip": '[ "$*" = "install aliyun-import" ]',
}


@dataclass(frozen=True)
class User:
    """User with a home directory, the programs in it, and an account in a sandbox."""

    home: Path
    sandbox: Sandbox

    def install_programs(self) -> "User":
        """Write the programs to the home directory, which must not exist, and return this user."""
        programs = self.home / ".local" / "bin"
        programs.mkdir(parents=True)
        for name, line in _PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/sh\nexport PYTHONPATH={ROOT}\n{line}\n")
            (programs / name).chmod(0o755)
        return self

    def environment(self, **variables: str) -> dict[str, str]:
        """Return an environment without credentials."""
        return {
            "PATH": f"{self.home}/.local/bin:{os.environ['PATH']}",
            "HOME": str(self.home),
            "ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true",
            **variables,
        }

    def run(
        self, commands: str, *, shell: str = "bash -euo pipefail", environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run commands in the home directory, by default with the credentials of the sandbox."""
        return subprocess.run(
            [*shell.split(), "-c", commands], cwd=self.home, capture_output=True, text=True, timeout=170, check=False,
            env=self.environment(**self.sandbox.environment()) if environment is None else environment,
        )  # fmt: skip


def steps_of(page: Path) -> str:
    """Return the commands of a page to run, with values for words in capitals; skip if a program is missing."""
    text = page.read_text()
    for tool in _NEEDS.findall(text):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    steps = "\n".join(
        step["setup"] or step["commands"] for step in _STEP.finditer(text) if step["setup"] or not step["left_out"]
    )
    for word, value in re.findall(r"(\w+)=(\S+)", " ".join(_FILLED_IN.findall(text))):
        steps = steps.replace(word, value)
    return steps


def has_commands(page: Path) -> bool:
    """Return whether at least one block of a page is run."""
    return any(step["commands"] and not step["left_out"] for step in _STEP.finditer(page.read_text()))


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a page in a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL)
