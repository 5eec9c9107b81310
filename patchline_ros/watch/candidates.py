"""Which pictures a person is asked to label, and which of them first.

**The order.** A picture is worth the entropy of the running model's answer. It is worth less the
nearer it is in time to one that was labelled already, or stands before it: by 1 - exp(-t / 5 s). So
the most uncertain moment of the drive comes first, and the next is another moment.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from patchline_ros.tasks import Image, Label, Task

CAPACITY: Final = 24
"""Pictures of a task that wait at most: as many as a training needs where nobody says otherwise."""
LARGEST: Final = 64 << 20
"""Bytes of a task's pictures that wait at most."""
APART_NS: Final = 1_000_000_000
"""Two pictures are at least so many nanoseconds apart: neighbours of a stream show the same."""
_SPREAD_NS: Final = 5_000_000_000
_REMEMBERED: Final = 512
"""Stamps of pictures that are done."""


@dataclass(frozen=True)
class Uncertain:
    """How unsure a model was of a picture. `entropy` is in nats, `stamp_ns` the picture's."""

    stamp_ns: int
    entropy: float


@dataclass(frozen=True)
class Candidate(Uncertain):
    """A picture that a person may be asked to label.

    Attributes:
        task: whose label it lacks.
        frame_id: the coordinate frame of the camera.
        picture: uint8 RGB (H, W, 3), as it is published with its label.
        proposal: the running model's answer, in pixels of the picture.
        confidence: how sure the model is of a class, 0..1; of boxes and class maps it is not asked.
    """

    task: Task
    frame_id: str
    picture: Image
    proposal: Label
    confidence: float = 0.0

    @property
    def name(self) -> str:
        """Of the candidate, on the page and in its addresses."""
        return f"{self.task}-{self.stamp_ns}"


_Any = TypeVar("_Any", bound=Uncertain)


def in_order(found: Iterable[_Any], done: Iterable[int]) -> list[_Any]:
    """The most useful first; `done` are the stamps of pictures that are labelled already."""
    taken = list(done)
    left = {
        item.stamp_ns: (item, min((abs(item.stamp_ns - ns) for ns in taken), default=math.inf))
        for item in sorted(found, key=lambda item: item.stamp_ns)
    }
    ordered = []
    while left:
        first, _ = max(left.values(), key=lambda pair: (_worth(*pair), pair[1]))
        del left[first.stamp_ns]
        ordered.append(first)
        left = {
            stamp: (item, min(gap, abs(stamp - first.stamp_ns)))
            for stamp, (item, gap) in left.items()
        }
    return ordered


def _worth(item: Uncertain, gap_ns: float) -> float:
    return item.entropy * -math.expm1(-gap_ns / _SPREAD_NS)


class CandidateQueue:
    """The pictures of one task that wait for a label, bounded in number and in bytes.

    One that was shown to a person stays until it is done, as long as there are others to give up.
    """

    def __init__(self, capacity: int = CAPACITY, largest: int = LARGEST) -> None:
        self._capacity, self._largest = capacity, largest
        self._waiting: dict[int, Candidate] = {}
        self._shown: set[int] = set()
        self._done: deque[int] = deque(maxlen=_REMEMBERED)
        self._since_ns = 0
        self._version = 0

    def wants(self, found: Uncertain) -> bool:
        """Whether a picture would be kept: to be asked before it is decoded."""
        stamp = found.stamp_ns
        if not math.isfinite(found.entropy) or stamp < max(self._since_ns, 1):
            return False
        if any(abs(stamp - done) < APART_NS for done in self._done):
            return False
        near = self._near(stamp)
        if any(c.stamp_ns in self._shown or c.entropy >= found.entropy for c in near):
            return False
        if near or not self._is_full:
            return True
        return self._first_to_go([*self._waiting.values(), found]) is not found

    def add(self, candidate: Candidate) -> None:
        """Keeps a picture that is wanted; its near copies go, and others where there is no room."""
        for other in self._near(candidate.stamp_ns):
            del self._waiting[other.stamp_ns]
        self._waiting[candidate.stamp_ns] = candidate
        while len(self._waiting) > 1 and self._is_over:
            goes = self._first_to_go(list(self._waiting.values()))
            self._forget(goes.stamp_ns)

    def runs(self, version: int) -> None:
        """Patch set `version` answers now: what another model was unsure of is asked no more."""
        if version != self._version:
            self._version = version
            self._keep_only(self._shown)

    def begin(self, since_ns: int) -> None:
        """A drift has begun with that stamp; earlier pictures do not help with it."""
        if since_ns and since_ns != self._since_ns:
            self._keep_only({stamp for stamp in self._waiting if stamp >= since_ns})
        self._since_ns = since_ns

    def ordered(self) -> list[Candidate]:
        """What waits, the most useful first."""
        return in_order(self._waiting.values(), self._done)

    def find(self, name: str) -> Candidate | None:
        """The candidate of that name."""
        return next((c for c in self._waiting.values() if c.name == name), None)

    def show(self, candidate: Candidate) -> None:
        """A person looks at it."""
        if candidate.stamp_ns in self._waiting:
            self._shown.add(candidate.stamp_ns)

    def finish(self, candidate: Candidate) -> bool:
        """It is labelled or skipped; whether it had been waiting until now."""
        waited = candidate.stamp_ns in self._waiting
        if waited:
            self._forget(candidate.stamp_ns)
            self._done.append(candidate.stamp_ns)
        return waited

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= self._capacity or self._bytes >= self._largest

    @property
    def _is_over(self) -> bool:
        return len(self._waiting) > self._capacity or self._bytes > self._largest

    @property
    def _bytes(self) -> int:
        return sum(candidate.picture.nbytes for candidate in self._waiting.values())

    def _near(self, stamp_ns: int) -> list[Candidate]:
        return [c for c in self._waiting.values() if abs(c.stamp_ns - stamp_ns) < APART_NS]

    def _first_to_go(self, found: Sequence[_Any]) -> _Any:
        """The last in the order of those that nobody looks at; of all where somebody looks."""
        ordered = in_order(found, self._done)
        unseen = [item for item in ordered if item.stamp_ns not in self._shown]
        return (unseen or ordered)[-1]

    def _keep_only(self, stamps: set[int]) -> None:
        for stamp in self._waiting.keys() - stamps:
            self._forget(stamp)

    def _forget(self, stamp_ns: int) -> None:
        del self._waiting[stamp_ns]
        self._shown.discard(stamp_ns)
