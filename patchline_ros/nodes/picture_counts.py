"""What became of the pictures of a perception node, for its diagnostics."""

from __future__ import annotations

import time

from patchline_ros.nodes.refusals import Refusals
from patchline_ros.nodes.stage_times import StageTimes

_LOG_AGAIN_SECONDS = 5.0


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
        self._reported = (time.monotonic(), 0, 0)

    def skip(self, reason: str) -> bool:
        """Counts an unreadable picture; whether to log it: a new reason, or the same one seldom."""
        is_new = self.unreadable.add(reason)
        now = time.monotonic()
        if not is_new and now - self._logged <= _LOG_AGAIN_SECONDS:
            return False
        self._logged = now
        return True

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
