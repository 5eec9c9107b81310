"""The node that keeps labelled frames and turns a drift into patch sets.

Training runs in a worker process of its own, so perception and this node go on beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.timer import Timer

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
from patchline_ros.files import sha256
from patchline_ros.graph import NODE_OF_TASK
from patchline_ros.msg import AdaptationStatus, DriftStatus, LabelledFrame, PatchSet, PatchStatus
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

    One drift, known by the stamp at which it began, gets one episode. What an episode came to is
    on disk, so a restarted adapter sends its patch sets again and does not repeat the episode; one
    that was killed in mid-training starts it anew from the frames it kept.
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
        self._stored = self._refused = 0
        self._drift: DriftStatus | None = None
        self._active_versions: dict[Task, int] = {}
        self._status = AdaptationStatus()
        self._episode_since_ns: int | None = self._recall_episode()
        self._publish_status(AdaptationStatus.IDLE)
        assert self._runner is not None
        for _version, path in self._runner.latest().values():
            self._publish_patch_set(path)
        self._inputs = [
            self.create_subscription(kind, topic, self.guarded(callback), profile)
            for kind, topic, callback, profile in [
                (LabelledFrame, "labelled_frames", self._on_labelled_frame, qos.LABELLED_FRAMES),
                (DriftStatus, "drift_status", self._on_drift, qos.RESULTS),
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

    def _on_patch(self, msg: PatchStatus) -> None:
        self._active_versions[Task(msg.task)] = msg.version

    def _on_tick(self) -> None:
        assert self._runner is not None
        for event in self._runner.poll():
            self._on_event(event)
        if not self._runner.running and self._drift is not None:
            self._consider(self._drift)

    def _consider(self, drift: DriftStatus) -> None:
        """Starts an episode when a drift that has had none has enough labelled frames."""
        assert self._runner is not None
        since_ns = stamp_to_ns(drift.since)
        if not drift.drifting or since_ns == self._episode_since_ns:
            if self._status.state == AdaptationStatus.COLLECTING:
                self._publish_status(AdaptationStatus.IDLE)
            return
        counts = {task: self._store.count(task, since_ns) for task in self._patch_sets}
        labelled = [count for count in counts.values() if count]
        if not labelled or min(labelled) < self.get_parameter("min_frames").value:
            self._collecting(sum(labelled))
            return
        self._episode_since_ns = since_ns
        self.get_logger().info(
            f"training starts: MMD^2 {drift.mmd2:.4f}, labelled frames "
            + ", ".join(f"{task} {count}" for task, count in counts.items())
        )
        self._runner.start(since_ns, drift.mmd2, self._active_versions)
        self._publish_status(AdaptationStatus.TRAINING, collected=sum(labelled))

    def _collecting(self, collected: int) -> None:
        status = self._status
        if (status.state, status.collected) != (AdaptationStatus.COLLECTING, collected):
            self._publish_status(AdaptationStatus.COLLECTING, collected=collected)

    def _on_event(self, event: Event) -> None:
        """Turns what the worker says into the status, patch sets and log lines."""
        training = AdaptationStatus.TRAINING
        if isinstance(event, Chosen):
            self._publish_status(
                training,
                kept=sum(event.kept.values()),
                patches=event.patches,
                order=[str(task) for task in event.order],
            )
        elif isinstance(event, Progress):
            self._publish_status(training, task=str(event.task), progress=event.fraction)
        elif isinstance(event, Accepted):
            self._publish_patch_set(event.path)
        elif isinstance(event, Rejected):
            self.get_logger().warning(f"no new patch set for {event.task}: {event.reason}")
            self._publish_status(training, task=str(event.task), reason=event.reason)
        elif isinstance(event, Finished):
            self.get_logger().info("training finished")
            result = json.dumps(event.episode)
            self._publish_status(
                AdaptationStatus.FINISHED, task="", progress=1.0, episode_json=result
            )
        elif isinstance(event, Failed):
            self.get_logger().error(f"training failed: {event.reason}")
            self._publish_status(AdaptationStatus.FAILED, reason=event.reason)

    def _publish_status(self, state: int, **changes: Any) -> None:
        """Publishes the status with the changes; what belonged to another state starts anew."""
        if state != self._status.state:
            kept = {"episode_json": self._status.episode_json}
            if self._status.state == AdaptationStatus.TRAINING:
                names = ("collected", "kept", "patches", "order")
                kept |= {name: getattr(self._status, name) for name in names}
            self._status = AdaptationStatus(state=state, **kept)
        for name, value in changes.items():
            setattr(self._status, name, value)
        self._status.header = self.stamped_now()
        self._status_publisher.publish(self._status)

    def _publish_patch_set(self, path: Path) -> None:
        """Sends a stored patch set; one that is damaged or of another bundle is only reported."""
        try:
            data = path.read_bytes()
            metadata = read_metadata(data)
        except (OSError, PatchSetError) as error:
            self.get_logger().error(f"stored patch set {path} is not sent: {error}")
            return
        task = metadata.task
        if task not in self._patch_sets or metadata.base_fingerprint != self._bundle.fingerprint(
            task
        ):
            self.get_logger().warning(
                f"stored patch set {path} is not sent: it was trained on another bundle"
            )
            return
        self._patch_sets[task].publish(
            PatchSet(
                header=self.stamped_now(),
                task=str(task),
                version=metadata.version,
                base_fingerprint=metadata.base_fingerprint,
                sha256=sha256(data),
                data=bytes_field(data),
            )
        )
        self.get_logger().info(f"patch set {metadata.version} for {task} published")

    def _recall_episode(self) -> int | None:
        """Beginning of the drift that the last finished episode was for; its result is shown."""
        if not self._episode_file.is_file():
            return None
        text = self._episode_file.read_text(encoding="utf-8")
        since_ns: int = json.loads(text)["since_ns"]
        self._status.episode_json = text
        return since_ns


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(AdapterNode)


if __name__ == "__main__":
    main()
