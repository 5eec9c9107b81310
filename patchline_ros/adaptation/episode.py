"""One episode: from stored frames of a drift to gated patch sets, task by task."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import BaseModel, ConfigDict, Field

from patchline_ros.adaptation.affinity import most_similar, training_order
from patchline_ros.adaptation.gate import MARGIN, Comparison, Model, compare
from patchline_ros.adaptation.patch_choice import choose_patches
from patchline_ros.adaptation.selection import entropies, uncertain
from patchline_ros.adaptation.store import StoredFrames, StoreError
from patchline_ros.adaptation.trainer import (
    TrainingError,
    TrainingRecord,
    TrainingSettings,
    train_adapted,
)
from patchline_ros.bundle import Bundle
from patchline_ros.files import write_file
from patchline_ros.host import library_versions
from patchline_ros.patching.patch_set import PatchSetMetadata, apply, tensors_sha256, to_bytes
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Image, Sample, Task
from patchline_ros.vision.model import TaskModel

LATEST_NS = 2**63 - 1
"""No frame is later."""

HOLD_OUT_EVERY: Final = 5
LEAST_FRAMES: Final = 2 * HOLD_OUT_EVERY
"""Labelled frames of a task that a training takes. Two of them are held out, since a standard error
needs two."""

FILTER_ABOVE: Final = 128
"""Training frames of a task up to which all are used. The entropy filter saves little time on so
few, and on the few dozen of `camvid-dusk` it cost 3 points of mAP (docs/results.md). From where on
it pays was not measured: no task of the benchmark has that many frames."""


class EpisodeJob(BaseModel):
    """What a worker is told; it is written as job.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: Path
    store: Path
    output: Path
    since_ns: int = Field(ge=0)
    until_ns: int = Field(default=LATEST_NS, ge=0)
    """Frames with these stamps, and all between them, are used."""
    mmd2: float
    running: dict[Task, Path] = Field(default_factory=dict)
    """Files of the patch sets that are active now; the gate compares with them."""
    known: dict[Task, Path] = Field(default_factory=dict)
    """Files of the patch sets of an earlier drift that is like this one: these are verified, and
    nothing is trained. Empty: it is trained."""
    bank_entry: str = ""
    """Name of their entry in the bank."""
    next_version: dict[Task, int]
    hold_out_every: int = Field(default=HOLD_OUT_EVERY, ge=2)
    """Each n-th labelled frame is not trained on: it chooses the epoch and decides at the gate."""
    margin: float = Field(default=MARGIN, ge=0)
    training: TrainingSettings = TrainingSettings()
    seed: int = 0
    threads: int = Field(default=1, ge=1)

    def samples(
        self, store: StoredFrames, task: Task, emit: Callable[[Event], None]
    ) -> list[Sample]:
        """The labelled frames of a task that the job is about; `LeftOut` for the unreadable."""
        samples = []
        for frame in store.select(task, self.since_ns):
            if frame.stamp_ns <= self.until_ns:
                try:
                    samples += store.read([frame])
                except StoreError as error:
                    emit(LeftOut(str(error)))
        return samples


@dataclass(frozen=True)
class LeftOut:
    """A labelled frame can't be read; the episode goes on without it."""

    reason: str


@dataclass(frozen=True)
class Chosen:
    """What the episode will do."""

    patches: int
    order: list[Task]
    collected: dict[Task, int]
    kept: dict[Task, int]


@dataclass(frozen=True)
class Progress:
    """Share of a task's training that is done."""

    task: Task
    fraction: float


@dataclass(frozen=True)
class Accepted:
    """A patch set passed the gate and lies in a file."""

    task: Task
    version: int
    path: Path


@dataclass(frozen=True)
class Rejected:
    """A task keeps its running model."""

    task: Task
    reason: str


@dataclass(frozen=True)
class Finished:
    """The whole episode, as plain JSON data."""

    episode: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The episode ended without a result."""

    reason: str


Event = LeftOut | Chosen | Progress | Accepted | Rejected | Finished | Failed


@dataclass
class EpisodeReport:
    """What becomes of each task; written as episode.json."""

    patches: int
    order: list[str]
    collected: dict[str, int]
    kept: dict[str, int]
    since_ns: int
    until_ns: int
    mmd2: float
    seed: int
    versions: dict[str, str]
    settings: dict[str, Any]
    patch_choice: dict[str, Any] = field(default_factory=dict)
    """A `PatchChoice`: what chose the number of patches, and what that cost. Empty where kept patch
    sets were verified."""
    seconds: dict[str, float] = field(default_factory=dict)
    train_gflops: dict[str, float] = field(default_factory=dict)
    accepted: dict[str, bool] = field(default_factory=dict)
    warm_start: dict[str, str] = field(default_factory=dict)
    gate: dict[str, dict[str, float]] = field(default_factory=dict)
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    bank_entry: str = ""
    """Bank entry of the earlier drift whose patch sets were verified; empty after a training."""


@dataclass(frozen=True)
class _Material:
    """One task's source model and frames."""

    source: TaskModel
    labelled: list[Sample]
    """All; their pictures give the norm statistics."""
    collected: int
    """The frames that are not held out, before the entropy filter."""
    train: list[Sample]
    gate: list[Sample]

    @property
    def scene(self) -> list[Image]:
        """All pictures that came with a label."""
        return [sample.image for sample in self.labelled]

    def validation(self, record: TrainingRecord) -> list[Sample]:
        """Frames that nothing was fitted to: where only norm statistics were taken, every one."""
        return self.gate if record.best_epoch else self.labelled


def _material(
    job: EpisodeJob, bundle: Bundle, task: Task, emit: Callable[[Event], None]
) -> _Material | Rejected | None:
    """Reads a task's frames, holds some out for the gate; of many, drops the least uncertain.

    Rejected where they are too few; None where the task has none, so that nobody asked for it.
    """
    samples = job.samples(StoredFrames(job.store), task, emit)
    gate = samples[job.hold_out_every - 1 :: job.hold_out_every]
    train = [s for i, s in enumerate(samples) if (i + 1) % job.hold_out_every]
    if not samples:
        return None
    if len(gate) < 2:
        least = 2 * job.hold_out_every
        return Rejected(task, f"{len(samples)} labelled frames are too few; it takes {least}")
    source = bundle.model(task)
    kept = train
    if len(train) > FILTER_ABOVE:
        entropy = bundle.manifest.models[task].source_entropy
        kept = [train[i] for i in uncertain(entropies(source, train), entropy)]
    return _Material(source, samples, len(train), kept, gate)


@dataclass(frozen=True)
class Running:
    """The model that runs now."""

    model: Any
    sha256: str
    """`PatchSetMetadata.sha256` of its patch set; empty for the source model."""

    @classmethod
    def of(cls, job: EpisodeJob, bundle: Bundle, source: TaskModel, task: Task) -> Running:
        """The source model, or that with the active patch set.

        Raises:
            PatchSetError: the active patch set can't be used.
            OSError: it can't be read.
        """
        if task not in job.running:
            return cls(source, "")
        data = job.running[task].read_bytes()
        model = apply(source, bundle.fingerprint(task), data)
        return cls(model, tensors_sha256(data))

    def compared(self, candidate: Model, samples: Sequence[Sample]) -> Comparison:
        """`compare` with this model; what is expected of the candidate says so."""
        found = compare(self.model, candidate, samples)
        expected = found.expected.model_copy(update={"ran": self.sha256})
        return replace(found, expected=expected)


def run_episode(job: EpisodeJob, emit: Callable[[Event], None]) -> None:
    """Selects, counts patches, orders, trains, gates; writes each accepted patch set.

    Emits `LeftOut` for each frame that can't be read, `Chosen` once, `Progress` while training,
    `Accepted` or `Rejected` for each task, and `Finished` at the end. Everything but what was left
    out is also in `episode.json` in the job's output folder.

    Raises:
        ValueError: an unreadable bundle or running patch set.
    """
    bundle = Bundle.load(job.bundle)
    material: dict[Task, _Material] = {}
    too_few: list[Rejected] = []
    for task in bundle.manifest.models:
        found = _material(job, bundle, task, emit)
        if isinstance(found, Rejected):
            too_few.append(found)
        elif found is not None:
            material[task] = found
    watched = material.get(bundle.manifest.drift.task)
    choice = choose_patches(bundle, watched.scene if watched else [], job.mmd2)
    patches = choice.patches
    order = training_order(bundle.manifest.training_affinity, list(material), patches)
    report = EpisodeReport(
        patches=patches,
        patch_choice=asdict(choice),
        order=[str(task) for task in order],
        collected={str(task): m.collected for task, m in material.items()},
        kept={str(task): len(m.train) for task, m in material.items()},
        since_ns=job.since_ns,
        until_ns=job.until_ns,
        mmd2=job.mmd2,
        seed=job.seed,
        versions=library_versions(),
        settings=job.training.model_dump(),
        accepted={str(rejected.task): False for rejected in too_few},
    )
    emit(
        Chosen(
            patches=patches,
            order=order,
            collected={task: m.collected for task, m in material.items()},
            kept={task: len(m.train) for task, m in material.items()},
        )
    )
    for rejected in too_few:
        emit(rejected)
    trained: dict[Task, PatchedModel] = {}
    for task in order:
        emit(_adapt_task(job, bundle, task, material[task], trained, report, emit))
    write_file(job.output / "episode.json", json.dumps(asdict(report), indent=1).encode())
    emit(Finished(asdict(report)))


def _adapt_task(
    job: EpisodeJob,
    bundle: Bundle,
    task: Task,
    material: _Material,
    trained: dict[Task, PatchedModel],
    report: EpisodeReport,
    emit: Callable[[Event], None],
) -> Accepted | Rejected:
    """Trains and gates one task; adds it to `trained` and to the report."""
    started = time.monotonic()
    patches = report.patches
    name = str(task)
    torch.manual_seed(job.seed)
    settings = PatchSettings(k=patches)
    model = PatchedModel(material.source, settings)
    teacher = most_similar(bundle.manifest.training_affinity, task, list(trained), patches)
    if teacher is not None:
        report.warm_start[name] = str(teacher)
    try:
        record = train_adapted(
            model,
            material.train,
            material.gate,
            material.scene,
            job.training.model_copy(update={"rate": job.training.rate * task.traits.rate_factor}),
            job.seed,
            warm_start=trained[teacher] if teacher else None,
            progress=lambda fraction: emit(Progress(task, fraction)),
        )
    except TrainingError as error:
        report.accepted[name] = False
        return Rejected(task, str(error))
    trained[task] = model
    validation = material.validation(record)
    verdict = Running.of(job, bundle, material.source, task).compared(model, validation)
    report.gate[name] = {
        "before": verdict.running,
        "after": verdict.candidate,
        "error": verdict.error,
        "frames": len(validation),
        "norm_only": record.metrics[0],
        "best_epoch": record.best_epoch,
    }
    report.train_gflops[name] = record.gflops
    report.curves[name] = [
        {"epoch": epoch + 1, "loss": loss, "metric": metric}
        for epoch, (loss, metric) in enumerate(zip(record.losses, record.metrics[1:], strict=True))
    ]
    report.accepted[name] = verdict.accepted(job.margin)
    report.seconds[name] = time.monotonic() - started
    if not report.accepted[name]:
        return Rejected(
            task,
            f"on {len(validation)} labelled frames the adapted model scores "
            f"{verdict.candidate:.3f}, the running one {verdict.running:.3f} (± "
            f"{verdict.error:.3f} between them)",
        )
    version = job.next_version[task]
    path = job.output / f"{task}.v{version}.safetensors"
    metadata = PatchSetMetadata(
        task=task,
        version=version,
        base_fingerprint=bundle.fingerprint(task),
        method=settings,
        norm="reestimated" if job.training.reestimate_norm else "source",
        seed=job.seed,
        metrics=report.gate[name],
        expected=verdict.expected,
        versions=report.versions,
    )
    write_file(path, to_bytes(model, metadata))
    return Accepted(task, version, path)
