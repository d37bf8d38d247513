"""Tests of pushes after the upload: failed imports, roles, --replace and the image check."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.core.rpc_errors import fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.ram.state import Ram
from aliyun_import.sandbox.server import Sandbox
from tests.clocks import import_calls
from tests.flows.commands import Commands
from tests.flows.disks import write_disk


def images(sandbox: Sandbox) -> dict[str, str]:
    """Return the status of each image by its name."""
    return {image.name: image.status for image in sandbox.state.part(Ecs).images.values()}


def test_a_failed_import_has_its_reason_and_the_next_run_does_not_upload_again(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """Exit code 7 with the reason of the service; the same command imports the object in OSS again."""
    sandbox.state.configure(import_outcome="failed", import_error=("InternalError", "The snapshot could not be made."))
    ran = commands.run("push", disk, "--output", "json")
    assert ran.code == 7
    assert "The snapshot could not be made." in ran.json["summary"] + ran.json["cause"]
    assert ran.json["remedy"]
    sent = len(sandbox.requests.entries("UploadPart"))
    sandbox.state.configure(import_outcome="finished")
    again = commands.run("push", disk)
    assert again.code == 0, again.err
    assert len(sandbox.requests.entries("UploadPart")) == sent
    assert images(sandbox) == {"web-server": "Available"}


@pytest.mark.parametrize("outcome", ["paused", "unavailable"])
def test_an_import_that_cannot_succeed_ends_the_wait(
    commands: Commands, sandbox: Sandbox, disk: Path, outcome: str
) -> None:
    """A paused task and an UnAvailable image are exit code 7 at once."""
    sandbox.state.configure(import_outcome=outcome)
    assert commands.run("push", disk).code == 7


def test_a_lost_response_of_import_image_causes_no_second_import(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """The call is repeated with the same client token, and ECS returns the running import."""
    sandbox.faults.add(Fault(operation="ImportImage", effect="lose-answer", nth=2))
    ran = commands.run("push", disk)
    assert ran.code == 0, ran.err
    assert len(sandbox.state.part(Ecs).images) == 1


def test_throttling_is_a_transient_failure(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Three error codes of throttling, and one server error, are retried."""
    for number, code in enumerate(("Throttling", "Throttling.User", "Throttling.Api"), start=1):
        sandbox.faults.add(fault("DescribeTaskAttribute", code, nth=number))
    sandbox.faults.add(Fault(operation="UploadPart", status=503, code="ServiceUnavailable"))
    ran = commands.run("push", disk)
    assert ran.code == 0, ran.err


def test_a_new_role_is_waited_for_until_ecs_accepts_it(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """ECS accepts a new role after some seconds; the push retries until then."""
    sandbox.state.configure(role_propagation_s=4.0)
    ran = commands.run("push", disk)
    assert ran.code == 0, ran.err
    assert len(import_calls(sandbox)) > 1


def test_without_permission_to_create_the_role_the_remedy_has_the_commands(
    commands: Commands, sandbox: Sandbox, disk: Path
) -> None:
    """Exit code 4 before the upload, with the commands and policies for an administrator."""
    sandbox.state.deny("ram:CreateRole")
    ran = commands.run("push", disk, "--output", "json")
    assert ran.code == 4
    assert "CreateRole" in ran.json["remedy"]
    assert "AliyunECSImageImportRolePolicy" in ran.json["remedy"]
    assert not sandbox.requests.entries("UploadPart")


def test_a_trust_policy_is_extended_only_with_fix(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """Without --fix nothing is changed; with it the existing statement is kept."""
    commands.run("role", "ensure")
    ram = sandbox.state.part(Ram)
    role = ram.role(sandbox.account_id, "AliyunECSImageImportDefaultRole")
    foreign = {"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": ["fc.aliyuncs.com"]}}
    ram.save_role(sandbox.account_id, replace(role, trust=json.dumps({"Version": "1", "Statement": [foreign]})))
    ran = commands.run("push", disk, "--output", "json")
    assert (ran.code, ran.json["code"]) == (5, "role-trust")
    assert "--fix" in ran.json["remedy"]
    assert commands.run("push", disk, "--fix").code == 0
    statements = json.loads(ram.role(sandbox.account_id, role.name).trust)["Statement"]
    assert foreign in statements
    assert len(statements) == 2


def test_replace_renames_the_images_once_the_new_one_is_usable(
    commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path
) -> None:
    """The old image gets another name, the new one gets the name; a repeated push returns the new one."""
    old = commands.run("push", disk, "--name", "golden").out.strip()
    build = write_disk(tmp_path / "build2.raw", seed=9)
    ran = commands.run("push", build, "--name", "golden", "--replace", "rename", "--output", "json")
    assert ran.code == 0, ran.out
    assert ran.json["image_name"] == "golden"
    names = {image.id: image.name for image in sandbox.state.part(Ecs).images.values()}
    assert names[ran.json["image_id"]] == "golden"
    assert names[old].startswith("golden-replaced-")
    again = commands.run("push", build, "--name", "golden", "--replace", "rename")
    assert again.out.strip() == ran.json["image_id"]


def test_replace_keeps_the_old_image_if_the_import_fails(
    commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path
) -> None:
    """It keeps its name, also with --replace delete."""
    old = commands.run("push", disk, "--name", "golden").out.strip()
    sandbox.state.configure(import_outcome="failed")
    build = write_disk(tmp_path / "build2.raw", seed=9)
    assert commands.run("push", build, "--name", "golden", "--replace", "delete").code == 7
    assert sandbox.state.part(Ecs).images[old].name == "golden"


def test_a_kept_object_is_the_base_of_the_next_build(
    commands: Commands, sandbox: Sandbox, disk: Path, tmp_path: Path
) -> None:
    """With --keep-object the second push sends only what changed."""
    commands.run("push", disk, "--name", "golden", "--keep-object")
    with disk.open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"changed")
    ran = commands.run("push", disk, "--name", "golden", "--keep-object", "--replace", "rename", "--output", "json")
    assert ran.code == 0, ran.out
    assert ran.json["sent_bytes"] <= 1 << 20


def test_the_image_check_is_reported(commands: Commands, sandbox: Sandbox, disk: Path) -> None:
    """--detection-strategy Standard shows the result of the check, which never fails the push."""
    sandbox.state.configure(
        image_check_items=({"Name": "GUESTOS.Fstab", "Value": "Invalid", "RiskLevel": "High", "RiskCode": "Fstab.Bad"},)
    )
    ran = commands.run("push", disk, "--platform", "Debian", "--os-type", "linux", "--detection-strategy", "Standard")
    assert ran.code == 0, ran.err
    assert "Fstab" in ran.err
