"""How long each stage of a frame takes, for diagnostics."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import numpy as np

STAGES = ("wait", "decode", "model", "publish")
"""The stages of a frame: from its arrival to the start of its work, to the picture as an array, to
the model's result, to the messages that went out."""
_FRAMES = 200


class StageTimes:
    """The last frames' stages; one thread adds, another reads."""

    def __init__(self) -> None:
        self._frames: deque[tuple[float, ...]] = deque(maxlen=_FRAMES)

    def add(self, processor: float, *moments: float) -> None:
        """One frame.

        Args:
            processor: seconds of a core that the thread took for it.
            moments: at which the stages begin and the last one ends, in seconds.
        """
        steps = [later - earlier for earlier, later in pairwise(moments)]
        self._frames.append((*steps, moments[-1] - moments[0], processor))

    def values(self) -> dict[str, str]:
        """Median and 95th percentile of each stage, the whole and the processor time, in ms."""
        frames = list(self._frames)
        if not frames:
            return {}
        middle, high = np.percentile(1e3 * np.array(frames), [50, 95], axis=0)
        names = [*STAGES, "latency", "processor"]
        return {
            f"{name}_ms_{which}": f"{value:.1f}"
            for which, values in (("p50", middle), ("p95", high))
            for name, value in zip(names, values, strict=True)
        }
