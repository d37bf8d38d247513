"""Contract of ImageService. Nothing is imported in a real account."""

from dataclasses import replace

import pytest

from aliyun_import.errors import RefusedError
from aliyun_import.model.image import Image, StartedImport, TaskStatus
from aliyun_import.model.request import BootMode, DiskFormat, DiskMapping, ImportCall, ImportRequest, OsType
from tests.contract.conftest import Cloud
from tests.contract.test_role_service import NAME, SYSTEM, TRUST

MIB = 1 << 20


def _call(cloud: Cloud) -> ImportCall:
    request = ImportRequest(
        region=cloud.region,
        disks=(),
        name="contract-image",
        role_name=NAME,
        os_type=OsType.LINUX,
        boot_mode=BootMode.BIOS,
        platform="Debian",
    )
    mapping = DiskMapping(bucket=cloud.bucket, key=cloud.key("disk.raw"), format=DiskFormat.RAW, size_gib=5)
    return ImportCall(
        request=request, mappings=(mapping,), client_token="token-contract-image", tags={"contract": "yes"}
    )


def _prepare_import(cloud: Cloud) -> None:
    """Create the role and the object of an import; skip the test in a real account."""
    if cloud.is_real:
        pytest.skip("imports an image")
    cloud.roles.create_role(NAME, trust_policy=TRUST, description="for tests")
    cloud.roles.attach_policy(SYSTEM, role_name=NAME)
    cloud.store.put(cloud.key("disk.raw"), bytes(MIB))


def _started(cloud: Cloud) -> StartedImport:
    started = cloud.images.import_image(_call(cloud))
    assert started is not None
    return started


def _image(cloud: Cloud, image_id: str) -> Image:
    found = cloud.images.image(image_id)
    assert found is not None
    return found


def test_the_region_is_listed(cloud: Cloud) -> None:
    """The regions of the account contain that of the tests."""
    assert cloud.region in cloud.images.regions()


def test_missing_tasks_and_images_are_none(cloud: Cloud) -> None:
    """They are no errors."""
    images = cloud.images
    assert images.task("t-contractnobody") is None
    assert images.image("m-contractnobody") is None
    assert images.images(name="aliyun-import-contract-nobody") == ()
    images.delete_image("m-contractnobody")


@pytest.mark.parametrize("spelling", ["DRYRUN.SUCCESS", "DryRunOperation"])
def test_a_successful_dry_run_returns_none(cloud: Cloud, spelling: str) -> None:
    """The code has two spellings in the documentation; nothing is started."""
    _prepare_import(cloud)
    if cloud.sandbox is not None:
        cloud.sandbox.state.configure(dry_run_code=spelling)
    assert cloud.images.import_image(replace(_call(cloud), dry_run=True)) is None
    assert cloud.images.tasks() == ()


def test_an_import_can_be_followed_to_its_end(cloud: Cloud) -> None:
    """Task and image are readable in every status, and the image is found by name and tag."""
    _prepare_import(cloud)
    images, started = cloud.images, _started(cloud)
    assert started.request_id
    task = images.task(started.task_id)
    assert task is not None
    assert (task.task_id, task.status, task.action) == (started.task_id, TaskStatus.WAITING, "ImportImage")
    assert _image(cloud, started.image_id).status == "Creating"
    assert [(one.task_id, one.status) for one in images.tasks()] == [(started.task_id, TaskStatus.WAITING)]
    cloud.finish_imports()
    task = images.task(started.task_id)
    assert task is not None
    assert (task.status, task.percent, task.can_cancel) == (TaskStatus.FINISHED, 100, False)
    image = _image(cloud, started.image_id)
    assert (image.name, image.status, image.size_gib, dict(image.tags)) == (
        "contract-image",
        "Available",
        5,
        {"contract": "yes"},
    )
    assert images.images(name="contract-image") == images.images(tags={"contract": "yes"}) == (image,)
    assert images.images(name="contract") == ()
    assert images.images(tags={"contract": "no"}) == ()


def test_the_same_client_token_starts_one_import(cloud: Cloud) -> None:
    """A repeated call returns the same ids."""
    _prepare_import(cloud)
    first, second = _started(cloud), _started(cloud)
    assert (first.task_id, first.image_id) == (second.task_id, second.image_id)


def test_a_taken_name_is_refused(cloud: Cloud) -> None:
    """The name of an existing image is "image-name-taken"."""
    _prepare_import(cloud)
    _started(cloud)
    cloud.finish_imports()
    with pytest.raises(RefusedError) as caught:
        cloud.images.import_image(replace(_call(cloud), client_token="another"))
    assert caught.value.code == "image-name-taken"
    assert "contract-image" in caught.value.summary


def test_a_role_that_ecs_does_not_see_has_its_error(cloud: Cloud) -> None:
    """It is "role-not-visible"."""
    if cloud.sandbox is None:
        pytest.skip("needs an account without the role")
    cloud.store.put(cloud.key("disk.raw"), bytes(MIB))
    with pytest.raises(RefusedError) as caught:
        cloud.images.import_image(_call(cloud))
    assert caught.value.code == "role-not-visible"
    assert NAME in caught.value.summary


def test_a_task_is_cancelled(cloud: Cloud) -> None:
    """A running task becomes Deleted; a task that has ended is "task-over"."""
    _prepare_import(cloud)
    started = _started(cloud)
    cloud.images.cancel_task(started.task_id)
    task = cloud.images.task(started.task_id)
    assert task is not None
    assert task.status is TaskStatus.DELETED
    with pytest.raises(RefusedError) as caught:
        cloud.images.cancel_task(started.task_id)
    assert caught.value.code == "task-over"


def test_an_image_is_renamed_and_deleted(cloud: Cloud) -> None:
    """It is found by its new name; a second deletion is no error."""
    _prepare_import(cloud)
    started = _started(cloud)
    cloud.finish_imports()
    cloud.images.rename_image(started.image_id, name="contract-renamed")
    assert [one.image_id for one in cloud.images.images(name="contract-renamed")] == [started.image_id]
    assert cloud.images.images(name="contract-image") == ()
    cloud.images.delete_image(started.image_id)
    cloud.images.delete_image(started.image_id)
    assert cloud.images.image(started.image_id) is None
