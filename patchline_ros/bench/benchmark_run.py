"""One run: a row of an experiment with one seed, over all tasks, from source models to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from patchline_ros.adaptation.affinity import Affinity
from patchline_ros.adaptation.crops import Window, crop_batch, crop_share, crop_size
from patchline_ros.adaptation.frame_choice import HOLD_OUT_EVERY
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.norm_statistics import with_norm_of
from patchline_ros.adaptation.source_model import SourceModel
from patchline_ros.adaptation.task_adaptation import (
    Adaptation,
    AdaptationSettings,
    AdaptedTask,
    car_settings,
    norm_policy,
)
from patchline_ros.adaptation.verdict import Running, judged
from patchline_ros.bench.experiment import RunConfig
from patchline_ros.bench.measure import PeakMemory, gflops_of_scoring, machine, versions
from patchline_ros.bench.result import Gate, Returned, RunResult, Scores, StepCost, TaskResult
from patchline_ros.bench.scene import Scene, TaskScene
from patchline_ros.bench.second_visit import SecondVisit
from patchline_ros.bench.sources import Source
from patchline_ros.cost.memory import saved_for_backward
from patchline_ros.cost.step_cost import method_cost
from patchline_ros.patching.adapted_model import AdaptedModel, NormPolicy
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.patching.patch_set import state_sha256
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.inputs import make_batch
from patchline_ros.vision.model import TaskModel

Report = Callable[[float], None]

_counted = cache(method_cost)
"""Counting takes seconds, and other seeds ask for the same."""


def settings_of(
    declaration: RunConfig, patches: int | None = None, hold_out: bool = True
) -> AdaptationSettings:
    """What a row declares, in the words of the one path of all adaptations.

    Args:
        declaration: of the run.
        patches: that the drift needs; for the row of the product only.
        hold_out: whether frames are held out to choose the epoch; else the last epoch is kept.
    """
    row = declaration.settings
    if row.product:
        assert patches is not None
        return car_settings(patches, declaration.seed)
    return AdaptationSettings(
        method=row.method,
        training=row.training,
        rate_factors=declaration.rates,
        seed=declaration.seed,
        hold_out_every=HOLD_OUT_EVERY if hold_out else None,
        entropy_filter=row.entropy_filter,
        order=row.order,
        warm_start=row.warm_start,
        start=row.start,
        label_free=row.label_free,
        unlabelled=row.unlabelled,
        most_labelled=row.most_labelled,
    )


def adaptation_of(
    settings: AdaptationSettings,
    scene: Scene,
    sources: Mapping[Task, Source],
    affinity: Affinity,
    tasks: Sequence[Task],
    device: str = "cpu",
) -> Adaptation:
    """The adaptation of these tasks on the frames of a scene."""
    return Adaptation(
        {
            task: SourceModel(
                sources[task].model,
                sources[task].record.source_entropy,
                sources[task].prepared,
                scene.tasks[task].source_train,
            )
            for task in tasks
        },
        {task: scene.tasks[task].adapt for task in tasks},
        affinity,
        settings,
        device,
    )


def _trained(
    adaptation: Adaptation, device: str, report: Report
) -> tuple[dict[Task, AdaptedTask], dict[Task, PeakMemory]]:
    """What becomes of the tasks, in order, and the memory that each training took."""
    tasks = [*adaptation.order, *adaptation.refused]
    trained: dict[Task, AdaptedTask] = {}
    peaks: dict[Task, PeakMemory] = {}
    for done, task in enumerate(tasks):

        def within(share: float, done: int = done) -> None:
            report((done + share) / len(tasks))

        peaks[task] = PeakMemory(device)
        trained[task] = adaptation.adapt(task, within, peaks[task])
    return trained, peaks


def _first_answers(
    settings: AdaptationSettings,
    scene: Scene,
    sources: Mapping[Task, Source],
    affinity: Affinity,
    tasks: Sequence[Task],
) -> dict[Task, AdaptedTask]:
    """What answers each task from the pictures alone, before there are labels."""
    without = replace(settings, label_free=True, entropy_filter="none")
    adaptation = adaptation_of(without, scene, sources, affinity, tasks)
    return {task: adaptation.adapt(task) for task in tasks}


@dataclass(frozen=True)
class _Outcome:
    """A task after its training."""

    adapted: AdaptedTask
    peak_bytes: int
    answer: AdaptedTask | None
    """What answered without labels before; None: the row asked for no answer."""
    gate: Gate | None
    """None where nobody asked a gate, or nothing was trained."""
    returned: Returned | None

    @property
    def runs_on(self) -> AdaptedModel | TaskModel:
        """The model that runs after it: what the gate refuses leaves the model before."""
        if self.answer is None or (self.gate is not None and self.gate.accepted):
            return self.adapted.model
        return self.answer.model


def _gate(
    running: AdaptedTask, there: TaskScene, adapted_task: AdaptedTask, norm: NormPolicy
) -> Gate | None:
    """What the car's gate decides, which compares with what runs; None: nothing was trained."""
    model = adapted_task.model
    if not isinstance(model, AdaptedModel):
        return None
    deciding = adapted_task.deciding
    verdict = judged(Running(running.model), model, deciding, MARGIN, "the adapted model")
    found = verdict.comparison
    assert found is not None
    return Gate(
        running=found.running,
        candidate=found.candidate,
        error=found.error,
        frames=len(deciding),
        accepted=verdict.accepted,
        test=evaluate(model, there.test),
        without_labels=evaluate(running.model, there.test),
        patch_set=state_sha256(model, norm),
    )


class _TaskScores:
    """Scores the frames that nothing was chosen on, and adds up what a task took."""

    def __init__(
        self,
        settings: AdaptationSettings,
        source: Source,
        there: TaskScene,
        outcome: _Outcome,
    ) -> None:
        self._settings, self._source, self._there = settings, source, there
        self._outcome, self._adapted = outcome, outcome.adapted

    def result(self) -> TaskResult:
        """What the run's result says of the task."""
        source, adapted_task = self._source.model, self._adapted
        record, frames, answer = adapted_task.record, adapted_task.frames, self._outcome.answer
        with_norm, _ = with_norm_of(source, frames.scene, self._settings.training.norm_prior)
        test = self._there.test
        return TaskResult(
            fingerprint=self._source.record.fingerprint,
            source_held_out=self._source.record.source_metric,
            test=Scores(
                source=evaluate(source, test),
                norm=evaluate(with_norm, test),
                final=evaluate(self._outcome.runs_on, test),
            ),
            validation_source=evaluate(source, frames.held_out) if frames.held_out else None,
            validation=record.metrics,
            losses=record.losses,
            best_epoch=record.best_epoch,
            collected=len(frames.collected),
            kept=0 if adapted_task.untrained else len(frames.train),
            validated=len(frames.held_out),
            tested=len(test),
            images=round(len(record.losses) * self._images()),
            gflops=self._gflops(),
            step=self._step_cost(),
            peak_bytes=self._outcome.peak_bytes,
            seconds=adapted_task.seconds + (answer.seconds if answer else 0.0),
            warm_start=adapted_task.warm_start,
            untrained=adapted_task.untrained,
            predicted=(answer or adapted_task).predicted,
            gate=self._outcome.gate,
            returned=self._outcome.returned,
        )

    def _gflops(self) -> dict[str, float]:
        """By stage, of all that was computed online."""
        source, adapted_task = self._source.model, self._adapted
        gflops: dict[str, float] = {
            str(stage): spent for stage, spent in adapted_task.record.stage_gflops.items()
        }
        if adapted_task.frames.selection_gflops and not adapted_task.untrained:
            gflops["selection"] = adapted_task.frames.selection_gflops
        deciding = adapted_task.deciding if self._outcome.gate else adapted_task.frames.held_out
        answer = self._outcome.answer
        if deciding and adapted_task.model is not source and adapted_task.predicted is None:
            running = answer.model if answer else source
            gflops["gate"] = gflops_of_scoring([running, adapted_task.model], deciding)
        for stage, spent in answer.record.stage_gflops.items() if answer else ():
            gflops[stage] = gflops.get(stage, 0.0) + spent
        return gflops

    def _images(self) -> float:
        """Whole images that an epoch amounts to: frames with their other views, or crops."""
        training, source = self._settings.training, self._source.model
        spec = source.spec
        mirrored = training.mirror and not spec.task.traits.one_label
        views = len(self._adapted.frames.train) * (1 + mirrored + training.augmented_views)
        crops = training.crops_of(spec.task)
        share = crop_share(spec.input_size, source.backbone.reductions[-1])
        return views * crops * share if crops else views

    def _step_cost(self) -> StepCost | None:
        method, source = self._adapted.method, self._source.model
        if method is None:
            return None
        training, train = self._settings.training, self._adapted.frames.train
        samples = [train[i % len(train)] for i in range(training.batch_size)]
        cost = _counted(source.spec, method, training.batch_size)
        saved = _saved_bytes(source, method, samples, bool(training.crops_of(source.spec.task)))
        return StepCost.of(cost, saved, training.batch_size)


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


def run_row(
    declaration: RunConfig,
    scene: Scene,
    sources: Mapping[Task, Source],
    affinity: Affinity,
    *,
    patches: int | None = None,
    device: str = "cpu",
    workers: int = 1,
    report: Report = lambda _: None,
) -> RunResult:
    """Carries out one row with one seed.

    Args:
        declaration: of the run.
        scene: the frames.
        sources: source models of all tasks, in evaluation mode; they are left untouched.
        affinity: how alike these models are.
        patches: that the drift needs; for the row of the product only.
        device: cpu or cuda.
        workers: runs at a time on this machine; it is noted beside the times.
        report: told the share that is done, 0..1.

    Raises:
        ValueError: the method does not fit the model.
    """
    settings = settings_of(declaration, patches)
    visit = SecondVisit(scene, sources) if declaration.settings.drift_returns else None
    adaptation = adaptation_of(settings, scene, sources, affinity, declaration.tasks, device)
    trained, peaks = _trained(adaptation, device, report)
    answers = {}
    if declaration.settings.answers_first:
        answers = _first_answers(settings, scene, sources, affinity, declaration.tasks)
    returned = {}
    if visit is not None:
        returned = visit.meet(trained, norm_policy(settings.training))
    results: dict[Task, TaskResult] = {}
    for task, each in trained.items():
        source, there = sources[task], scene.tasks[task]
        answer, gate = answers.get(task), None
        if answer is not None:
            gate = _gate(answer, there, each, norm_policy(settings.training))
        outcome = _Outcome(each, peaks[task].bytes, answer, gate, returned.get(task))
        results[task] = _TaskScores(settings, source, there, outcome).result()
    return RunResult(
        declaration=declaration,
        patches=patches,
        order=adaptation.order,
        tasks=results,
        versions=versions(),
        machine=machine(device, workers),
    )
