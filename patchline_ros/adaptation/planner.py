"""What the adapter does next: answer, collect, verify, train, or bring the source models back.

Everything is decided by the stamps of frames, never by when a message came: a replay, at whatever
rate, decides what the drive itself decided.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from patchline_ros.adaptation.bank import KnownDrift, PatchBank
from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.label_free_candidates import EARLIER
from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.adaptation.unlabelled_frames import LEAST_UNLABELLED
from patchline_ros.config_files import first_mistake
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.drift.window import SIGNATURE_FRAMES, FrameWindow
from patchline_ros.tasks import Task


@dataclass(frozen=True)
class Drift:
    """A reading of the drift monitor."""

    drifting: bool
    mmd2: float
    since_ns: int
    """Stamp from which frames may belong to the drift; it names the drift. 0: none."""
    stamp_ns: int
    """Stamp of the newest frame of the reading."""


@dataclass(frozen=True)
class Wait:
    """Nothing is to be done."""


@dataclass(frozen=True)
class Collect:
    """A drift has too few labelled frames yet."""

    frames: int


@dataclass(frozen=True)
class Episode:
    """Frames are enough to train on, to verify patch sets of a known drift, or to answer by."""

    since_ns: int
    until_ns: int
    """Stamp of the last frame that is used; what came after it was not needed."""
    mmd2: float
    frames: dict[Task, int]
    known: KnownDrift | None = None
    unlabelled_ns: int | None = None
    """Stamp from which on pictures without labels are the frames: what is known of the drift or
    was prepared answers by them, and nothing is trained. None: the frames are labelled."""


@dataclass(frozen=True)
class ReturnToSource:
    """The drift has passed."""


Action = Wait | Collect | Episode | ReturnToSource
Stamps = Callable[[int], Mapping[Task, list[int]]]
"""Stamps of the labelled frames of each task, from this one on, in the order of time; or those of
the unlabelled ones."""

_READINGS = 10_000
"""Readings of a drift that are remembered: some minutes of the fastest camera."""
PAUSE_SECONDS: Final = 60
LONGEST_PAUSE_SECONDS: Final = 3600
"""Between a training that failed and the next of the same drift, by the stamps of the readings: the
first pause, each next being twice as long, and the longest."""


class Planner:
    """One drift gets one training; the bank of earlier patch sets is asked before it.

    Before both, where patches were prepared, it gets an answer without labels.
    """

    def __init__(
        self,
        bank: PatchBank,
        reference: DriftReference,
        settled_ns: int | None,
        labels: LabelPolicy = LabelPolicy.REQUIRED,
    ) -> None:
        """Nothing was heard yet.

        Args:
            bank: of earlier patch sets.
            reference: the drift monitor's.
            settled_ns: beginning of the drift that the last episode was for, if any; 0: it was
                asked for without a drift.
            labels: whether they are waited for.
        """
        self._labels = labels
        self._answered_ns: int | None = None
        self._bank = bank
        self._size = reference.window
        self._window = FrameWindow(reference.width, SIGNATURE_FRAMES)
        self._settled_ns = self._settled_before_ns = settled_ns
        self._under_way: Episode | None = None
        self._stays = settled_ns == 0
        self._failures = self._again_ns = 0
        self._drift: Drift | None = None
        self._calm = 0
        self._first_seen_ns = 0
        self._asked = False
        self._known: KnownDrift | None = None
        self._entry = self._renews = ""
        self._readings: deque[Drift] = deque(maxlen=_READINGS)
        self._first_window: Features | None = None
        self._signature: Features | None = None

    @property
    def drifting(self) -> bool:
        """Whether the last reading was of a drift."""
        return self._drift is not None and self._drift.drifting

    @property
    def answers_without_labels(self) -> bool:
        """Whether a drift is answered before labels come, so that seconds count."""
        return self._labels is not LabelPolicy.REQUIRED

    @property
    def awaits_answer(self) -> bool:
        """Whether the drift of the last reading is to be answered without labels."""
        drift = self._drift
        return (
            drift is not None
            and drift.drifting
            and self.answers_without_labels
            and drift.since_ns not in (self._settled_ns, self._answered_ns)
            and drift.stamp_ns >= self._again_ns
        )

    def heard(self, drift: Drift) -> None:
        """Takes in a reading of the drift monitor."""
        before = self._drift.since_ns if self._drift else 0
        if drift.since_ns != before:
            self._first_seen_ns = drift.stamp_ns
            self._asked, self._known, self._entry = False, None, ""
            self._readings.clear()
            self._first_window = None
            self._failures = self._again_ns = 0
        if drift.drifting:
            self._readings.append(drift)
            self._stays = False
        self._calm = 0 if drift.drifting else self._calm + 1
        self._drift = drift

    def saw(self, stamp_ns: int, features: Features, broken: Callable[[str], object]) -> None:
        """Takes in a frame's raw features (d,); asks the bank when the window is full of the drift.

        Args:
            stamp_ns: of the frame.
            features: of the frame.
            broken: told, in a sentence, of each entry of the bank that can't be used.
        """
        self._window.add(stamp_ns, features)
        if self._drift is None or not self._drift.drifting:
            return
        if self._first_window is None:
            self._first_window = self._window.since(self._first_seen_ns)
        if self._drift.since_ns != self._settled_ns:
            self._ask_bank(broken)

    def next(self, stamps: Stamps, least: int, unlabelled: Stamps = lambda _: {}) -> Action:
        """What to do now, while no episode is under way.

        An episode takes the first frames that are enough and the reading that goes with the last of
        them, even where it is only asked for later.

        Args:
            stamps: of the labelled frames.
            least: labelled frames that each labelled task needs for a training.
            unlabelled: stamps of the pictures that an answer can be made by.
        """
        drift = self._drift
        if drift is None:
            return Wait()
        if not drift.drifting:
            # A window's length of readings, so that one frame at the edge decides nothing.
            passed = self._calm >= self._size and not self._stays
            return ReturnToSource() if passed else Wait()
        if drift.since_ns == self._settled_ns or drift.stamp_ns < self._again_ns:
            return Wait()
        answer = self._answer(unlabelled)
        if answer is not None:
            return answer
        found = stamps(drift.since_ns)
        if self._labels is LabelPolicy.NONE:
            return Wait()
        if self._known is not None and self._known.basis == "labels":
            needed = [
                (found[task], task.traits.verification_frames) for task in self._known.patch_sets
            ]
            if all(len(own) >= least_of for own, least_of in needed):
                until_ns = max(own[least_of - 1] for own, least_of in needed)
                return self._episode(found, until_ns, self._known)
        return self._episode(found, _enough(found, least), None)

    def _answer(self, unlabelled: Stamps) -> Episode | None:
        """The episode without labels, once there are pictures enough; None: no, or not yet."""
        if not self.awaits_answer or not (self._asked or self._bank.is_empty):
            return None
        # Not since the drift began: on the window that told of it, most pictures are of before.
        found = unlabelled(self._first_seen_ns)
        action = self._episode(found, _enough(found, LEAST_UNLABELLED), None)
        if not isinstance(action, Episode):
            return None
        return replace(action, unlabelled_ns=self._first_seen_ns, known=self._known)

    def at_once(self, stamps: Stamps) -> Episode:
        """A training on the frames of the present drift, or on all where there is none."""
        since_ns, mmd2 = 0, 0.0
        if self._drift is not None:
            mmd2 = self._drift.mmd2
            since_ns = self._drift.since_ns if self._drift.drifting else 0
        found = stamps(since_ns)
        until_ns = max((own[-1] for own in found.values() if own), default=since_ns)
        return Episode(since_ns, until_ns, mmd2, {task: len(own) for task, own in found.items()})

    def _episode(
        self, found: Mapping[Task, list[int]], until_ns: int | None, known: KnownDrift | None
    ) -> Episode | Collect:
        """The episode on frames up to `until_ns`, once there is a reading of that time."""
        collect = Collect(sum(len(own) for own in found.values()))
        if until_ns is None:
            return collect
        reading = next((r for r in self._readings if r.stamp_ns >= until_ns), None)
        if reading is None:
            return collect
        frames = {task: bisect_right(own, until_ns) for task, own in found.items()}
        return Episode(reading.since_ns, until_ns, reading.mmd2, frames, known)

    def begun(self, episode: Episode) -> None:
        """An episode starts; the first window full of the drift is its signature in the bank."""
        self._under_way = episode
        self._signature, self._renews = self._first_window, self._entry
        if episode.unlabelled_ns is not None:
            self._answered_ns = episode.since_ns
            return
        self._known = None
        self._settled_before_ns = self._settled_ns
        if episode.known is None:
            self._settled_ns = episode.since_ns

    def accepted(self) -> None:
        """A patch set of the episode under way is accepted.

        Where it was asked for without a drift, no drift is over that it was for: it stays until the
        next one has come and passed.
        """
        self._stays = self._under_way is not None and not self._under_way.since_ns

    def failed(self) -> int | None:
        """The episode under way came to nothing, so its drift is not settled by it.

        Returns:
            For how many seconds of readings its next try waits; None: nothing failed that the drift
            still needs. An answer without labels is tried again only where no labels will come.
        """
        episode, drift = self._under_way, self._drift
        if episode is not None and episode.unlabelled_ns is not None:
            # The next drift has an answer of its own before it.
            still = drift is not None and drift.since_ns == self._answered_ns
            if drift is None or not still or self._labels is not LabelPolicy.NONE:
                return None
            self._answered_ns = None
            return self._pause(drift)
        if episode is None:
            return None
        self._settled_ns = self._settled_before_ns
        if episode.known is not None or drift is None:
            return None
        if drift.since_ns != episode.since_ns or drift.since_ns in (0, self._settled_ns):
            return None
        return self._pause(drift)

    def _pause(self, drift: Drift) -> int:
        """Nothing is begun for so many seconds of readings: twice as many after each failure."""
        pause = min(PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures += 1
        self._again_ns = drift.stamp_ns + pause * 10**9
        return pause

    def finished(self, episode: EpisodeReport, accepted: Mapping[Task, Path]) -> None:
        """An episode's report came: its drift goes into the bank, or an entry was of use.

        Raises:
            OSError: the disk refuses it.
        """
        if episode.basis == "labels" and episode.bank_entry:
            self._settled_ns = settled_since(episode)
            if any(episode.accepted.values()):
                self._bank.used(episode.bank_entry)
            return
        known = self._under_way.known if self._under_way else None
        if episode.basis == "prediction" and known is not None and known.basis == "labels":
            # An answer without labels takes nothing from what was trained.
            if any(episode.candidates[task] == EARLIER for task in accepted):
                self._bank.used(known.name)
            return
        self._remember(episode, {task: path.read_bytes() for task, path in accepted.items()})

    def _remember(self, episode: EpisodeReport, patch_sets: Mapping[Task, bytes]) -> None:
        """A drift becomes an entry of the bank, or renews what an answer without labels left."""
        goes_on = self._drift is not None and self._drift.since_ns == episode.since_ns
        signature = self._signature
        if signature is None and goes_on:
            signature = self._first_window
        # A training that was asked for without a drift is no drift to remember.
        if not patch_sets or not episode.since_ns:
            return
        name = self._renews
        if name:
            self._bank.renew(name, patch_sets, episode.basis)
        elif signature is not None:
            name = self._bank.add(signature, patch_sets, episode.basis)
        if goes_on:
            self._entry = name

    def forget(self) -> None:
        """The present drift may be adapted to again."""
        self._settled_ns = None
        self._answered_ns = None
        self._failures = self._again_ns = 0
        self._asked, self._known = False, None

    def _ask_bank(self, broken: Callable[[str], object]) -> None:
        """Looks once, as soon as the window is full of the drift, whether it is known."""
        if self._asked or self._first_window is None:
            return
        self._asked = True
        known = self._known = self._bank.find(self._first_window, broken)
        # What was answered without labels makes way for what labels teach.
        self._entry = known.name if known and known.basis == "prediction" else ""


def _enough(found: Mapping[Task, list[int]], least: int) -> int | None:
    """The earliest stamp by which each task that is labelled by then has `least` frames."""
    for until_ns in sorted(own[least - 1] for own in found.values() if len(own) >= least):
        counts = [bisect_right(own, until_ns) for own in found.values()]
        if all(count >= least for count in counts if count):
            return until_ns
    return None


def settled_since(episode: EpisodeReport) -> int | None:
    """Beginning of the drift that needs nothing more; None where kept patch sets did not hold.

    0 where a patch set was accepted that was asked for without a drift.
    """
    accepted = episode.accepted.values()
    if episode.basis == "prediction":
        return None
    if episode.bank_entry and not all(accepted):
        return None
    return episode.since_ns if episode.since_ns or any(accepted) else None


def settled_in(report: bytes) -> int | None:
    """The same, of a report as it lies in a file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return settled_since(EpisodeReport.model_validate_json(report))
    except ValidationError as error:
        raise ValueError(first_mistake(error, EpisodeReport, whole="")) from error
