"""Which objects of a picture are those of the pictures before."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from norfair import Detection, Tracker

from patchline_ros.tasks import Boxes

_LEAST_OVERLAP: Final = 0.3
"""IoU of a box with where its object is expected to be."""
_FRAMES_UNSEEN: Final = 12
"""After which an object that was seen for long is given up."""
_FRAMES_UNTIL_SURE: Final = 1
"""Hits besides the first one until an object has an id."""
_PAUSE_NS: Final = 2_000_000_000
"""After which objects are others than before."""


# An object that has shrunk is expected, unseen, to go on until its box is inside out. That overlaps
# nothing, and the library warns of it with each picture.
logging.getLogger("norfair.distances").setLevel(logging.ERROR)


class ObjectTracks:
    """Follows objects from picture to picture, whichever model found them."""

    def __init__(self) -> None:
        self._stamp_ns = -1
        self._tracker = _fresh()

    def ids(self, found: Boxes, stamp_ns: int, least_score: float) -> list[str]:
        """An id for each box: the same one for the same object, and never that of another.

        Empty for an object that was seen for the first time, and for one below `least_score`.
        Where the stamps do not go on, or nothing came for 2 s, all objects are new.
        """
        if not 0 < stamp_ns - self._stamp_ns <= _PAUSE_NS:
            self._tracker = _fresh()
        self._stamp_ns = stamp_ns
        sure = np.flatnonzero(found.scores >= least_score).tolist()
        detections = [
            Detection(
                found.boxes[row].reshape(2, 2), label=int(found.labels[row]), data=(stamp_ns, row)
            )
            for row in sure
        ]
        ids = [""] * len(found)
        for track in self._tracker.update(detections):
            seen_ns, row = track.last_detection.data
            if seen_ns == stamp_ns:
                ids[row] = str(track.global_id)
        return ids


def _fresh() -> Tracker:
    return Tracker(
        distance_function="iou",
        distance_threshold=1 - _LEAST_OVERLAP,
        hit_counter_max=_FRAMES_UNSEEN,
        initialization_delay=_FRAMES_UNTIL_SURE,
    )
