"""This file reports what the service's own image check found (DetectionStrategy); it never fails an import.

The check runs after the image is Available, takes a few minutes, and shows in DescribeImages as items with a name
("GUESTOS.Virtio"), a value, and a risk level where something is not as it should be.
"""

from collections.abc import Mapping

from aliyun_import.events import Emit, Noted, Warned
from aliyun_import.model.image import Image

# "A few minutes", says the page on image checks; twice that, and the image is usable all the while.
CHECK_LIMIT_S = 600.0


def is_checked(image: Image) -> bool:
    """Tell whether the check is over; where the service does not say how far it is, items are taken for its end."""
    return image.detection_status == "Finished" or (not image.detection_status and bool(image.detection))


def report(image: Image, *, emit: Emit) -> None:
    """Say what the check found: a warning for each item at risk, a note for the rest."""
    at_risk = [item for item in image.detection if item.get("RiskLevel")]
    for item in at_risk:
        level, code = item["RiskLevel"], item.get("RiskCode", "")
        emit(
            Warned(
                code="image-check",
                message=f"The service's image check rates {_subject(item)} as a {level.lower()} risk"
                f"{f' ({code})' if code else ''}: {item.get('Value') or 'no value'}.",
                remedy="Repair the disk and push it again if an instance of the image does not work.",
            )
        )
    fine = len(image.detection) - len(at_risk)
    emit(Noted(message=f"The service's image check of {image.image_id}: {fine} items fine, {len(at_risk)} at risk."))


def report_missing(image: Image, *, waited_s: float, emit: Emit) -> None:
    """Say that no results came in time."""
    emit(
        Warned(
            code="image-check-missing",
            message=f"The service's image check of {image.image_id} had no results after {waited_s:.0f} s; the image "
            "is usable all the same.",
            remedy=f"Look at image {image.image_id} in the console later.",
        )
    )


def _subject(item: Mapping[str, str]) -> str:
    return item.get("Name", "an item").removeprefix("GUESTOS.")
