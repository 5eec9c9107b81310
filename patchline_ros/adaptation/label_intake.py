"""Takes in labelled frames: checks them, keeps them, and counts what became of them."""

from __future__ import annotations

import time
from typing import Final

from patchline_ros.adaptation.log import LOG_AGAIN_SECONDS, Log
from patchline_ros.adaptation.store import DiskError, FrameStore, StoreError
from patchline_ros.bundle import Bundle
from patchline_ros.messages.label_check import LabelError, check_label
from patchline_ros.tasks import Sample, Task

AHEAD_NS: Final = 30 * 10**9
"""A label may be of a picture that comes so much later than the newest that was answered: a model
may be busy for seconds, and answers only some of the pictures."""
RECENT_SECONDS = 30.0
"""For which a labelled frame that was refused is a warning; it stays counted."""


class LabelIntake:
    """Labelled frames on their way to the disk."""

    def __init__(self, bundle: Bundle, store: FrameStore, log: Log) -> None:
        """No frame has come yet."""
        self._bundle, self._store, self._log = bundle, store, log
        self._stored = self._refused = self._not_stored = 0
        self._last_refused = time.monotonic()
        self._newest_ns = 0
        self._disk_trouble = ""

    def saw(self, stamp_ns: int) -> None:
        """A picture with this stamp was answered; time that goes back is a recording's begin."""
        if stamp_ns > self._newest_ns or stamp_ns < self._newest_ns - AHEAD_NS:
            self._newest_ns = stamp_ns

    def take(self, frame_id: str, task: Task, stamp_ns: int, sample: Sample) -> None:
        """Keeps a labelled frame, or says why it does not.

        Args:
            frame_id: its name.
            task: whose label it is.
            stamp_ns: of the picture.
            sample: picture and label.
        """
        try:
            self._check(task, stamp_ns, sample)
            self._store.add(frame_id, task, stamp_ns, sample)
        except DiskError as error:
            self._not_stored += 1
            self._disk_trouble = f"{error}; what was stored before is still there"
            self._log.error(self._disk_trouble, throttle_duration_sec=LOG_AGAIN_SECONDS)
        except (LabelError, StoreError) as error:
            self.refuse(frame_id, str(error))
        else:
            self._stored += 1
            self._disk_trouble = ""

    def refuse(self, frame_id: str, reason: str) -> None:
        """Counts a labelled frame that is not what it should be."""
        self._refused += 1
        self._last_refused = time.monotonic()
        self._log.refusal(f"labelled frame {frame_id[:100]!r} refused: {reason}")

    def _check(self, task: Task, stamp_ns: int, sample: Sample) -> None:
        """Raises LabelError for a task or class that the bundle lacks, or no stamp."""
        if task not in self._bundle.manifest.models:
            raise LabelError(f"the bundle has no model for {task}")
        if stamp_ns == 0:
            raise LabelError("it has no stamp, so nobody can say which drift it belongs to")
        if stamp_ns < 0:
            raise LabelError(f"its stamp is before 1970 ({stamp_ns} ns)")
        if self._newest_ns and stamp_ns > self._newest_ns + AHEAD_NS:
            ahead = (stamp_ns - self._newest_ns) / 1e9
            raise LabelError(
                f"its stamp is {ahead:.0f} s after that of the newest picture that was answered: "
                "a label is of a picture that the car has seen"
            )
        check_label(task, self._bundle.spec(task).classes, sample)

    def trouble(self) -> str:
        """What the disk refuses, or that a frame was refused of late; empty for nothing."""
        if self._disk_trouble:
            return self._disk_trouble
        if self._refused and time.monotonic() - self._last_refused < RECENT_SECONDS:
            return f"{self._refused} labelled frames refused"
        return ""

    def counts(self) -> dict[str, int]:
        """`stored` are those that are on disk, and thus acknowledged."""
        return {
            "stored": self._stored,
            "refused": self._refused,
            "not_stored": self._not_stored,
        }
