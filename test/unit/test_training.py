"""Source training: average, precision, checkpoints, several processes, what TensorBoard gets."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import together
import torch
from pydantic import ValidationError

from patchline_ros.bundle import Bundle
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.training_log import TrainingLog
from patchline_ros.tasks import Task
from patchline_ros.vision import training
from patchline_ros.vision.model import TaskModel, fingerprint
from patchline_ros.vision.processes import training_fabric
from patchline_ros.vision.training import SourceStep, train_source

ROOT = Path(__file__).parents[2]


def trained(**settings: object) -> list[tuple[SourceStep, TaskModel]]:
    """All steps of a training alone; the models are copies."""
    steps = train_source(
        together.SPEC, together.samples(Task.LANES), **{**together.SETTINGS, **settings}
    )
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


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_training_goes_on_from_its_checkpoint_with_the_same_bits(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabric = training_fabric(precision)
    whole = trained(fabric=fabric)[-1][1]
    assert {value.dtype for value in whole.parameters()} == {torch.float32}
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    checkpoint = tmp_path / "checkpoint"
    settings = {**together.SETTINGS, "fabric": fabric, "checkpoint": checkpoint}
    samples = together.samples(Task.LANES)
    for step, _ in train_source(together.SPEC, samples, **settings):
        if step.number == 5:
            break
    resumed = trained(fabric=fabric, checkpoint=checkpoint)
    assert resumed[0][0].number == 6
    assert fingerprint(resumed[-1][1]) == fingerprint(whole)
    with pytest.raises(ValueError, match="belongs to a training with other frames, settings"):
        trained(fabric=fabric, checkpoint=checkpoint, ema=0.9)


def test_wrong_precisions_are_named() -> None:
    with pytest.raises(ValidationError, match="Input should be 'auto', '32-true', '16-mixed' or"):
        Recipe(precision="half")
    with pytest.raises(ValueError, match="16-mixed needs a GPU; a CPU has 32-true and bf16-mixed"):
        training_fabric("16-mixed")


def test_two_processes_train_one_model_and_the_first_goes_on_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(ROOT / "test" / "together.py"), str(tmp_path)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first["processes"] == second["processes"] == 2
    assert first["fingerprint"] == second["fingerprint"]
    for facts in (first, second):
        assert facts["first resumed"] == 6
        assert facts["fingerprint resumed"] == first["fingerprint"]
        assert facts["refused"] == (
            "a batch of 7 can't be shared by 2 processes; give a batch_size that is a multiple of "
            "2 and at least 4"
        )
    assert (first["bundle"], second["bundle"]) == (True, False)
    assert second["stages"] == ["train lanes", "train objects", "train signs"]
    assert Bundle.load(tmp_path / "b").manifest.patch_table

    settings = {**together.SETTINGS, **together.SLOW}
    steps = train_source(together.NORMLESS, together.samples(Task.LANES), **settings)
    alone = [float(step.loss) for step, _ in steps]
    shared = np.mean([first["losses"], second["losses"]], axis=0)
    assert shared == pytest.approx(alone, rel=1e-3)
    assert alone[-1] < 0.5 * alone[0]


def test_tensorboard_gets_the_scalars(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TrainingLog(tmp_path, batch_size=8)
    steps = trained()
    for step, _ in steps:
        log.step(Task.LANES, step)
    log.held_out(Task.LANES, 0.75)
    log.close()
    events = EventAccumulator(str(tmp_path / "lanes"))
    events.Reload()
    found = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    assert set(found) == {"loss", "learning_rate", "samples_per_second", "held_out_metric"}
    assert [event.step for event in found["loss"]] == [step.number for step, _ in steps]
    assert found["loss"][-1].value < found["loss"][0].value
    assert found["learning_rate"][-1].value < 1e-4
    assert min(event.value for event in found["samples_per_second"]) > 0
    assert [(event.step, event.value) for event in found["held_out_metric"]] == [(16, 0.75)]
