"""The node that keeps labelled frames and turns a drift into patch sets.

Training runs in a worker process of its own, so perception and this node go on beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from patchline_ros.adaptation.bank import VERIFYING, BankError, KnownDrift, PatchBank
from patchline_ros.adaptation.episode import (
    Accepted,
    Chosen,
    Event,
    Failed,
    Finished,
    Progress,
    Rejected,
)
from patchline_ros.adaptation.runner import EpisodeRunner
from patchline_ros.adaptation.store import FrameStore, StoreError
from patchline_ros.adaptation.trainer import TrainingSettings
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.window import FrameWindow
from patchline_ros.files import sha256
from patchline_ros.graph import NODE_OF_TASK
from patchline_ros.msg import (
    AdaptationStatus,
    DriftStatus,
    FrameFeatures,
    LabelledFrame,
    PatchSet,
    PatchStatus,
)
from patchline_ros.nodes import parameters, qos
from patchline_ros.nodes.conversions import (
    ConversionError,
    bytes_field,
    msg_to_labelled_frame,
    stamp_to_ns,
)
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.run import run
from patchline_ros.patching.patch_set import PatchSetError, read_metadata
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.inputs import LabelError, check_label

_TICK_SECONDS = 0.25


class AdapterNode(ManagedNode):
    """Labelled frames and drift in; AdaptationStatus and a PatchSet for each accepted task out.

    One drift, known by the stamp at which it began, gets one training. What it came to is on disk,
    so a restarted adapter sends its patch sets again and does not repeat it; one that was killed in
    mid-training starts anew from the frames it kept. The bank of earlier patch sets is asked first:
    where the drift is known, these are verified on a few labelled frames, and it is trained only
    where they do not hold. When the drift passes, the source models return.
    """

    def __init__(self) -> None:
        super().__init__("adapter", parameters.ADAPTER)
        self._outputs: list[Publisher[Any]] = []
        self._inputs: list[Subscription[Any]] = []
        self._tick: Timer | None = None
        self._runner: EpisodeRunner | None = None

    def configure(self, values: Mapping[str, Any]) -> None:
        """Opens the store. Raises BundleError or ParameterError."""
        if not values["store"]:
            raise parameters.ParameterError(
                "parameter store is empty; give a folder for labelled frames and patch sets"
            )
        self._bundle = self.load_bundle(values)
        folder = Path(values["store"]).expanduser().resolve()
        try:
            self._store = FrameStore(folder / "frames", values["capacity"])
            self._runner = EpisodeRunner(
                bundle=self._bundle.path.resolve(),
                store=folder / "frames",
                store_capacity=values["capacity"],
                work=folder / "episodes",
                training=TrainingSettings(epochs=values["epochs"]),
                seed=values["seed"],
                threads=values["threads"],
            )
        except (StoreError, OSError) as error:
            raise parameters.ParameterError(f"parameter store: {error}") from error
        self._bank = PatchBank(folder / "bank", self._bundle.drift_reference)
        self._episode_file = folder / "episodes" / "episode.json"
        self._status_publisher = self.create_publisher(
            AdaptationStatus, "adaptation_status", qos.LATCHED
        )
        self._patch_sets = {
            task: self.create_publisher(PatchSet, f"patch_sets/{task}", qos.LATCHED)
            for task in self._bundle.manifest.models
        }
        self._outputs = [self._status_publisher, *self._patch_sets.values()]

    def activate(self) -> None:
        """Sends the stored patch sets again and starts to listen."""
        self._stored = self._refused = self._calm = 0
        self._drift: DriftStatus | None = None
        reference = self._bundle.drift_reference
        self._window = FrameWindow(reference.mean.size, reference.window)
        self._since_ns = self._seen_ns = 0
        self._asked_bank = False
        self._known: KnownDrift | None = None
        self._signature: Features | None = None
        self._accepted: dict[Task, Path] = {}
        self._active_versions: dict[Task, int] = {}
        self._status = AdaptationStatus()
        self._episode_since_ns: int | None = self._recall_episode()
        self._publish_status(AdaptationStatus.IDLE)
        assert self._runner is not None
        for task, (version, path) in self._runner.latest().items():
            self._publish_patch_set(task, version, path)
        watching = NODE_OF_TASK[self._bundle.manifest.drift.task]
        self._inputs = [
            self.create_subscription(kind, topic, self.guarded(callback), profile)
            for kind, topic, callback, profile in [
                (LabelledFrame, "labelled_frames", self._on_labelled_frame, qos.LABELLED_FRAMES),
                (DriftStatus, "drift_status", self._on_drift, qos.RESULTS),
                (FrameFeatures, f"{watching}/features", self._on_features, qos.RESULTS),
                *(
                    (PatchStatus, f"{NODE_OF_TASK[task]}/patch_status", self._on_patch, qos.LATCHED)
                    for task in self._bundle.manifest.models
                ),
            ]
        ]
        self._tick = self.steady_timer(_TICK_SECONDS, self._on_tick)

    def deactivate(self) -> None:
        """Stops listening and ends a training that is under way; its frames stay."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self._tick is not None:
            self.destroy_timer(self._tick)
            self._tick = None
        if self._runner is not None:
            self._runner.stop()

    def cleanup(self) -> None:
        """Forgets the bundle; what is on disk stays."""
        for publisher in self._outputs:
            self.destroy_publisher(publisher)
        self._outputs = []
        self._runner = None

    def report(self) -> tuple[str, Mapping[str, object]]:
        """Counts of labelled frames."""
        trouble = f"{self._refused} labelled frames refused" if self._refused else ""
        kept = {f"kept_{task}": self._store.count(task, 0) for task in self._patch_sets}
        return trouble, {"stored": self._stored, "refused": self._refused, **kept}

    def _on_labelled_frame(self, msg: LabelledFrame) -> None:
        try:
            frame_id, task, stamp_ns, sample = msg_to_labelled_frame(msg)
            self._check(task, stamp_ns, sample)
            self._store.add(frame_id, task, stamp_ns, sample)
        except (ConversionError, LabelError, StoreError) as error:
            self._refused += 1
            self.get_logger().error(f"labelled frame {msg.id!r} refused: {error}")
            return
        self._stored += 1

    def _check(self, task: Task, stamp_ns: int, sample: Sample) -> None:
        """Raises LabelError for a task or class that the bundle lacks, or no stamp."""
        if task not in self._patch_sets:
            raise LabelError(f"the bundle has no model for {task}")
        if stamp_ns == 0:
            raise LabelError("it has no stamp, so nobody can say which drift it belongs to")
        check_label(task, self._bundle.spec(task).classes, sample)

    def _on_drift(self, msg: DriftStatus) -> None:
        self._drift = msg
        self._calm = 0 if msg.drifting else self._calm + 1
        since_ns = stamp_to_ns(msg.since)
        if since_ns != self._since_ns:
            self._since_ns, self._seen_ns = since_ns, stamp_to_ns(msg.header.stamp)
            self._asked_bank, self._known = False, None

    def _on_features(self, msg: FrameFeatures) -> None:
        features = np.frombuffer(msg.features, dtype=np.float32)
        self._window.add(stamp_to_ns(msg.header.stamp), features)

    def _on_patch(self, msg: PatchStatus) -> None:
        self._active_versions[Task(msg.task)] = msg.version

    def _on_tick(self) -> None:
        assert self._runner is not None
        for event in self._runner.poll():
            self._on_event(event)
        if not self._runner.running and self._drift is not None:
            self._consider(self._drift)
            if self._calm >= self._bundle.drift_reference.window:
                self._return_to_source()

    def _consider(self, drift: DriftStatus) -> None:
        """Starts an episode when a drift that has had none has enough labelled frames."""
        assert self._runner is not None
        since_ns = stamp_to_ns(drift.since)
        if not drift.drifting or since_ns == self._episode_since_ns:
            if self._status.state == AdaptationStatus.COLLECTING:
                self._publish_status(AdaptationStatus.IDLE)
            return
        self._ask_bank()
        counts = {task: self._store.count(task, since_ns) for task in self._patch_sets}
        labelled = [count for count in counts.values() if count]
        known = self._known
        if known is not None and all(counts[t] >= VERIFYING[t] for t in known.patch_sets):
            self._known = None
            self._start(AdaptationStatus.VERIFYING, drift, counts, known)
        elif labelled and min(labelled) >= self.get_parameter("min_frames").value:
            self._episode_since_ns = since_ns
            self._start(AdaptationStatus.TRAINING, drift, counts)
        else:
            self._collecting(sum(labelled))

    def _ask_bank(self) -> None:
        """Looks once, as soon as the window is full of the drift, whether it is known."""
        features = self._window.since(self._seen_ns)
        if self._asked_bank or features is None:
            return
        self._asked_bank = True
        try:
            self._known = self._bank.find(features)
        except BankError as error:
            self.get_logger().error(str(error))
            return
        if self._known is not None:
            tasks = ", ".join(map(str, self._known.patch_sets))
            self.get_logger().info(
                f"the drift is like entry {self._known.name} of the bank (MMD^2 "
                f"{self._known.mmd2:.4f}); its patch sets for {tasks} are verified next"
            )

    def _start(
        self,
        state: int,
        drift: DriftStatus,
        counts: Mapping[Task, int],
        known: KnownDrift | None = None,
    ) -> None:
        assert self._runner is not None
        labelled = ", ".join(f"{task} {count}" for task, count in counts.items())
        what = "training" if known is None else "verification"
        self.get_logger().info(f"{what} starts: MMD^2 {drift.mmd2:.4f}, labelled frames {labelled}")
        self._signature, self._accepted = self._window.since(self._seen_ns), {}
        since_ns = stamp_to_ns(drift.since)
        self._runner.start(since_ns, drift.mmd2, self._active_versions, known)
        self._publish_status(state, collected=sum(counts.values()))

    def _return_to_source(self) -> None:
        """Where a patch set runs although the scene is like the source again."""
        assert self._runner is not None
        for task, (version, path) in self._runner.latest().items():
            if not self._active_versions.get(task) or path.stat().st_size == 0:
                continue
            self.get_logger().info(f"the drift has passed: the source model for {task} returns")
            source = self._runner.return_to_source(task)
            self._publish_patch_set(task, version + 1, source)

    def _collecting(self, collected: int) -> None:
        status = self._status
        if (status.state, status.collected) != (AdaptationStatus.COLLECTING, collected):
            self._publish_status(AdaptationStatus.COLLECTING, collected=collected)

    def _on_event(self, event: Event) -> None:
        """Turns what the worker says into the status, patch sets and log lines."""
        under_way = self._status.state
        if isinstance(event, Chosen):
            self._publish_status(
                under_way,
                kept=sum(event.kept.values()),
                patches=event.patches,
                order=[str(task) for task in event.order],
            )
        elif isinstance(event, Progress):
            self._publish_status(under_way, task=str(event.task), progress=event.fraction)
        elif isinstance(event, Accepted):
            self._accepted[event.task] = event.path
            self._publish_patch_set(event.task, event.version, event.path)
        elif isinstance(event, Rejected):
            self.get_logger().warning(f"no new patch set for {event.task}: {event.reason}")
            self._publish_status(under_way, task=str(event.task), reason=event.reason)
        elif isinstance(event, Finished):
            self._finish(event.episode)
            result = json.dumps(event.episode)
            self._publish_status(
                AdaptationStatus.FINISHED, task="", progress=1.0, episode_json=result
            )
        elif isinstance(event, Failed):
            self.get_logger().error(f"training failed: {event.reason}")
            self._publish_status(AdaptationStatus.FAILED, reason=event.reason)

    def _finish(self, episode: Mapping[str, Any]) -> None:
        """A drift whose known patch sets hold needs no training; a new one goes into the bank."""
        if episode["bank_entry"]:
            self.get_logger().info("verification finished")
            self._episode_since_ns = _settled_since(episode)
            return
        self.get_logger().info("training finished")
        signature = self._signature
        if signature is None and self._since_ns == episode["since_ns"]:
            signature = self._window.since(self._seen_ns)
        if not self._accepted or signature is None:
            return
        try:
            patch_sets = {task: path.read_bytes() for task, path in self._accepted.items()}
            self._bank.add(signature, patch_sets)
        except OSError as error:
            self.get_logger().error(f"the bank could not keep the patch sets: {error}")

    def _publish_status(self, state: int, **changes: Any) -> None:
        """Publishes the status with the changes; what belonged to another state starts anew."""
        if state != self._status.state:
            kept = {"episode_json": self._status.episode_json}
            if self._status.state in (AdaptationStatus.TRAINING, AdaptationStatus.VERIFYING):
                names = ("collected", "kept", "patches", "order")
                kept |= {name: getattr(self._status, name) for name in names}
            self._status = AdaptationStatus(state=state, **kept)
        for name, value in changes.items():
            setattr(self._status, name, value)
        self._status.header = self.stamped_now()
        self._status_publisher.publish(self._status)

    def _publish_patch_set(self, task: Task, version: int, path: Path) -> None:
        """Sends a stored patch set; one that is damaged or of another bundle is only reported.

        An empty one, the source model's, is sent without data.
        """
        try:
            data = path.read_bytes()
            fingerprint = read_metadata(data).base_fingerprint if data else ""
        except (OSError, PatchSetError) as error:
            self.get_logger().error(f"stored patch set {path} is not sent: {error}")
            return
        other = task not in self._patch_sets or fingerprint != self._bundle.fingerprint(task)
        if data and other:
            self.get_logger().warning(
                f"stored patch set {path} is not sent: it was trained on another bundle"
            )
            return
        self._patch_sets[task].publish(
            PatchSet(
                header=self.stamped_now(),
                task=str(task),
                version=version,
                base_fingerprint=fingerprint,
                sha256=sha256(data) if data else "",
                data=bytes_field(data),
            )
        )
        self.get_logger().info(f"patch set {version} for {task} published")

    def _recall_episode(self) -> int | None:
        """Beginning of the drift that the last finished episode was for; its result is shown."""
        if not self._episode_file.is_file():
            return None
        text = self._episode_file.read_text(encoding="utf-8")
        self._status.episode_json = text
        return _settled_since(json.loads(text))


def _settled_since(episode: Mapping[str, Any]) -> int | None:
    """Beginning of the drift that needs nothing more; None where kept patch sets did not hold."""
    if episode["bank_entry"] and not all(episode["accepted"].values()):
        return None
    since_ns: int = episode["since_ns"]
    return since_ns


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(AdapterNode)


if __name__ == "__main__":
    main()
