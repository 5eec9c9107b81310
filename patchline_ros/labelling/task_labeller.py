"""Pictures and labels of one task in, samples that teach it out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from patchline_ros.labelling.foreign_labels import Certainty, read_label
from patchline_ros.labelling.stamp_matcher import Match, StampMatcher
from patchline_ros.messages.label_check import LabelError, check_label
from patchline_ros.messages.labels import ConversionError, check_inside
from patchline_ros.tasks import Boxes, Image, Sample, Task

_REMEMBERED: Final = 64
"""Stamps of samples that keep others from coming too soon, or again."""


@dataclass(frozen=True)
class LabellerSettings:
    """How labels find their pictures, and which of them are taken.

    Attributes:
        certainty: which scores make a label.
        slop_ns: nanoseconds that the stamps of a label and its picture may be apart.
        held: most pictures that wait for their label, and labels for their picture.
        period_ns: least nanoseconds between the stamps of two samples, at least 1.
    """

    certainty: Certainty
    slop_ns: int
    held: int
    period_ns: int


class TaskLabeller:
    """Labels of one task on their way to those whom they teach.

    Attributes:
        published: labels that became a sample.
        below_threshold: labels that were too uncertain.
        too_frequent: labels too soon after another one, by the stamps of their pictures; also one
            that came twice.
        refused: labels that cannot be read, or do not fit the picture or the model.
    """

    def __init__(
        self,
        task: Task,
        classes: Sequence[str],
        settings: LabellerSettings,
        decode: Callable[[Any], Image],
        publish: Callable[[int, Any, Sample], object],
        refuse: Callable[[str], object],
    ) -> None:
        """Nothing has come yet.

        Args:
            task: whose labels they are.
            classes: the model's class names.
            settings: for this task.
            decode: makes RGB of a picture's message; raises ConversionError.
            publish: takes a picture's stamp in nanoseconds, its message, and the sample.
            refuse: takes one sentence about a label that is refused.
        """
        self._task, self._classes, self._certainty = task, classes, settings.certainty
        self._decode, self._publish, self._refuse = decode, publish, refuse
        self._matcher: StampMatcher[Any, Any] = StampMatcher(settings.held, settings.slop_ns)
        self._period_ns = settings.period_ns
        self._stamps: deque[int] = deque(maxlen=_REMEMBERED)
        self.published = self.below_threshold = self.too_frequent = self.refused = 0

    def take_picture(self, stamp_ns: int, msg: Any) -> None:
        """Holds a picture for its label."""
        for match in self._matcher.add_picture(stamp_ns, msg):
            self._take(match)

    def take_label(self, stamp_ns: int, msg: Any) -> None:
        """A label; `stamp_ns` is that of the picture which it is about."""
        if stamp_ns <= 0:
            self._count_refused("it has no stamp, so nobody can say which picture it is about")
            return
        for match in self._matcher.add_label(stamp_ns, msg):
            self._take(match)

    @property
    def lost(self) -> str:
        """Why the last label found no picture; empty where it did, or none has come."""
        return self._matcher.lost

    def counts(self) -> dict[str, int]:
        """What became of the labels, for the diagnostics."""
        return {
            "published": self.published,
            "unmatched": self._matcher.unmatched,
            "below_threshold": self.below_threshold,
            "refused": self.refused,
            "too_frequent": self.too_frequent,
        }

    def _take(self, match: Match[Any, Any]) -> None:
        if any(abs(match.stamp_ns - stamp) < self._period_ns for stamp in self._stamps):
            self.too_frequent += 1
            return
        try:
            sample = self._sample(match)
        except (ConversionError, LabelError) as error:
            self._count_refused(str(error))
            return
        if sample is None:
            self.below_threshold += 1
            return
        self._stamps.append(match.stamp_ns)
        self.published += 1
        self._publish(match.stamp_ns, match.picture, sample)

    def _sample(self, match: Match[Any, Any]) -> Sample | None:
        """Picture and label, None where it is too uncertain.

        Raises ConversionError for what cannot be read or leaves the picture, and LabelError for
        what does not fit the picture or the model.
        """
        label = read_label(self._task, match.label, self._classes, self._certainty)
        if label is None:
            return None
        sample = Sample(self._decode(match.picture), label)
        check_label(self._task, self._classes, sample)
        if isinstance(label, Boxes):
            height, width = sample.image.shape[:2]
            check_inside(label, width, height)
        return sample

    def _count_refused(self, reason: str) -> None:
        self.refused += 1
        self._refuse(reason)
