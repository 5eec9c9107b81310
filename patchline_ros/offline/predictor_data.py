"""How many patches drifts of the source data need: what the patch table is learnt from.

For each drift, each number of patches and each seed a job trains on corrupted source frames,
measures on corrupted held-out frames, and leaves its figure as a file of its own. A job carries no
frames and depends on no other, so that any number of workers, on whatever machines see the folder,
give the same figures on the same kind of CPU, and what is on disk is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field, field_validator

from patchline_ros.adaptation.patch_count import steps_reached
from patchline_ros.adaptation.trainer import train_adapted
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.config_files import StrictModel
from patchline_ros.drift.corruptions import CORRUPTIONS, GRADED_SETS
from patchline_ros.files import remove_leftovers, write_file
from patchline_ros.host import library_versions
from patchline_ros.jobs.scheduler import Executor, ReportProgress, run_to_end
from patchline_ros.manifest import DriftLabel, PatchStep
from patchline_ros.offline.drifted import SAMPLES, Drift, WatchedSource, drifted, spread
from patchline_ros.offline.job_inputs import Inputs, read_inputs
from patchline_ros.offline.patch_table import learn_patch_table, smallest_sufficient
from patchline_ros.offline.predictor_inputs import INPUTS, PredictorFacts, write_inputs
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Sample
from patchline_ros.vision.evaluation import evaluate

TRAINING = TrainingSettings(epochs=6, mirror=False)
METHOD = PatchSettings(k=1)
"""How a drift is adapted to; its k is replaced by each number of patches in turn."""


class PredictorSettings(StrictModel):
    """Which drifts are labelled, and how surely."""

    drifts: tuple[tuple[str, Annotated[float, Field(gt=0, le=1)]], ...] = Field(
        default=GRADED_SETS, min_length=2
    )
    """Corruptions and their severities, such as [fog, 0.5]."""
    counts: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    """Numbers of patches to try; 0 to the number of the backbone's groups when not given."""
    trainings: int = Field(default=1, ge=1)
    """Trainings of each number of patches, each with its own seed; their mean decides."""
    margin: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Metric, 0..1, that may be lost: the fewest patches so close to the best are enough."""

    @field_validator("drifts")
    @classmethod
    def _known_and_different(cls, drifts: tuple[Drift, ...]) -> tuple[Drift, ...]:
        for corruption, _ in drifts:
            if corruption not in CORRUPTIONS:
                raise ValueError(
                    f"there is no corruption {corruption!r}; there are {', '.join(CORRUPTIONS)}"
                )
        twice = [drift for place, drift in enumerate(drifts) if drift in drifts[:place]]
        if twice:
            raise ValueError(f"the drift {twice[0][0]} {twice[0][1]} is there twice")
        return drifts


class PredictorData(NamedTuple):
    """What was found."""

    labels: list[DriftLabel]
    table: list[PatchStep]
    """Learnt from all drifts."""


@lru_cache(maxsize=1)
def _inputs(place: Path) -> Inputs[PredictorFacts]:
    """Kept for the next jobs of this process."""
    return read_inputs(place / INPUTS, PredictorFacts)


@lru_cache(maxsize=1)
def _frames(place: Path, drift: Drift) -> tuple[list[Sample], list[Sample]]:
    """Frames to train and to measure on, kept likewise: the jobs of a drift come together."""
    inputs = _inputs(place)
    return (
        drifted(inputs.train, drift, "train", inputs.facts.seed),
        drifted(inputs.held_out, drift, "held_out", inputs.facts.seed),
    )


@dataclass(frozen=True)
class DriftJob:
    """Measures one drift with so many patches; 0: the source model as it is, whatever the seed.

    Inputs lie in `place`, and the figure goes there.
    """

    place: Path
    drift: Drift
    patches: int
    seed: int

    @property
    def name(self) -> str:
        """Name in messages."""
        corruption, severity = self.drift
        return f"{corruption} {severity}, {self.patches} patches, seed {self.seed}"

    @property
    def path(self) -> Path:
        """Path of the figure."""
        corruption, severity = self.drift
        return self.place / f"{corruption}-{severity}-k{self.patches}-seed{self.seed}.json"

    def __call__(self, report: ReportProgress) -> None:
        """Leaves the metric on held-out frames in its file.

        Raises:
            ValueError: the inputs are missing or damaged, or can't be trained on.
        """
        metric = self._measured(report)
        write_file(self.path, f"{json.dumps(metric)}\n".encode())

    def _measured(self, report: ReportProgress) -> float:
        inputs = _inputs(self.place)
        adapt, test = _frames(self.place, self.drift)
        if self.patches == 0:
            return evaluate(inputs.model, test)
        torch.manual_seed(self.seed)
        method = inputs.facts.method.model_copy(update={"k": self.patches})
        patched = PatchedModel(inputs.model, method)
        scene = [sample.image for sample in adapt]
        training = inputs.facts.training
        train_adapted(patched, adapt, [], scene, training, self.seed, progress=report)
        return evaluate(patched, test)

    def figure(self) -> float:
        """What it found.

        Raises:
            ValueError: its file is damaged.
        """
        try:
            return float(json.loads(self.path.read_bytes()))
        except ValueError as error:
            raise ValueError(f"{self.path} is damaged; delete it to make it again") from error


Metrics = Mapping[int, list[float]]
"""Metrics by number of patches, one for each seed."""


def label_drifts(
    drifts: Sequence[Drift], metrics: Sequence[Metrics], mmd2: Sequence[float], margin: float
) -> PredictorData:
    """Labels drifts with the smallest sufficient number of patches, and learns the table.

    Args:
        drifts: two or more.
        metrics: of each drift.
        mmd2: of each drift from the source.
        margin: see `smallest_sufficient`.

    Raises:
        ValueError: a metric or an MMD^2 is not finite.
    """
    needed = [
        smallest_sufficient({k: float(np.mean(found)) for k, found in each.items()}, margin)
        for each in metrics
    ]

    def table(places: Sequence[int]) -> list[PatchStep]:
        return learn_patch_table([mmd2[i] for i in places], [needed[i] for i in places])

    everyone = range(len(drifts))
    labels = [
        DriftLabel(
            corruption=corruption,
            severity=severity,
            mmd2=mmd2[i],
            metrics=dict(metrics[i]),
            patches=needed[i],
            predicted=steps_reached(table([j for j in everyone if j != i]), mmd2[i]),
        )
        for i, (corruption, severity) in enumerate(drifts)
    ]
    return PredictorData(labels, table(everyone))


def patch_counts(settings: PredictorSettings, groups: int) -> list[int]:
    """Numbers of patches to try on a backbone with so many groups; ValueError: more than those."""
    counts = range(groups + 1) if settings.counts is None else sorted(set(settings.counts))
    if counts[-1] > groups:
        raise ValueError(
            f"predictor.counts asks for {counts[-1]} patches; the backbone takes 0 to {groups}"
        )
    return list(counts)


def _jobs(
    place: Path, settings: PredictorSettings, counts: Sequence[int], seed: int
) -> list[dict[int, list[DriftJob]]]:
    """For each drift by number of patches, one a seed: without patches the same one."""
    seeds = range(seed, seed + settings.trainings)
    return [
        {k: [DriftJob(place, drift, k, each if k else seed) for each in seeds] for k in counts}
        for drift in settings.drifts
    ]


def _run_missing(jobs: Sequence[DriftJob], executor: Executor, report: ReportProgress) -> None:
    """Does what is not on disk."""
    due = [job for job in jobs if not job.path.is_file()]
    shares = [0.0] * len(due)
    report(1 - len(due) / len(jobs))

    def advanced(number: int, share: float) -> None:
        shares[number] = share
        report(1 - (len(due) - sum(shares)) / len(jobs))

    failures = run_to_end(due, executor, advanced)
    if failures:
        first = min(failures)
        raise ValueError(
            f"of the predictor data {len(failures)} of {len(jobs)} could not be made; the first: "
            f"{due[first].name}: {failures[first]}"
        )


def predictor_data(
    watched: WatchedSource,
    settings: PredictorSettings,
    seed: int,
    folder: Path,
    executor: Executor,
    report: ReportProgress,
    method: PatchSettings = METHOD,
    training: TrainingSettings = TRAINING,
) -> PredictorData:
    """Makes drifts out of source frames, and finds how many patches each needs.

    A job has one PyTorch thread, whatever number the caller has, so that its figure does not
    depend on how many run beside it.

    Args:
        watched: the model and its source data.
        settings: drifts, numbers of patches, trainings and the margin.
        seed: of the corruptions, and the first of the trainings.
        folder: where inputs and figures go; those of other inputs lie beside them.
        executor: does the jobs.
        report: told the share that is done.
        method: how the model is patched, but for k.
        training: how the patches are trained.

    Raises:
        ValueError: no frames, more patches asked for than there are groups, or jobs that failed;
            all others are done then, and on disk.
        OSError: the disk refuses the inputs.
    """
    if not watched.train or not watched.held_out:
        raise ValueError(
            f"drifts are made of source frames to train and to measure on; {len(watched.train)} "
            f"and {len(watched.held_out)} came"
        )
    counts = patch_counts(settings, len(watched.model.backbone.specs))
    facts = PredictorFacts(
        spec=watched.model.spec,
        method=method,
        training=training,
        seed=seed,
        versions=library_versions(),
    )
    train, held_out = (spread(samples, SAMPLES) for samples in (watched.train, watched.held_out))
    place = write_inputs(folder, Inputs(facts, watched.model, train, held_out))
    remove_leftovers(place)

    jobs = _jobs(place, settings, counts, seed)
    each_once = dict.fromkeys(
        job for of_drift in jobs for same_count in of_drift.values() for job in same_count
    )
    _run_missing(list(each_once), executor, report)
    metrics = [
        {k: [job.figure() for job in same_count] for k, same_count in of_drift.items()}
        for of_drift in jobs
    ]
    mmd2 = [watched.mmd2(watched.drifted(drift, seed)) for drift in settings.drifts]
    return label_drifts(settings.drifts, metrics, mmd2, settings.margin)
