"""The loop that turns drifts into patch sets: what is heard, decided, trained and told.

It knows neither topics nor clocks of ROS; the adapter node hands it what comes and sends what it
says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

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
from patchline_ros.adaptation.frame_choice import LEAST_FRAMES
from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.adaptation.log import LOG_AGAIN_SECONDS, Log
from patchline_ros.adaptation.loop_status import LoopStatus
from patchline_ros.adaptation.patch_versions import PatchVersions
from patchline_ros.adaptation.planner import (
    Collect,
    Drift,
    Episode,
    Planner,
    ReturnToSource,
    settled_in,
)
from patchline_ros.adaptation.storage import Storage
from patchline_ros.adaptation.unlabelled_frames import UnlabelledFrames
from patchline_ros.bundle import Bundle
from patchline_ros.drift.kernels import Features
from patchline_ros.messages.loop_state import LoopState
from patchline_ros.tasks import Image, Task


class AdaptationLoop:
    """One drift, known by the stamp at which it began, gets one training.

    It gets another where that failed. What it came to is on disk, so that a restarted loop sends
    its patch sets again and does not repeat it; one that was killed in mid-training starts anew
    from the frames it kept. The bank of earlier patch sets is asked first: where the drift is
    known, these are verified on a few labelled frames, and it is trained only where they do not
    hold. Before all that, where the bundle has prepared patches, these answer by pictures without
    labels. When the drift passes, the source models return.
    """

    def __init__(
        self,
        bundle: Bundle,
        storage: Storage,
        versions: PatchVersions,
        least_frames: Callable[[], int],
        labels: LabelPolicy,
        publish: Callable[[LoopStatus], None],
        log: Log,
    ) -> None:
        """Takes up what an earlier one left on disk; says so with `start`.

        Args:
            bundle: of the source models.
            storage: labelled frames, episodes, and the bank.
            versions: of the patch sets.
            least_frames: labelled frames that each labelled task needs for a training, as of now.
            labels: whether they are waited for; without prepared patches they are.
            publish: tells everybody the status.
            log: what happens.
        """
        self._bundle, self._versions, self._publish, self._log = bundle, versions, publish, log
        self._least_frames = least_frames
        self._frames, self._runner = storage.frames, storage.runner
        self._episode_file = storage.episode_file
        self._status = LoopStatus()
        settled_ns = self._recall_episode()
        prepared = bundle.manifest.prepared
        self._labels = labels if prepared else LabelPolicy.REQUIRED
        self._planner = Planner(storage.bank, bundle.drift_reference, settled_ns, self._labels)
        self._unlabelled = UnlabelledFrames(prepared)
        self._accepted: dict[Task, Path] = {}
        self._paused = False
        self._last_reading = time.monotonic()
        self.ignored = 0
        """Readings and statuses that make no sense."""

    @property
    def paused(self) -> bool:
        """Whether nothing is trained, verified or taken back."""
        return self._paused

    @property
    def seconds_without_reading(self) -> float:
        """How long no reading of the drift monitor has come that makes sense."""
        return time.monotonic() - self._last_reading

    def start(self) -> None:
        """Tells the status and sends the stored patch sets again."""
        self._tell(LoopState.IDLE)
        self._versions.send_stored()

    def stop(self) -> None:
        """Ends a training that is under way; its frames stay."""
        self._runner.keep_ready(False)
        if self._runner.running:
            self._end_episode()
            self._tell(LoopState.IDLE)

    def heard_drift(self, drift: Drift) -> None:
        """A reading of the drift monitor came."""
        if not math.isfinite(drift.mmd2) or (drift.drifting and drift.since_ns <= 0):
            self.ignore(
                f"drift status refused: its MMD^2 is {drift.mmd2}, its drift began at "
                f"{drift.since_ns} ns"
            )
            return
        self._last_reading = time.monotonic()
        self._frames.protect(drift.since_ns)
        self._planner.heard(drift)
        # Where there is no room for a process now, the start of the episode says so.
        with suppress(OSError):
            self._runner.keep_ready(self._planner.answers_without_labels and not self._paused)
        self._follow_plan()

    def saw(self, task: Task, stamp_ns: int, entropy: float, features: Features) -> None:
        """A perception node has answered a picture.

        Args:
            task: of the node.
            stamp_ns: of the picture.
            entropy: of the model's outputs in nats.
            features: (d,) raw features of the picture.
        """
        self._frames.saw(task, stamp_ns, entropy)
        if task is self._bundle.manifest.drift.task:
            self._planner.saw(stamp_ns, features, self._log.warning)

    def saw_picture(self, task: Task, stamp_ns: int, image: Image) -> None:
        """A perception node shows what its model has looked at: (H, W, 3), as large as its input.

        Only pictures of tasks with prepared patches are of use.
        """
        size = self._bundle.spec(task).input_size
        if image.shape[:2] != size:
            self.ignore(
                f"picture of {task} refused: it is {image.shape[:2]} pixels large, the model's "
                f"input is {size}"
            )
        elif task in self._bundle.manifest.prepared:
            self._unlabelled.add(task, stamp_ns, image)

    def heard_version(
        self, task: Task, named: str, version: int, removed: int, undone: bool
    ) -> None:
        """A perception node says which patch set it runs.

        Args:
            task: of the topic on which it came.
            named: the task that it names.
            version: of the patch set that runs, 0 for the source model.
            removed: the version that was removed last; 0: none.
            undone: whether that is what it says.
        """
        if named != str(task):
            wrong = f"it is of {named!r}, on the topic of {task}"
        else:
            wrong = self._versions.heard(task, version, removed, undone)
        if wrong:
            self.ignore(f"patch status refused: {wrong}")

    def ignore(self, sentence: str) -> None:
        """Counts a message that makes no sense, or that nobody here has sent, and says so."""
        self.ignored += 1
        self._log.refusal(sentence)

    def tick(self) -> None:
        """To be called several times a second: takes in what an episode says and goes on."""
        for event in self._runner.poll():
            self._on_event(event)
        if self._runner.running:
            return
        self._versions.keep_undone()
        self._follow_plan()

    def pause(self, paused: bool) -> None:
        """Nothing is trained, verified or taken back until it is called with false."""
        self._paused = paused
        if paused and self._runner.running:
            self._break_off()

    def adapt_now(self) -> tuple[bool, str]:
        """A training at once, on as few labelled frames as it can do with, drift or no drift.

        Returns:
            Whether it starts, and a sentence.
        """
        episode = self._planner.at_once(self._stamps)
        if self._runner.running:
            return False, "an episode is already under way"
        if self._paused:
            return False, "the adapter is paused; call ~/pause with false first"
        if not any(episode.frames.values()):
            return False, "there are no labelled frames to train on"
        if max(episode.frames.values()) < LEAST_FRAMES:
            return False, (
                f"a training takes {LEAST_FRAMES} labelled frames of a task; there are: "
                f"{_listed(episode.frames)}"
            )
        if not self._begin(episode):
            return False, self._status.reason
        return True, f"training starts on {sum(episode.frames.values())} labelled frames"

    def reset(self) -> tuple[bool, str]:
        """Back to the source models, as if no drift had been adapted to; labelled frames stay.

        Returns:
            Whether all of it could be stored, and a sentence.
        """
        # One that is under way may still report its end.
        self._break_off()
        refused = []
        try:
            self._episode_file.unlink(missing_ok=True)
        except OSError as error:
            refused.append(f"the last episode can't be forgotten: {error}")
        self._tell(LoopState.IDLE, episode_json="")
        refused += self._versions.return_to_source("reset")
        again = "; a drift goes on, which is adapted to again" if self._planner.drifting else ""
        kept = "the source models return; labelled frames and the bank are kept"
        return not refused, "; ".join(refused) or f"{kept}{again}"

    def _follow_plan(self) -> None:
        """With each reading, so that none passes unseen, and when an episode or a pause is over."""
        # What was undone is written down first, with the next tick.
        if self._runner.running or self._paused or self._versions.undone:
            return
        action = self._planner.next(self._stamps, self._least_frames(), self._unlabelled.stamps)
        if isinstance(action, Episode):
            self._begin(action)
        elif isinstance(action, Collect):
            status, reason = self._status, self._waits_for(action)
            told = (status.state, status.collected, status.reason)
            if told != (LoopState.COLLECTING, action.frames, reason):
                self._tell(LoopState.COLLECTING, collected=action.frames, reason=reason)
        else:
            if self._status.state is LoopState.COLLECTING:
                self._tell(LoopState.IDLE)
            if isinstance(action, ReturnToSource):
                self._versions.return_to_source("the drift has passed")

    def _waits_for(self, collect: Collect) -> str:
        """What would help a drift without labels; empty where there are some."""
        if collect.frames:
            return ""
        runs = ", ".join(str(task) for task, version in self._versions.active.items() if version)
        return (
            f"no labelled frame has come since the drift began; "
            f"{f'patches run for {runs}' if runs else 'the source models run'}; publish "
            "LabelledFrame messages (docs/labelling.md) and they are trained"
        )

    def _stamps(self, since_ns: int) -> dict[Task, list[int]]:
        return {
            task: [frame.stamp_ns for frame in self._frames.select(task, since_ns)]
            for task in self._bundle.manifest.models
        }

    def _begin(self, episode: Episode) -> bool:
        """Starts it; where the disk refuses that, it says so, and the next tick tries again."""
        known, active = episode.known, self._versions.active
        from_ns = episode.unlabelled_ns
        try:
            self._runner.start(
                episode.since_ns,
                episode.mmd2,
                active,
                known,
                episode.until_ns,
                self._unlabelled if from_ns is not None else None,
                from_ns,
            )
        except OSError as error:
            reason = f"the episode can't be started: {error}"
            self._log.error(reason, throttle_duration_sec=LOG_AGAIN_SECONDS)
            if (self._status.state, self._status.reason) != (LoopState.FAILED, reason):
                self._tell(LoopState.FAILED, reason=reason)
            return False
        if known is not None:
            self._log.info(
                f"the drift is like entry {known.name} of the bank (MMD^2 {known.mmd2:.4f}), whose "
                "patch sets are tried first"
            )
        self._versions.say_what_is_missing()
        state = _state_of(episode)
        frames = "pictures without labels" if from_ns is not None else "labelled frames"
        self._log.info(
            f"{_EPISODE[state]} starts: MMD^2 {episode.mmd2:.4f}, {frames} "
            f"{_listed(episode.frames)}"
        )
        self._planner.begun(episode)
        self._accepted = {}
        self._tell(state, collected=sum(episode.frames.values()))
        return True

    def _break_off(self) -> None:
        """Ends an episode that is under way; its drift may be adapted to again."""
        self._end_episode()
        self._planner.forget()
        self._tell(LoopState.IDLE)

    def _end_episode(self) -> None:
        """What it accepted already is sent; that it was ended is no failure."""
        self._runner.stop()
        for event in self._runner.poll():
            if not isinstance(event, Failed):
                self._on_event(event)

    def _on_event(self, event: Event) -> None:
        """Turns what the worker says into the status, patch sets and log lines."""
        under_way = self._status.state
        if isinstance(event, Chosen):
            kept, order = sum(event.kept.values()), tuple(map(str, event.order))
            self._tell(under_way, kept=kept, patches=event.patches, order=order)
        elif isinstance(event, LeftOut):
            self._log.warning(f"{event.reason}; the episode goes on without it")
        elif isinstance(event, Progress):
            self._tell(under_way, task=str(event.task), progress=event.fraction)
        elif isinstance(event, Accepted):
            self._accepted[event.task] = event.path
            self._planner.accepted()
            self._versions.send(event.task, event.version, event.path)
        elif isinstance(event, Rejected):
            self._log.warning(f"no new patch set for {event.task}: {event.reason}")
            self._tell(under_way, task=str(event.task), reason=event.reason)
        elif isinstance(event, Finished):
            self._finish(event.episode)
        elif isinstance(event, Failed):
            what = _EPISODE.get(under_way, "training")
            pause = self._planner.failed()
            again = f"; it is tried again after {pause} s of readings" if pause else ""
            self._log.error(f"{what} failed: {event.reason}{again}")
            self._tell(LoopState.FAILED, reason=f"{event.reason}{again}")

    def _finish(self, episode: EpisodeReport) -> None:
        self._log.info(f"{_EPISODE.get(self._status.state, 'training')} finished")
        try:
            self._planner.finished(episode, self._accepted)
        except OSError as error:
            self._log.error(f"the bank of earlier patch sets can't be written: {error}")
        self._tell(LoopState.FINISHED, task="", progress=1.0, episode_json=episode.as_json())

    def _tell(self, state: LoopState, **changes: Any) -> None:
        self._status = self._status.changed(state, **changes)
        self._publish(self._status)

    def _recall_episode(self) -> int | None:
        """Beginning of the drift that the last finished episode was for; its result is shown."""
        if not self._episode_file.is_file():
            return None
        try:
            report = self._episode_file.read_bytes()
            settled = settled_in(report)
        except (OSError, ValueError) as error:
            self._log.error(
                f"{self._episode_file} can't be read: {error}; a drift that it was for may be "
                "adapted to once more"
            )
            return None
        self._status = LoopStatus(episode_json=report.decode())
        return settled


_EPISODE = {
    LoopState.TRAINING: "training",
    LoopState.VERIFYING: "verification",
    LoopState.ANSWERING: "answer without labels",
}
"""What an episode is called in the log."""


def _state_of(episode: Episode) -> LoopState:
    if episode.unlabelled_ns is not None:
        return LoopState.ANSWERING
    return LoopState.TRAINING if episode.known is None else LoopState.VERIFYING


def _listed(frames: Mapping[Task, int]) -> str:
    return ", ".join(f"{task} {count}" for task, count in frames.items())
