"""What is said of refusals that come in floods: each kind at once, the rest as a count."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Final

BURST: Final = 20
"""Sentences that are said one by one within a window, and kinds that are said beyond them."""
WINDOW_SECONDS: Final = 10.0
_OF_ONE: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")
"""Names in quotes and numbers: what two refusals of one kind differ in."""


class RefusalBurst:
    """Decides what of a flood of refusals is said; any thread may ask.

    Whoever can send messages chooses how many are refused, and would fill a log with them.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` gives seconds of a clock that does not go back."""
        self._now = now
        self._asking = threading.Lock()
        self._began = now()
        self._begin()

    def say(self, sentence: str) -> list[str]:
        """What is to be said now that this was refused; a summary of the last window may precede.

        In a window of 10 s that is the first 20 sentences. After them it is up to 20 of a kind of
        which none was said.
        """
        with self._asking:
            summary = self._summary()
            kind = _OF_ONE.sub("", sentence)
            if self._said < BURST or (kind not in self._kinds and self._said < 2 * BURST):
                self._kinds.add(kind)
                self._said += 1
                return [*summary, sentence]
            self._kept_back += 1
            self._last = sentence
            return summary

    def ended(self) -> str:
        """How many were not said in a window that is over, once; empty for none."""
        with self._asking:
            return "".join(self._summary())

    def _summary(self) -> list[str]:
        if self._now() - self._began < WINDOW_SECONDS:
            return []
        count, last = self._kept_back, self._last
        self._began = self._now()
        self._begin()
        if not count:
            return []
        return [f"{count} more were refused within {WINDOW_SECONDS:.0f} s, the last: {last}"]

    def _begin(self) -> None:
        self._said = self._kept_back = 0
        self._last = ""
        self._kinds: set[str] = set()
