"""Every follow-up command that a run prints works when it is pasted into a shell without its environment."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.server import Sandbox
from tests.flows.commands import Commands, Ran

PROFILE = "my prod"


@dataclass(frozen=True)
class Shell:
    """A shell whose environment says nothing: profile, endpoint, region and state directory are options."""

    commands: Commands
    sandbox: Sandbox

    @property
    def state(self) -> Path:
        """Return the directory of the journals, which has a space in its name."""
        return self.commands.home / "my journals"

    def run(self, *arguments: str | Path) -> Ran:
        """Run a command as it was typed."""
        gone = dict.fromkeys(self.sandbox.environment())
        return self.commands.run(*arguments, environment=gone)

    def push(self, disk: Path, *options: str) -> Ran:
        """Push with every option that names a place."""
        return self.run("push", disk, *self.place, "--state-dir", self.state, *options)

    @property
    def place(self) -> tuple[str, ...]:
        """Return the options that name the services."""
        return ("--profile", PROFILE, "--endpoint-url", self.sandbox.url, "--region", "cn-hangzhou")

    def paste(self, ran: Ran) -> dict[str, Ran]:
        """Run every command that a run printed; return what each came to."""
        printed = re.findall(r"`(aliyun-import [^`]+)`", ran.out + ran.err)
        assert printed, ran.out + ran.err
        # A disk is not started here: that takes minutes, and tests/boot does it.
        commands = [command for command in dict.fromkeys(printed) if "--boot" not in command]
        return {command: self.run(*shlex.split(command)[1:]) for command in commands}


@pytest.fixture
def shell(commands: Commands, sandbox: Sandbox) -> Shell:
    """Return a shell with a profile of the aliyun CLI, which is not the current one."""
    key = sandbox.access_key
    profile = {
        "name": PROFILE, "mode": "AK", "access_key_id": key.id, "access_key_secret": key.secret,
        "region_id": "cn-beijing",
    }  # fmt: skip
    wrong = {**profile, "name": "default", "access_key_id": "NOBODY"}
    (commands.home / ".aliyun").mkdir(parents=True)
    text = json.dumps({"current": "default", "profiles": [wrong, profile]})
    (commands.home / ".aliyun" / "config.json").write_text(text)
    return Shell(commands, sandbox)


def interrupted_upload(shell: Shell, disk: Path) -> Ran:
    """Fail in the upload: `cleanup --remove` gives it up."""
    shell.sandbox.faults.add(Fault(operation="UploadPart", count=None, status=403, code="AccessDenied"))
    return shell.push(disk)


def not_waited_for(shell: Shell, disk: Path) -> Ran:
    """Leave the import running, and let it end: `cleanup --remove` deletes the staging object."""
    ran = shell.push(disk, "--no-wait", "--output", "plain")
    shell.sandbox.clock.advance(3600)
    return ran


def out_of_time(shell: Shell, disk: Path) -> Ran:
    """Run out of time: `task wait` continues."""
    shell.sandbox.state.configure(import_s=60.0)
    return shell.push(disk, "--timeout", "5s")


def failed_import(shell: Shell, disk: Path) -> Ran:
    """Let the import fail: `task show`, and `check` of the disk."""
    shell.sandbox.state.configure(import_outcome="failed", import_error=("X", "Something."))
    return shell.push(disk)


def rejected_parameter(shell: Shell, disk: Path) -> Ran:
    """Let the import fail by a parameter: `check` of the disk."""
    shell.sandbox.state.configure(import_outcome="failed", import_error=("ParameterInvalid", "No."))
    return shell.push(disk)


def unreadable_object(shell: Shell, disk: Path) -> Ran:
    """Let the import fail by the role: `role ensure` with the bucket."""
    shell.sandbox.state.configure(import_outcome="failed", import_error=("InvalidOSS.NotAuthorized", "No."))
    return shell.push(disk)


def missing_role(shell: Shell, disk: Path) -> Ran:
    """Look at a role that is missing: `role ensure` with its name."""
    return shell.run("role", "show", "--role-name", "Other", *shell.place)


def object_in_use(shell: Shell, disk: Path) -> Ran:
    """Remove what an import reads: `task wait`."""
    shell.sandbox.state.configure(import_s=60.0)
    shell.push(disk, "--no-wait")
    return shell.run("cleanup", "--remove", "*", *shell.place, "--state-dir", shell.state)


@pytest.mark.parametrize(
    "prepare",
    [
        interrupted_upload, not_waited_for, out_of_time, failed_import, rejected_parameter, unreadable_object,
        missing_role, object_in_use,
    ],
    ids=lambda one: one.__name__,
)  # fmt: skip
def test_a_printed_command_works_when_pasted(shell: Shell, disk: Path, prepare: Callable[[Shell, Path], Ran]) -> None:
    """With another current profile, no variables, and a state directory that is not the default."""
    ran = prepare(shell, disk)
    for command, pasted in shell.paste(ran).items():
        assert pasted.code == 0, f"{command}: {pasted.err}"
        if not command.startswith(("aliyun-import check", "aliyun-import role policy")):
            assert shlex.join([f"--profile={PROFILE}"]) in command


def test_the_removed_leftovers_are_those_of_the_push(shell: Shell, disk: Path) -> None:
    """The command removes what the error names, and nothing else stays."""
    ran = interrupted_upload(shell, disk)
    shell.paste(ran)
    listed = shell.run("cleanup", *shell.place, "--state-dir", shell.state)
    assert "nothing is left" in listed.err
