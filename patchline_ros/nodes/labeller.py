"""The node that turns what other detectors, and people, publish into labelled frames."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NoReturn

from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, Detection2DArray

from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import LABEL_TOPIC_OF_TASK, LABELLED_IMAGE_TOPIC_OF_TASK
from patchline_ros.labelling.foreign_labels import Certainty
from patchline_ros.labelling.task_labeller import LabellerSettings, TaskLabeller
from patchline_ros.messages.pictures import compressed_to_rgb, image_to_rgb
from patchline_ros.msg import LabelledFrame
from patchline_ros.nodes import parameters, qos, signing_keys
from patchline_ros.nodes.conversions import NANOSECONDS, labelled_frame_to_msg, stamp_to_ns
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.parameter import ParameterError
from patchline_ros.nodes.refusals import Refusals
from patchline_ros.nodes.signed_labels import sign_labelled_frame
from patchline_ros.nodes.trouble import Trouble
from patchline_ros.tasks import Sample, Task
from patchline_ros.word_lists import comma_separated

_LABEL_TYPE_OF_TASK: Final = {
    Task.CLASSIFICATION: Classification,
    Task.DETECTION: Detection2DArray,
    Task.SEGMENTATION: Image,
}
_PICTURES_DEPTH: Final = 30
"""Pictures that DDS keeps while this process is busy with a label."""
_LOG_AGAIN_SECONDS: Final = 5.0
_SAY_LOST_AGAIN_SECONDS: Final = 30.0
"""Long, since a camera that now and then loses a picture also loses that of a label."""


class LabellerNode(ManagedNode):
    """Pictures and what others say about them to LabelledFrame on `labelled_frames`."""

    def __init__(self) -> None:
        super().__init__("labeller", parameters.LABELLER)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Reads which classes the models know. Raises BundleError or ParameterError."""
        bundle = self.load_bundle(values)
        self._classes = {task: bundle.spec(task).classes for task in _tasks(values, bundle)}
        self._settings = LabellerSettings(
            certainty=Certainty(
                values["min_score"], values["doubtful_score"], values["label_empty_frames"]
            ),
            slop_ns=values["slop_ms"] * NANOSECONDS // 1000,
            held=values["queue_depth"],
            period_ns=round(NANOSECONDS / values["max_rate"]),
        )
        self._signer = signing_keys.signer(values)
        for sentence in signing_keys.said(values, "labelled frames"):
            self.get_logger().info(sentence)
        self._compressed = values["image_transport"] == "compressed"
        self._image_qos = qos.images(values["image_reliability"], _PICTURES_DEPTH)
        self._publisher = self.advertise(LabelledFrame, "labelled_frames", qos.LABELLED_FRAMES)

    def activate(self) -> None:
        """Listens to cameras and to whoever labels."""
        self._refused = Refusals("labels refused")
        self._labellers = {
            task: TaskLabeller(
                task,
                classes,
                self._settings,
                compressed_to_rgb if self._compressed else image_to_rgb,
                partial(self._publish, task),
                partial(self._refuse, task),
            )
            for task, classes in self._classes.items()
        }
        # Pictures first: without them there is nothing to label.
        self._watchdogs = [
            *map(self._listen_to_camera, self._pictured()),
            *map(self._listen_to_labels, self._labellers),
        ]

    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """What became of each task's labels.

        What is wrong is, the first of: that nothing comes, a label refused of late, that the last
        label found no picture.
        """
        # Each one is asked, since each one also writes to the log.
        silent = [watchdog.trouble() for watchdog in self._watchdogs]
        troubles = [*silent, self._refused.trouble(), *map(self._lost, self._labellers)]
        return next(filter(None, troubles), Trouble()), {
            f"{name}_{task}": count
            for task, labeller in self._labellers.items()
            for name, count in labeller.counts().items()
        }

    def _lost(self, task: Task) -> Trouble:
        """That the last label found no picture; the log says it, too."""
        lost = self._labellers[task].lost
        if not lost:
            return Trouble()
        sentence = f"the last label on {self._label_topic(task)} found no picture: {lost}"
        self.get_logger().warning(sentence, throttle_duration_sec=_SAY_LOST_AGAIN_SECONDS)
        return Trouble(sentence)

    def _pictured(self) -> list[str]:
        """The topics of pictures, each once, as they are called after remapping."""
        topics = [LABELLED_IMAGE_TOPIC_OF_TASK[task] for task in self._labellers]
        return list(dict.fromkeys(map(self.resolve_topic_name, topics)))

    def _label_topic(self, task: Task) -> str:
        return self.resolve_topic_name(LABEL_TOPIC_OF_TASK[task])

    def _listen_to_camera(self, topic: str) -> InputWatchdog:
        """For each task whose labels are about that camera's pictures."""
        labellers = [
            labeller
            for task, labeller in self._labellers.items()
            if self.resolve_topic_name(LABELLED_IMAGE_TOPIC_OF_TASK[task]) == topic
        ]

        def take(msg: Image | CompressedImage) -> None:
            watchdog.heard()
            for labeller in labellers:
                labeller.take_picture(stamp_to_ns(msg.header.stamp), msg)

        kind: type = CompressedImage if self._compressed else Image
        name = f"{topic}/compressed" if self._compressed else topic
        pictures = self.subscribe(kind, name, take, self._image_qos, overridable=True)
        watchdog = InputWatchdog(
            self, "picture", pictures, "check the camera and the remapping of the topic"
        )
        return watchdog

    def _listen_to_labels(self, task: Task) -> InputWatchdog:
        labeller = self._labellers[task]

        def take(msg: Any) -> None:
            watchdog.heard()
            labeller.take_label(stamp_to_ns(msg.header.stamp), msg)

        labels = self.subscribe(
            _LABEL_TYPE_OF_TASK[task], self._label_topic(task), take, qos.RESULTS, overridable=True
        )
        watchdog = InputWatchdog(
            self,
            f"label for {task}",
            labels,
            "check whoever labels and the remapping of the topic",
            needed=False,
        )
        return watchdog

    def _publish(
        self, task: Task, stamp_ns: int, picture: Image | CompressedImage, sample: Sample
    ) -> None:
        self._refused.taken()
        # The same label of a drive and of its replay has the same name, so it is kept once.
        name = f"labeller-{stamp_ns}"
        msg = labelled_frame_to_msg(name, task, sample, picture.header)
        sign_labelled_frame(msg, self._signer, self._publisher.topic_name)
        self._publisher.publish(msg)

    def _refuse(self, task: Task, reason: str) -> None:
        sentence = f"label on {self._label_topic(task)}: {reason}"
        self._refused.add(sentence)
        self.get_logger().error(f"refused a {sentence}", throttle_duration_sec=_LOG_AGAIN_SECONDS)


def _tasks(values: Mapping[str, Any], bundle: Bundle) -> list[Task]:
    """The tasks to label. Raises ParameterError for none, and for what the bundle has not."""
    known = ", ".join(map(str, bundle.manifest.models))
    names = comma_separated(values["tasks"])
    if not names:
        raise ParameterError(
            f"parameter tasks is empty; name the tasks to label, with commas between, of {known}"
        )
    for name in names:
        if name not in map(str, bundle.manifest.models):
            raise ParameterError(f"parameter tasks names {name!r}; the bundle has {known}")
    return [Task(name) for name in names]


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(LabellerNode)


if __name__ == "__main__":
    main()
