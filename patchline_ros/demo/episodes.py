"""The episodes of a demo: the answer without labels, and the training with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.demo.records import Record
from patchline_ros.tasks import Task

Stage = Literal["source", "before", "answered", "after"]
"""The clear road; then the changed one, with the source model, with what answered without labels,
and with what was trained."""


@dataclass
class Episodes:
    """What is known of them from the adapter's statuses.

    The first of each kind counts. A later one means that the drift came and went: what it gained is
    beside other patches than the source model.

    Attributes:
        answer: the result of the answer; None where none has ended.
        training: the result of the training, likewise.
        versions: of the patch sets with which the answer is given, of the tasks that have one.
    """

    answer: EpisodeReport | None = None
    training: EpisodeReport | None = None
    versions: dict[Task, int] = field(default_factory=dict)
    _accepted: dict[Task, list[Stage]] = field(default_factory=dict)
    _last: str = ""

    def take(self, status: Record, switch_ns: int | None) -> bool:
        """Takes in a status of the adapter.

        A status that follows at once may be all that is heard of an end, so each one is looked at.

        Args:
            status: it holds the result of the episode that ended last.
            switch_ns: stamp of the first frame after the change; None: none was published yet.

        Returns:
            Whether it is the first that holds this result.
        """
        result = status.payload.get("episode_json", "")
        if not result or result == self._last:
            return False
        self._last = result
        episode = EpisodeReport.model_validate_json(result)
        stage: Stage = "after" if episode.basis == "labels" else "answered"
        for task in _accepted(episode):
            self._accepted.setdefault(task, []).append(stage)
        if stage == "after":
            self.training = self.training or episode
        elif self.answer is None and switch_ns is not None and episode.until_ns >= switch_ns:
            self.answer = episode
            self.versions = {task: len(self._accepted[task]) for task in _accepted(episode)}
        return True

    def version(self, task: Task) -> int:
        """Of the patch set that was accepted last: an adapter with an empty store counts from 1."""
        return len(self._accepted.get(task, []))

    def stage(self, task: Task, version: int) -> Stage:
        """What it means that this version ran on the changed road; 0 is the source model."""
        if not version:
            return "before"
        accepted = self._accepted.get(task, [])
        return accepted[version - 1] if version <= len(accepted) else "after"


def _accepted(episode: EpisodeReport) -> list[Task]:
    return [task for task, accepted in episode.accepted.items() if accepted]
