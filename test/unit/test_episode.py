"""Which of the labelled frames an episode trains on, and which judge what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle

from patchline_ros.adaptation.episode import (
    FILTER_ABOVE,
    EpisodeJob,
    Event,
    Finished,
    run_episode,
)
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.adaptation.trainer import TrainingSettings
from patchline_ros.tasks import Sample, Task


def episode_report(folder: Path, frames: int, rate: float) -> dict[str, Any]:
    """The report of an episode on so many signs whose brightness tells the class."""
    # More nats than three classes can have: the filter's rule alone would leave nothing.
    bundle = tiny_bundle.make_bundle(folder / "bundle", source_entropy=2.0)
    store = FrameStore(folder / "store", frames, 64)
    rng = np.random.default_rng(0)
    for i in range(frames):
        image = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8) + np.uint8(80 * (i % 3))
        store.add(f"frame{i}", Task.SIGNS, 1000 + i, Sample(image, i % 3))
    job = EpisodeJob(
        bundle=bundle.path,
        store=folder / "store",
        output=folder / "work",
        since_ns=1000,
        mmd2=0.5,
        next_version={Task.SIGNS: 1},
        training=TrainingSettings(epochs=2, rate=rate),
    )
    job.output.mkdir()
    events: list[Event] = []
    run_episode(job, events.append)
    assert isinstance(events[-1], Finished)
    return events[-1].episode


@pytest.mark.parametrize(
    ("frames", "filtered"), [(FILTER_ABOVE * 5 // 4, False), (FILTER_ABOVE * 5 // 4 + 10, True)]
)
def test_few_frames_are_all_trained_on_and_of_many_the_uncertain_ones(
    tmp_path: Path, frames: int, filtered: bool
) -> None:
    report = episode_report(tmp_path, frames, rate=1.0)
    assert report["collected"]["signs"] == frames - frames // 5
    assert (report["kept"]["signs"] < report["collected"]["signs"]) == filtered
    assert report["gate"]["signs"]["best_epoch"] > 0
    assert report["gate"]["signs"]["frames"] == frames // 5


def test_where_nothing_was_fitted_to_labels_every_labelled_frame_judges(tmp_path: Path) -> None:
    gate = episode_report(tmp_path, 20, rate=1e-12)["gate"]["signs"]
    assert (gate["best_epoch"], gate["frames"]) == (0, 20)
