"""Counts what was refused of an input, and says for a while what was wrong with the last."""

from __future__ import annotations

import time

RECENT_SECONDS = 10.0
"""For which the diagnostics warn of something that came once, such as a broken message."""


class Refusals:
    """What was refused of one input; it stays counted."""

    def __init__(self, what: str) -> None:
        """`what` is refused, such as `features refused`."""
        self._what = what
        self.count = 0
        self._last = ""
        self._at = 0.0

    def add(self, reason: str) -> bool:
        """Counts one; whether its reason is another than the last one's."""
        is_new = reason != self._last
        self.count += 1
        self._last, self._at = reason, time.monotonic()
        return is_new

    def trouble(self) -> str:
        """What the diagnostics say of it: nothing where the last one is some time ago."""
        if not self.count or time.monotonic() - self._at >= RECENT_SECONDS:
            return ""
        return f"{self.count} {self._what}, the last: {self._last}"
