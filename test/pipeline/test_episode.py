"""Which of the labelled frames an episode trains on, and which validate what came out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

from patchline_ros.adaptation.episode import (
    EpisodeJob,
    Event,
    Finished,
    LeftOut,
    Rejected,
    run_episode,
    running_model,
)
from patchline_ros.adaptation.episode_report import EpisodeReport
from patchline_ros.adaptation.frame_choice import FILTER_ABOVE, LEAST_FRAMES
from patchline_ros.adaptation.returning_drift import recall_episode
from patchline_ros.adaptation.store import FrameStore, StoredFrame, StoredFrames
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.bundle import Bundle
from patchline_ros.offline.bundle_writing import add_source_frames
from patchline_ros.patching.patch_set import read_metadata
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.evaluation import answers


def signs_job(folder: Path, frames: int, rate: float) -> EpisodeJob:
    """An episode on so many signs whose brightness tells the class."""
    # More nats than three classes can have: the filter's rule alone would leave nothing.
    bundle = tiny_bundle.make_bundle(folder / "bundle", source_entropy=2.0)
    store = FrameStore(folder / "store", frames, 64)
    rng = np.random.default_rng(0)
    for i in range(frames):
        image = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8) + np.uint8(80 * (i % 3))
        store.add(f"frame{i}", Task.CLASSIFICATION, 1000 + i, Sample(image, i % 3))
    job = EpisodeJob(
        bundle=bundle.path,
        store=folder / "store",
        output=folder / "work",
        since_ns=1000,
        mmd2=0.5,
        next_version={Task.CLASSIFICATION: 1},
        training=TrainingSettings(epochs=2, rate=rate),
    )
    job.output.mkdir(parents=True)
    return job


def report_of(events: list[Event]) -> EpisodeReport:
    """The episode's, which must have finished."""
    assert isinstance(events[-1], Finished)
    return events[-1].episode


@pytest.mark.parametrize(
    ("frames", "filtered"), [(FILTER_ABOVE * 5 // 4, False), (FILTER_ABOVE * 5 // 4 + 10, True)]
)
def test_few_frames_are_all_trained_on_and_of_many_the_uncertain_ones(
    tmp_path: Path, frames: int, filtered: bool
) -> None:
    events: list[Event] = []
    run_episode(signs_job(tmp_path, frames, rate=1.0), events.append)
    report = report_of(events)
    assert report.collected[Task.CLASSIFICATION] == frames - frames // 5
    assert (report.kept[Task.CLASSIFICATION] < report.collected[Task.CLASSIFICATION]) == filtered
    assert report.gate[Task.CLASSIFICATION].best_epoch > 0
    assert report.gate[Task.CLASSIFICATION].frames == frames // 5


def test_what_the_labels_have_unlearnt_of_the_source_is_refused(tmp_path: Path) -> None:
    """The bundle's own frames say what the source model says; these labels teach another thing."""
    job = signs_job(tmp_path, 30, rate=1.0)
    job = job.model_copy(update={"training": TrainingSettings(epochs=20)})
    events: list[Event] = []
    run_episode(job, events.append)
    report = report_of(events)
    assert report.accepted[Task.CLASSIFICATION], report.gate
    assert report.gate[Task.CLASSIFICATION].source_before is None
    bundle = Bundle.load(job.bundle)
    road = [sample.image for sample in StoredFrames(job.store).read(stored(job))]
    said = answers(bundle.model(Task.CLASSIFICATION), road).labels
    frames = [Sample(image, label) for image, label in zip(road, said, strict=True)]
    add_source_frames(bundle, {Task.CLASSIFICATION: frames})
    run_episode(job, events.append)
    again = report_of(events)
    assert not again.accepted[Task.CLASSIFICATION]
    scores = again.gate[Task.CLASSIFICATION]
    assert scores.after > scores.before and scores.source_before == 1.0
    assert isinstance(events[-2], Rejected)
    assert "contradict those of the source" in events[-2].reason
    spent = again.train_gflops[Task.CLASSIFICATION] - report.train_gflops[Task.CLASSIFICATION]
    assert spent > 0, "what the check computes is counted"


def stored(job: EpisodeJob) -> list[StoredFrame]:
    """All of its labelled signs."""
    return StoredFrames(job.store).select(Task.CLASSIFICATION, 0)


def test_the_expectation_names_the_model_that_was_compared_with(tmp_path: Path) -> None:
    job = signs_job(tmp_path, 10, rate=1.0)
    bundle = Bundle.load(job.bundle)
    source = bundle.model(Task.CLASSIFICATION)
    samples = job.samples(StoredFrames(job.store), Task.CLASSIFICATION, lambda _: None)
    data = tiny_bundle.make_patch_set(bundle, Task.CLASSIFICATION, 1)
    path = tmp_path / "running.safetensors"
    path.write_bytes(data)
    again = job.model_copy(update={"running": {Task.CLASSIFICATION: path}})
    ran = [
        running_model(one, bundle, source, Task.CLASSIFICATION)
        .compared(source, samples)
        .expected.ran
        for one in (job, again)
    ]
    assert ran == ["", read_metadata(data).sha256]


def test_the_least_frames_that_can_be_trained_on_and_one_fewer(tmp_path: Path) -> None:
    events: list[Event] = []
    run_episode(signs_job(tmp_path / "enough", LEAST_FRAMES, rate=1.0), events.append)
    report = report_of(events)
    assert (
        report.collected == {Task.CLASSIFICATION: LEAST_FRAMES - 2}
        and Task.CLASSIFICATION in report.gate
    )
    events.clear()
    run_episode(signs_job(tmp_path / "few", LEAST_FRAMES - 1, rate=1.0), events.append)
    (rejected,) = [event for event in events if isinstance(event, Rejected)]
    assert (
        rejected.task is Task.CLASSIFICATION and "9 labelled frames are too few" in rejected.reason
    )
    assert report_of(events).accepted == {"classification": False}


def test_where_nothing_was_fitted_to_labels_every_labelled_frame_judges(tmp_path: Path) -> None:
    events: list[Event] = []
    run_episode(signs_job(tmp_path, 20, rate=1e-12), events.append)
    gate = report_of(events).gate[Task.CLASSIFICATION]
    assert (gate.best_epoch, gate.frames) == (0, 20)


def test_a_frame_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    job = signs_job(tmp_path, 21, rate=1.0)
    broken, *_, folder = sorted((job.store / "classification").iterdir())
    broken.write_bytes(b"nonsense")
    folder.unlink()
    folder.mkdir()
    events: list[Event] = []
    run_episode(job, events.append)
    told = [event.reason for event in events if isinstance(event, LeftOut)]
    assert all(path.name in why for path, why in zip([broken, folder], told, strict=True))
    assert report_of(events).collected[Task.CLASSIFICATION] == 19 - 19 // 5

    # One frame fewer than an earlier patch set must be verified on.
    patch_set = tmp_path / "earlier.safetensors"
    patch_set.write_bytes(b"never looked at")
    again = job.model_copy(update={"known": {Task.CLASSIFICATION: patch_set}, "until_ns": 1007})
    events.clear()
    recall_episode(again, events.append)
    left_out, rejected, finished = events
    assert isinstance(left_out, LeftOut) and isinstance(rejected, Rejected)
    assert "7 labelled frames are left" in rejected.reason and "needs 8" in rejected.reason
    assert isinstance(finished, Finished) and finished.episode.accepted == {"classification": False}
