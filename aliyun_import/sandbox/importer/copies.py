"""The course of copies of images: five at a time in a region, the others Waiting.

The documents say "a region" without saying which of the two: a copy takes a slot of its source's region and one of its
own. Copies start in the order of their calls.
"""

import math
from dataclasses import replace

from aliyun_import.sandbox.core.state import State
from aliyun_import.sandbox.ecs.state import Copy, Ecs, Image

COPIES_AT_ONCE = 5
FAILS_AT_PERCENT = 50

Busy = tuple[frozenset[str], float, float]  # regions, beginning, end


def settle(state: State) -> None:
    """Update every copy to the present time."""
    ecs, now_s = state.part(Ecs), state.clock.now_s()
    busy: list[Busy] = []
    for image in list(ecs.images.values()):
        if image.copy is None:
            continue
        regions = frozenset({image.copy.source_region, image.region})
        copy = _started(image.copy, busy, regions, now_s)
        if copy.started_s is not None:
            busy.append((regions, copy.started_s, _ends_s(copy)))
        changed = _at(replace(image, copy=copy), copy, now_s)
        if changed != image:
            ecs.images[image.id] = changed


def _started(copy: Copy, busy: list[Busy], regions: frozenset[str], now_s: float) -> Copy:
    """Return a copy with its start, if a slot was free by now."""
    if copy.started_s is not None:
        return copy
    ends = sorted(end_s for _, _, end_s in busy if end_s > copy.queued_s)
    for at_s in (copy.queued_s, *ends):
        if at_s > now_s:
            break
        if all(_in_use(busy, region, at_s) < COPIES_AT_ONCE for region in regions):
            return replace(copy, started_s=at_s)
    # All slots until now are known to be taken: what is deleted later must not free one of them in the past.
    return replace(copy, queued_s=now_s)


def _in_use(busy: list[Busy], region: str, at_s: float) -> int:
    return sum(1 for regions, begin_s, end_s in busy if region in regions and begin_s <= at_s < end_s)


def _ends_s(copy: Copy) -> float:
    if copy.started_s is None or copy.ending == "stuck":
        return math.inf
    return copy.started_s + copy.duration_s * (FAILS_AT_PERCENT / 100 if copy.ending == "failed" else 1)


def _at(image: Image, copy: Copy, now_s: float) -> Image:
    """Return the image of a copy as it is at a time."""
    if image.status not in ("Waiting", "Creating"):
        return image
    if copy.started_s is None:
        return replace(image, status="Waiting", percent=0)
    end_s = _ends_s(copy)
    if now_s >= end_s:
        if copy.ending == "failed":
            return replace(image, status="CreateFailed", percent=FAILS_AT_PERCENT, remain_s=0)
        return replace(image, status="Available", percent=100, remain_s=0, ready_s=end_s)
    share = (now_s - copy.started_s) / copy.duration_s
    remain_s = math.ceil(copy.started_s + copy.duration_s - now_s)
    return replace(image, status="Creating", percent=min(99, int(100 * share)), remain_s=max(0, remain_s))
