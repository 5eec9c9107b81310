"""The three patch predictors, learnt from labels that trainings gave."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tiny_watched import data, tiny_watched
from vgg16_reader import image_reader

from patchline_ros.jobs.scheduler import ProcessPool
from patchline_ros.offline.predictor_data import PredictorSettings
from tools.predictor_study import learn_predictors


def test_predictors_are_learnt_from_labels_to_the_end(tmp_path: Path) -> None:
    watched = tiny_watched()
    settings = PredictorSettings(
        drifts=(("contrast", 0.02), ("night", 1.0), ("noise", 0.9)),
        counts=(0, 1, 7),
        # How much a training of this tiny model adds hangs on the processor: 0 to 6 points where
        # hardly anything changed, and 17 to 21 where much did.
        margin=0.1,
    )
    with closing(ProcessPool(1)) as processes:
        labels, _ = data(settings, tmp_path, processes)
    found = learn_predictors(watched, labels, image_reader(), seed=0)
    # What hardly differs from the source needs nothing.
    assert labels[0].patches == 0 < max(label.patches for label in labels)
    assert found.sets[0].mmd2 < min(drifted.mmd2 for drifted in found.sets[1:])
    assert set(found.scores) == set(found.predictors) == {"table", "light", "paper"}
    # A table that a drift was left out of says the same here and in its label.
    assert found.scores["table"].predicted == [label.predicted for label in labels]
    assert found.predictors["light"].predict(found.sets[0]) == 0
