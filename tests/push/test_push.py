"""Tests of a push in this process, against a sandbox whose clock is steered."""

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
from tests.push.machine import SMALL_DISK_BYTES, Machine, write_small_disk


def test_a_push_ends_in_an_image_and_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """Stages in their order, of a disk that is sent and copied in several parts."""
    machine = Machine(sandbox, tmp_path, write_disk(tmp_path / "disk.raw", size_bytes=5 << 20, data_at=(1, 3)))
    result = machine.push()
    assert (result.image_status, result.left_over, result.already_there) == ("Available", (), False)
    stages = [one.stage for one in machine.heard.events if isinstance(one, StageFinished)]
    assert stages == ["inspect", "look", "role", "upload", "import", "wait", "finish"]
    assert machine.details("inspect") == ["no blocking findings"]
    assert machine.details("finish") == ["staging object removed, nothing is left in OSS"]
    assert min(machine.count("UploadPart"), machine.count("UploadPartCopy")) > 1
    (bucket,) = sandbox.state.part(OssState).buckets.values()
    assert not {*bucket.versions, *bucket.uploads}


def test_a_push_that_is_done_says_so(machine: Machine) -> None:
    """The second run ends at once, and its last stage names the image."""
    first = machine.push()
    again = machine.push()
    assert (again.image_id, again.already_there) == (first.image_id, True)
    (detail,) = machine.details("import")
    assert f"already imported as {first.image_id}" in detail
    assert not any(isinstance(one, RunStarted) for one in machine.heard.events)


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_an_import_that_ended_between_two_runs_is_repeated_at_once(machine: Machine, how: str) -> None:
    """The second run says why it imports again, uploads nothing, and ends in an image."""
    machine.sandbox.state.configure(import_outcome="stuck" if how == "cancelled" else "failed")
    if how == "cancelled":
        error = machine.failure(StillRunning, timeout_s=6.0)
        machine.cloud.images.cancel_task(error.details["task_id"])
    else:
        machine.push(wait=False)
        machine.sandbox.clock.advance(3600)
    sent = machine.count("UploadPart")
    machine.sandbox.state.configure(import_outcome="finished")
    result = machine.push()
    assert result.image_status == "Available"
    (warned,) = [one for one in machine.heard.events if isinstance(one, Warned)]
    assert warned.code == f"import-{how}"
    assert "repeated" in warned.message
    assert machine.count("UploadPart") == sent
    assert len(machine.sandbox.state.part(Ecs).tasks) == 2


def test_an_import_that_fails_while_it_is_waited_for_fails_the_run(machine: Machine) -> None:
    """It is not repeated by itself: it would fail again, after hours."""
    machine.sandbox.state.configure(import_outcome="failed")
    machine.push(wait=False)
    assert machine.failure(ImportFailed).code == "import-failed"
    assert len(import_calls(machine.sandbox)) == 1


def test_the_same_command_on_two_machines_makes_one_image(machine: Machine, tmp_path: Path) -> None:
    """The one that comes later follows the import of the other, and names no object that the other removed."""
    disk = machine.request.disks[0].path
    assert disk is not None
    other = Machine(machine.sandbox, tmp_path / "other", disk)
    images = without_retries(machine.cloud.services.images)

    class Late:
        """The other machine's import begins while this one uploads."""

        def __init__(self, service: ImageService) -> None:
            self._service = service

        def __getattr__(self, name: str) -> object:
            if name == "import_image" and machine.count("CompleteMultipartUpload") and not other.count("ImportImage"):
                other.push(wait=False)
            return getattr(self._service, name)

    late: ImageService = Late(images)  # type: ignore[assignment]
    machine.cloud.services = replace(machine.cloud.services, images=late)
    result = machine.push()
    followed = other.push()
    assert result.image_id == followed.image_id
    assert (result.left_over, followed.left_over) == ((), ())
    assert len(machine.sandbox.state.part(Ecs).images) == 1
    assert Machine(machine.sandbox, tmp_path / "third", disk).push().image_id == result.image_id


def test_another_disk_of_the_same_name_is_refused(machine: Machine, tmp_path: Path) -> None:
    """Two machines, two disks, one name: the later one is refused, and may replace a usable image only."""
    machine.push(wait=False)
    other_disk = write_small_disk(tmp_path / "other.raw", seed=5)
    other = Machine(machine.sandbox, tmp_path / "other", other_disk)
    error = other.failure(RefusedError)
    assert error.code == "image-name-taken"
    assert "--replace" not in (error.remedy or "")
    machine.push()
    assert "--replace rename" in (other.failure(RefusedError).remedy or "")


def test_an_image_id_of_another_life_of_a_sandbox_is_not_believed(machine: Machine) -> None:
    """The journal's image id is there, but its name and tags are those of another image: a new one is made."""
    first = machine.push()
    images = machine.sandbox.state.part(Ecs).images
    images[first.image_id] = replace(
        images[first.image_id], name="other", tags={PUSH_ID_TAG: "other", DISK_DIGEST_TAG: "other"}
    )
    again = machine.push()
    assert again.image_id != first.image_id
    assert "image-gone" in machine.heard.warned()


def test_a_running_import_of_another_life_is_not_followed(machine: Machine) -> None:
    """The same, for an import that the journal has as running."""
    first = machine.push(wait=False)
    images = machine.sandbox.state.part(Ecs).images
    images[first.image_id] = replace(images[first.image_id], name="other", tags={PUSH_ID_TAG: "other"})
    again = machine.push()
    assert again.image_id != first.image_id
    assert "image-gone" in machine.heard.warned()


@pytest.mark.parametrize(("gone", "code"), [("both", "task-unknown"), ("image", "image-gone")])
def test_an_import_that_is_gone_is_repeated_at_once(machine: Machine, gone: str, code: str) -> None:
    """Of an account that was reset, or because somebody deleted the image: no second run is needed."""
    machine.push(wait=False)
    machine.sandbox.clock.advance(3600)
    ecs = machine.sandbox.state.part(Ecs)
    ecs.images.clear()
    if gone == "both":
        ecs.tasks.clear()
    assert machine.push().image_status == "Available"
    assert machine.heard.warned() == [code]


def test_force_says_what_it_overrides(machine: Machine) -> None:
    """Blocking findings stop a push; with --force a warning names them."""
    disk = machine.request.disks[0].path
    assert disk is not None
    disk.write_bytes(bytes(SMALL_DISK_BYTES))
    rules = machine.failure(DiskError).details["rules"]
    machine.push(force=True)
    warned = next(one for one in machine.heard.events if isinstance(one, Warned) and one.code == "forced")
    assert all(rule in warned.message for rule in rules.split(","))
    assert machine.details("inspect") == ["blocking findings, overridden by --force"]


def test_a_free_name_is_found_for_a_second_image(machine: Machine) -> None:
    """--force-new without a name makes web-2, then web-3."""
    machine.push()
    assert machine.push(force_new=True, name_given=False).image_name == "web-2"
    assert machine.push(force_new=True, name_given=False).image_name == "web-3"


def test_what_ecs_refuses_is_known_before_the_first_byte(machine: Machine) -> None:
    """A right, a quota or a parameter is asked for by a dry run, and not after hours of upload."""
    codes = ("Forbidden.RAM", "QuotaExceed.Image", "UserNotInTheWhiteList", "InvalidPlatform.NotFound")
    for asked, code in enumerate(codes, 1):
        machine.sandbox.faults.add(Fault(operation="ImportImage", status=403, code=code, count=None))
        machine.failure(AliyunImportError)
        assert machine.count("ImportImage") == asked, code
        machine.sandbox.faults.clear()
    assert not machine.count("InitiateMultipartUpload")


def test_a_resumed_push_does_not_ask_twice(machine: Machine) -> None:
    """What ECS accepted once is in the journal."""
    machine.sandbox.faults.add(Fault(operation="UploadPart", status=403, code="AccessDenied"))
    machine.failure(AliyunImportError)
    machine.push()
    dry_runs = machine.count("ImportImage") - len(import_calls(machine.sandbox))
    assert (dry_runs, len(import_calls(machine.sandbox))) == (1, 1)


def test_a_platform_is_sent_as_the_service_spells_it(machine: Machine) -> None:
    """`--platform ubuntu` is Ubuntu, and not a name that ECS refuses after the upload."""
    machine.request = replace(machine.request, platform="ubuntu")
    machine.push()
    (entry,) = import_calls(machine.sandbox)
    assert "Platform=Ubuntu" in entry.target


def test_a_client_windows_brings_its_own_licence(machine: Machine) -> None:
    """The service sells none for it, and refuses LicenseType=Aliyun."""
    machine.request = replace(machine.request, platform="other windows")
    machine.push(force=True)
    (entry,) = import_calls(machine.sandbox)
    assert "LicenseType=BYOL" in entry.target


def test_the_check_of_the_service_is_on_and_off_by_one_word(machine: Machine) -> None:
    """It is asked for by default, and its progress is told while it is waited for."""
    machine.sandbox.state.configure(image_check_s=30.0)
    machine.push()
    told = [one for one in machine.heard.events if isinstance(one, ImageCheckProgress)]
    assert [one.status for one in told][-1] == "Processing"
    machine.push(force_new=True, name_given=False)
    machine.request = replace(machine.request, name="unchecked", detection_strategy="none")
    machine.push()
    strategies = ["DetectionStrategy=Standard" in entry.target for entry in import_calls(machine.sandbox)]
    assert strategies == [True, True, False]
    assert "DetectionStrategy" not in import_calls(machine.sandbox)[-1].target


def test_an_image_that_ecs_does_not_check_is_imported_without_the_check(machine: Machine) -> None:
    """The pages disagree about Windows: ECS is asked, and its refusal is no reason not to import."""
    machine.request = replace(
        machine.request, os_type=OsType.WINDOWS, platform="Windows Server 2019", detection_strategy="Standard"
    )
    assert machine.push(force=True).image_status == "Available"
    (entry,) = import_calls(machine.sandbox)
    assert "DetectionStrategy" not in entry.target
    # A resumed push does not ask again: the refusal comes with the import itself.
    machine.request = replace(machine.request, name="another")
    machine.sandbox.faults.add(Fault(operation="CompleteMultipartUpload", status=403, code="AccessDenied"))
    machine.failure(AliyunImportError, force=True)
    assert machine.push(force=True).image_status == "Available"


def test_an_interrupt_during_the_check_says_that_the_image_is_usable(machine: Machine) -> None:
    """The import does not continue any more; the same command finishes."""
    machine.sandbox.state.configure(image_check_s=300.0)

    class Impatient(SteeredClock):
        """The run is cancelled once the check is waited for."""

        def sleep(self, seconds: float) -> None:
            if any(isinstance(one, ImageCheckProgress) for one in machine.heard.events):
                raise interrupted()
            super().sleep(seconds)

    machine.cloud.clock = Impatient(machine.sandbox.clock.advance)
    error = machine.failure(Interrupted)
    assert (error.code, "continues" in error.summary) == ("interrupted", False)
    machine.cloud.clock = SteeredClock(machine.sandbox.clock.advance)
    assert machine.push().image_status == "Available"


def test_an_object_that_was_removed_during_the_import_does_not_stay(machine: Machine) -> None:
    """The error does not say that the object is kept; the same command uploads it again."""
    steered, store = machine.cloud.clock, machine.cloud.store
    machine.cloud.clock = meddled(machine, lambda bucket, key: store(bucket).delete(key))
    error = machine.failure(ImportFailed)
    assert "removed" in (error.cause or "")
    assert "stay" not in (error.remedy or "")
    machine.cloud.clock = steered
    assert machine.push().image_status == "Available"


def test_a_disk_is_opened_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is inspected, fingerprinted, scanned, sent and proven is one file."""
    opened: list[object] = []
    real_open = os.open

    def counted(path: os.PathLike[str] | str, *rest: int, **named: Any) -> int:
        opened.append(Path(path))
        return real_open(path, *rest, **named)

    monkeypatch.setattr(os, "open", counted)
    assert machine.push().image_status == "Available"
    assert opened.count(machine.request.disks[0].path) == 1


def test_a_disk_that_is_not_the_inspected_one_is_not_sent(machine: Machine) -> None:
    """Its parameters and its findings are those of another disk; the same command inspects it anew."""
    path = machine.request.disks[0].path
    assert path is not None
    kept = path.with_name("kept.raw")
    changes: dict[str, Callable[[], object]] = {
        "replaced": lambda: shutil.copyfile(path, kept).replace(path),
        "written to": lambda: path.write_bytes(path.read_bytes()),
        "removed": lambda: path.rename(kept),
    }
    options = PushOptions(state_dir=machine.state_dir)
    for how, change in changes.items():

        def emit(event: Event, change: Callable[[], object] = change) -> None:
            if isinstance(event, StageFinished) and event.stage == "role":
                change()

        with pytest.raises(DiskChanged) as caught:
            push(machine.request, options, machine.cloud.services, machine.cloud.context(emit))
        assert (caught.value.code, caught.value.exit_code) == ("disk-changed", 9), how
        assert machine.count("UploadPart") == 0, how
    kept.rename(path)
    assert machine.push().image_status == "Available"


def test_a_disk_that_is_not_the_inspected_one_is_not_converted(machine: Machine) -> None:
    """A conversion opens it by name, and not what was inspected."""
    path = machine.request.disks[0].path
    assert path is not None
    packed, other = path.with_suffix(".raw.gz"), path.with_name("other.gz")
    for one in (packed, other):
        one.write_bytes(gzip.compress(path.read_bytes()))
    machine.request = replace(machine.request, disks=(replace(machine.request.disks[0], path=packed),))

    def change(event: Event) -> None:
        if isinstance(event, StageFinished) and event.stage == "look" and other.exists():
            other.replace(packed)

    options = PushOptions(state_dir=machine.state_dir)
    with pytest.raises(DiskChanged):
        push(machine.request, options, machine.cloud.services, machine.cloud.context(change))
    assert machine.push().image_status == "Available"


def test_a_converted_disk_has_the_name_that_the_user_gave(machine: Machine) -> None:
    """In every event and in the plan; the temporary file is in the note about the conversion alone."""
    path = machine.request.disks[0].path
    assert path is not None
    packed = path.with_suffix(".raw.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    machine.request = replace(machine.request, disks=(replace(machine.request.disks[0], path=packed),))
    work = str(machine.state_dir / "work")
    for is_dry_run in (True, False):
        result = machine.push(dry_run=is_dry_run)
        (named,) = (event for event in machine.heard.events if work in repr(event))
        assert isinstance(named, Noted)
        assert named.message.startswith(f"{packed} (gzip) is converted to {work}")
        assert [disk["disk"] for disk in result.plan.get("disks", ())] == [str(packed)] * is_dry_run


def test_an_image_for_both_boot_modes_is_changed_once_it_is_usable(machine: Machine) -> None:
    """ImportImage takes BIOS, and ModifyImageAttribute sets the rest; the same command repeats nothing."""
    machine.request = replace(machine.request, boot_mode=BootMode.UEFI_PREFERRED)
    skipped = frozenset({"boot-mode-contradicts"})
    image_id = machine.push(skip_checks=skipped).image_id
    assert import_calls(machine.sandbox)[0].target.count("BootMode=BIOS") == 1
    image = machine.cloud.services.images.image(image_id)
    assert image is not None
    assert image.boot_mode == "UEFI-Preferred"
    assert machine.push(skip_checks=skipped).already_there
    assert machine.count("ModifyImageAttribute") == 1


def meddled(machine: Machine, meddle: Callable[[str, str], None]) -> SteeredClock:
    """Return a clock of a push: somebody changes the object once the import has begun."""

    class Meddled(SteeredClock):
        def sleep(self, seconds: float) -> None:
            for one in machine.heard.events:
                if isinstance(one, ObjectReady) and machine.count("ImportImage", importing=True):
                    meddle(one.bucket, one.key)
            super().sleep(seconds)

    return Meddled(machine.sandbox.clock.advance)


def test_an_object_that_was_replaced_before_the_import_fails_the_push(machine: Machine, tmp_path: Path) -> None:
    """Its bytes may be in the image, which is deleted; the same command uploads the disk again."""
    other = write_small_disk(tmp_path / "other.raw", seed=5).read_bytes()
    services = machine.cloud.services
    images = without_retries(services.images)

    class Swapping:
        """Somebody replaces the object between its proof and ImportImage."""

        def __getattr__(self, name: str) -> object:
            ready = [one for one in machine.heard.events if isinstance(one, ObjectReady)]
            if name == "import_image" and ready:
                machine.cloud.store(ready[0].bucket).put(ready[0].key, other)
            return getattr(images, name)

    swapping: ImageService = Swapping()  # type: ignore[assignment]
    machine.cloud.services = replace(services, images=swapping)
    error = machine.failure(ImportFailed)
    assert error.code == "object-replaced"
    assert not machine.sandbox.state.part(Ecs).images
    machine.cloud.services = services
    result = machine.push()
    assert result.image_status == "Available"
    assert result.objects[0].key.endswith("-2.raw")


def test_an_image_that_was_replaced_since_is_not_the_result_any_more(machine: Machine, tmp_path: Path) -> None:
    """Its id and its tags are those of the push; its name is not: it belongs to the image that replaced it."""
    first = machine.push()
    other = Machine(machine.sandbox, tmp_path / "other", write_small_disk(tmp_path / "b.raw", seed=5))
    other.push(replace="rename")
    assert machine.failure(RefusedError).code == "image-name-taken"
    again = machine.push(replace="rename")
    assert again.image_id != first.image_id


def test_the_journal_of_another_push_is_not_believed(machine: Machine) -> None:
    """Of another bucket, say: a file that was put in the place of this push's journal."""
    machine.push()
    (journal,) = machine.state_dir.glob("*.jsonl")
    journal.write_text(journal.read_text().replace('"bucket":"aliyun-import-', '"bucket":"another-'))
    error = machine.failure(LocalStateError)
    assert error.code == "journal-unreadable"
    assert "another push" in (error.cause or "")


def test_what_is_kept_in_all_is_named(machine: Machine) -> None:
    """Each push with --keep-object adds an object of the size of the disk: the last line has their number and size."""
    keep = TransferOptions(keep_object=True)
    machine.push(transfer=keep)
    assert "kept in all" not in machine.details("finish")[0]
    disk = machine.request.disks[0].path
    assert disk is not None
    write_small_disk(disk, seed=2)
    machine.push(transfer=keep, replace="rename")
    assert "objects of web kept in all: 2, 2 MiB" in machine.details("finish")[0]


def test_nothing_is_created_before_the_local_state_is_known_to_be_writable(machine: Machine) -> None:
    """No bucket, no rule and no role; the account and the source of its credentials were shown before."""
    machine.state_dir.parent.mkdir(parents=True, exist_ok=True)
    machine.state_dir.write_text("")
    machine.cloud.services = replace(machine.cloud.services, credentials="the profile prod")
    assert machine.failure(LocalStateError).code == "journal-unwritable"
    assert not any(map(machine.count, ("PutBucket", "PutBucketLifecycle", "CreateRole", "AttachPolicyToRole")))
    (account,) = machine.details("look")
    assert account.startswith(f"account {machine.sandbox.account_id}, credentials from the profile prod, bucket ")


def test_what_a_failed_import_left_does_not_outlast_the_push(machine: Machine) -> None:
    """Where the service lets another image have the name, too, the failed image of this push is deleted at the end."""
    machine.sandbox.state.configure(import_outcome="failed")
    machine.failure(ImportFailed)
    ecs = machine.sandbox.state.part(Ecs)
    (failed,) = ecs.images
    ecs.images[failed] = replace(ecs.images[failed], name="web-failed")
    machine.sandbox.state.configure(import_outcome="finished")
    result = machine.push()
    assert list(ecs.images) == [result.image_id]
