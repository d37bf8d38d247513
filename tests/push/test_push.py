"""Tests of a push in this process, to a sandbox with a steered clock."""

import gzip
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aliyun_import.context import interrupted
from aliyun_import.errors import (
    AliyunImportError,
    DiskChanged,
    DiskError,
    ImportFailed,
    Interrupted,
    LocalStateError,
    RefusedError,
    StillRunning,
    UsageError,
)
from aliyun_import.events import Event, ImageCheckProgress, Noted, ObjectReady, RunStarted, StageFinished, Warned
from aliyun_import.model.image import DISK_DIGEST_TAG, PUSH_ID_TAG
from aliyun_import.model.request import BootMode, OsType
from aliyun_import.push.options import PushOptions
from aliyun_import.push.push import push
from aliyun_import.retry import without_retries
from aliyun_import.sandbox.core.faults import Fault
from aliyun_import.sandbox.ecs.state import Ecs
from aliyun_import.sandbox.oss.state import OssState
from aliyun_import.sandbox.server import Sandbox
from aliyun_import.services import ImageService
from aliyun_import.upload.context import TransferOptions
from tests.clocks import SteeredClock, import_calls
from tests.flows.disks import write_disk
from tests.push.push_host import SMALL_DISK_BYTES, PushHost, write_small_disk


def test_a_push_ends_in_an_image_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """The stages are in order. Parts are sent and copied."""
    host = PushHost(sandbox, tmp_path, write_disk(tmp_path / "disk.raw", size_bytes=5 << 20, data_at=(1, 3)))
    result = host.push()
    assert (result.image_status, result.left_over, result.already_there) == ("Available", (), False)
    stages = [one.stage for one in host.heard.events if isinstance(one, StageFinished)]
    assert stages == ["inspect", "look", "role", "upload", "import", "wait", "finish"]
    assert host.details("inspect") == ["no blocking findings"]
    assert host.details("finish") == ["staging object removed, nothing is left in OSS"]
    assert min(host.count("UploadPart"), host.count("UploadPartCopy")) > 1
    (bucket,) = sandbox.state.part(OssState).buckets.values()
    assert not {*bucket.versions, *bucket.uploads}


def test_a_finished_push_returns_its_image(host: PushHost) -> None:
    """The second run ends at once, and its stage names the image."""
    first = host.push()
    again = host.push()
    assert (again.image_id, again.already_there) == (first.image_id, True)
    (detail,) = host.details("import")
    assert f"already imported as {first.image_id}" in detail
    assert not any(isinstance(one, RunStarted) for one in host.heard.events)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_an_import_that_ended_between_two_runs_is_repeated_at_once(host: PushHost, how: str) -> None:
    """A warning has the reason; nothing is uploaded again."""
    host.sandbox.state.configure(import_outcome="stuck" if how == "cancelled" else "failed")
    if how == "cancelled":
        error = host.failure(StillRunning, timeout_s=6.0)
        host.cloud.images.cancel_task(error.details["task_id"])
    else:
        host.push(wait=False)
        host.sandbox.clock.advance(3600)
    sent = host.count("UploadPart")
    host.sandbox.state.configure(import_outcome="finished")
    result = host.push()
    assert result.image_status == "Available"
    (warned,) = [one for one in host.heard.events if isinstance(one, Warned)]
    assert warned.code == f"import-{how}"
    assert "repeated" in warned.message
    assert host.count("UploadPart") == sent
    assert len(host.sandbox.state.part(Ecs).tasks) == 2


def test_an_import_that_fails_during_the_wait_fails_the_push(host: PushHost) -> None:
    """It is not repeated automatically: it would fail again after hours."""
    host.sandbox.state.configure(import_outcome="failed")
    host.push(wait=False)
    assert host.failure(ImportFailed).code == "import-failed"
    assert len(import_calls(host.sandbox)) == 1


def test_the_same_push_on_two_hosts_creates_one_image(host: PushHost, tmp_path: Path) -> None:
    """The later one waits for the import of the other, and names no object that the other removed."""
    disk = host.request.disks[0].path
    assert disk is not None
    other = PushHost(host.sandbox, tmp_path / "other", disk)
    images = without_retries(host.cloud.services.images)

    class ImportStartsElsewhere:
        """Image service: the import of the other host starts during the upload of this one."""

        def __init__(self, service: ImageService) -> None:
            self._service = service

        def __getattr__(self, name: str) -> object:
            if name == "import_image" and host.count("CompleteMultipartUpload") and not other.count("ImportImage"):
                other.push(wait=False)
            return getattr(self._service, name)

    concurrent: ImageService = ImportStartsElsewhere(images)  # type: ignore[assignment]
    host.cloud.services = replace(host.cloud.services, images=concurrent)
    result = host.push()
    followed = other.push()
    assert result.image_id == followed.image_id
    assert (result.left_over, followed.left_over) == ((), ())
    assert len(host.sandbox.state.part(Ecs).images) == 1
    assert PushHost(host.sandbox, tmp_path / "third", disk).push().image_id == result.image_id


def test_another_disk_of_the_same_name_is_refused(host: PushHost, tmp_path: Path) -> None:
    """From another host. The remedy has --replace only if the image is usable."""
    host.push(wait=False)
    other_disk = write_small_disk(tmp_path / "other.raw", seed=5)
    other = PushHost(host.sandbox, tmp_path / "other", other_disk)
    error = other.failure(RefusedError)
    assert error.code == "image-name-taken"
    assert "--replace" not in (error.remedy or "")
    host.push()
    assert "--replace rename" in (other.failure(RefusedError).remedy or "")


def test_an_image_id_that_belongs_to_another_image_is_not_returned(host: PushHost) -> None:
    """As after a reset of a sandbox: name and tags differ, and a new image is created."""
    first = host.push()
    images = host.sandbox.state.part(Ecs).images
    images[first.image_id] = replace(
        images[first.image_id], name="other", tags={PUSH_ID_TAG: "other", DISK_DIGEST_TAG: "other"}
    )
    again = host.push()
    assert again.image_id != first.image_id
    assert "image-gone" in host.heard.warned()


def test_a_running_import_of_another_image_is_not_waited_for(host: PushHost) -> None:
    """The journal has the id of an image whose name and tags differ."""
    first = host.push(wait=False)
    images = host.sandbox.state.part(Ecs).images
    images[first.image_id] = replace(images[first.image_id], name="other", tags={PUSH_ID_TAG: "other"})
    again = host.push()
    assert again.image_id != first.image_id
    assert "image-gone" in host.heard.warned()


@pytest.mark.parametrize(("deleted", "code"), [("both", "task-unknown"), ("image", "image-gone")])
def test_an_import_whose_image_was_deleted_is_repeated_at_once(host: PushHost, deleted: str, code: str) -> None:
    """With or without its task; no second run is needed."""
    host.push(wait=False)
    host.sandbox.clock.advance(3600)
    ecs = host.sandbox.state.part(Ecs)
    ecs.images.clear()
    if deleted == "both":
        ecs.tasks.clear()
    assert host.push().image_status == "Available"
    assert host.heard.warned() == [code]


def test_force_warns_of_the_findings_it_overrides(host: PushHost) -> None:
    """The warning has the ids of the blocking findings."""
    disk = host.request.disks[0].path
    assert disk is not None
    disk.write_bytes(bytes(SMALL_DISK_BYTES))
    rules = host.failure(DiskError).details["rules"]
    host.push(force=True)
    warned = next(one for one in host.heard.events if isinstance(one, Warned) and one.code == "forced")
    assert all(rule in warned.message for rule in rules.split(","))
    assert host.details("inspect") == ["blocking findings, overridden by --force"]


def test_force_new_chooses_a_free_name(host: PushHost) -> None:
    """Without --name: web-2, then web-3."""
    host.push()
    assert host.push(force_new=True, is_name_given=False).image_name == "web-2"
    assert host.push(force_new=True, is_name_given=False).image_name == "web-3"


def test_an_import_that_ecs_refuses_ends_the_push_before_the_upload(host: PushHost) -> None:
    """A dry run of ImportImage checks permissions, quotas and parameters."""
    codes = ("Forbidden.RAM", "QuotaExceed.Image", "UserNotInTheWhiteList", "InvalidPlatform.NotFound")
    for count, code in enumerate(codes, 1):
        host.sandbox.faults.add(Fault(operation="ImportImage", status=403, code=code, count=None))
        host.failure(AliyunImportError)
        assert host.count("ImportImage") == count, code
        host.sandbox.faults.clear()
    assert not host.count("InitiateMultipartUpload")


def test_a_resumed_push_does_not_repeat_the_dry_run(host: PushHost) -> None:
    """The journal has the result."""
    host.sandbox.faults.add(Fault(operation="UploadPart", status=403, code="AccessDenied"))
    host.failure(AliyunImportError)
    host.push()
    dry_runs = host.count("ImportImage") - len(import_calls(host.sandbox))
    assert (dry_runs, len(import_calls(host.sandbox))) == (1, 1)


def test_a_platform_is_sent_as_the_service_spells_it(host: PushHost) -> None:
    """`--platform ubuntu` is sent as Ubuntu."""
    host.request = replace(host.request, platform="ubuntu")
    host.push()
    (entry,) = import_calls(host.sandbox)
    assert "Platform=Ubuntu" in entry.target


def test_windows_for_clients_has_license_type_byol(host: PushHost) -> None:
    """The service refuses LicenseType=Aliyun for it."""
    host.request = replace(host.request, platform="other windows")
    host.push(force=True)
    (entry,) = import_calls(host.sandbox)
    assert "LicenseType=BYOL" in entry.target


def test_the_image_check_is_on_by_default_and_can_be_turned_off(host: PushHost) -> None:
    """Events report its progress."""
    host.sandbox.state.configure(image_check_s=30.0)
    host.push()
    progress = [one for one in host.heard.events if isinstance(one, ImageCheckProgress)]
    assert [one.status for one in progress][-1] == "Processing"
    host.push(force_new=True, is_name_given=False)
    host.request = replace(host.request, name="unchecked", detection_strategy="none")
    host.push()
    strategies = ["DetectionStrategy=Standard" in entry.target for entry in import_calls(host.sandbox)]
    assert strategies == [True, True, False]
    assert "DetectionStrategy" not in import_calls(host.sandbox)[-1].target


def test_an_image_is_imported_without_the_image_check_if_ecs_refuses_it(host: PushHost) -> None:
    """The documentation contradicts itself on Windows, so the response of ECS decides."""
    host.request = replace(
        host.request, os_type=OsType.WINDOWS, platform="Windows Server 2019", detection_strategy="Standard"
    )
    assert host.push(force=True).image_status == "Available"
    (entry,) = import_calls(host.sandbox)
    assert "DetectionStrategy" not in entry.target
    # A resumed push does not repeat the dry run: the import itself is refused.
    host.request = replace(host.request, name="another")
    host.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
    host.failure(AliyunImportError, force=True)
    assert host.push(force=True).image_status == "Available"


def test_an_interrupt_during_the_image_check_does_not_report_a_running_import(host: PushHost) -> None:
    """The import has ended; the same command finishes."""
    host.sandbox.state.configure(image_check_s=300.0)

    class InterruptedClock(SteeredClock):
        """Clock that interrupts the wait for the image check."""

        def sleep(self, seconds: float) -> None:
            if any(isinstance(one, ImageCheckProgress) for one in host.heard.events):
                raise interrupted()
            super().sleep(seconds)

    host.cloud.clock = InterruptedClock(host.sandbox.clock.advance)
    error = host.failure(Interrupted)
    assert (error.code, "continues" in error.summary) == ("interrupted", False)
    host.cloud.clock = SteeredClock(host.sandbox.clock.advance)
    assert host.push().image_status == "Available"


def test_an_object_that_was_removed_during_the_import_is_uploaded_again(host: PushHost) -> None:
    """The error does not list the object as a leftover."""
    steered, store = host.cloud.clock, host.cloud.store
    host.cloud.clock = clock_that_changes_the_object(host, lambda bucket, key: store(bucket).delete(key))
    error = host.failure(ImportFailed)
    assert "removed" in (error.cause or "")
    assert "stay" not in (error.remedy or "")
    host.cloud.clock = steered
    assert host.push().image_status == "Available"


def test_a_disk_is_opened_once(host: PushHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspection, fingerprint, zero scan, upload and proof read the same open file."""
    opened: list[object] = []
    real_open = os.open

    def counted(path: os.PathLike[str] | str, *rest: int, **named: Any) -> int:
        opened.append(Path(path))
        return real_open(path, *rest, **named)

    monkeypatch.setattr(os, "open", counted)
    assert host.push().image_status == "Available"
    assert opened.count(host.request.disks[0].path) == 1


def test_a_disk_that_is_not_the_inspected_one_is_not_sent(host: PushHost) -> None:
    """Findings and parameters are those of another disk. The same command inspects the new one."""
    path = host.request.disks[0].path
    assert path is not None
    kept = path.with_name("kept.raw")
    changes: dict[str, Callable[[], object]] = {
        "replaced": lambda: shutil.copyfile(path, kept).replace(path),
        "written to": lambda: path.write_bytes(path.read_bytes()),
        "removed": lambda: path.rename(kept),
    }
    options = PushOptions(state_dir=host.state_dir)
    for how, change in changes.items():

        def emit(event: Event, change: Callable[[], object] = change) -> None:
            if isinstance(event, StageFinished) and event.stage == "role":
                change()

        with pytest.raises(DiskChanged) as caught:
            push(host.request, options, host.cloud.services, host.cloud.context(emit))
        assert (caught.value.code, caught.value.exit_code) == ("disk-changed", 9), how
        assert host.count("UploadPart") == 0, how
    kept.rename(path)
    assert host.push().image_status == "Available"


def test_a_disk_that_is_not_the_inspected_one_is_not_converted(host: PushHost) -> None:
    """A conversion opens the path again, so it compares the file with the inspected one."""
    path = host.request.disks[0].path
    assert path is not None
    packed, other = path.with_suffix(".raw.gz"), path.with_name("other.gz")
    for one in (packed, other):
        one.write_bytes(gzip.compress(path.read_bytes()))
    host.request = replace(host.request, disks=(replace(host.request.disks[0], path=packed),))

    def change(event: Event) -> None:
        if isinstance(event, StageFinished) and event.stage == "look" and other.exists():
            other.replace(packed)

    options = PushOptions(state_dir=host.state_dir)
    with pytest.raises(DiskChanged):
        push(host.request, options, host.cloud.services, host.cloud.context(change))
    assert host.push().image_status == "Available"


def test_a_converted_disk_keeps_its_path_in_events(host: PushHost) -> None:
    """And in the plan. Only the note about the conversion has the temporary file."""
    path = host.request.disks[0].path
    assert path is not None
    packed = path.with_suffix(".raw.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    host.request = replace(host.request, disks=(replace(host.request.disks[0], path=packed),))
    work = str(host.state_dir / "work")
    for is_dry_run in (True, False):
        result = host.push(dry_run=is_dry_run)
        (named,) = (event for event in host.heard.events if work in repr(event))
        assert isinstance(named, Noted)
        assert named.message.startswith(f"{packed} (gzip) is converted to {work}")
        assert [disk["disk"] for disk in result.plan.get("disks", ())] == [str(packed)] * is_dry_run


def test_the_boot_mode_uefi_preferred_is_set_once_the_image_is_usable(host: PushHost) -> None:
    """ImportImage gets BIOS, then ModifyImageAttribute sets UEFI-Preferred. A repeated push does not set it again."""
    host.request = replace(host.request, boot_mode=BootMode.UEFI_PREFERRED)
    skipped = frozenset({"boot-mode-contradicts"})
    image_id = host.push(skip_checks=skipped).image_id
    assert import_calls(host.sandbox)[0].target.count("BootMode=BIOS") == 1
    image = host.cloud.services.images.image(image_id)
    assert image is not None
    assert image.boot_mode == "UEFI-Preferred"
    assert host.push(skip_checks=skipped).already_there
    assert host.count("ModifyImageAttribute") == 1


def clock_that_changes_the_object(host: PushHost, change: Callable[[str, str], None]) -> SteeredClock:
    """Return a clock of a push: once the import has started, a wait calls `change` with bucket and key."""

    class ChangingClock(SteeredClock):
        def sleep(self, seconds: float) -> None:
            for one in host.heard.events:
                if isinstance(one, ObjectReady) and host.count("ImportImage", importing=True):
                    change(one.bucket, one.key)
            super().sleep(seconds)

    return ChangingClock(host.sandbox.clock.advance)


def test_an_object_that_was_replaced_before_the_import_fails_the_push(host: PushHost, tmp_path: Path) -> None:
    """The image may have the wrong content and is deleted; the same command uploads the disk again."""
    other = write_small_disk(tmp_path / "other.raw", seed=5).read_bytes()
    services = host.cloud.services
    images = without_retries(services.images)

    class ObjectReplaced:
        """Image service: the object is replaced between its proof and ImportImage."""

        def __getattr__(self, name: str) -> object:
            ready = [one for one in host.heard.events if isinstance(one, ObjectReady)]
            if name == "import_image" and ready:
                host.cloud.store(ready[0].bucket).put(ready[0].key, other)
            return getattr(images, name)

    replacing: ImageService = ObjectReplaced()  # type: ignore[assignment]
    host.cloud.services = replace(services, images=replacing)
    error = host.failure(ImportFailed)
    assert error.code == "object-replaced"
    assert not host.sandbox.state.part(Ecs).images
    host.cloud.services = services
    result = host.push()
    assert result.image_status == "Available"
    assert result.objects[0].key.endswith("-2.raw")


def test_an_image_that_was_replaced_is_not_returned(host: PushHost, tmp_path: Path) -> None:
    """Another push with --replace took its name; its id and tags are unchanged."""
    first = host.push()
    other = PushHost(host.sandbox, tmp_path / "other", write_small_disk(tmp_path / "b.raw", seed=5))
    other.push(replace="rename")
    assert host.failure(RefusedError).code == "image-name-taken"
    again = host.push(replace="rename")
    assert again.image_id != first.image_id


def test_the_journal_of_another_push_is_refused(host: PushHost) -> None:
    """A file with another identity at the path of the journal."""
    host.push()
    (journal,) = host.state_dir.glob("*.jsonl")
    journal.write_text(journal.read_text().replace('"bucket":"aliyun-import-', '"bucket":"another-'))
    error = host.failure(LocalStateError)
    assert error.code == "journal-unreadable"
    assert "another push" in (error.cause or "")


def test_the_number_and_size_of_kept_objects_are_reported(host: PushHost) -> None:
    """Each push with --keep-object keeps an object of the size of the disk; those beyond --keep-last do not count."""
    keep = TransferOptions(keep_object=True)
    host.push(transfer=keep)
    assert "kept in all" not in host.details("finish")[0]
    disk = host.request.disks[0].path
    assert disk is not None
    write_small_disk(disk, seed=2)
    host.push(transfer=keep, replace="rename")
    assert "objects of web kept in all: 2, 2 MiB" in host.details("finish")[0]
    write_small_disk(disk, seed=3)
    host.sandbox.clock.advance(2)
    result = host.push(transfer=keep, replace="rename", keep_last=2)
    assert len(result.kept.objects) == 2
    assert "objects of web kept in all: 2, 2 MiB" in host.details("finish")[0]
    write_small_disk(disk, seed=4)
    host.sandbox.clock.advance(2)
    result = host.push(transfer=keep, replace="rename", keep_last=1)
    assert len(result.kept.objects) == 1
    assert "kept in all" not in host.details("finish")[0]


def test_nothing_is_created_if_the_local_state_is_not_writable(host: PushHost) -> None:
    """Account and source of the credentials are reported before the error."""
    host.state_dir.parent.mkdir(parents=True, exist_ok=True)
    host.state_dir.write_text("")
    host.cloud.services = replace(host.cloud.services, credentials="the profile prod")
    assert host.failure(LocalStateError).code == "journal-unwritable"
    assert not any(map(host.count, ("PutBucket", "PutBucketLifecycle", "CreateRole", "AttachPolicyToRole")))
    (account,) = host.details("look")
    assert account.startswith(f"account {host.sandbox.account_id}, credentials from the profile prod, bucket ")


def test_the_failed_image_of_a_push_is_deleted_at_the_end(host: PushHost) -> None:
    """Also if the service allowed the second image without a deletion of the first."""
    host.sandbox.state.configure(import_outcome="failed")
    host.failure(ImportFailed)
    ecs = host.sandbox.state.part(Ecs)
    (failed,) = ecs.images
    ecs.images[failed] = replace(ecs.images[failed], name="web-failed")
    host.sandbox.state.configure(import_outcome="finished")
    result = host.push()
    assert list(ecs.images) == [result.image_id]


def test_keep_last_without_anything_kept_is_refused(host: PushHost) -> None:
    """It would have no effect; on the command line and in the library."""
    assert host.failure(UsageError, keep_last=2).code == "usage"
    assert host.count("ImportImage") == 0
