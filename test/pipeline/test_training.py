"""Source training: average, precision, checkpoints, several processes, what TensorBoard gets."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny_watched
import together
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from pydantic import ValidationError

from patchline_ros.drift.corruptions import MADE_DRIFTS
from patchline_ros.offline.drifted_views import DriftedViews
from patchline_ros.offline.preparation import PreparationSettings
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.training_log import TrainingLog
from patchline_ros.tasks import Task
from patchline_ros.vision import training
from patchline_ros.vision.fabric import training_fabric
from patchline_ros.vision.model import TaskModel, fingerprint
from patchline_ros.vision.training import SourceStep, train_source


def trained(**settings: object) -> list[tuple[SourceStep, TaskModel]]:
    """All steps of a training alone; the models are copies."""
    steps = train_source(together.SPEC, together.SAMPLES, **{**together.SETTINGS, **settings})
    return [(step, copy.deepcopy(model)) for step, model in steps]


def test_the_average_is_that_of_the_steps() -> None:
    plain = [model.state_dict() for _, model in trained(ema=0.0)]
    averaged = trained(ema=0.7)[-1][1]
    assert not averaged.training
    for name in ("head.classifier.weight", "backbone.stem.1.running_var"):
        expected = plain[0][name].clone()
        for n, state in enumerate(plain[1:], start=1):
            expected.lerp_(state[name], 1 - min(0.7, (1 + n) / (10 + n)))
        torch.testing.assert_close(averaged.state_dict()[name], expected)


def scaled() -> Fabric:
    """16 bit with a scaled loss, as on a GPU, on the CPU; the first scale is too large."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))


# The step that overflows is left out, and not the schedule's.
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize(
    "fabric",
    [training_fabric, partial(training_fabric, "bf16-mixed"), scaled],
    ids=["32-true", "bf16-mixed", "16-mixed"],
)
def test_a_training_goes_on_from_its_checkpoint_with_the_same_bits(
    fabric: Callable[[], Fabric], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(fabric=fabric(), epochs=2)[-1][1]
    assert {value.dtype for value in whole.parameters()} == {torch.float32}
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    settings = {**together.SETTINGS, "epochs": 2, "checkpoint": tmp_path / "checkpoint"}
    for step, _ in train_source(together.SPEC, together.SAMPLES, **settings, fabric=fabric()):
        if step.number == 2:
            break
    resumed = trained(**settings, fabric=fabric())
    assert resumed[0][0].number == 3
    assert fingerprint(resumed[-1][1]) == fingerprint(whole)
    with pytest.raises(ValueError, match="belongs to a training with other frames, settings"):
        trained(**{**settings, "ema": 0.9}, fabric=fabric())


def test_pictures_that_are_changed_first_are_so_again_after_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"epochs": 2, "draw_change": DriftedViews(0.5)}
    whole = trained(**changed)[-1][1]
    assert fingerprint(whole) != fingerprint(trained(epochs=2)[-1][1])
    # None of them is under a drift, and nothing is left but other draws of their views.
    assert fingerprint(whole) != fingerprint(trained(epochs=2, draw_change=DriftedViews(0))[-1][1])
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    settings = {**together.SETTINGS, **changed, "checkpoint": tmp_path / "checkpoint"}
    for step, _ in train_source(together.SPEC, together.SAMPLES, **settings):
        if step.number == 2:
            break
    with pytest.raises(ValueError, match="belongs to a training with other frames, settings"):
        trained(**{**settings, "draw_change": None})
    assert fingerprint(trained(**settings)[-1][1]) == fingerprint(whole)


def test_a_share_of_the_pictures_is_under_a_drift_that_no_gate_is_fitted_to() -> None:
    picture = tiny_watched.road(0).image
    rng = np.random.default_rng(0)
    changes = [DriftedViews(0.5)(rng) for _ in range(200)]
    drifted = [change for change in changes if not np.array_equal(change(picture), picture)]
    assert 70 < len(drifted) < 130
    assert all(np.array_equal(change(picture), change(picture)) for change in drifted[:20])
    settings = PreparationSettings()
    assert not set(MADE_DRIFTS) & {*settings.stopping_drifts, *settings.gate_drifts}


def test_wrong_precisions_are_named() -> None:
    with pytest.raises(ValidationError, match="Input should be 'auto', '32-true', '16-mixed' or"):
        Recipe(precision="half")
    with pytest.raises(ValueError, match="16-mixed needs a GPU; a CPU has 32-true and bf16-mixed"):
        training_fabric("16-mixed")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs lightning-fabric: pip install '.*\[off"):
        trained()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ValueError, match=r"needs tensorboard: .* or leave --tensorboard out"):
        TrainingLog(tmp_path, batch_size=8)


def test_tensorboard_gets_the_scalars(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TrainingLog(tmp_path, batch_size=8)
    steps = trained()
    for step, _ in steps:
        log.step(Task.SEGMENTATION, step)
    log.held_out(Task.SEGMENTATION, 0.75)
    log.close()
    events = EventAccumulator(str(tmp_path / "segmentation"))
    events.Reload()
    found = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert set(found) == {"loss", "learning_rate", "samples_per_second", "held_out_metric"}
    assert [event.step for event in found["loss"]] == [step.number for step, _ in steps]
    assert found["loss"][-1].value < found["loss"][0].value
    assert found["learning_rate"][-1].value < 1e-4
    assert min(event.value for event in found["samples_per_second"]) > 0
    held_out = [(event.step, event.value) for event in found["held_out_metric"]]
    assert held_out == [(steps[-1][0].number, 0.75)]
