"""What the adapter does next, reading by reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patchline_ros.adaptation.bank import PatchBank
from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.label_free_candidates import EARLIER
from patchline_ros.adaptation.label_policy import LabelPolicy
from patchline_ros.adaptation.planner import (
    PAUSE_SECONDS,
    Collect,
    Drift,
    Episode,
    Planner,
    ReturnToSource,
    Wait,
    settled_in,
    settled_since,
)
from patchline_ros.adaptation.unlabelled_frames import LEAST_UNLABELLED
from patchline_ros.drift.monitor import DriftReference
from patchline_ros.drift.window import SIGNATURE_FRAMES
from patchline_ros.tasks import Task

WINDOW, LEAST = SIGNATURE_FRAMES, 12
SECOND = 1_000_000_000
NONE: dict[Task, list[int]] = {Task.CLASSIFICATION: [], Task.SEGMENTATION: []}


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    features = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    return DriftReference.from_source(features, WINDOW, false_alarm=1000)


@pytest.fixture
def bank(tmp_path: Path, reference: DriftReference) -> PatchBank:
    return PatchBank(tmp_path / "bank", reference)


def frames(shift: float, seed: int) -> np.ndarray:
    """A window of a drift."""
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (WINDOW, 6)).astype(np.float32)


def drift(since_ns: int, stamp_ns: int) -> Drift:
    return Drift(drifting=True, mmd2=0.4, since_ns=since_ns, stamp_ns=stamp_ns)


CALM = Drift(drifting=False, mmd2=0.0, since_ns=0, stamp_ns=0)


def drift_fills_the_window(plan: Planner, seed: int) -> None:
    """A drift since 100 ns whose frames are all that the window holds."""
    plan.heard(drift(100, 110))
    for stamp, features in enumerate(frames(4, seed), start=110):
        plan.saw(stamp, features, pytest.fail)
    plan.heard(drift(100, 117))


def report(since_ns: int, entry: str = "", accepted: bool = True) -> EpisodeReport:
    return EpisodeReport(
        since_ns=since_ns, bank_entry=entry, accepted={Task.CLASSIFICATION: accepted}
    )


def labelled(since_ns: int = 100, **counts: int) -> dict[Task, list[int]]:
    """Stamps of that many frames of each task, one a nanosecond."""
    found = {Task(name): [since_ns + i for i in range(count)] for name, count in counts.items()}
    return {**NONE, **found}


def test_a_drift_is_trained_once_and_its_end_brings_the_source_back(
    bank: PatchBank, reference: DriftReference
) -> None:
    plan = Planner(bank, reference, settled_ns=None)
    assert plan.next(lambda _: NONE, LEAST) == Wait()
    plan.heard(drift(100, 110))
    assert plan.next(lambda _: NONE, LEAST) == Collect(0)
    assert plan.next(lambda _: labelled(signs=20, lanes=3), LEAST) == Collect(23)
    enough = labelled(signs=20)
    assert plan.next(lambda _: enough, LEAST) == Collect(20), "no reading of that time yet"
    plan.heard(drift(100, 112))
    episode = plan.next(lambda _: enough, LEAST)
    assert episode == Episode(100, 111, 0.4, {Task.CLASSIFICATION: 12, Task.SEGMENTATION: 0})
    assert isinstance(episode, Episode)
    plan.begun(episode)
    plan.finished(report(100), {})
    assert plan.next(lambda _: enough, LEAST) == Wait()
    for _ in range(WINDOW - 1):
        plan.heard(CALM)
    assert plan.next(lambda _: enough, LEAST) == Wait()
    plan.heard(CALM)
    assert plan.next(lambda _: enough, LEAST) == ReturnToSource()
    plan.heard(drift(500, 510))
    assert plan.next(lambda _: NONE, LEAST) == Collect(0)


def test_what_is_decided_does_not_depend_on_when_it_is_asked_for(
    bank: PatchBank, reference: DriftReference
) -> None:
    """Readings and labels come on topics of their own, in any order."""
    readings = [Drift(True, 0.1 * stamp, 100, stamp) for stamp in range(107, 130)]
    plan = Planner(bank, reference, settled_ns=None)
    found = []
    for number, reading in enumerate(readings):
        plan.heard(reading)
        found.append(plan.next(lambda _, n=number: labelled(signs=n, lanes=n), LEAST))
    first = next(action for action in found if isinstance(action, Episode))
    assert found[-1] == first
    late = Planner(bank, reference, settled_ns=None)
    for reading in readings:
        late.heard(reading)
    assert late.next(lambda _: labelled(signs=30, lanes=30), LEAST) == first
    assert (first.until_ns, first.mmd2) == (111, pytest.approx(11.1))
    # Lanes get their first label when signs had enough: they are of the next episode.
    later = {Task.CLASSIFICATION: list(range(100, 120)), Task.SEGMENTATION: list(range(112, 115))}
    assert late.next(lambda _: later, LEAST) == Episode(
        100, 111, first.mmd2, {Task.CLASSIFICATION: 12, Task.SEGMENTATION: 0}
    )


def test_a_known_drift_is_verified_first_and_trained_where_that_fails(
    bank: PatchBank, reference: DriftReference, tmp_path: Path
) -> None:
    kept = tmp_path / "classification"
    kept.write_bytes(b"patches")
    plan = Planner(bank, reference, settled_ns=None)
    drift_fills_the_window(plan, seed=1)
    first = plan.next(lambda _: labelled(signs=12), LEAST)
    assert isinstance(first, Episode) and first.known is None
    plan.begun(first)
    plan.finished(report(100), {Task.CLASSIFICATION: kept})
    assert bank.entries() == ["000001"]

    plan.heard(drift(500, 510))
    # Frames from before the drift are still in the window.
    plan.saw(509, frames(4, 2)[0], pytest.fail)
    assert plan.next(lambda _: labelled(500, signs=8), LEAST) == Collect(8)
    for stamp, features in enumerate(frames(4, 2), start=510):
        plan.saw(stamp, features, pytest.fail)
    plan.heard(drift(500, 517))
    assert plan.next(lambda _: labelled(500, signs=7), LEAST) == Collect(7)
    again = plan.next(lambda _: labelled(500, signs=8), LEAST)
    assert isinstance(again, Episode) and again.known is not None
    assert again.known.patch_sets[Task.CLASSIFICATION].read_bytes() == b"patches"
    plan.begun(again)
    plan.finished(report(500, "000001", accepted=False), {})
    assert plan.next(lambda _: labelled(500, signs=8), LEAST) == Collect(8)
    trained = plan.next(lambda _: labelled(500, signs=12), LEAST)
    assert isinstance(trained, Episode) and trained.known is None
    plan.begun(trained)
    plan.finished(report(500, "000001"), {})
    assert plan.next(lambda _: labelled(500, signs=12), LEAST) == Wait()
    assert bank.entries() == ["000001"]
    # It was of use, so another goes when there is no room.
    for _ in range(16):
        bank.add(frames(1, 1), {Task.CLASSIFICATION: b"other"})
    assert "000001" not in bank.entries()


def test_a_known_drift_is_verified_on_frames_up_to_where_every_task_has_enough(
    bank: PatchBank, reference: DriftReference
) -> None:
    bank.add(frames(4, 1), {Task.CLASSIFICATION: b"one", Task.SEGMENTATION: b"other"})
    plan = Planner(bank, reference, settled_ns=None)
    drift_fills_the_window(plan, seed=1)
    plan.heard(drift(100, 150))
    least = Task.SEGMENTATION.traits.verification_frames
    later = list(range(120, 120 + least))
    found = {Task.CLASSIFICATION: list(range(100, 120)), Task.SEGMENTATION: later}
    episode = plan.next(lambda _: found, LEAST)
    assert isinstance(episode, Episode) and episode.known is not None
    assert episode.until_ns == later[-1]


def test_a_broken_bank_is_said_once_and_the_drift_is_trained(
    bank: PatchBank, reference: DriftReference, tmp_path: Path
) -> None:
    name = bank.add(frames(4, 1), {Task.CLASSIFICATION: b"patches"})
    (tmp_path / "bank" / name / "signature.safetensors").write_bytes(b"")
    plan = Planner(bank, reference, settled_ns=None)
    plan.heard(drift(100, 100))
    for features in frames(4, 2)[1:]:
        plan.saw(100, features, pytest.fail)
    said: list[str] = []
    plan.saw(100, frames(4, 2)[0], said.append)
    plan.saw(101, frames(4, 2)[0], said.append)
    assert len(said) == 1 and "delete that folder" in said[0]
    plan.heard(drift(100, 117))
    assert isinstance(plan.next(lambda _: labelled(signs=12), LEAST), Episode)


def test_reports_from_before_there_was_a_bank_are_read() -> None:
    assert settled_in(b'{"since_ns": 100, "accepted": {"signs": false}}') == 100


def calm(plan: Planner, readings: int) -> None:
    for _ in range(readings):
        plan.heard(CALM)


def test_what_was_asked_for_without_a_drift_stays_until_one_has_passed(
    bank: PatchBank, reference: DriftReference
) -> None:
    plan = Planner(bank, reference, settled_ns=None)
    calm(plan, WINDOW)
    episode = plan.at_once(lambda _: labelled(signs=12))
    assert episode.since_ns == 0
    plan.begun(episode)
    plan.accepted()
    calm(plan, 2 * WINDOW)
    plan.finished(report(0), {})
    assert plan.next(lambda _: NONE, LEAST) == Wait()
    # It does so after a restart, too, where something came of it.
    for accepted, action in ((True, Wait()), (False, ReturnToSource())):
        again = Planner(bank, reference, settled_since(report(0, accepted=accepted)))
        calm(again, WINDOW)
        assert again.next(lambda _: NONE, LEAST) == action
    # One of which nothing comes keeps nobody from the source model.
    plan.begun(plan.at_once(lambda _: labelled(signs=12)))
    plan.finished(report(0, accepted=False), {})
    assert plan.next(lambda _: NONE, LEAST) == Wait()
    plan.heard(drift(500, 510))
    calm(plan, WINDOW)
    assert plan.next(lambda _: NONE, LEAST) == ReturnToSource()


def test_what_was_asked_for_in_a_drift_goes_with_it(
    bank: PatchBank, reference: DriftReference
) -> None:
    plan = Planner(bank, reference, settled_ns=None)
    plan.heard(drift(100, 110))
    plan.begun(plan.at_once(lambda _: labelled(signs=12)))
    plan.accepted()
    calm(plan, WINDOW)
    plan.finished(report(100), {})
    assert plan.next(lambda _: NONE, LEAST) == ReturnToSource()


def test_a_training_that_failed_is_tried_again_after_growing_pauses(
    bank: PatchBank, reference: DriftReference
) -> None:
    enough = labelled(signs=20)
    plan = Planner(bank, reference, settled_ns=None)
    now_ns = 112
    for pause in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        plan.heard(drift(100, now_ns))
        episode = plan.next(lambda _: enough, LEAST)
        assert isinstance(episode, Episode), "the same frames, whenever it is tried"
        assert (episode.until_ns, episode.known) == (111, None)
        plan.begun(episode)
        assert plan.failed() == pause
        now_ns += pause * SECOND
        plan.heard(drift(100, now_ns - 1))
        assert plan.next(lambda _: enough, LEAST) == Wait()
    # Another drift does not wait for it, and one that was trained is settled.
    plan.heard(CALM)
    plan.heard(drift(now_ns, now_ns + 20))
    other = plan.next(lambda _: labelled(now_ns, signs=20), LEAST)
    assert isinstance(other, Episode)
    plan.begun(other)
    plan.finished(report(now_ns), {})
    assert plan.next(lambda _: labelled(now_ns, signs=20), LEAST) == Wait()
    # Where another training is asked for and fails, it stays so.
    plan.begun(plan.at_once(lambda _: enough))
    assert plan.failed() is None
    plan.heard(drift(now_ns, now_ns + 10_000 * SECOND))
    assert plan.next(lambda _: labelled(now_ns, signs=20), LEAST) == Wait()


def test_a_verification_that_failed_is_followed_by_a_training(
    bank: PatchBank, reference: DriftReference
) -> None:
    bank.add(frames(4, 1), {Task.CLASSIFICATION: b"patches"})
    plan = Planner(bank, reference, settled_ns=None)
    drift_fills_the_window(plan, seed=2)
    known = plan.next(lambda _: labelled(signs=12), LEAST)
    assert isinstance(known, Episode) and known.known is not None
    plan.begun(known)
    assert plan.failed() is None
    again = plan.next(lambda _: labelled(signs=12), LEAST)
    assert isinstance(again, Episode) and again.known is None


def test_what_was_settled_before_a_restart_stays_so(
    bank: PatchBank, reference: DriftReference, tmp_path: Path
) -> None:
    kept = tmp_path / "classification"
    kept.write_bytes(b"patches")
    plan = Planner(bank, reference, settled_ns=100)
    plan.heard(drift(100, 117))
    assert plan.next(lambda _: labelled(signs=12), LEAST) == Wait()
    assert (
        plan.at_once(lambda since_ns: labelled(signs=since_ns)).frames[Task.CLASSIFICATION] == 100
    )
    at_once = Planner(bank, reference, settled_ns=None)
    for features in frames(0, 1):
        at_once.saw(1, features, pytest.fail)
    at_once.begun(at_once.at_once(lambda _: labelled(signs=12)))
    at_once.finished(report(0), {Task.CLASSIFICATION: kept})
    assert bank.entries() == []
    plan.forget()
    assert isinstance(plan.next(lambda _: labelled(signs=12), LEAST), Episode)


def pictures(count: int) -> dict[Task, list[int]]:
    return labelled(segmentation=count)


@pytest.mark.parametrize("labels", LabelPolicy)
def test_a_drift_is_answered_once_without_labels_and_trained_where_labels_are_welcome(
    bank: PatchBank, reference: DriftReference, labels: LabelPolicy
) -> None:
    plan = Planner(bank, reference, settled_ns=None, labels=labels)
    enough = labelled(segmentation=LEAST)
    answers, trains = labels is not LabelPolicy.REQUIRED, labels is not LabelPolicy.NONE
    plan.heard(drift(100, 150))
    asked: list[int] = []

    def few_pictures(since_ns: int) -> dict[Task, list[int]]:
        asked.append(since_ns)
        return pictures(LEAST_UNLABELLED - 1)

    few = plan.next(lambda _: NONE, LEAST, few_pictures)
    # What was seen before the drift was noticed may be of before the drift.
    assert asked == ([150] if answers else []) and plan.awaits_answer == answers
    assert few == (Collect(0) if trains else Wait())
    first = plan.next(lambda _: NONE, LEAST, lambda _: pictures(LEAST_UNLABELLED))
    if answers:
        assert isinstance(first, Episode) and first.unlabelled_ns is not None
        assert first.until_ns == 100 + LEAST_UNLABELLED - 1
        plan.begun(first)
        plan.finished(EpisodeReport(since_ns=100, basis="prediction", accepted={}), {})
    second = plan.next(lambda _: enough, LEAST, lambda _: pictures(LEAST_UNLABELLED))
    assert isinstance(second, Episode) == trains
    assert not trains or getattr(second, "unlabelled_ns", 0) is None
    assert not plan.awaits_answer
    # The next drift is answered again.
    plan.heard(drift(400, 450))
    again = plan.next(lambda _: NONE, LEAST, lambda _: pictures(LEAST_UNLABELLED))
    assert isinstance(again, Episode) == answers


def test_an_answer_that_failed_is_tried_again_where_no_labels_will_come(
    bank: PatchBank, reference: DriftReference
) -> None:
    plan = Planner(bank, reference, settled_ns=None, labels=LabelPolicy.NONE)

    def answer() -> object:
        return plan.next(lambda _: NONE, LEAST, lambda _: pictures(LEAST_UNLABELLED))

    plan.heard(drift(100, 150))
    first = answer()
    assert isinstance(first, Episode)
    plan.begun(first)
    assert plan.failed() == PAUSE_SECONDS
    plan.heard(drift(100, 150 + PAUSE_SECONDS * SECOND - 1))
    assert answer() == Wait() and not plan.awaits_answer
    plan.heard(drift(100, 150 + PAUSE_SECONDS * SECOND))
    again = answer()
    assert isinstance(again, Episode)
    plan.begun(again)
    # Another drift has begun by the time that this one's answer fails: it waits for nothing.
    plan.heard(drift(2 * 10**12, 2 * 10**12 + 50))
    assert plan.failed() is None
    assert isinstance(answer(), Episode)


def test_an_answer_that_failed_is_not_tried_again_and_the_drift_is_trained(
    bank: PatchBank, reference: DriftReference
) -> None:
    plan = Planner(bank, reference, settled_ns=None, labels=LabelPolicy.WELCOME)
    plan.heard(drift(100, 150))
    first = plan.next(lambda _: NONE, LEAST, lambda _: pictures(LEAST_UNLABELLED))
    assert isinstance(first, Episode)
    plan.begun(first)
    assert plan.failed() is None
    frames_of_now = labelled(segmentation=LEAST)
    second = plan.next(lambda _: frames_of_now, LEAST, lambda _: pictures(LEAST_UNLABELLED))
    assert isinstance(second, Episode) and second.unlabelled_ns is None


def answered(since_ns: int, candidate: str = "prepared") -> EpisodeReport:
    return EpisodeReport(
        since_ns=since_ns,
        basis="prediction",
        candidates={Task.SEGMENTATION: candidate},
        accepted={Task.SEGMENTATION: True},
    )


@pytest.mark.parametrize("trained", [False, True])
def test_what_answered_a_drift_is_the_first_candidate_when_it_returns(
    bank: PatchBank, reference: DriftReference, tmp_path: Path, trained: bool
) -> None:
    answer, patches = tmp_path / "answer", tmp_path / "patches"
    answer.write_bytes(b"answer")
    patches.write_bytes(b"trained")
    labels = LabelPolicy.WELCOME if trained else LabelPolicy.NONE
    plan = Planner(bank, reference, settled_ns=None, labels=labels)
    drift_fills_the_window(plan, seed=1)
    first = plan.next(lambda _: NONE, LEAST, lambda _: pictures(LEAST_UNLABELLED))
    assert isinstance(first, Episode) and first.known is None
    plan.begun(first)
    plan.finished(answered(100), {Task.SEGMENTATION: answer})
    if trained:
        # It rests on no label, so it does not stand in the way of those that come.
        second = plan.next(lambda _: labelled(segmentation=LEAST), LEAST)
        assert isinstance(second, Episode) and second.known is None
        plan.begun(second)
        plan.finished(report(100), {Task.CLASSIFICATION: patches})
    assert bank.entries() == ["000001"]

    plan.heard(drift(500, 510))
    few = plan.next(lambda _: NONE, LEAST, lambda _: labelled(510, segmentation=LEAST_UNLABELLED))
    assert not isinstance(few, Episode), "the bank has not been asked yet"
    for stamp, features in enumerate(frames(4, 2), start=510):
        plan.saw(stamp, features, pytest.fail)
    plan.heard(drift(500, 530))
    again = plan.next(lambda _: NONE, LEAST, lambda _: labelled(510, segmentation=LEAST_UNLABELLED))
    assert isinstance(again, Episode) and again.unlabelled_ns == 510
    assert again.known is not None
    kept = {task: path.read_bytes() for task, path in again.known.patch_sets.items()}
    assert kept == {
        Task.SEGMENTATION: b"answer",
        **({Task.CLASSIFICATION: b"trained"} if trained else {}),
    }
    assert again.known.basis == ("labels" if trained else "prediction")
    plan.begun(again)
    answer.write_bytes(b"another answer")
    plan.finished(answered(500, EARLIER), {Task.SEGMENTATION: answer})
    # What labels taught is not replaced by what was answered without them.
    now = again.known.patch_sets[Task.SEGMENTATION].read_bytes()
    assert now == (b"answer" if trained else b"another answer")
    verified = plan.next(lambda _: labelled(500, signs=8, segmentation=8), LEAST)
    assert (getattr(verified, "known", None) is not None) == trained
    assert bank.entries() == ["000001"]


def test_an_answer_that_ends_in_the_next_drift_is_kept_as_its_own(
    bank: PatchBank, reference: DriftReference, tmp_path: Path
) -> None:
    answer = tmp_path / "answer"
    answer.write_bytes(b"answer")
    plan = Planner(bank, reference, settled_ns=None, labels=LabelPolicy.WELCOME)
    drift_fills_the_window(plan, seed=1)
    first = plan.next(lambda _: NONE, LEAST, lambda _: pictures(LEAST_UNLABELLED))
    assert isinstance(first, Episode)
    plan.begun(first)
    plan.heard(drift(500, 510))
    plan.finished(answered(100), {Task.SEGMENTATION: answer})
    # The next drift's training makes an entry of its own, and leaves that one as it is.
    for stamp, features in enumerate(frames(-4, 2), start=510):
        plan.saw(stamp, features, pytest.fail)
    plan.heard(drift(500, 530))
    second = plan.next(lambda _: labelled(500, segmentation=LEAST), LEAST)
    assert isinstance(second, Episode)
    plan.begun(second)
    plan.finished(report(500), {Task.SEGMENTATION: answer})
    assert bank.entries() == ["000001", "000002"]
    found = bank.find(frames(4, 3), pytest.fail)
    assert found is not None and (found.name, found.basis) == ("000001", "prediction")
