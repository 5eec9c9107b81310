"""The result of one run: a small JSON file that tables and figures are made from."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from patchline_ros.adaptation.gain_predictor import PredictedGain
from patchline_ros.bench.experiment import Experiment, RunConfig
from patchline_ros.config_files import StrictModel, first_mistake
from patchline_ros.cost.step_cost import MethodCost
from patchline_ros.files import write_file
from patchline_ros.patching.adapted_model import Part
from patchline_ros.tasks import Task

_Model = TypeVar("_Model", bound=BaseModel)
SCHEMA: Final = 3
"""Of 2 the peak of memory is the growth of the process, not a count of tensors; all else is the
same."""
CONVERGED_WITHIN = 0.01
"""A training has converged when the validation metric is this near to its best: one point."""


class ResultError(ValueError):
    """A result file can't be used; the message names it and says why."""


class Machine(StrictModel):
    """What a run was measured on."""

    system: str
    cpu: str
    cores: int
    threads: int
    """Number of PyTorch's threads in this run."""
    workers: int
    """Number of runs at a time on the machine, which share its memory bandwidth."""
    device: str
    """cpu, or the name of the GPU."""


class PartStep(StrictModel):
    """FLOPs of one part of a model for one image and one training step."""

    frozen_forward: int
    trained_forward: int
    backward: int


class StepCost(StrictModel):
    """What a training step costs; FLOPs for one image, as `patchline_ros.cost.step_cost` counts."""

    parameters: int
    trained_parameters: int
    source_forward: int
    parts: dict[Part, PartStep]
    head_input_gradient: int
    paper: int
    """FLOPs as the paper counts them."""
    uncached: int
    """FLOPs that are computed where every epoch begins at the picture."""
    cached: int
    """FLOPs that are computed in an epoch that takes the frozen part from a cache."""
    saved_bytes: int
    """Bytes kept for the backward pass of one batch, in a real step with a real loss."""
    batch: int

    @classmethod
    def of(cls, cost: MethodCost, saved_bytes: int, batch: int) -> StepCost:
        """The figures of a counted step."""
        return cls(
            parameters=cost.parameters,
            trained_parameters=cost.trained_parameters,
            source_forward=cost.source_forward,
            parts={
                name: PartStep(
                    frozen_forward=part.frozen_forward,
                    trained_forward=part.trained_forward,
                    backward=part.backward,
                )
                for name, part in cost.parts.items()
            },
            head_input_gradient=cost.head_input_gradient,
            paper=cost.paper,
            uncached=cost.uncached,
            cached=cost.cached,
            saved_bytes=saved_bytes,
            batch=batch,
        )


class Scores(StrictModel):
    """The task's metric, 0..1, on frames that nothing was chosen on."""

    source: float
    norm: float
    """Metric with re-estimated norm statistics and nothing trained."""
    final: float


class Returned(StrictModel):
    """What the bank of earlier patch sets did when the drift came again."""

    found: bool
    """The frames were recognised as those of the drift that had been adapted to."""
    accepted: bool
    """The kept patch set beat the source model on the labelled frames that verified it."""
    verified: int
    """Labelled frames of the second visit on which that was decided."""
    source: float
    """Metric of the source model on the other frames of the second visit."""
    first: float
    """Metric there of what the first episode trained."""
    final: float
    """Metric there of what is active now: the kept patch set, or the source model."""
    gflops: float
    """GFLOPs of source and candidate on the verifying frames. The signature costs nothing: the
    features are those that perception publishes anyway."""
    seconds: float
    """Seconds to find the entry (shared by all tasks), to read the patch set and to verify it."""


class Gate(StrictModel):
    """What the car's gate decided on the model that the product trained."""

    running: float
    """Metric of the model that runs, on the frames that decide: what answered without labels, or
    the source model."""
    candidate: float
    """Metric of the trained model there."""
    error: float
    """Standard error of their difference."""
    frames: int
    """That decide: the held-out ones, or all labelled ones where nothing was fitted to labels."""
    accepted: bool
    """A car that refuses keeps its model; `test.final` is that of the model that runs then."""
    test: float
    """Metric of the trained model on the frames to test on, accepted or not."""
    without_labels: float | None = None
    """Metric there of the model that runs; None: of an older result, where that was the source."""
    patch_set: str
    """sha256 of the tensors of the trained patch set, by which it is the one of a car or not."""


class TaskResult(StrictModel):
    """What became of one task in a run."""

    fingerprint: str
    """Fingerprint of the source model's weights."""
    source_held_out: float
    """Metric of the source model on held-out source data."""
    test: Scores
    validation_source: float | None
    """Metric of the source model on the validation frames; None: there are none."""
    validation: list[float]
    """Metric on the validation frames: before any training, then after each epoch."""
    losses: list[float]
    best_epoch: int
    """Epoch whose state was kept; 0: the state before any training."""
    collected: int
    """Labelled frames that may be trained on; the validation frames are not among them."""
    kept: int
    """Labelled frames that the entropy filter left of the collected ones."""
    validated: int
    tested: int
    images: int
    """Images processed in training steps, mirrored views included."""
    gflops: dict[str, float]
    """All that was computed online, by stage: selection, norm, frozen, training, validation, gate
    (the running and the final model on the validation frames, which decide on the car, and what the
    label-free gate looks at)."""
    step: StepCost | None
    """Cost of a training step; None where nothing is trained."""
    peak_bytes: int
    """Most bytes of tensors that the training made at a time; on a GPU all that was allocated. In
    results of schema 2 by how much the process grew."""
    seconds: float
    """Seconds that selection and training took."""
    warm_start: list[Task] = Field(default_factory=list)
    """Tasks whose patches the training began from."""
    untrained: str = ""
    """Why the source model was kept as it is; empty where training went well."""
    predicted: PredictedGain | None = None
    """The gain that the label-free gate predicted; None in rows that did not ask it."""
    gate: Gate | None = None
    """None in rows that ask no gate, and where nothing was trained."""
    returned: Returned | None = None
    """The second visit; None where the row has none, or where nothing was trained."""

    @property
    def total_gflops(self) -> float:
        """All that was computed online."""
        return sum(self.gflops.values())

    @property
    def paper_gflops(self) -> float:
        """GFLOPs as the paper counts: a whole step for each image, whatever was cached."""
        return self.images * self.step.paper / 1e9 if self.step else 0.0

    @property
    def converged(self) -> int:
        """The first epoch within one point (0.01) of the best validation metric; the last one where
        no frame was held out.
        """
        if not self.validation:
            return len(self.losses)
        best = max(self.validation)
        return next(
            i for i, value in enumerate(self.validation) if value >= best - CONVERGED_WITHIN
        )

    def gflops_to_converge(self, cached: bool) -> float:
        """What was computed up to that epoch; a cache is filled whole, whenever training ends."""
        epochs = len(self.losses)
        share = self.converged / epochs if epochs else 0.0
        whole = {"selection", "norm", "gate", *(["frozen"] if cached else [])}
        return sum(
            value * (1.0 if stage in whole else share) for stage, value in self.gflops.items()
        )


class RunResult(StrictModel):
    """One row of an experiment, run once."""

    schema_version: Literal[2, 3] = SCHEMA
    config: RunConfig = Field(alias="declaration")
    """What was run; files have called it `declaration` from the first."""
    patches: int | None = None
    """That the drift needed, in the row of the product; None in others, which declare theirs."""
    order: list[Task]
    """Order in which the tasks were trained."""
    tasks: dict[Task, TaskResult]
    versions: dict[str, str]
    machine: Machine


class ExperimentRecord(StrictModel):
    """The experiment as it was run last; it lies beside its results."""

    called: str
    """Name on the command line, with variants."""
    experiment: Experiment


def record_path(out: Path, experiment: str) -> Path:
    """Path of the record of an experiment."""
    return out / experiment / "experiment.json"


def result_path(out: Path, experiment: str, row: str, seed: int) -> Path:
    """Path of a run's result."""
    return out / experiment / row / f"seed-{seed}.json"


def write_result(path: Path, result: BaseModel) -> None:
    """Writes a result as a whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, f"{result.model_dump_json(indent=1, by_alias=True)}\n".encode())


def read_checked(path: Path, model: type[_Model], what: str) -> _Model:
    """Reads and checks what `write_result` wrote; `what` it is, for the message.

    Raises:
        ResultError: it is broken, of another schema, or something else.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ResultError(f"{what} {path}: {first_mistake(error, model)}") from error


def read_result(path: Path) -> RunResult:
    """The result of a run. Raises ResultError as `read_checked` does."""
    return read_checked(path, RunResult, "result file")


def read_record(path: Path) -> ExperimentRecord:
    """The record of an experiment. Raises ResultError where it is broken or not there."""
    if not path.is_file():
        raise ResultError(f"there is no {path}: this is no folder of an experiment")
    return read_checked(path, ExperimentRecord, "experiment")


def read_results(folder: Path) -> list[RunResult]:
    """All results of one experiment, `folder`/ROW/seed-N.json.

    Raises:
        ResultError: there are none, or one of them is broken or not where it belongs.
    """
    paths = sorted(folder.glob("*/seed-*.json"))
    if not paths:
        raise ResultError(f"there are no results ROW/seed-N.json in {folder}; run the experiment")
    results = [read_result(path) for path in paths]
    for path, result in zip(paths, results, strict=True):
        config = result.config
        if path != result_path(path.parent.parent.parent, folder.name, config.row, config.seed):
            raise ResultError(
                f"result file {path} is of row {config.row}, seed {config.seed}: it was "
                "moved or renamed"
            )
    return results
