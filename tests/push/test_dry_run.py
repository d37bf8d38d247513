"""Tests that a dry run decides as the push does, and changes nothing."""

import json
import shutil
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.errors import AliyunImportError, StillRunning
from aliyun_import.journal import open_journal
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG
from aliyun_import.model.request import DiskRequest
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from tests.push.machine import SMALL_DISK_BYTES, Machine, write_small_disk

CHANGES = (
    "PutBucket", "PutBucketLifecycle", "PutObject", "InitiateMultipartUpload", "UploadPart", "UploadPartCopy",
    "CompleteMultipartUpload", "AbortMultipartUpload", "DeleteObject", "CreateRole", "UpdateRole",
    "AttachPolicyToRole", "DeleteImage", "ModifyImageAttribute", "CancelTask",
)  # fmt: skip
ROLE = "AliyunECSImageImportDefaultRole"
Options = dict[str, Any]


@dataclass(frozen=True)
class End:
    """How a run ended: its exit code, the error's code, the ids of the image."""

    exit_code: int
    code: str = ""
    image_id: str = ""


def end_of(machine: Machine, options: Options) -> End:
    """Run a push and return how it ended."""
    try:
        result = machine.push(**options)
    except AliyunImportError as error:
        return End(int(error.exit_code), error.code)
    return End(0, image_id=result.image_id)


def disk_of(machine: Machine) -> Path:
    """Return the path of the disk."""
    path = machine.request.disks[0].path
    assert path is not None
    return path


def other_machine(machine: Machine, disk: Path | None = None) -> Machine:
    """Return another machine with the same disk, or another one, and the same name."""
    return Machine(machine.sandbox, disk_of(machine).parent / "other", disk or disk_of(machine))


def images(machine: Machine) -> MutableMapping[str, Any]:
    """Return the images of the sandbox."""
    return machine.sandbox.state.part(Ecs).images


def nothing_before(machine: Machine) -> Options:
    """Prepare nothing: a first push."""
    return {}


def finished(machine: Machine) -> Options:
    """Finish the same push."""
    machine.push()
    return {}


def finished_under_replace(machine: Machine) -> Options:
    """Finish the same push, and replace."""
    finished(machine)
    return {"replace": "rename"}


def finished_and_deleted(machine: Machine) -> Options:
    """Delete the image of a finished push."""
    machine.push()
    images(machine).clear()
    return {}


def finished_of_another_build(machine: Machine) -> Options:
    """Build the disk anew, under the name of the first image."""
    machine.push()
    write_small_disk(disk_of(machine), seed=7)
    return {}


def replaced_by_another_build(machine: Machine) -> Options:
    """Build the disk anew, and replace the image."""
    finished_of_another_build(machine)
    return {"replace": "delete"}


def without_journal(machine: Machine) -> Options:
    """Lose the journal: the image's digest decides."""
    machine.push()
    shutil.rmtree(machine.state_dir)
    return {}


def imported_elsewhere(machine: Machine) -> Options:
    """Another machine imports the same disk."""
    other_machine(machine).push(wait=False)
    return {}


def another_disk_elsewhere(machine: Machine) -> Options:
    """Another machine imports another disk under the name."""
    other = write_small_disk(disk_of(machine).with_name("other.raw"), seed=5)
    other_machine(machine, other).push(wait=False)
    return {}


def of_an_unknown_disk(machine: Machine) -> Options:
    """Leave an image without tags being made under the name."""
    imported_elsewhere(machine)
    for image in images(machine).values():
        image.tags.clear()
    return {}


def running(machine: Machine) -> Options:
    """Leave the import of the same push running."""
    machine.push(wait=False)
    return {}


def running_and_another_is_wanted(machine: Machine) -> Options:
    """Leave it running, and do not wait."""
    return running(machine) | {"wait": False}


def cancelled(machine: Machine) -> Options:
    """Cancel the import between two runs."""
    machine.sandbox.state.configure(import_outcome="stuck")
    with pytest.raises(StillRunning) as caught:
        machine.push(timeout_s=6.0)
    machine.cloud.images.cancel_task(caught.value.details["task_id"])
    machine.sandbox.state.configure(import_outcome="finished")
    return {}


def ended(outcome: str) -> Callable[[Machine], Options]:
    """Return a state whose import ended so between two runs."""

    def prepare(machine: Machine) -> Options:
        machine.sandbox.state.configure(import_outcome=outcome)
        machine.push(wait=False)
        machine.sandbox.clock.advance(3600)
        machine.sandbox.state.configure(import_outcome="finished")
        return {}

    prepare.__name__ = outcome
    return prepare


def forgotten(machine: Machine) -> Options:
    """Make the service forget task and image."""
    machine.push(wait=False)
    images(machine).clear()
    machine.sandbox.state.part(Ecs).tasks.clear()
    return {}


def of_another_life(machine: Machine) -> Options:
    """Give the journal's image id to another image."""
    first = machine.push()
    images(machine)[first.image_id] = replace(
        images(machine)[first.image_id], name="other", tags={PUSH_ID_TAG: "other", DISK_DIGEST_TAG: "other"}
    )
    return {}


def answer_lost(machine: Machine) -> Options:
    """Killed between the call of ImportImage and its answer."""
    machine.push(wait=False)
    (journal,) = machine.state_dir.glob("*.jsonl")
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(line for line in lines if json.loads(line)["kind"] != "submitted") + "\n")
    return {}


def upload_begun(machine: Machine) -> Options:
    """Refuse the end of the upload."""
    machine.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
    machine.failure(AliyunImportError)
    return {}


def a_second_one(machine: Machine) -> Options:
    """Another image of the same disk, under a free name."""
    machine.push()
    return {"force_new": True, "name_given": False}


def a_second_one_of_the_same_name(machine: Machine) -> Options:
    """Another image under a name that is taken."""
    machine.push()
    return {"force_new": True}


def a_remnant_has_the_name(machine: Machine) -> Options:
    """Leave the name to a failed image of another push."""
    imported_elsewhere(machine)
    for image_id, image in images(machine).items():
        images(machine)[image_id] = replace(image, status="CreateFailed")
    machine.sandbox.state.part(Ecs).tasks.clear()
    return {}


def role_of_somebody(trust: str = "1234567890123456") -> Callable[[Machine], None]:
    """Return what creates a role that does not let ECS assume it."""
    policy = {
        "Version": "1",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::{trust}:root"]}}
        ],
    }

    def create(machine: Machine) -> None:
        machine.cloud.roles.create_role(ROLE, trust_policy=json.dumps(policy), description="somebody's")

    return create


def role_without_trust(machine: Machine) -> Options:
    """Create a role that does not let ECS assume it."""
    role_of_somebody()(machine)
    return {}


def role_to_be_fixed(machine: Machine) -> Options:
    """Create such a role, and fix it."""
    role_of_somebody()(machine)
    return {"fix_role": True}


def locked(machine: Machine) -> Options:
    """Another push of the same disk runs."""
    machine.push(wait=False)
    (journal,) = machine.state_dir.glob("*.jsonl")
    identity = json.loads(journal.read_text().splitlines()[0])["identity"]
    machine.held.append(open_journal(machine.state_dir, identity))
    return {}


def state_is_a_file(machine: Machine) -> Options:
    """There is a file where the journals belong."""
    machine.state_dir.parent.mkdir(parents=True, exist_ok=True)
    machine.state_dir.write_text("")
    return {}


def state_of_everybody(machine: Machine) -> Options:
    """Every user may write where the journals are."""
    machine.state_dir.mkdir(parents=True)
    machine.state_dir.chmod(0o777)
    return {}


def damaged_journal(machine: Machine) -> Options:
    """Damage the journal in its middle."""
    machine.push(wait=False)
    (journal,) = machine.state_dir.glob("*.jsonl")
    journal.write_text(journal.read_text().replace("push-started", "push-sta\nrted"))
    return {}


def bucket_missing(machine: Machine) -> Options:
    """Name a bucket that does not exist."""
    return {"bucket": "nowhere-bucket"}


def bucket_elsewhere(machine: Machine) -> Options:
    """Name a bucket in another region."""
    machine.sandbox.state.part(OssState).add_bucket("far", region="eu-central-1", owner_id=machine.sandbox.account_id)
    return {"bucket": "far"}


def key_taken(machine: Machine) -> Options:
    """Another object is at the key of --key."""
    machine.sandbox.state.part(OssState).add_bucket("near", region="cn-hangzhou", owner_id=machine.sandbox.account_id)
    machine.cloud.store("near").put("images/web.raw", b"another disk")
    return {"bucket": "near", "key": "images/web.raw"}


def disk_of_zeros(machine: Machine) -> Options:
    """Write a disk on which nothing starts."""
    disk_of(machine).write_bytes(bytes(SMALL_DISK_BYTES))
    return {}


def zeros_forced(machine: Machine) -> Options:
    """Write a disk of zeros, and force it."""
    return disk_of_zeros(machine) | {"force": True}


def refused(code: str) -> Callable[[Machine], Options]:
    """Return a state in which ECS refuses the import with a code."""

    def prepare(machine: Machine) -> Options:
        machine.sandbox.faults.add(Fault(operation="ImportImage", status=403, code=code, count=None))
        return {}

    prepare.__name__ = code
    return prepare


def in_oss(machine: Machine) -> Options:
    """Import a disk that is in OSS already."""
    machine.sandbox.state.part(OssState).add_bucket("near", region="cn-hangzhou", owner_id=machine.sandbox.account_id)
    machine.cloud.store("near").put("disk.raw", disk_of(machine).read_bytes())
    machine.request = replace(machine.request, disks=(DiskRequest(bucket="near", key="disk.raw"),))
    machine.push()
    return {}


def gone_from_oss(machine: Machine) -> Options:
    """Remove the object that was imported."""
    in_oss(machine)
    machine.cloud.store("near").delete("disk.raw")
    return {}


STATES = (
    nothing_before, finished, finished_under_replace, finished_and_deleted, finished_of_another_build,
    replaced_by_another_build, without_journal, imported_elsewhere, another_disk_elsewhere, of_an_unknown_disk,
    running, running_and_another_is_wanted, cancelled, ended("failed"), ended("paused"), ended("unavailable"),
    ended("finished"), forgotten, of_another_life, answer_lost, upload_begun, a_second_one,
    a_second_one_of_the_same_name, a_remnant_has_the_name, role_without_trust, role_to_be_fixed, locked,
    state_is_a_file, state_of_everybody, damaged_journal, bucket_missing, bucket_elsewhere, key_taken, disk_of_zeros,
    zeros_forced, refused("Forbidden.RAM"), refused("QuotaExceed.Image"), refused("Account.Arrearage"), in_oss,
    gone_from_oss,
)  # fmt: skip


def files(directory: Path) -> dict[str, bytes]:
    """Return every file of a machine's state by its path."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("prepare", STATES, ids=lambda one: one.__name__)
def test_a_dry_run_ends_as_the_push_does(machine: Machine, prepare: Callable[[Machine], Options]) -> None:
    """The same exit code, the same error and, where it exists already, the same image; nothing is changed."""
    options = prepare(machine)
    before, known = files(machine.state_dir), set(images(machine))
    machine.sandbox.requests.clear()
    dry = end_of(machine, options | {"dry_run": True})
    assert [operation for operation in CHANGES if machine.count(operation)] == []
    assert not machine.count("ImportImage", importing=True)
    assert (files(machine.state_dir), set(images(machine))) == (before, known)
    real = end_of(machine, options)
    assert (dry.exit_code, dry.code) == (real.exit_code, real.code)
    assert dry.image_id == (real.image_id if real.image_id in known else "")


def test_a_finished_push_is_already_there_in_a_dry_run(machine: Machine) -> None:
    """A pipeline that gates on the dry run reads the image id; it waits only as long as the push would."""
    first = machine.push()
    began_s = time.monotonic()
    dry = machine.push(dry_run=True)
    assert time.monotonic() - began_s < 5.0
    assert (dry.dry_run, dry.already_there, dry.image_id) == (True, True, first.image_id)
    assert dry.plan["disks"] == []


def test_a_dry_run_names_the_import_that_would_be_followed(machine: Machine) -> None:
    """Image and task of the running import are in the result, and in words in the steps."""
    first = machine.push(wait=False)
    dry = machine.push(dry_run=True)
    assert (dry.image_id, dry.task_id, dry.already_there) == (first.image_id, first.task_id, False)
    (step,) = dry.plan["steps"]
    assert first.task_id in step


def test_a_dry_run_plans_the_free_name(machine: Machine) -> None:
    """--force-new without a name: the name that the push would choose."""
    machine.push()
    dry = machine.push(dry_run=True, force_new=True, name_given=False)
    assert (dry.image_name, dry.plan["image_name"]) == ("web-2", "web-2")
