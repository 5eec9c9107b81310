"""Finds out of a stream what belongs to one picture: itself, the model's answer, its entropy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

HELD: Final = 30
"""Pictures that wait for their answer: a second at 30 Hz."""


@dataclass(frozen=True)
class Answered:
    """A picture's message, the answer's, and how unsure the model was; None where it is to come."""

    picture: Any = None
    answer: Any = None
    entropy: float | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all three have come."""
        return None not in (self.picture, self.answer, self.entropy)


class AnsweredPictures:
    """Puts messages of one stamp together, in whatever order they come; the oldest are given up.

    Attributes:
        heard: how many pictures, answers and entropies have come, by their names in `Answered`.
        whole: how many pictures came with all of it.
    """

    def __init__(self, held: int = HELD) -> None:
        self._held = held
        self._parts: dict[int, Answered] = {}
        self.heard = {"picture": 0, "answer": 0, "entropy": 0}
        self.whole = 0

    def add(self, stamp_ns: int, part: str, value: Any) -> Answered | None:
        """All that belongs to the stamp, once this part of it is the last to come.

        Args:
            stamp_ns: of the picture.
            part: which field of `Answered` it is.
            value: of the field.
        """
        self.heard[part] += 1
        found = replace(self._parts.pop(stamp_ns, Answered()), **{part: value})
        if found.is_whole:
            self.whole += 1
            return found
        self._parts[stamp_ns] = found
        if len(self._parts) > self._held:
            del self._parts[next(iter(self._parts))]
        return None
