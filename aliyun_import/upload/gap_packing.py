"""This file chooses which gaps of a disk are sent, so that the parts are few enough and the bytes fewest.

Pure. A gap (zeros, or a range of the base) is made on the server by parts of its own; sent instead, it costs its
bytes, and joins the data on both sides to one run. Greedy first: always the gap that is cheapest for each part that
it saves (100,000 extents take a second). Then the choices around the greedy's border are made again, exactly, which
is where a knapsack's greedy goes wrong; with few gaps all of them are around the border, and the answer is exact.
"""

import heapq
import math
from collections.abc import Sequence

# (length, cap, is sent): a run of the disk, how long its parts may be, and whether it is data.
Run = tuple[int, int, bool]
# How many gaps on each side of the greedy's border are decided again. The work grows with its square.
BORDER = 12

_Choice = tuple[int, "_Choice | None"] | None
# (parts, length of the sent run that is open) -> (bytes of gaps sent, which).
_Labels = dict[tuple[int, int], tuple[int, _Choice]]


def fit(runs: Sequence[Run], *, send_cap: int, max_parts: int) -> frozenset[int] | None:
    """Tell which runs that are not data are to be sent; None where no choice was found that gives so few parts."""
    gaps = [index for index, (_, _, is_sent) in enumerate(runs) if not is_sent]
    if len(gaps) <= 2 * BORDER:
        return _exact(runs, free=frozenset(gaps), sent=frozenset(), send_cap=send_cap, max_parts=max_parts)
    greedy = _Greedy(runs, send_cap)
    order = greedy.run(max_parts)
    if greedy.parts > max_parts:
        return None
    free = frozenset(order[-BORDER:]) | frozenset(greedy.next_cheapest(BORDER))
    sent = frozenset(order) - free
    return _exact(runs, free=free, sent=sent, send_cap=send_cap, max_parts=max_parts)


class _Greedy:
    """The runs as a linked list, and a heap of what sending a gap costs for each part that it saves.

    The end of the list is index -1, where all lists hold a run of no length, so that nothing asks for ends.
    """

    def __init__(self, runs: Sequence[Run], send_cap: int) -> None:
        self._send_cap = send_cap
        self._length = [length for length, _, _ in runs]
        self._parts = [-(-length // (send_cap if is_sent else cap)) for length, cap, is_sent in runs]
        self._is_sent = [is_sent for _, _, is_sent in runs] + [True]
        # What a gap gains by joining a neighbour: nothing, where that is a gap too.
        self._sent_length = [length if is_sent else 0 for length, _, is_sent in runs] + [0]
        self._sent_parts = [
            parts if is_sent else 0 for parts, is_sent in zip(self._parts, self._is_sent, strict=False)
        ] + [0]
        self._left = [*range(-1, len(runs) - 1), -1]
        self._right = [*range(1, len(runs)), -1, -1]
        self._listed = [self._price(index) if not run[2] else math.inf for index, run in enumerate(runs)]
        # Most prices never change, so they are sorted once, dearest first; the heap is for those that do.
        self._sorted = [(price, index) for index, price in enumerate(self._listed) if not runs[index][2]]
        self._sorted.sort(reverse=True)
        self._heap: list[tuple[float, int]] = []
        self.parts = sum(self._parts)

    def run(self, max_parts: int) -> list[int]:
        """Send gaps until the parts suffice, or none saves a part; gives them in the order of sending."""
        order: list[int] = []
        while self.parts > max_parts and (index := self._pop()) is not None:
            order.append(index)
            self._join(index)
        return order

    def next_cheapest(self, count: int) -> list[int]:
        """Tell which gaps would come next."""
        found: list[int] = []
        while len(found) < count and (index := self._pop()) is not None:
            found.append(index)
        return found

    def _list(self, index: int, price: float) -> None:
        self._listed[index] = price
        heapq.heappush(self._heap, (price, index))

    def _pop(self) -> int | None:
        """Take the cheapest gap whose price still holds; one whose price rose goes back with the new one."""
        while self._sorted or self._heap:
            if not self._heap or (self._sorted and self._sorted[-1] < self._heap[0]):
                listed, index = self._sorted.pop()
            else:
                listed, index = heapq.heappop(self._heap)
            if self._is_sent[index] or listed != self._listed[index]:
                continue
            if self._is_one_part(index):
                return index
            price = self._price(index)
            if price == listed:
                return index if price < math.inf else None
            self._list(index, price)
        return None

    def _price(self, index: int) -> float:
        """Give the bytes for each part that sending a gap saves; infinite where it saves none."""
        left, right = self._left[index], self._right[index]
        length = self._length[index]
        joined = length + self._sent_length[left] + self._sent_length[right]
        saved = self._parts[index] + self._sent_parts[left] + self._sent_parts[right] + (-joined // self._send_cap)
        return length / saved if saved > 0 else math.inf

    def _is_one_part(self, index: int) -> bool:
        """Tell whether a gap and the sent runs beside it are one part if it is sent: its price is not rounded then."""
        left, right = self._left[index], self._right[index]
        joined: int = self._length[index] + self._sent_length[left] + self._sent_length[right]
        return joined <= self._send_cap

    def _join(self, index: int) -> None:
        """Send a gap: it and the sent runs beside it become one, under the gap's index."""
        left, right = self._left[index], self._right[index]
        grew = []  # gaps beside a run that was sent before, and is longer now
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
            # One that would still be one part with what is beside it saves as many parts as it did.
            if not self._is_sent[neighbour] and not (neighbour in grew and self._is_one_part(neighbour)):
                price = self._price(neighbour)
                if price < self._listed[neighbour]:  # one that rose is noticed when it is popped
                    self._list(neighbour, price)


def _exact(
    runs: Sequence[Run], *, free: frozenset[int], sent: frozenset[int], send_cap: int, max_parts: int
) -> frozenset[int] | None:
    """Decide the free gaps for the fewest bytes; those in `sent` are sent, the others are not."""
    fixed_parts = 0
    table: dict[int, tuple[int, _Choice]] = {0: (0, None)}
    for stretch in _stretches(runs, free, sent):
        if not any(index in free for index in stretch):
            fixed_parts += -(-sum(runs[index][0] for index in stretch) // send_cap)
            continue
        table = _add_stretch(table, runs, stretch, free=free, send_cap=send_cap)
    fixed_parts += sum(
        -(-length // cap)
        for index, (length, cap, is_data) in enumerate(runs)
        if not is_data and index not in free and index not in sent
    )
    fitting = [cost for parts, cost in table.items() if parts + fixed_parts <= max_parts]
    if not fitting:
        return None
    _, choice = min(fitting, key=lambda cost: cost[0])
    chosen = set(sent)
    while choice is not None:
        index, choice = choice
        chosen.add(index)
    return frozenset(chosen)


def _stretches(runs: Sequence[Run], free: frozenset[int], sent: frozenset[int]) -> list[list[int]]:
    """Cut the disk at the gaps that are surely not sent: what lies between them is decided by itself."""
    stretches: list[list[int]] = [[]]
    for index, (_, _, is_data) in enumerate(runs):
        if is_data or index in free or index in sent:
            stretches[-1].append(index)
        elif stretches[-1]:
            stretches.append([])
    return [stretch for stretch in stretches if stretch]


def _add_stretch(
    table: dict[int, tuple[int, _Choice]],
    runs: Sequence[Run],
    stretch: Sequence[int],
    *,
    free: frozenset[int],
    send_cap: int,
) -> dict[int, tuple[int, _Choice]]:
    """Extend every way so far (parts -> fewest bytes) by the ways to decide the free gaps of one more stretch."""
    labels: _Labels = {(parts, 0): cost for parts, cost in table.items()}
    for index in stretch:
        length, cap, _ = runs[index]
        following: _Labels = {}
        for (parts, open_run), (cost, choice) in labels.items():
            if index in free:
                closed = parts - (-open_run // send_cap) - (-length // cap)
                _keep_best(following, (closed, 0), (cost, choice))
                _keep_best(following, (parts, open_run + length), (cost + length, (index, choice)))
            else:
                _keep_best(following, (parts, open_run + length), (cost, choice))
        labels = following
    result: dict[int, tuple[int, _Choice]] = {}
    for (parts, open_run), cost_and_choice in labels.items():
        closed = parts - (-open_run // send_cap)
        if closed not in result or cost_and_choice[0] < result[closed][0]:
            result[closed] = cost_and_choice
    return result


def _keep_best(labels: _Labels, state: tuple[int, int], value: tuple[int, _Choice]) -> None:
    if state not in labels or value[0] < labels[state][0]:
        labels[state] = value
