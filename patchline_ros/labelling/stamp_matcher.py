"""Finds the picture of a label by its stamp, whichever of the two comes first."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

_Picture = TypeVar("_Picture")
_Label = TypeVar("_Label")

_MILLISECOND = 1_000_000


@dataclass(frozen=True)
class Match(Generic[_Picture, _Label]):
    """A label and its picture. `stamp_ns` is the picture's."""

    stamp_ns: int
    picture: _Picture
    label: _Label


class StampMatcher(Generic[_Picture, _Label]):
    """Holds the latest pictures, and the labels whose picture may be still to come.

    A label is decided once a picture of its stamp or a later one has come: it gets the nearest
    picture within the slop, of two equally near ones the earlier. So the match does not depend on
    which came first. A picture can have several labels.

    Attributes:
        unmatched: labels that got no picture.
        lost: why the last label that was decided got none; empty where it got one.
    """

    def __init__(self, capacity: int, slop_ns: int) -> None:
        """At most `capacity` pictures and as many labels are held."""
        self._pictures: deque[tuple[int, _Picture]] = deque(maxlen=capacity)
        self._waiting: deque[tuple[int, _Label]] = deque()
        self._capacity, self._slop_ns = capacity, slop_ns
        self.unmatched = 0
        self.lost = ""

    def add_picture(self, stamp_ns: int, picture: _Picture) -> list[Match[_Picture, _Label]]:
        """Holds a picture; the matches that it decides, in the order of their labels."""
        self._pictures.append((stamp_ns, picture))
        waiting, self._waiting = self._waiting, deque()
        return [match for label in waiting for match in self._decide(*label)]

    def add_label(self, stamp_ns: int, label: _Label) -> list[Match[_Picture, _Label]]:
        """The match of the label; none where it gets no picture, or has to wait for it."""
        found = self._decide(stamp_ns, label)
        if len(self._waiting) > self._capacity:
            self._waiting.popleft()
            self._lose("no picture of its stamp or of a later one has come")
        return found

    def _decide(self, stamp_ns: int, label: _Label) -> list[Match[_Picture, _Label]]:
        """What comes of a label; it waits where a nearer picture may be still to come."""
        if not self._is_decided(stamp_ns):
            self._waiting.append((stamp_ns, label))
            return []
        nearest, picture = min(self._pictures, key=lambda held: (abs(held[0] - stamp_ns), held[0]))
        if abs(nearest - stamp_ns) > self._slop_ns:
            self._lose(self._why_lost(stamp_ns, nearest))
            return []
        self.lost = ""
        return [Match(nearest, picture, label)]

    def _is_decided(self, stamp_ns: int) -> bool:
        if any(held == stamp_ns for held, _ in self._pictures):
            return True
        # The picture that came last, not the one of the latest stamp: a bag that is played in a
        # loop goes back in time.
        return bool(self._pictures) and self._pictures[-1][0] > stamp_ns

    def _lose(self, reason: str) -> None:
        self.unmatched += 1
        self.lost = reason

    def _why_lost(self, stamp_ns: int, nearest: int) -> str:
        away = abs(nearest - stamp_ns) / _MILLISECOND
        if len(self._pictures) == self._capacity and stamp_ns < self._pictures[0][0]:
            return (
                f"its stamp is {away:.0f} ms before the oldest of the {self._capacity} pictures "
                "that are held"
            )
        within = (
            f"within {self._slop_ns // _MILLISECOND} ms of" if self._slop_ns else "with exactly"
        )
        return f"there is no picture {within} its stamp; the nearest is {away:.3f} ms away"
