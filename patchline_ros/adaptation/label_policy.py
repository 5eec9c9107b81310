"""What a car does about labels."""

from __future__ import annotations

from enum import Enum


class LabelPolicy(str, Enum):
    """Whether a car waits for labels, takes them when they come, or does without."""

    REQUIRED = "required"
    """Nothing is answered without labels."""
    WELCOME = "welcome"
    """Prepared patches answer at once; labels train on from there."""
    NONE = "none"
    """Prepared patches answer, and nothing is trained."""

    def __str__(self) -> str:
        """The value, as parameters and files have it."""
        return self.value
