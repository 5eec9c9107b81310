"""What the three perception nodes share: pictures in, results out, patch sets swapped between."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from array import array
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import LabelInfo

from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import IMAGE_TOPIC_OF_TASK, NODE_OF_TASK, patch_set_topic
from patchline_ros.messages.labels import ConversionError, Regions
from patchline_ros.messages.pictures import check_claim, compressed_to_rgb, image_to_rgb
from patchline_ros.msg import FrameFeatures, PatchSet, PatchStatus
from patchline_ros.nodes import parameters, qos, signed_statuses, signing_keys
from patchline_ros.nodes.conversions import (
    NANOSECONDS,
    label_info,
    rgb_to_image,
    stamp_to_ns,
)
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.newest_item_thread import NewestItemThread
from patchline_ros.nodes.parameter import Parameter, ParameterError
from patchline_ros.nodes.picture_counts import PictureCounts
from patchline_ros.nodes.picture_samples import PictureSamples
from patchline_ros.nodes.trouble import Trouble
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import BackendError, Engine
from patchline_ros.runtime.model_runner import AnswerError, ModelRunner, Perception
from patchline_ros.runtime.patch_intake import ModelState, ModelStatus, OfferedPatchSet, PatchIntake
from patchline_ros.tasks import Image as RgbImage
from patchline_ros.tasks import Task
from patchline_ros.vision.device import Device
from patchline_ros.vision.drawing import draw_answer

Arrival: TypeAlias = tuple["Image | CompressedImage", float, "Regions | None"]
"""A picture, the monotonic time at which it came, and the regions to look at; None: all of it."""

_PATCH_SETS_WAITING = 2
"""Behind the one that is built: each may take largest_patch_set_mib, and only the newest counts."""
_GATE = ("before", "after", "error", "frames", "predicted_gain")
"""What a patch set says of the gate that it passed, with labels or without."""
_UNSTAMPED_AGAIN_SECONDS = 60.0
_LEAST_DEPTH = 30
"""Pictures that DDS keeps for a process that stands still, as one of 30 Hz does for a part of a
second while models are built. The model still gets the latest of them; those that DDS replaced
before the process saw them would look like lost ones."""


class PerceptionNode(ManagedNode):
    """A camera's pictures through the model of one task.

    The executor only takes in messages; the model runs in one thread, and patch sets are built in
    another. The model changes between two pictures, so no picture waits for a build or is lost to
    a swap.
    """

    def __init__(
        self,
        task: Task,
        message_type: type,
        result_topic: str,
        table: tuple[Parameter, ...] = parameters.PERCEPTION,
    ) -> None:
        """The node of `task`; results of `message_type` go out on `result_topic`."""
        super().__init__(NODE_OF_TASK[task], table)
        self.task = task
        self._message_type = message_type
        self._result_topic = result_topic

    def send_results(self, message_type: type, topic: str) -> None:
        """Other results than those of the start; to be called before they are advertised."""
        self._message_type, self._result_topic = message_type, topic

    @abstractmethod
    def message(self, perception: Perception, header: Header) -> Any:
        """The result as a message with the header of its picture."""

    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads and warms the source model. Raises BundleError or ParameterError."""
        bundle = self.load_bundle(values)
        try:
            engine = Engine(
                Backend(values["backend"]),
                Device(values["device"]),
                values["tensorrt"],
                values["half_precision"],
            )
            self._runner = ModelRunner(bundle, self.task, engine)
        except BackendError as error:
            raise ParameterError(f"parameters backend and device: {error}") from error
        self._runs_on = ""
        height, width = bundle.spec(self.task).input_size
        self._runner.infer(np.zeros((height, width, 3), dtype=np.uint8))
        self._signer = signing_keys.signer(values)
        for sentence in signing_keys.said(values, "statuses", "patch sets"):
            self.get_logger().info(sentence)
        self._intake = PatchIntake(
            self._runner,
            signing_keys.trust(values, self.get_namespace()),
            values["largest_patch_set_mib"] << 20,
            signing_keys.version_memory(values, self.get_fully_qualified_name()),
        )
        self._class_names = bundle.spec(self.task).classes
        self._compressed = values["image_transport"] == "compressed"
        self._queue_depth: int = values["queue_depth"]
        depth = max(self._queue_depth, _LEAST_DEPTH)
        self._image_qos = qos.images(values["image_reliability"], depth)
        self._advertise(bundle)

    def activate(self) -> None:
        """Subscribes to the camera and to patch sets, offers the services."""
        self.counts = PictureCounts()
        self._enabled = True
        self._sampled_ns = -math.inf
        self._unstamped_before = False
        self._inference = NewestItemThread[Arrival](
            "inference", self._queue_depth, self.forgiving(self._process)
        )
        self.at_end(self._inference.stop)
        # It waits for the other thread, so it ends first.
        self._builder = NewestItemThread[PatchSet](
            "builder", _PATCH_SETS_WAITING, self.forgiving(self._install)
        )
        self.at_end(self._builder.stop)
        topic = self.resolve_topic_name(IMAGE_TOPIC_OF_TASK[self.task])
        kind: type = Image
        if self._compressed:
            topic, kind = f"{topic}/compressed", CompressedImage
        self._image_topic = topic
        pictures = self.subscribe(kind, topic, self._on_picture, self._image_qos, overridable=True)
        self._watchdog = InputWatchdog(
            self, "picture", pictures, "check the camera and the remapping of the topic"
        )
        patch_sets = patch_set_topic(self.task)
        self.subscribe(PatchSet, patch_sets, self._on_patch_set, qos.LATCHED, overridable=True)
        self.offer(Trigger, "~/rollback", self._on_rollback)
        self.offer(SetBool, "~/enable", self._on_enable)

    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """Counts, rates, latency, and what the gate measured of the patch set that runs.

        Also the watchdog that names topic and QoS.
        """
        overload = self.counts.overload(self._inference.superseded)
        trouble = self._watchdog.trouble() or self.counts.unreadable.trouble() or overload
        active = self._runner.active
        measured = active.metadata.metrics if active else {}
        return trouble, {
            **self.counts.values(),
            "enabled": self._enabled,
            "superseded": self._inference.superseded,
            "patch_version": active.version if active else 0,
            **{f"gate_{name}": f"{measured[name]:.4g}" for name in _GATE if name in measured},
        }

    def activity(self) -> str:
        """Disabled, it takes no picture."""
        return "running" if self._enabled else "disabled"

    def _advertise(self, bundle: Bundle) -> None:
        self._results: Publisher[Any] = self.advertise(
            self._message_type, self._result_topic, qos.RESULTS
        )
        self._features = self.advertise(FrameFeatures, "~/features", qos.RESULTS)
        self._status = self.advertise(PatchStatus, "~/patch_status", qos.LATCHED)
        self._overlay = self.advertise(Image, "~/debug/image", qos.RESULTS)
        samples = self.advertise(Image, "~/samples", qos.RESULTS)
        self._samples = PictureSamples(samples, bundle.spec(self.task).input_size)
        labels = self.advertise(LabelInfo, "~/label_info", qos.LATCHED)
        labels.publish(label_info(bundle.spec(self.task).classes, self.stamped_now()))
        self._publish_status(ModelStatus(ModelState.SOURCE, 0))

    def _on_picture(self, msg: Image | CompressedImage) -> None:
        """Only hands the picture on, so that the executor is free for the next one."""
        arrived = time.monotonic()
        self._watchdog.heard()
        self.counts.received += 1
        try:
            check_claim(msg)
        except ConversionError as error:
            # It need not wait for the model to be refused, and takes no memory meanwhile.
            self.skip(str(error))
            return
        # A recording may begin at 0; a driver that does not stamp sends it again and again.
        unstamped = stamp_to_ns(msg.header.stamp) == 0
        if unstamped and self._unstamped_before:
            self._stamp(msg)
        self._unstamped_before = unstamped
        if self._enabled and self._is_sampled(stamp_to_ns(msg.header.stamp)):
            self.take(msg, arrived)
        else:
            self.counts.not_sampled += 1

    def _stamp(self, msg: Image | CompressedImage) -> None:
        """Drifts and labels are found by stamps: one that the driver forgot is that of now."""
        msg.header.stamp = self.stamped_now().stamp
        self.counts.unstamped += 1
        self.get_logger().warning(
            f"pictures on {self._image_topic} come with a stamp of 0; the time at which they come "
            "is taken: have the camera driver stamp them, or labels will not find them",
            throttle_duration_sec=_UNSTAMPED_AGAIN_SECONDS,
        )

    def _is_sampled(self, stamp_ns: int) -> bool:
        """Whether the parameters let the model look at the picture that has just come."""
        if (self.counts.received - 1) % self.get_parameter("sample_every").value:
            return False
        rate = self.get_parameter("max_rate").value
        # A bag that is played in a loop goes back in time.
        apart_ns = abs(stamp_ns - self._sampled_ns)
        if rate and apart_ns < round(NANOSECONDS / rate):
            return False
        self._sampled_ns = stamp_ns
        return True

    def take(self, msg: Image | CompressedImage, arrived: float) -> None:
        """A picture that is to be looked at has come."""
        self.look_at(msg, arrived, None)

    def look_at(
        self, msg: Image | CompressedImage, arrived: float, regions: Regions | None
    ) -> None:
        """Hands a picture to the model."""
        self.counts.taken()
        self._inference.put((msg, arrived, regions))

    def _process(self, arrival: Arrival) -> None:
        """One picture through the model (in the inference thread)."""
        msg, arrived, regions = arrival
        begun, of_thread = time.monotonic(), time.thread_time()
        try:
            picture = compressed_to_rgb(msg) if self._compressed else image_to_rgb(msg)
        except ConversionError as error:
            self.skip(str(error))
            return
        decoded = time.monotonic()
        perception = self._perceive(picture, regions)
        if perception is None:
            return
        perceived = time.monotonic()
        shown = self.shown(perception)
        self._results.publish(self.message(shown, msg.header))
        self._features.publish(
            FrameFeatures(
                header=msg.header,
                task=str(self.task),
                features=array("f", perception.features.astype(np.float32).tobytes()),
                entropy=float(perception.entropy),
                patch_version=perception.patch_version,
            )
        )
        self.counts.processed += 1
        self.counts.done()
        self.counts.unreadable.taken()
        processor = time.thread_time() - of_thread
        self.counts.times.add(processor, arrived, begun, decoded, perceived, time.monotonic())
        if self._overlay.get_subscription_count():
            drawn = draw_answer(picture, shown.prediction, self._class_names, shown.confidence)
            self._overlay.publish(rgb_to_image(drawn, msg.header))
        self._samples.saw(self.seen_of(picture), msg.header)
        collapse = self.watch(picture, perception)
        if collapse is not None:
            self._publish_status(self._intake.collapsed(perception.patch_version, collapse))

    def _perceive(self, picture: RgbImage, regions: Regions | None) -> Perception | None:
        """The answer of the newest model that has one; None: not even the source model has.

        A patch set without an answer is taken back, so that the picture is not lost with it.
        """
        while True:
            version = self._runner.patch_version
            try:
                return self.infer(picture, regions)
            except AnswerError as error:
                if self._runner.rollback() is None:
                    self.skip(f"the source model gives no answer: {error}")
                    return None
                self._publish_status(self._intake.collapsed(version, str(error)))

    def infer(self, picture: RgbImage, regions: Regions | None) -> Perception:
        """What the model says about the picture (in the inference thread).

        Raises:
            AnswerError: nothing.
        """
        return self._runner.infer(picture)

    def shown(self, perception: Perception) -> Perception:
        """What is published of the answer; the watch after a swap compares the whole one."""
        return perception

    def seen_of(self, picture: RgbImage) -> RgbImage:
        """What the model has just looked at of the picture."""
        return picture

    def watch(self, picture: RgbImage, perception: Perception) -> str | None:
        """Why the patch set that answered was taken back; None: it was not."""
        return self._runner.watch(picture, perception)

    def skip(self, reason: str) -> None:
        """Counts an unreadable picture; logs a new reason at once, the same one seldom."""
        self.counts.done()
        if self.counts.skip(reason):
            self.get_logger().refusal(f"picture on {self._image_topic} skipped: {reason}")

    def _on_patch_set(self, msg: PatchSet) -> None:
        """Only hands it on; one that is too large, or a stranger's, does not wait in memory."""
        refused = self._intake.turned_away(_offered(msg))
        if refused is None:
            self._builder.put(msg)
        else:
            self._inference.between(lambda: self._publish_status(self._intake.carry_out(refused)))

    def _install(self, msg: PatchSet) -> None:
        """A patch set has come (in the builder thread)."""
        decision = self._intake.examine(_offered(msg))
        if decision is not None:
            self._inference.between(
                lambda: self._publish_status(self._intake.carry_out(decision))
            ).result()

    def _on_rollback(self, _request: Trigger.Request, response: Trigger.Response) -> Any:
        """Back to what ran before."""
        status = self._inference.between(self._roll_back).result()
        response.success = status is not None
        if status is None:
            response.message = "no patch set is active, the source model runs"
            return response
        now = f"patch set {status.version}" if status.version else "the source model"
        response.message = f"patch set {status.removed} was removed, {now} runs"
        return response

    def _roll_back(self) -> ModelStatus | None:
        status = self._intake.roll_back()
        if status is not None:
            self._publish_status(status)
        return status

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Disabled, the node takes no picture; it hears patch sets all the same."""
        self._enabled = request.data
        response.success = True
        response.message = "enabled" if self._enabled else "disabled"
        return response

    def _publish_status(self, status: ModelStatus) -> None:
        """Says it in the log, too. While pictures are taken in only the inference thread may call.

        Elsewhere a status could come after that of a later change, and the last one stays latched.
        """
        if status.state is ModelState.REFUSED:
            self.get_logger().refusal(status.sentence)
        elif status.state is ModelState.REMOVED:
            self.get_logger().warning(status.sentence)
        elif status.sentence:
            self.get_logger().info(status.sentence)
        self._say_what_runs()
        msg = PatchStatus(
            header=self.stamped_now(),
            task=str(self.task),
            version=status.version,
            state=status.state.value,
            removed=status.removed,
            reason=status.reason,
            build_seconds=status.build_seconds,
            swap_seconds=status.swap_seconds,
        )
        signed_statuses.sign_patch_status(msg, self._signer, self.get_namespace())
        self._status.publish(msg)

    def _say_what_runs(self) -> None:
        """Once, and again where a patch set runs elsewhere than the model before."""
        if self._runner.runs_on != self._runs_on:
            self._runs_on = self._runner.runs_on
            self.get_logger().info(f"the model runs on {self._runs_on}")


def _offered(msg: PatchSet) -> OfferedPatchSet:
    return OfferedPatchSet(
        task=msg.task,
        version=msg.version,
        base_fingerprint=msg.base_fingerprint,
        sha256=msg.sha256,
        data=memoryview(msg.data),
        signature=bytes(msg.signature),
    )
