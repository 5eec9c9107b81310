"""One run: a row of an experiment with one seed, over all tasks, from source models to scores."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch

from patchline_ros.adaptation.affinity import most_similar, training_order
from patchline_ros.adaptation.crops import Window, crop_batch, crop_share, crop_size
from patchline_ros.adaptation.gate import evaluate
from patchline_ros.adaptation.selection import LEAST_KEPT, entropies, uncertain
from patchline_ros.adaptation.trainer import (
    TrainingError,
    TrainingRecord,
    TrainingSettings,
    train_adapted,
)
from patchline_ros.bench.experiment import EntropyFilter, Row, RunConfig
from patchline_ros.bench.measure import PeakMemory, gflops_of_scoring, machine, versions
from patchline_ros.bench.result import Returned, RunResult, Scores, StepCost, TaskResult
from patchline_ros.bench.scene import Scene, TaskScene
from patchline_ros.bench.second_visit import SecondVisit
from patchline_ros.bench.sources import Affinity, Source
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.cost.memory import saved_for_backward
from patchline_ros.cost.step_cost import method_cost
from patchline_ros.patching.adapted_model import AdaptedModel
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import TRAINING_ORDER, Image, Sample, Task
from patchline_ros.vision.backbone import reestimate_norm
from patchline_ros.vision.inputs import image_batches, make_batch
from patchline_ros.vision.model import TaskModel

HOLD_OUT_EVERY = 5
"""Each fifth labelled frame is not trained on: it chooses the epoch, as on the car."""
_LEAST: dict[EntropyFilter, float] = {"paper": 0.0, "half": LEAST_KEPT}

Report = Callable[[float], None]


@dataclass(frozen=True)
class Material:
    """One task's labelled frames of the drift."""

    collected: list[Sample]
    train: list[Sample]
    """The collected frames that the entropy filter left."""
    validation: list[Sample]
    scene: list[Image]
    """All pictures that came with a label, for the norm statistics."""
    selection_gflops: float


@dataclass
class Trained:
    """What training a task gave."""

    model: AdaptedModel | TaskModel
    material: Material
    record: TrainingRecord
    seconds: float
    peak_bytes: int = 0
    warm_start: list[Task] = field(default_factory=list)
    untrained: str = ""


_counted = cache(method_cost)
"""Counting takes seconds, and other seeds ask for the same."""


class NothingLeftError(ValueError):
    """The entropy filter left no frame to train on."""


def material_of(
    there: TaskScene, source: Source, kind: EntropyFilter, hold_out: bool = True
) -> Material:
    """Splits the frames of the drift and leaves out what the entropy filter does not want.

    Without `hold_out` none is a validation frame, and all may be trained on.

    Raises:
        NothingLeftError: the paper's rule leaves no frame.
    """
    held_out = range(HOLD_OUT_EVERY - 1, len(there.adapt), HOLD_OUT_EVERY) if hold_out else ()
    validation = [there.adapt[i] for i in held_out]
    collected = [sample for i, sample in enumerate(there.adapt) if i not in held_out]
    train, gflops = collected, 0.0
    if kind != "none":
        with FlopCounter() as flops:
            values = entropies(source.model, collected)
        gflops = flops.total / 1e9
        try:
            kept = uncertain(values, source.record.entropy, _LEAST[kind])
        except ValueError as error:
            raise NothingLeftError(str(error)) from error
        train = [collected[i] for i in kept]
    scene = [sample.image for sample in there.adapt]
    return Material(collected, train, validation, scene, gflops)


def order_of(
    row: Row, tasks: Sequence[Task], table: Affinity, seed: int, groups: int
) -> list[Task]:
    """The order in which the tasks are trained."""
    if isinstance(row.order, tuple):
        return list(row.order)
    if row.order == "random":
        return random.Random(seed).sample(sorted(tasks, key=TRAINING_ORDER.index), len(tasks))
    order = training_order(table, tasks, groups)
    return order[::-1] if row.order == "reversed" else order


def _warm_start(
    row: Row, task: Task, table: Affinity, groups: int, trained: Mapping[Task, PatchedModel]
) -> tuple[PatchedModel | None, list[Task]]:
    """The model whose patches to begin from, and the tasks that they come from."""
    if row.warm_start == "none" or not trained:
        return None, []
    if row.warm_start == "most_similar":
        teacher = most_similar(table, task, list(trained), groups)
        assert teacher is not None
        return trained[teacher], [teacher]
    states = [model.patches.state_dict() for model in trained.values()]
    mean = copy.deepcopy(next(iter(trained.values())))
    mean.patches.load_state_dict(
        {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
    )
    return mean, list(trained)


def _with_norm_of(source: TaskModel, scene: Sequence[Image], prior: int) -> tuple[TaskModel, float]:
    """A copy with re-estimated statistics, and the GFLOPs that it took."""
    model = copy.deepcopy(source)
    with FlopCounter() as flops:
        reestimate_norm(model.backbone, image_batches(model.spec, scene), prior)
    return model.eval(), flops.total / 1e9


def _nothing_trained(
    source: Source, material: Material, settings: TrainingSettings, started: float
) -> Trained:
    """A row without a method: the source model, or that with other norm statistics."""
    record = TrainingRecord(samples=len(material.train))
    model = source.model
    if settings.reestimate_norm:
        model, gflops = _with_norm_of(source.model, material.scene, settings.norm_prior)
        record.spend("norm", gflops)
    seconds = time.monotonic() - started
    record.metrics.append(evaluate(model, material.validation))
    return Trained(model, material, record, seconds)


class Run:
    """Adapts all tasks of a scene in order; what each later one needs of the earlier ones."""

    def __init__(
        self,
        declaration: RunConfig,
        scene: Scene,
        sources: Mapping[Task, Source],
        table: Affinity,
        device: str = "cpu",
        hold_out: bool = True,
    ) -> None:
        """Nothing is trained yet; without `hold_out` the last epoch is kept, not the best."""
        self._hold_out = hold_out
        self._declaration, self._scene, self._sources = declaration, scene, sources
        self._row, self._table, self._device = declaration.settings, table, device
        method = self._row.method
        backbone = sources[declaration.tasks[0]].model.backbone
        self._groups = method.k if isinstance(method, PatchSettings) else len(backbone.specs)
        self.order = order_of(self._row, declaration.tasks, table, declaration.seed, self._groups)
        self._patched: dict[Task, PatchedModel] = {}

    def adapt(self, task: Task, report: Report = lambda _: None) -> Trained:
        """Selects and trains; where that can't be done the source model is kept, and why is said.

        Raises:
            ValueError: the method does not fit the model.
        """
        source, there = self._sources[task], self._scene.tasks[task]
        started = time.monotonic()
        try:
            material = material_of(there, source, self._row.entropy_filter, self._hold_out)
        except NothingLeftError as error:
            return self._untrained(task, error, started)
        if self._row.method is None:
            return _nothing_trained(source, material, self._row.training, started)
        try:
            return self._train(task, self._row.method, source, material, started, report)
        except TrainingError as error:
            return self._untrained(task, error, started)

    def _train(
        self,
        task: Task,
        method: MethodSettings,
        source: Source,
        material: Material,
        started: float,
        report: Report,
    ) -> Trained:
        torch.manual_seed(self._declaration.seed)
        model = adapted(source.model, method).to(self._device)
        teacher, names = _warm_start(self._row, task, self._table, self._groups, self._patched)
        settings = self._row.training
        rate = settings.rate * self._declaration.rates[task]
        with PeakMemory(self._device) as peak:
            record = train_adapted(
                model,
                material.train,
                material.validation,
                material.scene,
                settings.model_copy(update={"rate": rate}),
                self._declaration.seed,
                warm_start=teacher,
                progress=report,
            )
        seconds = time.monotonic() - started
        if isinstance(model, PatchedModel):
            self._patched[task] = model
        return Trained(model, material, record, seconds, peak.bytes, names)

    def _untrained(self, task: Task, reason: ValueError, started: float) -> Trained:
        source = self._sources[task]
        seconds = time.monotonic() - started
        material = material_of(self._scene.tasks[task], source, "none", self._hold_out)
        validation = [evaluate(source.model, material.validation)] if material.validation else []
        record = TrainingRecord(metrics=validation)
        return Trained(source.model, material, record, seconds, untrained=str(reason))

    def task_result(
        self, task: Task, trained: Trained, returned: Returned | None = None
    ) -> TaskResult:
        """Scores the frames that nothing was chosen on, and adds up what it took."""
        source, there = self._sources[task], self._scene.tasks[task]
        prior = self._row.training.norm_prior
        with_norm, _ = _with_norm_of(source.model, trained.material.scene, prior)
        record, material = trained.record, trained.material
        gflops: dict[str, float] = {
            str(stage): spent for stage, spent in record.stage_gflops.items()
        }
        if material.selection_gflops:
            gflops["selection"] = material.selection_gflops
        if trained.model is not source.model:
            gflops["gate"] = gflops_of_scoring([source.model, trained.model], material.validation)
        return TaskResult(
            fingerprint=source.record.fingerprint,
            source_held_out=source.record.held_out_metric,
            test=Scores(
                source=evaluate(source.model, there.test),
                norm=evaluate(with_norm, there.test),
                final=evaluate(trained.model, there.test),
            ),
            validation_source=evaluate(source.model, material.validation),
            validation=record.metrics,
            losses=record.losses,
            best_epoch=record.best_epoch,
            collected=len(material.collected),
            kept=0 if trained.untrained else len(material.train),
            validated=len(material.validation),
            tested=len(there.test),
            images=round(len(record.losses) * self._images(source.model, material.train)),
            gflops=gflops,
            step=self._step_cost(source.model, material.train, trained),
            peak_bytes=trained.peak_bytes,
            seconds=trained.seconds,
            warm_start=trained.warm_start,
            untrained=trained.untrained,
            returned=returned,
        )

    def _images(self, source: TaskModel, train: Sequence[Sample]) -> float:
        """Whole images that an epoch amounts to: frames with their other views, or crops."""
        settings, spec = self._row.training, source.spec
        mirrored = settings.mirror and not spec.task.traits.one_label
        views = len(train) * (1 + mirrored + settings.augmented_views)
        crops = settings.crops_of(spec.task)
        share = crop_share(spec.input_size, source.backbone.reductions[-1])
        return views * crops * share if crops else views

    def _step_cost(
        self, source: TaskModel, train: Sequence[Sample], trained: Trained
    ) -> StepCost | None:
        method = self._row.method
        if method is None or trained.untrained:
            return None
        settings = self._row.training
        samples = [train[i % len(train)] for i in range(settings.batch_size)]
        cost = _counted(source.spec, method, settings.batch_size)
        saved = _saved_bytes(source, method, samples, bool(settings.crops_of(source.spec.task)))
        return StepCost.of(cost, saved, settings.batch_size)


def _saved_bytes(
    source: TaskModel, method: MethodSettings, samples: Sequence[Sample], crops: bool
) -> int:
    """What autograd keeps of a real step with its loss."""
    model = adapted(source, method).train()
    batch = make_batch(model.spec, samples)
    frozen, targets = model.frozen_part(batch.images), batch.targets
    if crops:
        size = model.spec.input_size
        window = Window(0, 0, *crop_size(size, model.backbone.reductions[-1]))
        frozen, targets = crop_batch(frozen, targets, [window] * len(samples), size)
    with saved_for_backward(model) as saved:
        loss = model.head.loss(model.trained_part(frozen), targets)
    del loss
    return saved.bytes


def _second_visit(
    visit: SecondVisit, row: Row, trained: Mapping[Task, Trained]
) -> dict[Task, Returned]:
    """What becomes of the tasks that were trained when the drift comes again."""
    assert row.method is not None
    models = {
        task: each.model for task, each in trained.items() if isinstance(each.model, AdaptedModel)
    }
    return visit.meet(models, row.method, row.training.reestimate_norm) if models else {}


def run_row(
    declaration: RunConfig,
    scene: Scene,
    sources: Mapping[Task, Source],
    table: Affinity,
    *,
    device: str = "cpu",
    workers: int = 1,
    report: Report = lambda _: None,
) -> RunResult:
    """Carries out one row with one seed.

    Args:
        declaration: of the run.
        scene: the frames.
        sources: source models of all tasks, in evaluation mode; they are left untouched.
        table: affinity of these models.
        device: cpu or cuda.
        workers: runs at a time on this machine; it is noted beside the times.
        report: told the share that is done, 0..1.

    Raises:
        ValueError: the method does not fit the model.
    """
    run = Run(declaration, scene, sources, table, device)
    visit = SecondVisit(scene, sources) if declaration.settings.drift_returns else None
    trained: dict[Task, Trained] = {}
    for done, task in enumerate(run.order):

        def within(share: float, done: int = done) -> None:
            report((done + share) / len(run.order))

        trained[task] = run.adapt(task, within)
    returned = _second_visit(visit, declaration.settings, trained) if visit else {}
    return RunResult(
        declaration=declaration,
        order=run.order,
        tasks={task: run.task_result(task, trained[task], returned.get(task)) for task in trained},
        versions=versions(),
        machine=machine(device, workers),
    )
