"""Counts what was refused of an input, and says for a while what was wrong with the last."""

from __future__ import annotations

import time

from patchline_ros.nodes.trouble import Trouble

RECENT_SECONDS = 10.0
"""For which the diagnostics warn of something that came once, such as a broken message."""

ALL_REFUSED_SECONDS = 5.0
"""Of nothing but refusals, after which they are an error."""


class Refusals:
    """What was refused of one input, beside what was taken; it stays counted."""

    def __init__(self, what: str) -> None:
        """`what` is refused, such as `features refused`."""
        self._what = what
        self.count = 0
        self._last = ""
        self._at = 0.0
        self._since: float | None = None
        """Of the first refusal since something was taken."""

    def add(self, reason: str) -> bool:
        """Counts one; whether its reason is another than the last one's."""
        is_new = reason != self._last
        self.count += 1
        self._last, self._at = reason, time.monotonic()
        self._since = self._at if self._since is None else self._since
        return is_new

    def taken(self) -> None:
        """One was not refused."""
        self._since = None

    def trouble(self) -> Trouble:
        """What the diagnostics say of it: nothing where the last one is some time ago.

        Where all were refused for a while, the node can't do its work.
        """
        if not self.count or time.monotonic() - self._at >= RECENT_SECONDS:
            return Trouble()
        stops = self._since is not None and self._at - self._since >= ALL_REFUSED_SECONDS
        return Trouble(f"{self.count} {self._what}, the last: {self._last}", stops)
