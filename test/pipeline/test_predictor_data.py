"""Predictor data: the same for any number of workers, and after a kill of anything."""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_watched import TRAINING, data, tiny_watched

from patchline_ros.jobs.scheduler import ProcessPool
from patchline_ros.manifest import PatchStep
from patchline_ros.offline.job_inputs import Inputs, read_inputs
from patchline_ros.offline.predictor_data import PredictorData, PredictorSettings, label_drifts
from patchline_ros.offline.predictor_inputs import INPUTS, PredictorFacts, write_inputs
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Boxes, Label, Sample, Task
from patchline_ros.vision.model import ModelSpec, TaskModel, fingerprint

SETTINGS = PredictorSettings(drifts=(("fog", 0.5), ("contrast", 0.02)), counts=(0, 2), trainings=2)
FIGURES = 6
"""Of two drifts: one without patches, two trainings with two."""


def figures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*/*-k*-seed*.json")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="module")
def alone(folder: Path) -> PredictorData:
    """Made by one worker without a pause."""
    with closing(ProcessPool(1)) as one:
        return data(SETTINGS, folder, one)


@pytest.fixture(scope="module")
def two() -> Iterator[ProcessPool]:
    """Two workers, which stay from test to test."""
    with closing(ProcessPool(2)) as processes:
        yield processes


def test_the_labels_hold_every_figure(alone: PredictorData, folder: Path) -> None:
    assert len(figures(folder)) == FIGURES
    assert [(label.corruption, label.severity) for label in alone.labels] == list(SETTINGS.drifts)
    for label in alone.labels:
        assert {k: len(found) for k, found in label.metrics.items()} == {0: 2, 2: 2}
        assert len(set(label.metrics[0])) == 1
    # Two seeds are two trainings.
    assert any(len(set(label.metrics[2])) == 2 for label in alone.labels)


def test_two_workers_find_what_one_finds(
    alone: PredictorData, folder: Path, two: ProcessPool, tmp_path: Path
) -> None:
    shares: list[float] = []
    # Nor does it matter in which order, or beside which others, a drift comes.
    turned = SETTINGS.model_copy(update={"drifts": SETTINGS.drifts[::-1]})
    both = data(turned, tmp_path, two, shares.append)
    assert figures(tmp_path) == figures(folder)
    assert both.labels == alone.labels[::-1]
    assert both.table == alone.table
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(1.0)
    assert shares == sorted(shares)


def make_in(folder: Path) -> None:
    """A driver of two workers, which is killed after two figures or a few more."""

    def kill(_share: float) -> None:
        if len(figures(folder)) >= 2:
            os.kill(os.getpid(), signal.SIGKILL)

    # As in the process of the tests: another number of threads rounds differently.
    torch.set_num_threads(1)
    data(SETTINGS, folder, ProcessPool(2), kill)


def test_it_goes_on_after_a_kill_of_the_driver(
    alone: PredictorData, folder: Path, two: ProcessPool, tmp_path: Path
) -> None:
    driver = multiprocessing.get_context("forkserver").Process(target=make_in, args=(tmp_path,))
    driver.start()
    driver.join()
    assert driver.exitcode == -signal.SIGKILL
    assert 2 <= len(figures(tmp_path)) < FIGURES
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.json")}
    assert data(SETTINGS, tmp_path, two) == alone
    assert figures(tmp_path) == figures(folder)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_worker_that_is_killed_costs_nothing_but_time(
    alone: PredictorData, folder: Path, two: ProcessPool, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill(share: float) -> None:
        workers = [child.pid for child in multiprocessing.active_children() if child.pid]
        if share > 0 and not killed:
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)

    assert data(SETTINGS, tmp_path, two, kill) == alone
    assert len(killed) == 1
    assert figures(tmp_path) == figures(folder)


def test_jobs_that_always_fail_are_one_sentence(two: ProcessPool, tmp_path: Path) -> None:
    watched = tiny_watched()
    model = copy.deepcopy(watched.model)
    for parameter in model.head.parameters():
        parameter.detach().fill_(float("nan"))
    broken = replace(watched, model=model)
    message = (
        r"^of the predictor data 4 of 6 could not be made; the first: fog 0\.5, 2 patches, "
        "seed 0: the loss of segmentation became nan in epoch 1; look for broken labels or weights$"
    )
    with pytest.raises(ValueError, match=message):
        data(SETTINGS, tmp_path, two, watched=broken)
    # All that can be done is done.
    assert len(figures(tmp_path)) == 2
    damaged = next(tmp_path.glob("*/fog-0.5-k0-*.json"))
    damaged.write_bytes(b"")
    few = SETTINGS.model_copy(update={"counts": (0,)})
    with pytest.raises(ValueError, match=r"fog-0\.5-k0-seed0\.json is damaged; delete it"):
        data(few, tmp_path, two, watched=broken)
    many = SETTINGS.model_copy(update={"counts": (0, 8)})
    with pytest.raises(ValueError, match="asks for 8 patches; the backbone takes 0 to 7"):
        data(many, tmp_path, two)
    with pytest.raises(ValueError, match="8 and 0 came"):
        data(SETTINGS, tmp_path, two, watched=replace(watched, held_out=[]))


def test_each_drift_is_predicted_from_the_others() -> None:
    found = label_drifts(
        [("fog", 0.25), ("fog", 0.5), ("fog", 1.0)],
        [
            {0: [0.9, 0.9], 1: [0.905, 0.91], 2: [0.9, 0.9]},
            # The mean of one patch is 0.8, a tenth of a point within the margin of 0.809.
            {0: [0.5, 0.5], 1: [0.7, 0.9], 2: [0.809, 0.809]},
            {0: [0.2, 0.2], 1: [0.5, 0.5], 2: [0.7, 0.6]},
        ],
        [0.1, 0.5, 1.0],
        margin=0.01,
    )
    assert [label.patches for label in found.labels] == [0, 1, 2]
    assert found.table == [
        PatchStep(mmd2=0.1, patches=0),
        PatchStep(mmd2=0.5, patches=1),
        PatchStep(mmd2=1.0, patches=2),
    ]
    # Below all others; between 0.1 and 1.0, where the step at 1.0 is not reached; above 0.5.
    assert [label.predicted for label in found.labels] == [0, 0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drifts": [["fog", 0.5]]}, "at least 2 items"),
        ({"drifts": [["fog", 0.5], ["smog", 0.5]]}, "there is no corruption 'smog'"),
        ({"drifts": [["fog", 0.5], ["rain", 1], ["fog", 0.5]]}, "fog 0.5 is there twice"),
        ({"drifts": [["fog", 0.5], ["rain", 1.5]]}, "less than or equal to 1"),
        ({"counts": [0, -1]}, "greater than or equal to 0"),
        ({"trainings": 0}, "greater than or equal to 1"),
        ({"margin": float("inf")}, "finite number"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PredictorSettings.model_validate(settings)


def sample(label: Label) -> Sample:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return Sample(image, label)


LABELS: dict[Task, list[Label]] = {
    Task.CLASSIFICATION: [1, 0],
    Task.DETECTION: [
        Boxes.truth([[1, 2, 9, 8], [3, 4, 20, 30]], [1, 0]),
        Boxes.truth([], []),
    ],
    Task.SEGMENTATION: [np.eye(32, dtype=np.uint8), np.zeros((32, 32), np.uint8)],
}


@pytest.mark.parametrize("task", list(Task))
def test_jobs_read_what_the_driver_wrote(task: Task, tmp_path: Path) -> None:
    spec = ModelSpec(task=task, classes=("one", "two"), input_size=(32, 32), width=0.25)
    facts = PredictorFacts(
        spec=spec,
        method=PatchSettings(k=1),
        training=TRAINING,
        seed=3,
        versions={"torch": "2"},
    )
    samples = [sample(label) for label in LABELS[task]]
    inputs = Inputs(facts, TaskModel(spec).eval(), samples, samples[:1])
    place = write_inputs(tmp_path, inputs)
    assert write_inputs(tmp_path, inputs) == place
    again = read_inputs(place / INPUTS, PredictorFacts)
    assert again.facts == facts
    assert fingerprint(again.model) == fingerprint(inputs.model)
    assert not again.model.training
    assert (len(again.train), len(again.held_out)) == (2, 1)
    for found, written in zip(again.train, samples, strict=True):
        assert np.array_equal(found.image, written.image)
        assert type(found.label) is type(written.label)
        if isinstance(found.label, Boxes) and isinstance(written.label, Boxes):
            assert np.array_equal(found.label.boxes, written.label.boxes)
            assert np.array_equal(found.label.labels, written.label.labels)
        else:
            assert np.array_equal(found.label, written.label)
    other = replace(inputs, facts=facts.model_copy(update={"seed": 4}))
    assert write_inputs(tmp_path, other) != place
    (place / INPUTS).write_bytes(b"torn")
    with pytest.raises(ValueError, match="is damaged; delete it"):
        read_inputs(place / INPUTS, PredictorFacts)
    (place / INPUTS).unlink()
    with pytest.raises(ValueError, match="is not there: all machines must see this folder"):
        read_inputs(place / INPUTS, PredictorFacts)
