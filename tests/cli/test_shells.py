"""Tests of completion in interactive shells: the arguments of a program after the tab key."""

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path
from shutil import which

import click.testing
import pytest

from aliyun_import.cli.main import app

PACKAGE = Path(__file__).resolve().parents[2]
# The command that starts a shell without the user's files, and the command that loads the script {0}.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ". {0}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; . {0}"),
    "fish": (["fish", "--no-config", "--interactive"], "source {0}"),
}
TYPED = {
    "clea": "cleanup",
    "push dem": "push|demo.raw",
    "push --region cn-hangz": "push|--region|cn-hangzhou",
    "push --platform Others": "push|--platform|Others Linux",
    "check --explain no-partition-t": "check|--explain|no-partition-table",
    "doctor --profile pro": "doctor|--profile|prod",
    "push --timeo": "push|--timeout",
}


class Shell:
    """Shell in a pseudo-terminal. Its `aliyun-import` completes, and prints its arguments."""

    def __init__(self, name: str, home: Path) -> None:
        command, load = SHELLS[name]
        program = home / "bin" / "aliyun-import"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\n[ -n "$_ALIYUN_IMPORT_COMPLETE" ] && exec {sys.executable} -m aliyun_import "$@"\n'
            'printf "called:"; printf "%s|" "$@"; echo\n'
        )
        program.chmod(0o755)
        script = home / "script"
        script.write_text(click.testing.CliRunner().invoke(app, ["completion", name]).output)
        (home / "demo.raw").touch()
        (home / ".aliyun").mkdir()
        (home / ".aliyun" / "config.json").write_text('{"profiles": [{"name": "prod"}]}')
        environment = {
            "PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(PACKAGE),
            "TERM": "xterm", "LANG": "C.UTF-8",
        }  # fmt: skip
        self._output = ""
        self.pid, self._handle = pty.fork()
        if self.pid == 0:
            os.chdir(home)
            os.execvpe(command[0], command, environment)
        self.type(load.format(script) + "; echo rea''dy\n", until="ready")

    def type(self, keys: str, *, until: str, limit_s: float = 30.0) -> str:
        """Type keys, wait for `until`, and return the rest of its line."""
        before = len(self._output)
        os.write(self._handle, keys.encode())
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            found = re.search(f"{until}(.*)\n", self._output[before:])
            if found:
                return found[1].strip()
            if select.select([self._handle], [], [], 0.1)[0]:
                self._output += os.read(self._handle, 65536).decode(errors="replace")
        raise AssertionError(self._output[before:])

    def close(self) -> None:
        """Kill the shell."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._handle)


@pytest.mark.root
@pytest.mark.parametrize("name", SHELLS)
def test_the_tab_key_completes_words_files_and_values(name: str, tmp_path: Path) -> None:
    """Commands, options, disks, regions, platforms with spaces, checks and profiles."""
    if which(name) is None:
        pytest.skip(f"needs {name}")
    shell = Shell(name, tmp_path)
    try:
        for typed, expected in TYPED.items():
            os.write(shell._handle, f"aliyun-import {typed}\t".encode())
            time.sleep(1.0)  # the completion replaces the line
            assert shell.type("\n", until="called:") == f"{expected}|", typed
    finally:
        shell.close()
