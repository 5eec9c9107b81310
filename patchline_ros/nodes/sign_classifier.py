"""The node that says which traffic sign a picture, or each region of it, shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn, cast

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification, Detection2DArray

from patchline_ros.messages.labels import ConversionError, Regions, msg_to_regions
from patchline_ros.nodes import parameters, qos
from patchline_ros.nodes.conversions import boxes_to_msg, classification_to_msg
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.perception import PerceptionNode
from patchline_ros.nodes.trouble import Trouble
from patchline_ros.runtime.model_runner import Perception
from patchline_ros.tasks import Boxes, Task
from patchline_ros.tasks import Image as RgbImage

_HELD: Final = 16
"""Pictures that wait for their detections: half a second at 30 Hz."""
_MOST_REGIONS: Final = 8
"""Most regions of a picture that are classified, the largest; each costs a pass of the model."""
_LEAST_SIDE: Final = 4
"""Pixels, below which a region shows nothing."""


class SignClassifier(PerceptionNode):
    """Pictures of signs to vision_msgs/Classification on `~/classification`.

    With `regions: detections` each box that a detector found in a picture is a sign's picture, and
    a Detection2DArray with the same boxes and the signs' classes goes out on `~/signs`.
    """

    def __init__(self) -> None:
        super().__init__(
            Task.CLASSIFICATION, Classification, "~/classification", parameters.SIGN_CLASSIFIER
        )

    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads and warms the source model. Raises BundleError or ParameterError."""
        self._by_regions = values["regions"] == "detections"
        self._region_class: str = values["region_class"]
        if self._by_regions:
            self.send_results(Detection2DArray, "~/signs")
        super().configure(values)

    def activate(self) -> None:
        """Subscribes to the camera, to patch sets, and to the detections where they are asked."""
        self._held: deque[tuple[Image | CompressedImage, float]] = deque(maxlen=_HELD)
        self._detections = self._unmatched = self._unanswered = 0
        self._shown: tuple[RgbImage, Perception] | None = None
        super().activate()
        if self._by_regions:
            topic = self.resolve_topic_name("sign/detections")
            detections = self.subscribe(
                Detection2DArray, topic, self._on_detections, qos.RESULTS, overridable=True
            )
            self._detections_watchdog = InputWatchdog(
                self, "detections", detections, "check the detector and the remapping of the topic"
            )

    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """Counts and latency; with regions also what has come without the other."""
        trouble, values = super().report()
        if not self._by_regions:
            return trouble, values
        # Without pictures a detector has nothing to say.
        if not trouble and (silence := self._detections_watchdog.trouble()):
            trouble = Trouble(f"{silence.sentence}, so no picture is looked at", stops=True)
        counts = {
            "detections": self._detections,
            "detections_without_picture": self._unmatched,
            "pictures_without_detections": self._unanswered,
        }
        return trouble, {**values, **counts}

    def message(self, perception: Perception, header: Header) -> Classification | Detection2DArray:
        """The most probable class and its probability, of the picture or of each region."""
        if isinstance(perception.prediction, Boxes):
            return boxes_to_msg(perception.prediction, header)
        return classification_to_msg(
            cast(int, perception.prediction), perception.confidence, header
        )

    def take(self, msg: Image | CompressedImage, arrived: float) -> None:
        """With regions a picture waits for its detections."""
        if self._by_regions:
            self._unanswered += len(self._held) == _HELD
            self._held.append((msg, arrived))
        else:
            super().take(msg, arrived)

    def _on_detections(self, msg: Detection2DArray) -> None:
        """Looks at the picture that has the same stamp."""
        self._detections += 1
        self._detections_watchdog.heard()
        try:
            regions = msg_to_regions(msg, self._region_class)
        except ConversionError as error:
            self.skip(f"detections: {error}")
            return
        for held in self._held:
            picture, arrived = held
            if picture.header.stamp == msg.header.stamp:
                self._held.remove(held)
                self.look_at(picture, arrived, _largest(regions))
                return
        self._unmatched += 1

    def infer(self, picture: RgbImage, regions: Regions | None) -> Perception:
        """What the model says about the picture, or about its regions as one."""
        if regions is None:
            return super().infer(picture, None)
        height, width = picture.shape[:2]
        corners = regions.clip(0, [width, height, width, height]).round().astype(int)
        looks: list[tuple[RgbImage, Perception]] = []
        seen = []
        for number, (x1, y1, x2, y2) in enumerate(corners.tolist()):
            if min(x2 - x1, y2 - y1) >= _LEAST_SIDE:
                region = np.ascontiguousarray(picture[y1:y2, x1:x2])
                looks.append((region, super().infer(region, None)))
                seen.append(number)
        self._shown = looks[0] if looks else None
        answers = [answer for _, answer in looks]
        if not answers:
            # Nothing to look at: the whole picture keeps features and entropy defined.
            whole = super().infer(picture, None)
            return replace(whole, prediction=Boxes.truth([], []), confidence=0.0)
        return Perception(
            prediction=Boxes(
                boxes=regions[seen],
                labels=np.array([answer.prediction for answer in answers], dtype=np.int64),
                scores=np.array([answer.confidence for answer in answers], dtype=np.float32),
            ),
            confidence=max(answer.confidence for answer in answers),
            entropy=float(np.mean([answer.entropy for answer in answers])),
            features=np.mean([answer.features for answer in answers], axis=0),
            patch_version=answers[0].patch_version,
        )

    def seen_of(self, picture: RgbImage) -> RgbImage:
        """With regions the largest one; the whole picture where there is none."""
        return self._shown[0] if self._by_regions and self._shown else picture

    def watch(self, picture: RgbImage, perception: Perception) -> str | None:
        """With regions the largest one is compared."""
        if not isinstance(perception.prediction, Boxes):
            return super().watch(picture, perception)
        return super().watch(*self._shown) if self._shown else None


def _largest(regions: Regions) -> Regions:
    x1, y1, x2, y2 = regions.T
    return regions[np.argsort(-(x2 - x1) * (y2 - y1), kind="stable")[:_MOST_REGIONS]]


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(SignClassifier)


if __name__ == "__main__":
    main()
