"""What an adapter can be doing, as AdaptationStatus.msg says it."""

from __future__ import annotations

from enum import IntEnum


class LoopState(IntEnum):
    """What the adaptation is doing; the numbers are those of AdaptationStatus.msg."""

    IDLE = 0
    COLLECTING = 1
    TRAINING = 2
    FINISHED = 3
    FAILED = 4
    VERIFYING = 5
    ANSWERING = 6
