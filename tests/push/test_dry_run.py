"""Tests that a dry run ends as the push does, and changes nothing."""

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
from tests.push.push_host import SMALL_DISK_BYTES, PushHost, write_small_disk

CHANGES = (
    "PutBucket", "PutBucketLifecycle", "PutObject", "InitiateMultipartUpload", "UploadPart", "UploadPartCopy",
    "CompleteMultipartUpload", "AbortMultipartUpload", "DeleteObject", "CreateRole", "UpdateRole",
    "AttachPolicyToRole", "DeleteImage", "ModifyImageAttribute", "CancelTask",
)  # fmt: skip
ROLE = "AliyunECSImageImportDefaultRole"
Options = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """Exit code, error code and image id of a run."""

    exit_code: int
    code: str = ""
    image_id: str = ""


def outcome_of(host: PushHost, options: Options) -> Outcome:
    """Push, and return the outcome."""
    try:
        result = host.push(**options)
    except AliyunImportError as error:
        return Outcome(int(error.exit_code), error.code)
    return Outcome(0, image_id=result.image_id)


def disk_of(host: PushHost) -> Path:
    """Return the path of the disk."""
    path = host.request.disks[0].path
    assert path is not None
    return path


def other_host(host: PushHost, disk: Path | None = None) -> PushHost:
    """Return another host with the same image name, and the same disk unless another is given."""
    return PushHost(host.sandbox, disk_of(host).parent / "other", disk or disk_of(host))


def images(host: PushHost) -> MutableMapping[str, Any]:
    """Return the images of the sandbox."""
    return host.sandbox.state.part(Ecs).images


def first_push(host: PushHost) -> Options:
    """Prepare nothing."""
    return {}


def finished(host: PushHost) -> Options:
    """Finish the same push."""
    host.push()
    return {}


def finished_under_replace(host: PushHost) -> Options:
    """Finish the same push, and run it with --replace."""
    finished(host)
    return {"replace": "rename"}


def finished_and_deleted(host: PushHost) -> Options:
    """Delete the image of a finished push."""
    host.push()
    images(host).clear()
    return {}


def finished_of_another_build(host: PushHost) -> Options:
    """Change the disk after a push."""
    host.push()
    write_small_disk(disk_of(host), seed=7)
    return {}


def replaced_by_another_build(host: PushHost) -> Options:
    """Change the disk after a push, and run it with --replace."""
    finished_of_another_build(host)
    return {"replace": "delete"}


def without_journal(host: PushHost) -> Options:
    """Remove the journal after a push; the digest of the image decides."""
    host.push()
    shutil.rmtree(host.state_dir)
    return {}


def imported_elsewhere(host: PushHost) -> Options:
    """Import the same disk from another host."""
    other_host(host).push(wait=False)
    return {}


def another_disk_elsewhere(host: PushHost) -> Options:
    """Import another disk under the same name from another host."""
    other = write_small_disk(disk_of(host).with_name("other.raw"), seed=5)
    other_host(host, other).push(wait=False)
    return {}


def running_without_tags(host: PushHost) -> Options:
    """Remove the tags of an image that is being created under the name."""
    imported_elsewhere(host)
    for image in images(host).values():
        image.tags.clear()
    return {}


def running(host: PushHost) -> Options:
    """Leave the import of the same push running."""
    host.push(wait=False)
    return {}


def running_with_no_wait(host: PushHost) -> Options:
    """Leave the import running, and run the push with --no-wait."""
    return running(host) | {"wait": False}


def cancelled(host: PushHost) -> Options:
    """Cancel the import between two runs."""
    host.sandbox.state.configure(import_outcome="stuck")
    with pytest.raises(StillRunning) as caught:
        host.push(timeout_s=6.0)
    host.cloud.images.cancel_task(caught.value.details["task_id"])
    host.sandbox.state.configure(import_outcome="finished")
    return {}


def ended(outcome: str) -> Callable[[PushHost], Options]:
    """Return a preparation: the import ends with an outcome between two runs."""

    def prepare(host: PushHost) -> Options:
        host.sandbox.state.configure(import_outcome=outcome)
        host.push(wait=False)
        host.sandbox.clock.advance(3600)
        host.sandbox.state.configure(import_outcome="finished")
        return {}

    prepare.__name__ = outcome
    return prepare


def task_and_image_deleted(host: PushHost) -> Options:
    """Delete task and image in the service."""
    host.push(wait=False)
    images(host).clear()
    host.sandbox.state.part(Ecs).tasks.clear()
    return {}


def image_id_reused(host: PushHost) -> Options:
    """Give the image id in the journal to another image."""
    first = host.push()
    images(host)[first.image_id] = replace(
        images(host)[first.image_id], name="other", tags={PUSH_ID_TAG: "other", DISK_DIGEST_TAG: "other"}
    )
    return {}


def response_lost(host: PushHost) -> Options:
    """Kill the push between the call of ImportImage and the response."""
    host.push(wait=False)
    (journal,) = host.state_dir.glob("*.jsonl")
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join(line for line in lines if json.loads(line)["kind"] != "submitted") + "\n")
    return {}


def upload_unfinished(host: PushHost) -> Options:
    """Refuse the completion of the upload."""
    host.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
    host.failure(AliyunImportError)
    return {}


def second_image(host: PushHost) -> Options:
    """Create a second image of the same disk under a free name."""
    host.push()
    return {"force_new": True, "is_name_given": False}


def second_image_of_the_same_name(host: PushHost) -> Options:
    """Create a second image under a name that is taken."""
    host.push()
    return {"force_new": True}


def failed_image_has_the_name(host: PushHost) -> Options:
    """Give the name to a failed image of another push."""
    imported_elsewhere(host)
    for image_id, image in images(host).items():
        images(host)[image_id] = replace(image, status="CreateFailed")
    host.sandbox.state.part(Ecs).tasks.clear()
    return {}


def create_role_with_trust(trust: str = "1234567890123456") -> Callable[[PushHost], None]:
    """Return a function that creates a role that only another account may assume."""
    policy = {
        "Version": "1",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::{trust}:root"]}}
        ],
    }

    def create(host: PushHost) -> None:
        host.cloud.roles.create_role(ROLE, trust_policy=json.dumps(policy), description="of another account")

    return create


def role_without_trust(host: PushHost) -> Options:
    """Create a role that ECS may not assume."""
    create_role_with_trust()(host)
    return {}


def role_to_be_fixed(host: PushHost) -> Options:
    """Create a role that ECS may not assume, and run the push with --fix."""
    create_role_with_trust()(host)
    return {"fix_role": True}


def locked(host: PushHost) -> Options:
    """Hold the lock of the journal, as another push of the disk does."""
    host.push(wait=False)
    (journal,) = host.state_dir.glob("*.jsonl")
    identity = json.loads(journal.read_text().splitlines()[0])["identity"]
    host.held.append(open_journal(host.state_dir, identity))
    return {}


def state_is_a_file(host: PushHost) -> Options:
    """Create a file at the path of the state directory."""
    host.state_dir.parent.mkdir(parents=True, exist_ok=True)
    host.state_dir.write_text("")
    return {}


def state_world_writable(host: PushHost) -> Options:
    """Make the state directory writable for all users."""
    host.state_dir.mkdir(parents=True)
    host.state_dir.chmod(0o777)
    return {}


def damaged_journal(host: PushHost) -> Options:
    """Damage the journal in the middle."""
    host.push(wait=False)
    (journal,) = host.state_dir.glob("*.jsonl")
    journal.write_text(journal.read_text().replace("push-started", "push-sta\nrted"))
    return {}


def bucket_missing(host: PushHost) -> Options:
    """Name a bucket that does not exist."""
    return {"bucket": "nowhere-bucket"}


def bucket_elsewhere(host: PushHost) -> Options:
    """Name a bucket in another region."""
    host.sandbox.state.part(OssState).add_bucket("far", region="eu-central-1", owner_id=host.sandbox.account_id)
    return {"bucket": "far"}


def key_taken(host: PushHost) -> Options:
    """Put another object at the key of --key."""
    host.sandbox.state.part(OssState).add_bucket("near", region="cn-hangzhou", owner_id=host.sandbox.account_id)
    host.cloud.store("near").put("images/web.raw", b"another disk")
    return {"bucket": "near", "key": "images/web.raw"}


def disk_of_zeros(host: PushHost) -> Options:
    """Write a disk without a boot loader."""
    disk_of(host).write_bytes(bytes(SMALL_DISK_BYTES))
    return {}


def zeros_forced(host: PushHost) -> Options:
    """Write a disk of zeros, and run the push with --force."""
    return disk_of_zeros(host) | {"force": True}


def refused(code: str) -> Callable[[PushHost], Options]:
    """Return a preparation: ECS refuses the import with an error code."""

    def prepare(host: PushHost) -> Options:
        host.sandbox.faults.add(Fault(operation="ImportImage", status=403, code=code, count=None))
        return {}

    prepare.__name__ = code
    return prepare


def in_oss(host: PushHost) -> Options:
    """Import a disk that is in OSS."""
    host.sandbox.state.part(OssState).add_bucket("near", region="cn-hangzhou", owner_id=host.sandbox.account_id)
    host.cloud.store("near").put("disk.raw", disk_of(host).read_bytes())
    host.request = replace(host.request, disks=(DiskRequest(bucket="near", key="disk.raw"),))
    host.push()
    return {}


def deleted_from_oss(host: PushHost) -> Options:
    """Delete the object after its import."""
    in_oss(host)
    host.cloud.store("near").delete("disk.raw")
    return {}


PREPARATIONS = (
    first_push, finished, finished_under_replace, finished_and_deleted, finished_of_another_build,
    replaced_by_another_build, without_journal, imported_elsewhere, another_disk_elsewhere, running_without_tags,
    running, running_with_no_wait, cancelled, ended("failed"), ended("paused"), ended("unavailable"),
    ended("finished"), task_and_image_deleted, image_id_reused, response_lost, upload_unfinished, second_image,
    second_image_of_the_same_name, failed_image_has_the_name, role_without_trust, role_to_be_fixed, locked,
    state_is_a_file, state_world_writable, damaged_journal, bucket_missing, bucket_elsewhere, key_taken, disk_of_zeros,
    zeros_forced, refused("Forbidden.RAM"), refused("QuotaExceed.Image"), refused("Account.Arrearage"), in_oss,
    deleted_from_oss,
)  # fmt: skip


def files(directory: Path) -> dict[str, bytes]:
    """Return the content of every file by its path."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("prepare", PREPARATIONS, ids=lambda one: one.__name__)
def test_a_dry_run_ends_as_the_push_does(host: PushHost, prepare: Callable[[PushHost], Options]) -> None:
    """Exit code, error and existing image are the same, and the dry run changes nothing."""
    options = prepare(host)
    before, known = files(host.state_dir), set(images(host))
    host.sandbox.requests.clear()
    dry = outcome_of(host, options | {"dry_run": True})
    assert [operation for operation in CHANGES if host.count(operation)] == []
    assert not host.count("ImportImage", importing=True)
    assert (files(host.state_dir), set(images(host))) == (before, known)
    real = outcome_of(host, options)
    assert (dry.exit_code, dry.code) == (real.exit_code, real.code)
    assert dry.image_id == (real.image_id if real.image_id in known else "")


def test_a_finished_push_is_already_there_in_a_dry_run(host: PushHost) -> None:
    """A pipeline that uses the dry run as a gate reads the image id; it takes no longer than the push."""
    first = host.push()
    started_s = time.monotonic()
    dry = host.push(dry_run=True)
    assert time.monotonic() - started_s < 5.0
    assert (dry.dry_run, dry.already_there, dry.image_id) == (True, True, first.image_id)
    assert dry.plan["disks"] == []


def test_a_dry_run_names_the_running_import(host: PushHost) -> None:
    """Its image and task are in the result, and the task is in a step."""
    first = host.push(wait=False)
    dry = host.push(dry_run=True)
    assert (dry.image_id, dry.task_id, dry.already_there) == (first.image_id, first.task_id, False)
    (step,) = dry.plan["steps"]
    assert first.task_id in step


def test_a_dry_run_plans_the_free_name(host: PushHost) -> None:
    """With --force-new and without --name."""
    host.push()
    dry = host.push(dry_run=True, force_new=True, is_name_given=False)
    assert (dry.image_name, dry.plan["image_name"]) == ("web-2", "web-2")
