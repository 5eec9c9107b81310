"""One episode: from stored frames of a drift to gated patch sets, task by task."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from patchline_ros.adaptation.episode_report import CurvePoint, EpisodeReport, GateScores
from patchline_ros.adaptation.frame_choice import HOLD_OUT_EVERY
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.patch_choice import choose_patches
from patchline_ros.adaptation.patch_set_files import Seal, write_patch_set
from patchline_ros.adaptation.source_check import SourceCheck
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.store import StoredFrames, StoreError
from patchline_ros.adaptation.task_adaptation import (
    Adaptation,
    AdaptedTask,
    car_settings,
    norm_policy,
)
from patchline_ros.adaptation.training_settings import TrainingSettings
from patchline_ros.adaptation.verdict import Running, Verdict, judged
from patchline_ros.bundle import Bundle
from patchline_ros.config_files import StrictModel
from patchline_ros.files import write_file
from patchline_ros.host import library_versions
from patchline_ros.patching.patch_set import PatchSetMetadata, to_bytes
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.device import Device, chosen_device
from patchline_ros.vision.model import TaskModel

LATEST_NS = 2**63 - 1
"""No frame is later."""


class EpisodeJob(StrictModel):
    """What a worker is told; it is written as job.json."""

    bundle: Path
    bundle_key: Path | None = None
    """NAME.pub that the bundle has to be signed with; None: it needs no signature."""
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
    nothing is trained. Empty: it is trained. Without labels they are the first candidates."""
    bank_entry: str = ""
    """Name of their entry in the bank."""
    unlabelled: dict[Task, Path] = Field(default_factory=dict)
    """Files of pictures without labels: the prepared patches answer the drift by these, and nothing
    is trained. Empty: there are labels."""
    next_version: dict[Task, int]
    hold_out_every: int = Field(default=HOLD_OUT_EVERY, ge=2)
    """Each n-th labelled frame is not trained on: it chooses the epoch and decides at the gate."""
    margin: float = Field(default=MARGIN, ge=0)
    training: TrainingSettings = TrainingSettings()
    seed: int = 0
    threads: int = Field(default=1, ge=1)
    device: Device = Device.CPU
    """What trainings run on. Answers without labels and verifications run on the CPU."""
    seal: Seal = Seal()
    """How accepted patch sets are signed."""

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

    def report(self, **facts: Any) -> EpisodeReport:
        """The beginning of its report; `facts` are what the kind of episode adds."""
        return EpisodeReport(
            since_ns=self.since_ns,
            until_ns=self.until_ns,
            mmd2=self.mmd2,
            seed=self.seed,
            versions=library_versions(),
            **facts,
        )

    def keep(self, task: Task, base_fingerprint: str, data: bytes) -> Accepted:
        """Writes an accepted patch set, which is numbered as the task's next version, signed."""
        version = self.next_version[task]
        path = write_patch_set(self.output, task, version, base_fingerprint, data, self.seal)
        return Accepted(task, version, path)

    def finish(self, report: EpisodeReport, emit: Callable[[Event], None]) -> None:
        """Keeps the report as `episode.json` in the output folder, and hands it on."""
        write_file(self.output / "episode.json", report.as_json(indent=1).encode())
        emit(Finished(report))


@dataclass(frozen=True)
class LeftOut:
    """Something that was kept can't be used; the episode goes on without it."""

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
    """The whole episode."""

    episode: EpisodeReport


@dataclass(frozen=True)
class Failed:
    """The episode ended without a result."""

    reason: str


Event = LeftOut | Chosen | Progress | Accepted | Rejected | Finished | Failed


def running_model(job: EpisodeJob, bundle: Bundle, source: TaskModel, task: Task) -> Running:
    """The source model, or that with the active patch set.

    Raises:
        PatchSetError: the active patch set can't be used.
        OSError: it can't be read.
    """
    patch_set = job.running[task].read_bytes() if task in job.running else None
    return Running.of(source, bundle.fingerprint(task), patch_set)


def run_episode(job: EpisodeJob, emit: Callable[[Event], None]) -> None:
    """Selects, counts patches, orders, trains, gates; writes each accepted patch set.

    Emits `LeftOut` for each frame that can't be read, `Chosen` once, `Progress` while training,
    `Accepted` or `Rejected` for each task, and `Finished` at the end. Everything but what was left
    out is also in `episode.json` in the job's output folder.

    Raises:
        ValueError: an unreadable bundle or running patch set.
    """
    bundle = Bundle.load(job.bundle, job.bundle_key)
    labelled = _labelled(job, bundle, emit)
    watched = labelled.get(bundle.manifest.drift.task, [])
    choice = choose_patches(bundle, [sample.image for sample in watched], job.mmd2)
    adaptation = _adaptation(job, bundle, choice.patches, labelled)
    frames = {t: f for t, f in adaptation.frames.items() if t not in adaptation.refused}
    # Prepared patches stay as many as they are.
    methods = [s.prepared.method for s in adaptation.sources.values() if s.prepared]
    prepared = [method.k for method in methods if isinstance(method, PatchSettings)]
    report = job.report(
        patches=max(prepared, default=choice.patches),
        patch_choice=choice,
        order=adaptation.order,
        collected={task: len(chosen.collected) for task, chosen in frames.items()},
        kept={task: len(chosen.train) for task, chosen in frames.items()},
        settings=job.training.model_dump(),
        accepted=dict.fromkeys(adaptation.refused, False),
    )
    emit(Chosen(report.patches, report.order, report.collected, report.kept))
    for task, reason in adaptation.refused.items():
        emit(Rejected(task, reason))
    for task in adaptation.order:
        emit(_adapt_task(job, bundle, task, adaptation, report, emit))
    job.finish(report, emit)


def _labelled(
    job: EpisodeJob, bundle: Bundle, emit: Callable[[Event], None]
) -> dict[Task, list[Sample]]:
    """The frames of the tasks that have any; nobody asked for the others."""
    store = StoredFrames(job.store)
    labelled = {task: job.samples(store, task, emit) for task in bundle.manifest.models}
    return {task: samples for task, samples in labelled.items() if samples}


def _adaptation(
    job: EpisodeJob, bundle: Bundle, patches: int, labelled: dict[Task, list[Sample]]
) -> Adaptation:
    sources = {task: SourceModel.of_bundle(bundle, task) for task in labelled}
    settings = car_settings(patches, job.seed, job.training, job.hold_out_every)
    device = str(chosen_device(job.device))
    return Adaptation(sources, labelled, bundle.manifest.training_affinity, settings, device)


def _adapt_task(
    job: EpisodeJob,
    bundle: Bundle,
    task: Task,
    adaptation: Adaptation,
    report: EpisodeReport,
    emit: Callable[[Event], None],
) -> Accepted | Rejected:
    """Trains and gates one task; adds it to the report."""
    started = time.monotonic()
    trained = adaptation.adapt(task, lambda fraction: emit(Progress(task, fraction)))
    if trained.warm_start:
        report.warm_start[task] = trained.warm_start[0]
    if not isinstance(trained.model, PatchedModel):
        report.accepted[task] = False
        return Rejected(task, trained.untrained)
    source = adaptation.sources[task].model
    running = running_model(job, bundle, source, task)
    verdict = judged(
        running,
        trained.model,
        trained.deciding,
        job.margin,
        "the adapted model",
        check=SourceCheck.of_bundle(bundle, source, task),
    )
    if verdict.fall is not None:
        trained.record.spend("gate", verdict.fall.gflops)
    _report_training(report, task, trained, verdict)
    report.seconds[task] = time.monotonic() - started
    if not verdict.accepted:
        return Rejected(task, verdict.reason)
    return _write(job, bundle, task, trained.model, verdict, report)


def _report_training(
    report: EpisodeReport, task: Task, trained: AdaptedTask, verdict: Verdict
) -> None:
    record = trained.record
    report.gate[task] = gate_scores(
        verdict, len(trained.deciding), norm_only=record.metrics[0], best_epoch=record.best_epoch
    )
    report.train_gflops[task] = record.gflops
    report.curves[task] = [
        CurvePoint(epoch=epoch, loss=loss, metric=metric)
        for epoch, (loss, metric) in enumerate(
            zip(record.losses, record.metrics[1:], strict=True), start=1
        )
    ]
    report.accepted[task] = verdict.accepted


def gate_scores(
    verdict: Verdict, frames: int, norm_only: float | None = None, best_epoch: int | None = None
) -> GateScores:
    """What a report says of a comparison on so many frames."""
    found = verdict.comparison
    assert found is not None
    fall = verdict.fall.comparison if verdict.fall else None
    return GateScores(
        before=found.running,
        after=found.candidate,
        error=found.error,
        frames=frames,
        source_before=fall.running if fall else None,
        source_after=fall.candidate if fall else None,
        norm_only=norm_only,
        best_epoch=best_epoch,
    )


def _write(
    job: EpisodeJob,
    bundle: Bundle,
    task: Task,
    model: PatchedModel,
    verdict: Verdict,
    report: EpisodeReport,
) -> Accepted:
    """Writes an accepted patch set as the task's next version."""
    metadata = PatchSetMetadata(
        task=task,
        version=job.next_version[task],
        base_fingerprint=bundle.fingerprint(task),
        method=model.settings,
        norm=norm_policy(job.training),
        seed=job.seed,
        metrics=report.gate[task].model_dump(),
        expected=verdict.comparison.expected if verdict.comparison else None,
        versions=report.versions,
    )
    return job.keep(task, metadata.base_fingerprint, to_bytes(model, metadata))
