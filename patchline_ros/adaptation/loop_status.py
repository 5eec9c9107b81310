"""What the adaptation of a car is doing, as it is told to everybody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from patchline_ros.messages.loop_state import LoopState

_UNDER_WAY = (LoopState.TRAINING, LoopState.VERIFYING, LoopState.ANSWERING)


@dataclass(frozen=True)
class LoopStatus:
    """What AdaptationStatus.msg says.

    Attributes:
        state: what it is doing.
        task: that is being trained; empty when none is.
        progress: share of the training that is done, 0..1.
        collected: labelled frames since the drift began, of all tasks.
        kept: those of them that are trained on.
        patches: number of patches in each model.
        order: tasks in the order in which they are trained.
        reason: why the episode failed or a task was refused, or what is waited for, in a sentence.
        episode_json: result of the episode that ended last, a JSON object; empty before that.
    """

    state: LoopState = LoopState.IDLE
    task: str = ""
    progress: float = 0.0
    collected: int = 0
    kept: int = 0
    patches: int = 0
    order: tuple[str, ...] = ()
    reason: str = ""
    episode_json: str = ""

    def changed(self, state: LoopState, **changes: Any) -> LoopStatus:
        """The status after a change; what belonged to another state starts anew."""
        status = self
        if state is not self.state:
            status = LoopStatus(state=state, episode_json=self.episode_json)
            if self.state in _UNDER_WAY:
                status = replace(
                    status,
                    collected=self.collected,
                    kept=self.kept,
                    patches=self.patches,
                    order=self.order,
                )
        return replace(status, **changes)
