"""The topics that a person's labels come from and go to: pictures in, LabelledFrame out."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Classification, Detection2DArray, LabelInfo

from patchline_ros.graph.description import IMAGE_TOPIC_OF_TASK, NODE_OF_TASK, ROAD_IMAGE_TOPIC
from patchline_ros.messages.labels import ConversionError, msg_to_boxes, msg_to_class
from patchline_ros.messages.loop_state import LoopState
from patchline_ros.messages.pictures import compressed_to_rgb, image_to_classmap, image_to_rgb
from patchline_ros.msg import AdaptationStatus, DriftStatus, FrameFeatures, LabelledFrame
from patchline_ros.nodes import qos
from patchline_ros.nodes.conversions import labelled_frame_to_msg, ns_to_stamp, stamp_to_ns
from patchline_ros.nodes.signed_labels import sign_labelled_frame
from patchline_ros.signing import Signer
from patchline_ros.tasks import Image as Picture
from patchline_ros.tasks import Label, Sample, Task
from patchline_ros.watch.answered_pictures import Answered, AnsweredPictures
from patchline_ros.watch.candidates import Candidate, Uncertain
from patchline_ros.watch.label_desk import LabelDesk, NotHeardError
from patchline_ros.watch.label_need import AdapterWord, DriftWord
from patchline_ros.watch.topics import CarTopics

_PICTURES_DEPTH: Final = 10
"""Pictures that DDS keeps while one is decoded."""
_LOG_AGAIN_SECONDS: Final = 5.0
_SETTINGS: Final = ("min_frames", "labels")
"""Parameters of the adapter."""


class LabelOutlet:
    """Publishes LabelledFrame."""

    def __init__(self, node: Node, topic: str, signer: Signer | None) -> None:
        self._topic, self._signer = topic, signer
        self._publisher = node.create_publisher(LabelledFrame, topic, qos.LABELLED_FRAMES)

    def publish(self, candidate: Candidate, label: Label) -> None:
        """Sends a label. Raises NotHeardError where nobody hears it."""
        if not self._publisher.get_subscription_count():
            raise NotHeardError(
                f"nobody hears {self._topic}, so the label was not sent; start the adapter and try "
                "again"
            )
        header = Header(stamp=ns_to_stamp(candidate.stamp_ns), frame_id=candidate.frame_id)
        # The same label sent twice has the same name, so it is kept once.
        name, sample = f"person-{candidate.stamp_ns}", Sample(candidate.picture, label)
        msg = labelled_frame_to_msg(name, candidate.task, sample, header)
        sign_labelled_frame(msg, self._signer, self._publisher.topic_name)
        self._publisher.publish(msg)

    def is_heard(self, seconds: float) -> bool:
        """Whether all that was sent is acknowledged, within so many seconds."""
        return self._publisher.wait_for_all_acked(Duration(seconds=seconds))


class LabelTopics:
    """Subscribes to what the models see and say, and publishes what a person says about it.

    Attributes:
        desk: where the pictures wait and the labels come from.
    """

    def __init__(self, node: Node, car: CarTopics, signer: Signer | None = None) -> None:
        """Listens from now on, in the thread of the node; without a signer labels are unsigned."""
        self._node, self._car = node, car
        self._decode = compressed_to_rgb if car.image_transport == "compressed" else image_to_rgb
        self.desk = LabelDesk(LabelOutlet(node, car.full("labelled_frames"), signer))
        self._answered = {task: AnsweredPictures() for task in NODE_OF_TASK}
        self._listen_to_cameras()
        for task in NODE_OF_TASK:
            self._listen_to_model(task)
        self._hear(DriftStatus, car.full("drift_status"), self._on_drift, qos.RESULTS)
        self._hear(AdaptationStatus, car.full("adaptation_status"), self._on_adapter, qos.LATCHED)
        service = car.full("adapter/get_parameters")
        self._settings: Client[Any, Any] = node.create_client(GetParameters, service)
        self._asked: Future[Any] | None = None

    def look(self) -> None:
        """To be called now and then: what the adapter is set to, and what does not come."""
        if self._asked is not None:
            # An adapter that has ended meanwhile does not answer any more.
            self._settings.remove_pending_request(self._asked)
            self._asked = None
        if self._settings.service_is_ready():
            self._asked = self._settings.call_async(GetParameters.Request(names=list(_SETTINGS)))
            self._asked.add_done_callback(self._on_settings)
        for task in NODE_OF_TASK:
            self.desk.misses(task, self._missing(task))

    def _hear(
        self, kind: type, topic: str, take: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        self._node.create_subscription(kind, topic, take, profile)

    def _camera_of(self, task: Task) -> str:
        road = IMAGE_TOPIC_OF_TASK[task] == ROAD_IMAGE_TOPIC
        return self._car.road_camera if road else self._car.sign_camera

    def _listen_to_cameras(self) -> None:
        kind: type = CompressedImage if self._car.image_transport == "compressed" else Image
        cameras: dict[str, list[Task]] = {}
        for task in NODE_OF_TASK:
            cameras.setdefault(self._camera_of(task), []).append(task)
        for topic, tasks in cameras.items():
            take = partial(self._on_picture, tasks)
            self._hear(kind, topic, take, qos.images(depth=_PICTURES_DEPTH))

    def _listen_to_model(self, task: Task) -> None:
        answers: dict[Task, dict[str, type]] = {
            # The second one where the classifier looks at regions of the picture.
            Task.CLASSIFICATION: {"classification": Classification, "signs": Detection2DArray},
            Task.DETECTION: {"detections": Detection2DArray},
            Task.SEGMENTATION: {"mask": Image},
        }
        for topic, kind in answers[task].items():
            take = partial(self._on_part, task, "answer")
            self._hear(kind, self._car.of_task(task, topic), take, qos.RESULTS)
        features = self._car.of_task(task, "features")
        self._hear(FrameFeatures, features, partial(self._on_features, task), qos.RESULTS)
        names = self._car.of_task(task, "label_info")
        self._hear(LabelInfo, names, partial(self._on_names, task), qos.LATCHED)

    def _on_picture(self, tasks: list[Task], msg: Image | CompressedImage) -> None:
        for task in tasks:
            self._on_part(task, "picture", msg)

    def _on_features(self, task: Task, msg: FrameFeatures) -> None:
        self.desk.runs(task, msg.patch_version)
        self._take(task, msg.header, "entropy", msg.entropy)

    def _on_part(self, task: Task, part: str, msg: Any) -> None:
        self._take(task, msg.header, part, msg)

    def _take(self, task: Task, header: Header, part: str, value: Any) -> None:
        stamp_ns = stamp_to_ns(header.stamp)
        whole = self._answered[task].add(stamp_ns, part, value)
        if whole is None or whole.entropy is None:
            return
        if not self.desk.wants(task, Uncertain(stamp_ns, whole.entropy)):
            return
        try:
            candidate = self._candidate(task, stamp_ns, whole)
        except ConversionError as error:
            self._node.get_logger().error(
                f"a picture of {NODE_OF_TASK[task]} can't be labelled: {error}",
                throttle_duration_sec=_LOG_AGAIN_SECONDS,
            )
            return
        if candidate is not None:
            self.desk.add(candidate)

    def _candidate(self, task: Task, stamp_ns: int, whole: Answered) -> Candidate | None:
        """The picture and the answer; None where the classifier found no region to look at.

        Raises ConversionError for what can't be read.
        """
        picture = self._decode(whole.picture)
        confidence, answer = 0.0, whole.answer
        proposal: Label
        if task is Task.SEGMENTATION:
            proposal = image_to_classmap(answer)
            if proposal.shape != picture.shape[:2]:
                raise ConversionError("its class map is of another size")
        elif task is Task.DETECTION:
            proposal = msg_to_boxes(answer)
        elif isinstance(answer, Classification):
            proposal, confidence = msg_to_class(answer), float(answer.results[0].score)
        else:
            regions = msg_to_boxes(answer)
            if not len(regions):
                return None
            # The first is the largest, which the classifier shows to the adapter, too.
            picture = _cut(picture, regions.boxes[0])
            proposal, confidence = int(regions.labels[0]), float(regions.scores[0])
        entropy = whole.entropy
        assert entropy is not None
        if not math.isfinite(confidence):
            raise ConversionError("the score of its class is no finite number")
        frame_id = whole.picture.header.frame_id
        return Candidate(stamp_ns, entropy, task, frame_id, picture, proposal, confidence)

    def _on_names(self, task: Task, msg: LabelInfo) -> None:
        self.desk.knows(task, [named.class_name for named in msg.class_map])

    def _on_drift(self, msg: DriftStatus) -> None:
        times = msg.mmd2 / msg.threshold if msg.threshold else 0.0
        self.desk.heard_drift(DriftWord(msg.drifting, stamp_to_ns(msg.since), times))

    def _on_adapter(self, msg: AdaptationStatus) -> None:
        try:
            state = LoopState(msg.state)
        except ValueError:
            return  # Of a later version.
        self.desk.heard_adapter(AdapterWord(state, msg.collected, msg.reason))

    def _on_settings(self, future: Any) -> None:
        response = future.result()
        self._asked = None
        if response is not None and len(response.values) == len(_SETTINGS):
            least, labels = response.values
            self.desk.heard_settings(least.integer_value, labels.string_value == "none")

    def _missing(self, task: Task) -> str:
        """Why no picture of the task can be labelled; empty where some can."""
        answered, node = self._answered[task], NODE_OF_TASK[task]
        if not answered.heard["entropy"]:
            return f"{node} has answered no picture yet; check that it runs and gets pictures"
        if not answered.heard["picture"]:
            camera = self._camera_of(task)
            return f"no picture has come on {camera}; check --image-topic and --sign-image-topic"
        if not answered.whole:
            return (
                f"no picture on {self._camera_of(task)} has the stamp of an answer of {node}; "
                "check that it looks at this camera"
            )
        return ""


def _cut(picture: Picture, box: np.ndarray) -> Picture:
    """The part of the picture in the box, cut as the classifier cuts it."""
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = box.clip(0, [width, height, width, height]).round().astype(int).tolist()
    if x1 >= x2 or y1 >= y2:
        raise ConversionError("its region is empty")
    return np.ascontiguousarray(picture[y1:y2, x1:x2])
