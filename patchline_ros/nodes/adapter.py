"""The node that keeps labelled frames and turns a drift into patch sets.

Training runs in a worker process of its own, so perception and this node go on beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from std_srvs.srv import SetBool, Trigger

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.adaptation.episode import (
    Accepted,
    Chosen,
    Event,
    Failed,
    Finished,
    LeftOut,
    Progress,
    Rejected,
)
from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.episode_runner import EpisodeRunner
from patchline_ros.adaptation.frame_choice import LEAST_FRAMES
from patchline_ros.adaptation.planner import (
    Collect,
    Drift,
    Episode,
    Planner,
    ReturnToSource,
    settled_in,
)
from patchline_ros.adaptation.store import DiskError, FrameStore, StoreError
from patchline_ros.adaptation.store_lock import StoreLock
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.files import sha256
from patchline_ros.graph.description import NODE_OF_TASK, patch_set_topic
from patchline_ros.messages.labels import ConversionError
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
    bytes_field,
    msg_to_labelled_frame,
    stamp_to_ns,
)
from patchline_ros.nodes.managed import ManagedNode
from patchline_ros.nodes.node_main import run
from patchline_ros.patching.patch_set import PatchSetError, checked_metadata
from patchline_ros.signing import Signer, SigningError, statement
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.inputs import LabelError, check_label

_TICK_SECONDS = 0.25
_LOG_AGAIN_SECONDS = 5.0
_SILENCE_SECONDS = 5.0
"""Without a reading of the drift monitor, after which the diagnostics say so."""
_RECENT_SECONDS = 30.0
"""For which a labelled frame that was refused is a warning; it stays counted."""
_LAST_VERSION = 2**63 - 1
"""A status that names a later one is nonsense, which must not leave no number to give."""


class AdapterNode(ManagedNode):
    """Labelled frames and drift in; AdaptationStatus and a PatchSet for each accepted task out.

    One drift, known by the stamp at which it began, gets one training, and another where that
    failed. What it came to is on disk, so a restarted adapter sends its patch sets again and does
    not repeat it; one that was killed in mid-training starts anew from the frames it kept. The bank
    of earlier patch sets is asked first: where the drift is known, these are verified on a few
    labelled frames, and it is trained only where they do not hold. When the drift passes, the
    source models return.
    """

    def __init__(self) -> None:
        super().__init__("adapter", parameters.ADAPTER)
        self._outputs: list[Publisher[Any]] = []
        self._inputs: list[Subscription[Any]] = []
        self._offered: list[Service[Any, Any]] = []
        self._tick: Timer | None = None
        self._runner: EpisodeRunner | None = None
        self._lock: StoreLock | None = None

    def configure(self, values: Mapping[str, Any]) -> None:
        """Opens the store. Raises BundleError or ParameterError."""
        if not values["store"]:
            raise parameters.ParameterError(
                "parameter store is empty; give a folder for labelled frames and patch sets"
            )
        self._bundle = self.load_bundle(values)
        self._signer = _signer(values["signing_key"])
        folder = Path(values["store"]).expanduser().absolute()
        try:
            self._lock = StoreLock(folder)
            self._store = FrameStore(folder / "frames", values["capacity"], values["capacity_mib"])
            self._runner = EpisodeRunner(
                bundle=self._bundle.path.resolve(),
                store=folder / "frames",
                work=folder / "episodes",
                training=TrainingSettings(epochs=values["epochs"]),
                seed=values["seed"],
                threads=values["threads"],
            )
            # Signatures are features of the model that watches; another bundle's can't be compared.
            watching = self._bundle.fingerprint(self._bundle.manifest.drift.task)
            self._bank = PatchBank(folder / "bank" / watching[:16], self._bundle.drift_reference)
        except (StoreError, OSError) as error:
            raise parameters.ParameterError(f"parameter store: {error}") from error
        self._episode_file = folder / "episodes" / "episode.json"
        self._status_publisher = self.create_publisher(
            AdaptationStatus, "adaptation_status", qos.LATCHED
        )
        self._patch_sets = {
            task: self.create_publisher(PatchSet, patch_set_topic(task), qos.LATCHED)
            for task in self._bundle.manifest.models
        }
        self._outputs = [self._status_publisher, *self._patch_sets.values()]

    def activate(self) -> None:
        """Sends the stored patch sets again and starts to listen."""
        self._status = AdaptationStatus()
        self._stored = self._refused = self._not_stored = self._ignored = 0
        self._last_refused = self._last_reading = time.monotonic()
        self._disk_trouble = ""
        self._paused = False
        self._planner = Planner(self._bank, self._bundle.drift_reference, self._recall_episode())
        self._accepted: dict[Task, Path] = {}
        self._active_versions: dict[Task, int] = {}
        self._undone: dict[Task, set[int]] = {}
        self._publish_status(AdaptationStatus.IDLE)
        self._send_stored()
        heard: list[tuple[type[Any], str, Callable[[Any], None], QoSProfile]] = [
            (LabelledFrame, "labelled_frames", self._on_labelled_frame, qos.LABELLED_FRAMES),
            (DriftStatus, "drift_status", self._on_drift, qos.RESULTS),
        ]
        for task in self._bundle.manifest.models:
            node, on_features = NODE_OF_TASK[task], partial(self._on_features, task)
            heard.append((FrameFeatures, f"{node}/features", on_features, qos.RESULTS))
            on_patch = partial(self._on_patch, task)
            heard.append((PatchStatus, f"{node}/patch_status", on_patch, qos.LATCHED))
        self._inputs = [
            self.create_subscription(kind, topic, self.guarded(callback), profile)
            for kind, topic, callback, profile in heard
        ]
        self._offered = [
            self.create_service(kind, f"~/{name}", self.guarded(callback))
            for kind, name, callback in [
                (SetBool, "pause", self._on_pause),
                (Trigger, "adapt_now", self._on_adapt_now),
                (Trigger, "republish", self._on_republish),
                (Trigger, "reset", self._on_reset),
            ]
        ]
        self._tick = self.steady_timer(_TICK_SECONDS, self._on_tick)

    def deactivate(self) -> None:
        """Stops listening and ends a training that is under way; its frames stay."""
        for service in self._offered:
            self.destroy_service(service)
        self._offered = []
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        if self._tick is not None:
            self.destroy_timer(self._tick)
            self._tick = None
        if self._runner is not None and self._runner.running:
            self._end_episode()
            self._publish_status(AdaptationStatus.IDLE)

    def cleanup(self) -> None:
        """Forgets the bundle; what is on disk stays."""
        for publisher in self._outputs:
            self.destroy_publisher(publisher)
        self._outputs = []
        self._runner = None
        for loaded in ("_bundle", "_store", "_bank", "_planner"):
            vars(self).pop(loaded, None)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def report(self) -> tuple[str, Mapping[str, object]]:
        """Counts of labelled frames: `stored` are those that are on disk, and thus acknowledged.

        `ignored` are readings and statuses that make no sense. What is wrong is, the first of: what
        the disk refuses, a refused frame of late, that it is paused, that no drift readings come.
        """
        now = time.monotonic()
        silent = now - self._last_reading
        trouble = self._disk_trouble
        if not trouble and self._refused and now - self._last_refused < _RECENT_SECONDS:
            trouble = f"{self._refused} labelled frames refused"
        elif not trouble and self._paused:
            trouble = "paused: nothing is adapted to until ~/pause is called with false"
        elif not trouble and silent > _SILENCE_SECONDS:
            topic = self.resolve_topic_name("drift_status")
            trouble = f"no drift reading for {silent:.0f} s on {topic}"
        kept = {f"kept_{task}": self._store.count(task, 0) for task in self._patch_sets}
        counts = {
            "stored": self._stored,
            "refused": self._refused,
            "not_stored": self._not_stored,
            "ignored": self._ignored,
            "paused": self._paused,
        }
        return trouble, {**counts, **kept}

    def _on_labelled_frame(self, msg: LabelledFrame) -> None:
        try:
            frame_id, task, stamp_ns, sample = msg_to_labelled_frame(msg)
            self._check(task, stamp_ns, sample)
            self._store.add(frame_id, task, stamp_ns, sample)
        except DiskError as error:
            self._not_stored += 1
            self._disk_trouble = f"{error}; what was stored before is still there"
            self.get_logger().error(self._disk_trouble, throttle_duration_sec=_LOG_AGAIN_SECONDS)
            return
        except (ConversionError, LabelError, StoreError) as error:
            self._refused += 1
            self._last_refused = time.monotonic()
            self.get_logger().error(f"labelled frame {msg.id[:100]!r} refused: {error}")
            return
        self._stored += 1
        self._disk_trouble = ""

    def _check(self, task: Task, stamp_ns: int, sample: Sample) -> None:
        """Raises LabelError for a task or class that the bundle lacks, or no stamp."""
        if task not in self._patch_sets:
            raise LabelError(f"the bundle has no model for {task}")
        if stamp_ns == 0:
            raise LabelError("it has no stamp, so nobody can say which drift it belongs to")
        if stamp_ns < 0:
            raise LabelError(f"its stamp is before 1970 ({stamp_ns} ns)")
        check_label(task, self._bundle.spec(task).classes, sample)

    def _on_drift(self, msg: DriftStatus) -> None:
        since_ns = stamp_to_ns(msg.since)
        if not math.isfinite(msg.mmd2) or (msg.drifting and since_ns <= 0):
            self._ignored += 1
            self.get_logger().error(
                f"drift status refused: its MMD^2 is {msg.mmd2}, its drift began at {since_ns} ns",
                throttle_duration_sec=_LOG_AGAIN_SECONDS,
            )
            return
        self._last_reading = time.monotonic()
        self._store.protect(since_ns)
        self._planner.heard(
            Drift(
                drifting=msg.drifting,
                mmd2=msg.mmd2,
                since_ns=since_ns,
                stamp_ns=stamp_to_ns(msg.header.stamp),
            )
        )
        self._follow_plan()

    def _on_features(self, task: Task, msg: FrameFeatures) -> None:
        stamp_ns = stamp_to_ns(msg.header.stamp)
        self._store.saw(task, stamp_ns, msg.entropy)
        if task is self._bundle.manifest.drift.task:
            features = np.frombuffer(msg.features, dtype=np.float32)
            self._planner.saw(stamp_ns, features, self.get_logger().warning)

    def _on_patch(self, task: Task, msg: PatchStatus) -> None:
        if msg.task != str(task):
            self._ignored += 1
            self.get_logger().error(
                f"patch status refused: it is of {msg.task!r}, on the topic of {task}",
                throttle_duration_sec=_LOG_AGAIN_SECONDS,
            )
            return
        if max(msg.version, msg.removed) > _LAST_VERSION:
            self._ignored += 1
            self.get_logger().error(
                f"patch status refused: no patch set for {task} is version "
                f"{max(msg.version, msg.removed)}",
                throttle_duration_sec=_LOG_AGAIN_SECONDS,
            )
            return
        assert self._runner is not None
        self._runner.heard(task, max(msg.version, msg.removed))
        self._active_versions[task] = msg.version
        if msg.state == PatchStatus.REMOVED:
            self._undone.setdefault(task, set()).add(msg.removed)

    def _on_tick(self) -> None:
        assert self._runner is not None
        for event in self._runner.poll():
            self._on_event(event)
        if self._runner.running:
            return
        for task in list(self._undone):
            self._keep_undone(task)
        self._follow_plan()

    def _keep_undone(self, task: Task) -> None:
        """What runs since patch sets were undone is the newest, whoever starts again.

        Where the disk refuses that, it is tried again with the next tick.
        """
        assert self._runner is not None
        removed = self._undone.pop(task)
        try:
            kept = self._runner.keep_undone(task, removed, self._active_versions[task])
        except (OSError, PatchSetError) as error:
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                self._undone[task] = removed
            self.get_logger().error(
                f"that version {max(removed)} for {task} was undone can't be stored: {error}",
                throttle_duration_sec=_LOG_AGAIN_SECONDS,
            )
            return
        if kept is not None:
            self._publish_patch_set(task, *kept)

    def _follow_plan(self) -> None:
        """With each reading, so that none passes unseen, and when an episode or a pause is over."""
        assert self._runner is not None
        # What was undone is written down first, with the next tick.
        if self._runner.running or self._paused or self._undone:
            return
        action = self._planner.next(self._stamps, self.get_parameter("min_frames").value)
        if isinstance(action, Episode):
            self._start(action)
        elif isinstance(action, Collect):
            self._collecting(action.frames)
        else:
            if self._status.state == AdaptationStatus.COLLECTING:
                self._publish_status(AdaptationStatus.IDLE)
            if isinstance(action, ReturnToSource):
                self._return_to_source("the drift has passed")

    def _stamps(self, since_ns: int) -> dict[Task, list[int]]:
        return {
            task: [frame.stamp_ns for frame in self._store.select(task, since_ns)]
            for task in self._patch_sets
        }

    def _start(self, episode: Episode) -> bool:
        """Starts it; where the disk refuses that, it says so, and the next tick tries again."""
        assert self._runner is not None
        known = episode.known
        try:
            self._runner.start(
                episode.since_ns, episode.mmd2, self._active_versions, known, episode.until_ns
            )
        except OSError as error:
            reason = f"the episode can't be started: {error}"
            self.get_logger().error(reason, throttle_duration_sec=_LOG_AGAIN_SECONDS)
            if (self._status.state, self._status.reason) != (AdaptationStatus.FAILED, reason):
                self._publish_status(AdaptationStatus.FAILED, reason=reason)
            return False
        if known is not None:
            self.get_logger().info(
                f"the drift is like entry {known.name} of the bank (MMD^2 {known.mmd2:.4f}), whose "
                "patch sets are verified first"
            )
        for task, path in self._runner.missing(self._active_versions).items():
            self.get_logger().warning(
                f"version {self._active_versions[task]} for {task} runs, but {path} is gone: what "
                "comes is compared with the source model"
            )
        labelled = ", ".join(f"{task} {count}" for task, count in episode.frames.items())
        what = "training" if known is None else "verification"
        self.get_logger().info(
            f"{what} starts: MMD^2 {episode.mmd2:.4f}, labelled frames {labelled}"
        )
        self._planner.begun(episode)
        self._accepted = {}
        state = AdaptationStatus.TRAINING if known is None else AdaptationStatus.VERIFYING
        self._publish_status(state, collected=sum(episode.frames.values()))
        return True

    def _return_to_source(self, why: str) -> list[str]:
        """Where a patch set is the newest, or runs and is not stored any more.

        The source model becomes a version of its own.

        Returns:
            What the disk refuses, a sentence for each task that goes on as before.
        """
        assert self._runner is not None
        refused = []
        latest = self._runner.latest()
        for task in self._patch_sets:
            version, path = latest.get(task, (self._active_versions.get(task, 0), None))
            if not version or (path is not None and not path.stat().st_size):
                continue
            try:
                source = self._runner.return_to_source(task)
            except OSError as error:
                refused.append(
                    f"{why}, but that can't be stored: {error}; {task} goes on with version "
                    f"{version}"
                )
                continue
            self.get_logger().info(f"{why}: the source model for {task} returns")
            self._publish_patch_set(task, *source)
        if refused:
            self.get_logger().error("; ".join(refused), throttle_duration_sec=_LOG_AGAIN_SECONDS)
        return refused

    def _break_off(self) -> None:
        """Ends an episode that is under way; its drift may be adapted to again."""
        self._end_episode()
        self._planner.forget()
        self._publish_status(AdaptationStatus.IDLE)

    def _end_episode(self) -> None:
        """What it accepted already is sent; that it was ended is no failure."""
        assert self._runner is not None
        self._runner.stop()
        for event in self._runner.poll():
            if not isinstance(event, Failed):
                self._on_event(event)

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Nothing is trained, verified or taken back until it is called with false."""
        assert self._runner is not None
        self._paused = request.data
        if self._paused and self._runner.running:
            self._break_off()
        response.success = True
        response.message = "paused" if self._paused else "goes on"
        return response

    def _on_adapt_now(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """A training at once, on as few labelled frames as it can do with, drift or no drift."""
        assert self._runner is not None
        episode = self._planner.at_once(self._stamps)
        if self._runner.running:
            response.message = "an episode is already under way"
        elif self._paused:
            response.message = "the adapter is paused; call ~/pause with false first"
        elif not any(episode.frames.values()):
            response.message = "there are no labelled frames to train on"
        elif max(episode.frames.values()) < LEAST_FRAMES:
            counts = ", ".join(f"{task} {count}" for task, count in episode.frames.items())
            response.message = (
                f"a training takes {LEAST_FRAMES} labelled frames of a task; there are: {counts}"
            )
        elif not self._start(episode):
            response.message = self._status.reason
        else:
            response.success = True
            response.message = f"training starts on {sum(episode.frames.values())} labelled frames"
        return response

    def _on_republish(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """The newest patch set of each task is sent again."""
        sent = self._send_stored()
        response.success = bool(sent)
        response.message = f"sent: {', '.join(sent)}" if sent else "no patch set is stored"
        return response

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Back to the source models, as if no drift had been adapted to; labelled frames stay."""
        assert self._runner is not None
        # One that is under way may still report its end.
        self._break_off()
        refused = []
        try:
            self._episode_file.unlink(missing_ok=True)
        except OSError as error:
            refused.append(f"the last episode can't be forgotten: {error}")
        self._publish_status(AdaptationStatus.IDLE, episode_json="")
        refused += self._return_to_source("reset")
        response.success = not refused
        again = "; a drift goes on, which is adapted to again" if self._planner.drifting else ""
        kept = "the source models return; labelled frames and the bank are kept"
        response.message = "; ".join(refused) or f"{kept}{again}"
        return response

    def _send_stored(self) -> list[str]:
        """Sends the newest stored patch set of each task; names them."""
        assert self._runner is not None
        sent = []
        for task, (version, path) in sorted(self._runner.latest().items()):
            if self._publish_patch_set(task, version, path):
                sent.append(f"{task} {version}")
        return sent

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
        elif isinstance(event, LeftOut):
            self.get_logger().warning(f"{event.reason}; the episode goes on without it")
        elif isinstance(event, Progress):
            self._publish_status(under_way, task=str(event.task), progress=event.fraction)
        elif isinstance(event, Accepted):
            self._accepted[event.task] = event.path
            self._planner.accepted()
            self._publish_patch_set(event.task, event.version, event.path)
        elif isinstance(event, Rejected):
            self.get_logger().warning(f"no new patch set for {event.task}: {event.reason}")
            self._publish_status(under_way, task=str(event.task), reason=event.reason)
        elif isinstance(event, Finished):
            self._finish(event.episode)
            result = event.episode.as_json()
            self._publish_status(
                AdaptationStatus.FINISHED, task="", progress=1.0, episode_json=result
            )
        elif isinstance(event, Failed):
            what = "verification" if under_way == AdaptationStatus.VERIFYING else "training"
            pause = self._planner.failed()
            again = f"; it is tried again after {pause} s of readings" if pause else ""
            self.get_logger().error(f"{what} failed: {event.reason}{again}")
            self._publish_status(AdaptationStatus.FAILED, reason=f"{event.reason}{again}")

    def _finish(self, episode: EpisodeReport) -> None:
        what = "verification" if episode.bank_entry else "training"
        self.get_logger().info(f"{what} finished")
        try:
            self._planner.finished(episode, self._accepted)
        except OSError as error:
            self.get_logger().error(f"the bank of earlier patch sets can't be written: {error}")

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

    def _publish_patch_set(self, task: Task, version: int, path: Path) -> bool:
        """Sends a stored patch set; one that is damaged or of another bundle is only reported.

        An empty one, the source model's, is sent without data.
        """
        try:
            data = path.read_bytes()
            fingerprint = checked_metadata(data).base_fingerprint if data else ""
        except (OSError, PatchSetError) as error:
            self.get_logger().error(f"stored patch set {path} is not sent: {error}")
            return False
        known = task in self._patch_sets
        if not known or (data and fingerprint != self._bundle.fingerprint(task)):
            self.get_logger().warning(
                f"stored patch set {path} is not sent: it is of another bundle"
            )
            return False
        digest = sha256(data) if data else ""
        signed = statement(task, version, fingerprint, digest)
        self._patch_sets[task].publish(
            PatchSet(
                header=self.stamped_now(),
                task=str(task),
                version=version,
                base_fingerprint=fingerprint,
                sha256=digest,
                data=bytes_field(data),
                signature=bytes_field(self._signer.sign(signed) if self._signer else b""),
            )
        )
        self.get_logger().info(f"patch set {version} for {task} published")
        return True

    def _recall_episode(self) -> int | None:
        """Beginning of the drift that the last finished episode was for; its result is shown."""
        if not self._episode_file.is_file():
            return None
        try:
            report = self._episode_file.read_bytes()
            settled = settled_in(report)
        except (OSError, ValueError) as error:
            self.get_logger().error(
                f"{self._episode_file} can't be read: {error}; a drift that it was for may be "
                "adapted to once more"
            )
            return None
        self._status.episode_json = report.decode()
        return settled


def _signer(path: str) -> Signer | None:
    try:
        return Signer(Path(path).expanduser()) if path else None
    except SigningError as error:
        raise parameters.ParameterError(f"parameter signing_key: {error}") from error


def main() -> NoReturn:
    """Runs the node in this process until it is told to end."""
    run(AdapterNode)


if __name__ == "__main__":
    main()
