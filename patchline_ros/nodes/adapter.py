"""The node that keeps labelled frames and turns a drift into patch sets.

Training runs in a worker process of its own, so perception and this node go on beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from patchline_ros.adaptation.adaptation_loop import AdaptationLoop
from patchline_ros.adaptation.label_intake import LabelIntake
from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.adaptation.loop_status import LoopStatus
from patchline_ros.adaptation.patch_versions import PatchVersions, SentPatchSet
from patchline_ros.adaptation.planner import Drift
from patchline_ros.adaptation.storage import Storage, StorageSettings
from patchline_ros.adaptation.store import StoreError
from patchline_ros.adaptation.store_lock import StoreLock
from patchline_ros.graph.description import NODE_OF_TASK, patch_set_topic
from patchline_ros.messages.labels import ConversionError
from patchline_ros.messages.loop_state import LoopState
from patchline_ros.messages.pictures import image_to_rgb
from patchline_ros.msg import (
    AdaptationStatus,
    DriftStatus,
    FrameFeatures,
    LabelledFrame,
    PatchSet,
    PatchStatus,
)
from patchline_ros.nodes import parameters, qos, signing_keys
from patchline_ros.nodes.conversions import bytes_field, msg_to_labelled_frame, stamp_to_ns
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.node_main import run
from patchline_ros.nodes.parameter import ParameterError
from patchline_ros.nodes.trouble import Trouble
from patchline_ros.signing import ISSUED_SECONDS, SigningError
from patchline_ros.tasks import Task
from patchline_ros.vision.device import Device, DeviceError, chosen_device

_TICK_SECONDS = 0.25
_ISSUE_AGAIN_SECONDS = ISSUED_SECONDS / 4
_SILENCE_SECONDS = 5.0
"""Seconds without a reading of the drift monitor after which the diagnostics say so."""


class AdapterNode(ManagedNode):
    """Labelled frames and drift in; AdaptationStatus and a PatchSet for each accepted task out.

    What is done with them is the `AdaptationLoop`'s business.
    """

    def __init__(self) -> None:
        super().__init__("adapter", parameters.ADAPTER)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Opens the store. Raises BundleError or ParameterError."""
        if not values["store"]:
            raise ParameterError(
                "parameter store is empty; give a folder for labelled frames and patch sets"
            )
        self._bundle = self.load_bundle(values)
        try:
            trains_on = chosen_device(Device(values["device"]))
        except DeviceError as error:
            raise ParameterError(f"parameter device: {error}") from error
        self.get_logger().info(f"trainings run on {trains_on}")
        car = self.get_namespace()
        self._check = signing_keys.status_check(values, self._bundle.manifest.models, car)
        labels = self.resolve_topic_name("labelled_frames")
        self._label_check = signing_keys.label_check(values, labels)
        for sentence in signing_keys.said(values, "patch sets", "statuses"):
            self.get_logger().info(sentence)
        self._label_policy = LabelPolicy(values["labels"])
        if not self._bundle.source_frames and self._label_policy is not LabelPolicy.NONE:
            self.get_logger().info(
                "the bundle keeps no labelled source frames, so nothing but the labels that come "
                "says whether they are right; `patchline bundle hold-out` adds some"
            )
        folder = Path(values["store"]).expanduser().absolute()
        names = ("capacity", "capacity_mib", "epochs", "seed", "threads")
        settings = StorageSettings(
            **{name: values[name] for name in names},
            device=Device(values["device"]),
            seal=signing_keys.seal(values, car),
        )
        try:
            lock = StoreLock(folder)
            self.at_end(lock.release)
            self._storage = Storage.open(folder, self._bundle, settings)
        except (StoreError, OSError) as error:
            raise ParameterError(f"parameter store: {error}") from error
        self._status_publisher = self.advertise(AdaptationStatus, "adaptation_status", qos.LATCHED)
        self._patch_sets = {
            task: self.advertise(PatchSet, patch_set_topic(task), qos.LATCHED)
            for task in self._bundle.manifest.models
        }

    def activate(self) -> None:
        """Sends the stored patch sets again and starts to listen."""
        log = self.get_logger()
        storage = self._storage
        self._versions = PatchVersions(
            self._bundle, storage.runner, storage.epoch, self._publish_patch_set, log
        )
        self._labels = LabelIntake(self._bundle, self._storage.frames, log)
        self._loop = AdaptationLoop(
            self._bundle,
            self._storage,
            self._versions,
            lambda: self.get_parameter("min_frames").value,
            self._label_policy,
            self._publish_status,
            log,
        )
        self._loop.start()
        self.at_end(self._loop.stop)
        self.subscribe(
            LabelledFrame, "labelled_frames", self._on_labelled_frame, qos.LABELLED_FRAMES
        )
        self.subscribe(DriftStatus, "drift_status", self._on_drift, qos.RESULTS)
        for task in self._bundle.manifest.models:
            node, on_features = NODE_OF_TASK[task], partial(self._on_features, task)
            self.subscribe(FrameFeatures, f"{node}/features", on_features, qos.RESULTS)
            answers = self._label_policy is not LabelPolicy.REQUIRED
            if answers and task in self._bundle.manifest.prepared:
                on_sample = partial(self._on_sample, task)
                self.subscribe(Image, f"{node}/samples", on_sample, qos.RESULTS)
            on_patch = partial(self._on_patch, task)
            self.subscribe(PatchStatus, f"{node}/patch_status", on_patch, qos.LATCHED)
        self.offer(SetBool, "~/pause", self._on_pause)
        self.offer(Trigger, "~/adapt_now", self._on_adapt_now)
        self.offer(Trigger, "~/republish", self._on_republish)
        self.offer(Trigger, "~/reset", self._on_reset)
        self.repeat(_TICK_SECONDS, self._loop.tick)
        self.repeat(_ISSUE_AGAIN_SECONDS, self._versions.issue_again)

    def report(self) -> tuple[Trouble, Mapping[str, object]]:
        """Counts of labelled frames: `stored` are those that are on disk, and thus acknowledged.

        `ignored` are readings and statuses that make no sense.
        """
        frames = self._storage.frames
        rivals = self.said_when_it_lasts("rivals", self._rivals())
        return rivals or self._trouble(), {
            **self._labels.counts(),
            "ignored": self._loop.ignored,
            "paused": self._loop.paused,
            **{f"kept_{task}": frames.count(task, 0) for task in self._patch_sets},
        }

    def _trouble(self) -> Trouble:
        """What is wrong, the first of several."""
        if sentence := self._labels.trouble():
            return Trouble(sentence)
        if self._loop.paused:
            return Trouble("paused: nothing is adapted to until ~/pause is called with false")
        silent = self._loop.seconds_without_reading
        if silent > _SILENCE_SECONDS:
            topic = self.resolve_topic_name("drift_status")
            return Trouble(f"no drift reading for {silent:.0f} s on {topic}", stops=True)
        return Trouble(self._failure and f"the last episode failed: {self._failure}", stops=True)

    def _rivals(self) -> Trouble:
        """Whoever else sends what only one adapter of a car should."""
        for publisher in (self._status_publisher, *self._patch_sets.values()):
            senders = self.count_publishers(publisher.topic_name)
            if senders > 1:
                return Trouble(
                    f"{senders} adapters publish {publisher.topic_name}: the nodes take "
                    "whichever patch set is newer; end all but one, or give each car a namespace"
                )
        return Trouble()

    def _on_labelled_frame(self, msg: LabelledFrame) -> None:
        try:
            self._label_check.is_signed(msg)
            read = msg_to_labelled_frame(msg)
            self._label_check.check(msg, *read)
        except (ConversionError, SigningError) as error:
            self._labels.refuse(msg.id, str(error))
            return
        self._labels.take(*read)

    def _on_drift(self, msg: DriftStatus) -> None:
        try:
            self._check.drift(msg)
        except SigningError as error:
            self._loop.ignore(f"drift status refused: {error}")
            return
        self._loop.heard_drift(
            Drift(
                drifting=msg.drifting,
                mmd2=msg.mmd2,
                since_ns=stamp_to_ns(msg.since),
                stamp_ns=stamp_to_ns(msg.header.stamp),
            )
        )

    def _on_features(self, task: Task, msg: FrameFeatures) -> None:
        features = np.asarray(msg.features, dtype=np.float32)
        self._labels.saw(stamp_to_ns(msg.header.stamp))
        self._loop.saw(task, stamp_to_ns(msg.header.stamp), msg.entropy, features)

    def _on_sample(self, task: Task, msg: Image) -> None:
        try:
            picture = image_to_rgb(msg)
        except ConversionError as error:
            self.get_logger().error(f"a sample of {task} is no picture: {error}", once=True)
            return
        self._loop.saw_picture(task, stamp_to_ns(msg.header.stamp), picture)

    def _on_patch(self, task: Task, msg: PatchStatus) -> None:
        try:
            self._check.patch(task, msg)
        except SigningError as error:
            self._loop.ignore(f"patch status for {task} refused: {error}")
            return
        undone = msg.state == PatchStatus.REMOVED
        self._loop.heard_version(task, msg.task, msg.version, msg.removed, undone)

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._loop.pause(request.data)
        response.success = True
        response.message = "paused" if request.data else "goes on"
        return response

    def _on_adapt_now(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        response.success, response.message = self._loop.adapt_now()
        return response

    def _on_republish(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """The newest patch set of each task is sent again."""
        sent = self._versions.send_stored()
        response.success = bool(sent)
        response.message = f"sent: {', '.join(sent)}" if sent else "no patch set is stored"
        return response

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = self._loop.reset()
        return response

    def _publish_status(self, status: LoopStatus) -> None:
        self._failure = status.reason if status.state is LoopState.FAILED else ""
        fields = {**asdict(status), "state": status.state.value, "order": list(status.order)}
        self._status_publisher.publish(AdaptationStatus(header=self.stamped_now(), **fields))

    def _publish_patch_set(self, sent: SentPatchSet) -> None:
        self._patch_sets[sent.task].publish(
            PatchSet(
                header=self.stamped_now(),
                task=str(sent.task),
                version=sent.version,
                base_fingerprint=sent.base_fingerprint,
                sha256=sent.sha256,
                data=bytes_field(sent.data),
                signature=bytes_field(sent.signature),
            )
        )


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(AdapterNode)


if __name__ == "__main__":
    main()
