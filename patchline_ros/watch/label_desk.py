"""What a person labels, between the car's topics and the page; any thread may call it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

import cv2

from patchline_ros.tasks import TRAINING_ORDER, Label, Task
from patchline_ros.watch.candidates import Candidate, CandidateQueue, Uncertain
from patchline_ros.watch.label_json import label_as_json, read_label
from patchline_ros.watch.label_need import AdapterWord, DriftWord, LabelNeed

COUNTED_SECONDS: Final = 1.5
"""For which a label waits until the adapter has counted it; it looks four times a second."""
HEARD_SECONDS: Final = 8.0
"""For which one that was not counted waits until it is acknowledged. Fast DDS asks whether a small
message has come only every 3 s."""
_JPEG_QUALITY: Final = 95
_REMEMBERED: Final = 1000
"""Labels of each task that are counted."""


class UnknownFrameError(LookupError):
    """A picture that is done already, or had to go."""


class NotHeardError(RuntimeError):
    """A label that the adapter has not got; the message is one sentence."""


class Outlet(Protocol):
    """Where labels go."""

    def publish(self, candidate: Candidate, label: Label) -> None:
        """Sends a label. Raises NotHeardError where nobody hears it."""

    def is_heard(self, seconds: float) -> bool:
        """Whether all that was sent is acknowledged, within so many seconds."""


class LabelDesk:
    """Pictures that wait for a label, labels that were sent, and what the adapter needs."""

    def __init__(self, outlet: Outlet) -> None:
        """Nothing waits yet."""
        self._outlet = outlet
        self._changed = threading.Condition()
        self._queues = {task: CandidateQueue() for task in Task}
        self._classes: dict[Task, list[str]] = {}
        self._missing = dict.fromkeys(Task, "")
        self._sent: dict[Task, deque[int]] = {task: deque(maxlen=_REMEMBERED) for task in Task}
        self._need = LabelNeed()

    def knows(self, task: Task, classes: Sequence[str]) -> None:
        """The names of a model's classes."""
        with self._changed:
            self._classes[task] = list(classes)

    def misses(self, task: Task, sentence: str) -> None:
        """Why no picture of the task comes; empty where they come."""
        with self._changed:
            self._missing[task] = sentence

    def runs(self, task: Task, version: int) -> None:
        """Which patch set answers."""
        with self._changed:
            self._queues[task].runs(version)

    def wants(self, task: Task, found: Uncertain) -> bool:
        """Whether a picture would be kept; only what the model's classes are known for is."""
        with self._changed:
            return task in self._classes and self._queues[task].wants(found)

    def add(self, candidate: Candidate) -> None:
        """Keeps a picture that is wanted."""
        with self._changed:
            self._queues[candidate.task].add(candidate)

    def heard_drift(self, word: DriftWord) -> None:
        """A reading of the drift monitor."""
        with self._changed:
            self._need = replace(self._need, drift=word)
            for queue in self._queues.values():
                queue.begin(word.since_ns)

    def heard_adapter(self, word: AdapterWord) -> None:
        """A status of the adapter."""
        with self._changed:
            self._need = replace(self._need, adapter=word)
            self._changed.notify_all()

    def heard_settings(self, least_frames: int, unused: bool) -> None:
        """How many labelled frames a training needs; `unused`: whether labels train nothing."""
        with self._changed:
            self._need = replace(self._need, least_frames=least_frames, unused=unused)

    def overview(self) -> dict[str, Any]:
        """What waits, in the order in which it is needed, and what the adapter does."""
        with self._changed:
            adapter = self._need.adapter
            look, word, words = self._need.sentence()
            return {
                "need": {"look": look, "word": word, "words": words},
                "collected": adapter.collected if adapter else None,
                "least_frames": self._need.least_frames,
                "tasks": {task.value: self._of_task(task) for task in TRAINING_ORDER},
            }

    def frame(self, name: str) -> dict[str, Any]:
        """A picture's size and the running model's answer to it. Raises UnknownFrameError."""
        with self._changed:
            candidate = self._find(name)
            self._queues[candidate.task].show(candidate)
        height, width = candidate.picture.shape[:2]
        return {
            "width": width,
            "height": height,
            "entropy": candidate.entropy,
            "confidence": candidate.confidence,
            "proposal": label_as_json(candidate.proposal),
        }

    def picture(self, name: str) -> bytes:
        """The picture as JPEG. Raises UnknownFrameError."""
        with self._changed:
            candidate = self._find(name)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        _, data = cv2.imencode(".jpg", candidate.picture[:, :, ::-1], quality)
        return bytes(data)

    def take(self, name: str, sent: bytes) -> dict[str, Any]:
        """Publishes a person's label, and says what the adapter has by then.

        Raises:
            UnknownFrameError: there is no such picture any more.
            LabelError, ConversionError: what is wrong with the label.
            NotHeardError: the adapter has not got it; the picture still waits.
        """
        with self._changed:
            candidate = self._find(name)
            task, classes, before = candidate.task, self._classes[candidate.task], self._need
        label = read_label(task, sent, classes, candidate.picture)
        self._outlet.publish(candidate, label)
        with self._changed:
            counted = before.collecting and self._changed.wait_for(
                lambda: self._need.adapter != before.adapter, COUNTED_SECONDS
            )
        if not counted and not self._outlet.is_heard(HEARD_SECONDS):
            raise NotHeardError("the label was sent, but nobody has acknowledged it; try again")
        with self._changed:
            if self._queues[task].finish(candidate):
                self._sent[task].append(candidate.stamp_ns)
            return self.overview()

    def skip(self, name: str) -> None:
        """The picture is asked for no more. Raises UnknownFrameError."""
        with self._changed:
            candidate = self._find(name)
            self._queues[candidate.task].finish(candidate)

    def _find(self, name: str) -> Candidate:
        found = (queue.find(name) for queue in self._queues.values())
        candidate = next(filter(None, found), None)
        if candidate is None:
            raise UnknownFrameError("this picture is labelled already, or had to go for another")
        return candidate

    def _of_task(self, task: Task) -> dict[str, Any]:
        return {
            "classes": self._classes.get(task, []),
            "frames": [candidate.name for candidate in self._queues[task].ordered()],
            "sent": self._of_this_drift(task),
            "missing": self._missing[task],
        }

    def _of_this_drift(self, task: Task) -> int:
        """Labels that were sent from here since the drift began; all of them without one."""
        since_ns = self._need.drift.since_ns if self._need.drift else 0
        return sum(stamp >= since_ns for stamp in self._sent[task])
