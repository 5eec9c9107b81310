"""What the three perception nodes share: pictures in, results out, patch sets swapped between."""

from __future__ import annotations

import time
from abc import abstractmethod
from array import array
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.service import Service
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import LabelInfo

from patchline_ros.bundle import Bundle
from patchline_ros.graph.description import IMAGE_TOPIC_OF_TASK, NODE_OF_TASK, patch_set_topic
from patchline_ros.messages.labels import ConversionError
from patchline_ros.msg import FrameFeatures, PatchSet, PatchStatus
from patchline_ros.nodes import parameters, qos
from patchline_ros.nodes.conversions import (
    Regions,
    compressed_to_rgb,
    image_to_rgb,
    label_info,
    rgb_to_image,
)
from patchline_ros.nodes.input_watchdog import InputWatchdog
from patchline_ros.nodes.managed import RECENT_SECONDS, ManagedNode
from patchline_ros.nodes.newest_item_thread import NewestItemThread
from patchline_ros.nodes.stage_times import StageTimes
from patchline_ros.patching.patch_set import PatchSetError
from patchline_ros.runtime.backend import Backend
from patchline_ros.runtime.backend_pass import BackendError
from patchline_ros.runtime.model_runner import Candidate, ModelRunner, Perception
from patchline_ros.signing import SigningError, Verifier, statement
from patchline_ros.tasks import Image as RgbImage
from patchline_ros.tasks import Task
from patchline_ros.vision.drawing import draw_answer

Arrival: TypeAlias = tuple["Image | CompressedImage", float, "Regions | None"]
"""A picture, the monotonic time at which it came, and the regions to look at; None: all of it."""

_LOG_AGAIN_SECONDS = 5.0
_PATCH_SETS_WAITING = 8
_LEAST_DEPTH = 30
"""Pictures that DDS keeps for a process that stands still, as one of 30 Hz does for a part of a
second while models are built. The model still gets the latest of them; those that DDS replaced
before the process saw them would look like lost ones."""


@dataclass
class FrameCounts:
    """What became of the pictures since activation."""

    received: int = 0
    not_sampled: int = 0
    unreadable: int = 0
    processed: int = 0


def _verifier(values: Mapping[str, Any]) -> Verifier | None:
    """Raises ParameterError where there is no key to check with, or none that can be read."""
    path = values["trusted_key"]
    if not path:
        if values["require_signature"]:
            raise parameters.ParameterError(
                "require_signature is true, but trusted_key names no key to check with"
            )
        return None
    try:
        return Verifier(Path(path).expanduser())
    except SigningError as error:
        raise parameters.ParameterError(f"parameter trusted_key: {error}") from error


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
        table: tuple[parameters.Parameter, ...] = parameters.PERCEPTION,
    ) -> None:
        """The node of `task`; results of `message_type` go out on `result_topic`."""
        super().__init__(NODE_OF_TASK[task], table)
        self.task = task
        self._message_type = message_type
        self._result_topic = result_topic
        self._outputs: list[Publisher[Any]] = []
        self._inputs: list[Subscription[Any]] = []
        self._offered: list[Service[Any, Any]] = []
        self._runner: ModelRunner | None = None
        self._inference: NewestItemThread[Arrival] | None = None
        self._builder: NewestItemThread[PatchSet] | None = None

    def send_results(self, message_type: type, topic: str) -> None:
        """Other results than those of the start; to be called before they are advertised."""
        self._message_type, self._result_topic = message_type, topic

    def hear(
        self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> Subscription[Any]:
        """Subscribes until the node is deactivated; QoS overrides are taken as parameters."""
        subscription = self.create_subscription(
            kind,
            topic,
            self.guarded(callback),
            # rclpy writes the overrides into the profile.
            copy(profile),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._inputs.append(subscription)
        return subscription

    @abstractmethod
    def message(self, perception: Perception, header: Header) -> Any:
        """The result as a message with the header of its picture."""

    def configure(self, values: Mapping[str, Any]) -> None:
        """Loads and warms the source model. Raises BundleError or ParameterError."""
        bundle = self.load_bundle(values)
        try:
            self._runner = ModelRunner(bundle, self.task, Backend(values["backend"]))
        except BackendError as error:
            raise parameters.ParameterError(f"parameter backend: {error}") from error
        height, width = bundle.spec(self.task).input_size
        self._runner.infer(np.zeros((height, width, 3), dtype=np.uint8))
        self._verifier = _verifier(values)
        self._require_signature: bool = values["require_signature"]
        self._largest_bytes: int = values["largest_patch_set_mib"] << 20
        self._newest_version = 0
        self._removed_versions: set[int] = set()
        self._class_names = bundle.spec(self.task).classes
        self._compressed = values["image_transport"] == "compressed"
        self._queue_depth: int = values["queue_depth"]
        depth = max(self._queue_depth, _LEAST_DEPTH)
        self._image_qos = qos.images(values["image_reliability"], depth)
        self._advertise(bundle)

    def activate(self) -> None:
        """Subscribes to the camera and to patch sets, offers the services."""
        self.counts = FrameCounts()
        self._enabled = True
        self._times = StageTimes()
        self._reported = (time.monotonic(), 0, 0)
        self._last_unreadable = ("", 0.0)
        self._unreadable_logged = 0.0
        self._inference = NewestItemThread(
            "inference", self._queue_depth, self.guarded(self._process)
        )
        self._builder = NewestItemThread(
            "builder", _PATCH_SETS_WAITING, self.guarded(self._install)
        )
        topic = self.resolve_topic_name(IMAGE_TOPIC_OF_TASK[self.task])
        kind: type = Image
        if self._compressed:
            topic, kind = f"{topic}/compressed", CompressedImage
        self._image_topic = topic
        pictures = self.hear(kind, topic, self._on_picture, self._image_qos)
        self._watchdog = InputWatchdog(
            self, "picture", pictures, "check the camera and the remapping of the topic"
        )
        self.hear(PatchSet, patch_set_topic(self.task), self._builder.put, qos.LATCHED)
        self._offered = [
            self.create_service(Trigger, "~/rollback", self.guarded(self._on_rollback)),
            self.create_service(SetBool, "~/enable", self.guarded(self._on_enable)),
        ]

    def deactivate(self) -> None:
        """Stops hearing, then joins the builder before the thread that it waits for."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        for service in self._offered:
            self.destroy_service(service)
        self._offered = []
        if self._builder is not None:
            self._builder.stop()
            self._builder = None
        if self._inference is not None:
            self._inference.stop()
            self._inference = None

    def cleanup(self) -> None:
        """Frees the models."""
        for publisher in self._outputs:
            self.destroy_publisher(publisher)
        self._outputs = []
        self._runner = None

    def report(self) -> tuple[str, Mapping[str, object]]:
        """Counts, rates and latency; also the watchdog that names topic and QoS."""
        assert self._inference is not None
        trouble = self._watchdog.trouble()
        counts = self.counts
        last, when = self._last_unreadable
        if last and not trouble and time.monotonic() - when < RECENT_SECONDS:
            trouble = f"{counts.unreadable} unreadable pictures, the last: {last}"
        return trouble, {
            "received": counts.received,
            **self._rates(),
            "not_sampled": counts.not_sampled,
            "enabled": self._enabled,
            "superseded": self._inference.superseded,
            "unreadable": counts.unreadable,
            "processed": counts.processed,
            "patch_version": self._patch_version,
            **self._times.values(),
        }

    def activity(self) -> str:
        """Disabled, it takes no picture."""
        return "running" if self._enabled else "disabled"

    def _rates(self) -> dict[str, str]:
        """Pictures that came and answers that went out each second since the last report."""
        before, received, processed = self._reported
        now, counts = time.monotonic(), self.counts
        self._reported = (now, counts.received, counts.processed)
        seconds = now - before
        return {
            "received_hz": f"{(counts.received - received) / seconds:.1f}",
            "processed_hz": f"{(counts.processed - processed) / seconds:.1f}",
        }

    def _advertise(self, bundle: Bundle) -> None:
        self._results: Publisher[Any] = self.create_publisher(
            self._message_type, self._result_topic, qos.RESULTS
        )
        self._features = self.create_publisher(FrameFeatures, "~/features", qos.RESULTS)
        self._status = self.create_publisher(PatchStatus, "~/patch_status", qos.LATCHED)
        self._overlay = self.create_publisher(Image, "~/debug/image", qos.RESULTS)
        labels = self.create_publisher(LabelInfo, "~/label_info", qos.LATCHED)
        self._outputs = [self._results, self._features, self._status, self._overlay, labels]
        labels.publish(label_info(bundle.spec(self.task).classes, self.stamped_now()))
        self._patch_version = 0
        self._publish_status(PatchStatus.SOURCE)

    def _on_picture(self, msg: Image | CompressedImage) -> None:
        """Only hands the picture on, so that the executor is free for the next one."""
        assert self._inference is not None
        arrived = time.monotonic()
        self._watchdog.heard()
        self.counts.received += 1
        if not self._enabled:
            self.counts.not_sampled += 1
            return
        if (self.counts.received - 1) % self.get_parameter("sample_every").value:
            self.counts.not_sampled += 1
            return
        self.take(msg, arrived)

    def take(self, msg: Image | CompressedImage, arrived: float) -> None:
        """A picture that is to be looked at has come."""
        self.look_at(msg, arrived, None)

    def look_at(
        self, msg: Image | CompressedImage, arrived: float, regions: Regions | None
    ) -> None:
        """Hands a picture to the model."""
        assert self._inference is not None
        self._inference.put((msg, arrived, regions))

    def _process(self, arrival: Arrival) -> None:
        """One picture through the model (in the inference thread)."""
        assert self._runner is not None
        msg, arrived, regions = arrival
        begun = time.monotonic()
        try:
            picture = compressed_to_rgb(msg) if self._compressed else image_to_rgb(msg)
        except ConversionError as error:
            self.skip(str(error))
            return
        decoded = time.monotonic()
        perception = self.infer(picture, regions)
        perceived = time.monotonic()
        self._results.publish(self.message(perception, msg.header))
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
        self._times.add(arrived, begun, decoded, perceived, time.monotonic())
        if self._overlay.get_subscription_count():
            drawn = draw_answer(
                picture, perception.prediction, self._class_names, perception.confidence
            )
            self._overlay.publish(rgb_to_image(drawn, msg.header))
        collapse = self.watch(picture, perception)
        if collapse is not None:
            self._patch_version = self._runner.patch_version
            self._say_removed(perception.patch_version, f"was taken back: {collapse}")

    def infer(self, picture: RgbImage, regions: Regions | None) -> Perception:
        """What the model says about the picture (in the inference thread)."""
        assert self._runner is not None
        return self._runner.infer(picture)

    def watch(self, picture: RgbImage, perception: Perception) -> str | None:
        """Why the patch set that answered was taken back; None: it was not."""
        assert self._runner is not None
        return self._runner.watch(picture, perception)

    def skip(self, reason: str) -> None:
        """Counts an unreadable picture; logs a new reason at once, the same one seldom."""
        self.counts.unreadable += 1
        now = time.monotonic()
        last_reason, _ = self._last_unreadable
        if reason != last_reason or now - self._unreadable_logged > _LOG_AGAIN_SECONDS:
            self.get_logger().error(f"picture on {self._image_topic} skipped: {reason}")
            self._unreadable_logged = now
        self._last_unreadable = (reason, now)

    def _install(self, msg: PatchSet) -> None:
        """Checks, builds and warms a patch set beside the running model (in the builder thread)."""
        assert self._runner is not None and self._inference is not None
        active = self._runner.active
        same = msg.sha256 == (active.sha256 if active else "") and bool(msg.data) == bool(active)
        if same and msg.version <= self._newest_version:
            return  # a restarted adapter sends what runs here already
        if msg.version in self._removed_versions:
            # The adapter that sends it again did not hear of it.
            self._inference.between(
                lambda: self._say_removed(msg.version, "was removed here")
            ).result()
            return
        started = time.monotonic()
        try:
            self._check(msg)
            if not msg.data:
                self._inference.between(lambda: self._return_to_source(msg.version)).result()
                return
            candidate = self._runner.build(msg.data.tobytes(), msg.sha256)
            if candidate.version != msg.version:
                raise PatchSetError(
                    f"the message says version {msg.version}, its data version {candidate.version}"
                )
        except (PatchSetError, SigningError) as error:
            self.get_logger().error(f"patch set {msg.version} for {self.task} refused: {error}")
            reason, seconds = str(error), time.monotonic() - started
            self._inference.between(
                lambda: self._publish_status(PatchStatus.REFUSED, reason, seconds)
            ).result()
            return
        built = time.monotonic() - started
        swapped = self._inference.between(
            lambda: self._swap(candidate, msg.version, built)
        ).result()
        self.get_logger().info(
            f"patch set {msg.version} is active: built in {built:.2f} s, swapped in "
            f"{swapped * 1e3:.2f} ms"
        )

    def _check(self, msg: PatchSet) -> None:
        """What can be said before reading the data. Raises PatchSetError or SigningError."""
        if msg.task != self.task.value:
            raise PatchSetError(f"it is for {msg.task!r}, this node runs {self.task}")
        if msg.version <= self._newest_version:
            raise PatchSetError(
                f"its version {msg.version} is not newer than {self._newest_version}, the newest "
                "that has run here"
            )
        if len(msg.data) > self._largest_bytes:
            raise PatchSetError(
                f"its {len(msg.data) / 2**20:.0f} MiB are more than largest_patch_set_mib, "
                f"{self._largest_bytes >> 20}"
            )
        if not msg.data and msg.sha256:
            raise PatchSetError("it names a sha256, but has no data")
        signature = bytes(msg.signature)
        if self._require_signature and not signature:
            raise SigningError("it is not signed, and require_signature is true")
        if self._verifier is not None and signature:
            text = statement(self.task, msg.version, msg.base_fingerprint, msg.sha256)
            self._verifier.check(text, signature)

    def _swap(self, candidate: Candidate, version: int, build_seconds: float) -> float:
        """Changes the model between two pictures; seconds it took (in the inference thread)."""
        assert self._runner is not None
        started = time.monotonic()
        self._runner.activate(candidate)
        self._newest_version = self._patch_version = version
        seconds = time.monotonic() - started
        self._publish_status(PatchStatus.ACTIVE, "", build_seconds, seconds)
        return seconds

    def _return_to_source(self, version: int) -> None:
        """Between two pictures; what is not newer than this is refused from now on."""
        assert self._runner is not None
        self._runner.return_to_source()
        self._newest_version, self._patch_version = version, 0
        self._publish_status(PatchStatus.SOURCE, "the drift has passed")

    def _on_rollback(self, _request: Trigger.Request, response: Trigger.Response) -> Any:
        """Back to what ran before."""
        assert self._inference is not None
        removed = self._inference.between(self._remove).result()
        response.success = removed is not None
        if removed is None:
            response.message = "no patch set is active, the source model runs"
            return response
        version, now_version = removed
        now = f"patch set {now_version}" if now_version else "the source model"
        response.message = f"patch set {version} was removed, {now} runs"
        return response

    def _say_removed(self, version: int, what: str) -> None:
        """A removed version is not taken again when it is sent again."""
        self._removed_versions.add(version)
        reason = f"version {version} {what}"
        self.get_logger().warning(f"patch set for {self.task}: {reason}")
        self._publish_status(PatchStatus.REMOVED, reason, removed=version)

    def _remove(self) -> tuple[int, int] | None:
        """The version that was removed and the one that runs now; None: none was there."""
        assert self._runner is not None
        removed = self._runner.rollback()
        if removed is None:
            return None
        self._patch_version = self._runner.patch_version
        self._say_removed(removed, "was removed on request")
        return removed, self._patch_version

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Disabled, the node takes no picture; it hears patch sets all the same."""
        self._enabled = request.data
        response.success = True
        response.message = "enabled" if self._enabled else "disabled"
        return response

    def _publish_status(
        self,
        state: int,
        reason: str = "",
        build_seconds: float = 0.0,
        swap_seconds: float = 0.0,
        removed: int = 0,
    ) -> None:
        """While pictures are taken in only the inference thread may call it.

        Elsewhere a status could come after that of a later change, and the last one stays latched.
        """
        self._status.publish(
            PatchStatus(
                header=self.stamped_now(),
                task=str(self.task),
                version=self._patch_version,
                state=state,
                removed=removed,
                reason=reason,
                build_seconds=build_seconds,
                swap_seconds=swap_seconds,
            )
        )
