"""What became of the pictures of a perception node, for its diagnostics."""

from __future__ import annotations

import time
from typing import Final

from patchline_ros.nodes.refusals import Refusals
from patchline_ros.nodes.stage_times import StageTimes
from patchline_ros.nodes.trouble import Trouble

_LOG_AGAIN_SECONDS = 5.0
LATE_SECONDS: Final = 2.0
"""For which a node may answer nothing while pictures come."""
MOST_SKIPPED: Final = 0.75
"""Share of the pictures of a second that may make way for newer ones without a warning."""


class PictureCounts:
    """Counts, rates and latencies since activation.

    Attributes:
        received: pictures that came.
        unstamped: those of them that came without a stamp, one behind the other.
        not_sampled: those that the model was not to look at.
        processed: those that were answered.
        times: of the stages of those.
        unreadable: those that could not be read.
    """

    def __init__(self) -> None:
        self.received = self.unstamped = self.not_sampled = self.processed = 0
        self.times = StageTimes()
        self.unreadable = Refusals("unreadable pictures")
        self._logged = 0.0
        self._waiting_since: float | None = None
        self._shed = (0, 0)
        self._reported = (time.monotonic(), 0, 0)

    def skip(self, reason: str) -> bool:
        """Counts an unreadable picture; whether to log it: a new reason, or the same one seldom."""
        is_new = self.unreadable.add(reason)
        now = time.monotonic()
        if not is_new and now - self._logged <= _LOG_AGAIN_SECONDS:
            return False
        self._logged = now
        return True

    def taken(self) -> None:
        """A picture is on its way to the model; the time since then counts until one is done."""
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()

    def done(self) -> None:
        """A picture was answered, or could not be read."""
        self._waiting_since = None

    def overload(self, superseded: int) -> Trouble:
        """What the diagnostics say where answers take too long, or most pictures get none.

        Args:
            superseded: pictures that made way for newer ones, in all.
        """
        waited = time.monotonic() - (self._waiting_since or time.monotonic())
        if waited > LATE_SECONDS:
            return Trouble(
                f"no answer for {waited:.0f} s although pictures come: the computer is too busy; "
                "only the newest picture is answered, all others are skipped",
                stops=True,
            )
        skipped, answered = superseded - self._shed[0], self.processed - self._shed[1]
        self._shed = (superseded, self.processed)
        if skipped > MOST_SKIPPED * (skipped + answered) and skipped > 1:
            return Trouble(
                f"{skipped} of the last {skipped + answered} pictures were skipped, since a newer "
                "one came while the model was busy: lower max_rate, or leave it more of the "
                "computer"
            )
        return Trouble()

    def values(self) -> dict[str, object]:
        """For the diagnostics; the rates are those since the last call."""
        before, received, processed = self._reported
        now = time.monotonic()
        self._reported = (now, self.received, self.processed)
        seconds = now - before
        return {
            "received": self.received,
            "received_hz": f"{(self.received - received) / seconds:.1f}",
            "processed_hz": f"{(self.processed - processed) / seconds:.1f}",
            "unstamped": self.unstamped,
            "not_sampled": self.not_sampled,
            "unreadable": self.unreadable.count,
            "processed": self.processed,
            **self.times.values(),
        }
