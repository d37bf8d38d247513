"""Tests of the errors of failed imports."""

from aliyun_import.image.failure import CATALOGUE, advice_for, image_gone, task_failed
from aliyun_import.model.image import TaskStatus
from tests.image.scripted_services import REGION, task
from tests.rows import each_row


@each_row("code", [code for advice in CATALOGUE for code in advice.codes])
def test_every_code_of_the_catalogue_has_a_cause_and_a_remedy(code: str) -> None:
    """The service's code and message are kept; the likely cause and the remedy are added."""
    failed = task_failed(task(TaskStatus.FAILED, error_code=code, error_message="In its own words."), region=REGION)
    cause = failed.cause or ""
    assert cause.startswith(f"{code}: In its own words.")
    assert len(cause.splitlines()) == 2
    assert failed.remedy
    assert failed.details["service_code"] == code


@each_row(
    ("message", "code"),
    [
        ("The VHD does not meet header.MaxTableEntries * header.BlockSize", "InvalidVHDImage.IncorrectSize"),
        ("The specified Image Format is wrongly formed.", "InvalidImageFormat.Malformed"),
        ("Snapshot quota exceeded", "QuotaExceed.Image"),
        ("The OSS object was removed while it was read.", "InvalidOSSObject.NotFound"),
    ],
)
def test_without_a_known_code_the_message_determines_the_advice(message: str, code: str) -> None:
    """The codes of failed tasks are not published, so the message is searched, too."""
    found = advice_for("SomethingElse", message)
    assert found is not None
    assert code in found.codes


def test_an_unknown_reason_is_kept_and_has_a_remedy() -> None:
    """The remedy names the task, the check of the disk and the ticket."""
    failed = task_failed(task(TaskStatus.FAILED, error_code="Odd.Code", error_message="Unknown words."), region=REGION)
    assert failed.cause == "Odd.Code: Unknown words."
    assert "task show t-1 --region cn-hangzhou" in (failed.remedy or "")
    assert "aliyun-import check" in (failed.remedy or "")


def test_a_missing_reason_is_stated() -> None:
    """An empty reason is stated as such."""
    assert task_failed(task(TaskStatus.FAILED), region=REGION).cause == "The service gave no reason."


def test_an_image_without_an_id_is_named_by_its_task() -> None:
    """No sentence contains an unfilled value."""
    assert image_gone("", task()).summary == "The image of task t-1 is gone."
    assert image_gone("m-1", task()).summary == "The image m-1 is gone."
