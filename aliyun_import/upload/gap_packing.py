"""Choice of the gaps of a disk that are sent, so that an upload has few enough parts. Pure.

The server creates a gap (zeros, or a range of the base) in separate parts. Sending a gap costs its bytes, but joins the
data on both sides into one run. The choice is greedy: always the gap with the fewest bytes per saved part (100,000
extents take a second). An exact pass over the last choices sent only 0.0013 % fewer bytes on disks of 500 GiB.
"""

import heapq
import math
from collections.abc import Sequence

# (length, cap, is sent): a run of the disk, the maximum length of its parts, and whether it is data.
Run = tuple[int, int, bool]


def choose_sent_gaps(runs: Sequence[Run], *, send_cap: int, max_parts: int) -> frozenset[int] | None:
    """Return the indexes of the gaps to send, None if sending gaps can't reduce the parts to `max_parts`.

    `send_cap` is the maximum length of a sent part.
    """
    packing = _Packing(runs, send_cap)
    order = packing.run(max_parts)
    return frozenset(order) if packing.parts <= max_parts else None


class _Packing:
    """The runs as a linked list, and the costs of sending a gap, in bytes per saved part.

    The end of the list is index -1, where all lists have a run of length 0, so that ends need no special case.
    """

    def __init__(self, runs: Sequence[Run], send_cap: int) -> None:
        self._send_cap = send_cap
        self._length = [length for length, _, _ in runs]
        self._parts = [-(-length // (send_cap if is_sent else cap)) for length, cap, is_sent in runs]
        self._is_sent = [is_sent for _, _, is_sent in runs] + [True]
        # Length and parts of a run that a gap beside it joins; 0 for gaps.
        self._sent_length = [length if is_sent else 0 for length, _, is_sent in runs] + [0]
        self._sent_parts = [
            parts if is_sent else 0 for parts, is_sent in zip(self._parts, self._is_sent, strict=False)
        ] + [0]
        self._left = [*range(-1, len(runs) - 1), -1]
        self._right = [*range(1, len(runs)), -1, -1]
        self._cost = [self._cost_per_part(index) if not run[2] else math.inf for index, run in enumerate(runs)]
        # Most costs never change, so they are sorted once, highest first; the heap is for those that do.
        self._sorted = [(cost, index) for index, cost in enumerate(self._cost) if not runs[index][2]]
        self._sorted.sort(reverse=True)
        self._heap: list[tuple[float, int]] = []
        self.parts = sum(self._parts)

    def run(self, max_parts: int) -> list[int]:
        """Send gaps until there are at most `max_parts`, or no gap saves a part; return their indexes."""
        order: list[int] = []
        while self.parts > max_parts and (index := self._pop()) is not None:
            order.append(index)
            self._join(index)
        return order

    def _push(self, index: int, cost: float) -> None:
        self._cost[index] = cost
        heapq.heappush(self._heap, (cost, index))

    def _pop(self) -> int | None:
        """Return the cheapest gap, None if no gap saves a part. Gaps whose cost rose are queued again."""
        while self._sorted or self._heap:
            if not self._heap or (self._sorted and self._sorted[-1] < self._heap[0]):
                listed, index = self._sorted.pop()
            else:
                listed, index = heapq.heappop(self._heap)
            if self._is_sent[index] or listed != self._cost[index]:
                continue
            if self._is_one_part(index):
                return index
            cost = self._cost_per_part(index)
            if cost == listed:
                return index if cost < math.inf else None
            self._push(index, cost)
        return None

    def _cost_per_part(self, index: int) -> float:
        """Return the bytes of a gap per part that sending it saves; infinite if it saves none."""
        left, right = self._left[index], self._right[index]
        length = self._length[index]
        joined = length + self._sent_length[left] + self._sent_length[right]
        saved = self._parts[index] + self._sent_parts[left] + self._sent_parts[right] + (-joined // self._send_cap)
        return length / saved if saved > 0 else math.inf

    def _is_one_part(self, index: int) -> bool:
        """Return whether a gap and the sent runs beside it would be one part; its cost is then exact."""
        left, right = self._left[index], self._right[index]
        joined: int = self._length[index] + self._sent_length[left] + self._sent_length[right]
        return joined <= self._send_cap

    def _join(self, index: int) -> None:
        """Send a gap: join it and the sent runs beside it into one run with the gap's index."""
        left, right = self._left[index], self._right[index]
        grew = []  # gaps beside a sent run that became longer
        length = self._length[index] + self._sent_length[left] + self._sent_length[right]
        before = self._parts[index] + self._sent_parts[left] + self._sent_parts[right]
        if left >= 0 and self._is_sent[left]:
            left = self._left[index] = self._left[left]
            self._right[left] = index
            grew.append(left)
        if right >= 0 and self._is_sent[right]:
            right = self._right[index] = self._right[right]
            self._left[right] = index
            grew.append(right)
        parts = -(-length // self._send_cap)
        self._is_sent[index] = True
        self._length[index] = self._sent_length[index] = length
        self._parts[index] = self._sent_parts[index] = parts
        self.parts += parts - before
        for neighbour in (left, right):
            # A gap that would still be one part with the runs beside it saves as many parts as before.
            if not self._is_sent[neighbour] and not (neighbour in grew and self._is_one_part(neighbour)):
                cost = self._cost_per_part(neighbour)
                if cost < self._cost[neighbour]:  # a cost that rose is corrected in `_pop`
                    self._push(neighbour, cost)
