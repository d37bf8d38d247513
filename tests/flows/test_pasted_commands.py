"""Tests that each printed follow-up command works in a shell without the environment of the run."""

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
    """Shell without variables of the tool: profile, endpoint, region and state directory are options."""

    commands: Commands
    sandbox: Sandbox

    @property
    def state(self) -> Path:
        """The directory of the journals, with a space in its name."""
        return self.commands.home / "my journals"

    def run(self, *arguments: str | Path) -> Ran:
        """Run a command without the variables of the sandbox."""
        removed = dict.fromkeys(self.sandbox.environment())
        return self.commands.run(*arguments, environment=removed, clock_url=self.sandbox.url)

    def push(self, disk: Path, *options: str) -> Ran:
        """Push with the options of the services and of the state directory."""
        return self.run("push", disk, *self.services, "--state-dir", self.state, *options)

    @property
    def services(self) -> tuple[str, ...]:
        """The options that name the services."""
        return ("--profile", PROFILE, "--endpoint-url", self.sandbox.url, "--region", "cn-hangzhou")

    def paste(self, ran: Ran) -> dict[str, Ran]:
        """Run every command that a run printed, and return the results."""
        printed = re.findall(r"`(aliyun-import [^`]+)`", ran.out + ran.err)
        assert printed, ran.out + ran.err
        # A boot test takes minutes; tests/boot runs it.
        commands = [command for command in dict.fromkeys(printed) if "--boot" not in command]
        return {command: self.run(*shlex.split(command)[1:]) for command in commands}


@pytest.fixture
def shell(commands: Commands, sandbox: Sandbox) -> Shell:
    """Return a shell whose profile of the aliyun CLI is not the current one."""
    key = sandbox.access_key
    profile = {
        "name": PROFILE, "mode": "AK", "access_key_id": key.id, "access_key_secret": key.secret,
        "region_id": "cn-beijing",
    }  # fmt: skip
    wrong = {**profile, "name": "default", "access_key_id": "UNKNOWN"}
    (commands.home / ".aliyun").mkdir(parents=True)
    text = json.dumps({"current": "default", "profiles": [wrong, profile]})
    (commands.home / ".aliyun" / "config.json").write_text(text)
    return Shell(commands, sandbox)


def interrupted_upload(shell: Shell, disk: Path) -> Ran:
    """Fail in the upload: `cleanup --remove` removes it."""
    shell.sandbox.faults.add(Fault(operation="UploadPart", count=None, status=403, code="AccessDenied"))
    return shell.push(disk)


def import_without_wait(shell: Shell, disk: Path) -> Ran:
    """Push with --no-wait until the import has ended: `cleanup --remove` deletes the staging object."""
    ran = shell.push(disk, "--no-wait", "--output", "plain")
    shell.sandbox.clock.advance(3600)
    return ran


def timed_out(shell: Shell, disk: Path) -> Ran:
    """Reach the timeout: `task wait` continues."""
    shell.sandbox.state.configure(import_s=60.0)
    return shell.push(disk, "--timeout", "5s")


def failed_import(shell: Shell, disk: Path) -> Ran:
    """Fail in the import: `task show`, and `check` of the disk."""
    shell.sandbox.state.configure(import_outcome="failed", import_error=("X", "Something."))
    return shell.push(disk)


def rejected_parameter(shell: Shell, disk: Path) -> Ran:
    """Fail in the import because of a parameter: `check` of the disk."""
    shell.sandbox.state.configure(import_outcome="failed", import_error=("ParameterInvalid", "No."))
    return shell.push(disk)


def unreadable_object(shell: Shell, disk: Path) -> Ran:
    """Fail in the import because of the role: `role ensure` with the bucket."""
    shell.sandbox.state.configure(import_outcome="failed", import_error=("InvalidOSS.NotAuthorized", "No."))
    return shell.push(disk)


def missing_role(shell: Shell, disk: Path) -> Ran:
    """Show a role that does not exist: `role ensure` with its name."""
    return shell.run("role", "show", "--role-name", "Other", *shell.services)


def object_in_use(shell: Shell, disk: Path) -> Ran:
    """Remove the object of a running import: `task wait`."""
    shell.sandbox.state.configure(import_s=60.0)
    shell.push(disk, "--no-wait")
    return shell.run("cleanup", "--remove", "*", *shell.services, "--state-dir", shell.state)


@pytest.mark.parametrize(
    "prepare",
    [
        interrupted_upload, import_without_wait, timed_out, failed_import, rejected_parameter, unreadable_object,
        missing_role, object_in_use,
    ],
    ids=lambda one: one.__name__,
)  # fmt: skip
def test_a_printed_command_works_when_pasted(shell: Shell, disk: Path, prepare: Callable[[Shell, Path], Ran]) -> None:
    """The current profile is another one, no variable is set, and the state directory is not the default."""
    ran = prepare(shell, disk)
    for command, pasted in shell.paste(ran).items():
        assert pasted.code == 0, f"{command}: {pasted.err}"
        if not command.startswith(("aliyun-import check", "aliyun-import role policy")):
            assert shlex.join([f"--profile={PROFILE}"]) in command


def test_the_removed_leftovers_are_those_of_the_push(shell: Shell, disk: Path) -> None:
    """The command in the error removes all that the push left."""
    ran = interrupted_upload(shell, disk)
    shell.paste(ran)
    listed = shell.run("cleanup", *shell.services, "--state-dir", shell.state)
    assert "nothing is left" in listed.err
