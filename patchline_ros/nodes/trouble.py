"""What is wrong with a node, as its diagnostics say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Trouble:
    """A sentence and how bad it is; without a sentence nothing is wrong, and it is false."""

    sentence: str = ""
    stops: bool = False
    """Whether the node can't do its work at all (ERROR), instead of doing less of it (WARN)."""

    def __bool__(self) -> bool:
        """Whether something is wrong."""
        return bool(self.sentence)
