"""From source models and labelled frames of a drift to adapted models, task by task.

This is the one path of all adaptations: that of a car, and each row of a benchmark. What they do
differently stands in `AdaptationSettings`.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal

import torch

from patchline_ros.adaptation.affinity import Affinity, most_similar, training_order
from patchline_ros.adaptation.frame_choice import (
    HOLD_OUT_EVERY,
    LEAST_HELD_OUT,
    ChosenFrames,
    EntropyFilter,
    choose_frames,
)
from patchline_ros.adaptation.gain_predictor import PredictedGain
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.label_free_answer import label_free_answer
from patchline_ros.adaptation.label_free_training import UnlabelledSettings, train_without_labels
from patchline_ros.adaptation.norm_statistics import with_norm_of
from patchline_ros.adaptation.source_model import PreparedModel, SourceModel
from patchline_ros.adaptation.trainer import TrainingError, train_adapted
from patchline_ros.adaptation.training_settings import TrainingRecord, TrainingSettings
from patchline_ros.cost.flops import FlopCounter
from patchline_ros.patching.adapted_model import AdaptedModel, NormPolicy
from patchline_ros.patching.methods import MethodSettings, adapted
from patchline_ros.patching.patched_model import PatchedModel, PatchSettings
from patchline_ros.tasks import TRAINING_ORDER, Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.model import TaskModel

Order = Literal["affinity", "reversed", "random"]
WarmStart = Literal["none", "most_similar", "average"]
Start = Literal["source", "prepared"]
"""What is adapted: the source model, or that with the patches prepared before the car left, where
there are any."""
Progress = Callable[[float], None]
"""Told the share of a task's training that is done, 0..1."""


@dataclass(frozen=True)
class AdaptationSettings:
    """All that decides what becomes of given source models and frames.

    Attributes:
        method: what is trained; None: nothing.
        training: its `rate` is multiplied by the task's factor.
        rate_factors: of each task.
        seed: of everything that is drawn.
        hold_out_every: each so-manieth labelled frame is held out; None: none is.
        entropy_filter: see `EntropyFilter`.
        order: in which the tasks are trained; `random` draws by the seed.
        warm_start: whose trained patches a task's training begins from.
        label_free: no label is used: the prepared patches answer, if they are surely better.
        unlabelled: what is learnt from where no label of the road is used; None: from the labels.
        most_labelled: of so many frames of each task the labels are used; None: of all.
        start: what is adapted. Prepared patches stay as many as they are, and take no warm start.
        least_held_out: a task with fewer held-out frames is refused.
    """

    method: MethodSettings | None
    training: TrainingSettings
    rate_factors: Mapping[Task, float]
    seed: int
    hold_out_every: int | None = HOLD_OUT_EVERY
    entropy_filter: EntropyFilter = "none"
    order: Order | tuple[Task, ...] = "affinity"
    warm_start: WarmStart = "none"
    start: Start = "source"
    label_free: bool = False
    unlabelled: UnlabelledSettings | None = None
    most_labelled: int | None = None
    least_held_out: int = 0


def car_settings(
    patches: int,
    seed: int,
    training: TrainingSettings | None = None,
    hold_out_every: int = HOLD_OUT_EVERY,
) -> AdaptationSettings:
    """How a car adapts: the only place where that is said.

    Args:
        patches: that the drift needs.
        seed: of everything that is drawn.
        training: what the adapter was given; None: the defaults, which are the product's.
        hold_out_every: each so-manieth labelled frame is not trained on.
    """
    return AdaptationSettings(
        method=PatchSettings(k=patches),
        training=training or TrainingSettings(),
        rate_factors={task: task.traits.rate_factor for task in Task},
        seed=seed,
        hold_out_every=hold_out_every,
        entropy_filter="half_of_many",
        order="affinity",
        warm_start="most_similar",
        start="prepared",
        least_held_out=LEAST_HELD_OUT,
    )


def norm_policy(training: TrainingSettings) -> NormPolicy:
    """Which norm statistics a model has that was trained so, and its patch set with it."""
    return "reestimated" if training.reestimate_norm else "source"


@dataclass(frozen=True)
class AdaptedTask:
    """What became of a task.

    Attributes:
        model: adapted, or the source model where nothing was trained.
        frames: which ones were used for what.
        record: of the training.
        seconds: of selection and training.
        warm_start: whose patches the training began from.
        predicted: the gain that the label-free gate predicted; None: labels decided.
        untrained: why the source model was kept as it is; empty where training went well.
        method: that was trained; None: nothing was.
    """

    model: AdaptedModel | TaskModel
    frames: ChosenFrames
    record: TrainingRecord
    seconds: float
    warm_start: list[Task] = field(default_factory=list)
    predicted: PredictedGain | None = None
    untrained: str = ""
    method: MethodSettings | None = None

    @property
    def deciding(self) -> list[Sample]:
        """Frames that nothing was fitted to, which decide at the gate.

        Where only norm statistics were taken, these are all that are labelled.
        """
        return self.frames.held_out if self.record.best_epoch else self.frames.labelled


class Adaptation:
    """Adapts the tasks of one drift in order; keeps what each later one needs of the earlier ones.

    Attributes:
        sources: of all tasks, as they were given.
        frames: of each task.
        refused: why a task can't be adapted, of those that can't.
        order: in which the others are to be adapted.
    """

    def __init__(
        self,
        sources: Mapping[Task, SourceModel],
        labelled: Mapping[Task, Sequence[Sample]],
        affinity: Affinity,
        settings: AdaptationSettings,
        device: str = "cpu",
    ) -> None:
        """Chooses the frames and the order; nothing is trained yet.

        Args:
            sources: of all tasks with labelled frames.
            labelled: frames of the drift, in the order of time.
            affinity: how alike the source models are.
            settings: how.
            device: where models are trained.

        Raises:
            ValueError: a frame's entropy is not finite, or the affinity table lacks a pair.
        """
        self.sources, self._settings, self._device = sources, settings, device
        self._affinity = affinity
        self.frames = {
            task: choose_frames(
                sources[task],
                samples,
                settings.entropy_filter,
                settings.hold_out_every,
                settings.most_labelled,
            )
            for task, samples in labelled.items()
        }
        self.refused = self._too_few()
        self.order = self._ordered()
        self._patched: dict[Task, PatchedModel] = {}

    @property
    def _groups(self) -> int:
        """Over which groups of the backbones affinity is a mean: those that get a patch."""
        method = self._settings.method
        if isinstance(method, PatchSettings):
            return method.k
        return len(next(iter(self.sources.values())).model.backbone.specs)

    def _too_few(self) -> dict[Task, str]:
        settings = self._settings
        least = settings.least_held_out * (settings.hold_out_every or 0)
        return {
            task: f"{len(chosen.labelled)} labelled frames are too few; it takes {least}"
            for task, chosen in self.frames.items()
            if len(chosen.held_out) < settings.least_held_out
        }

    def _ordered(self) -> list[Task]:
        order, tasks = self._settings.order, [t for t in self.frames if t not in self.refused]
        if isinstance(order, tuple):
            return [task for task in order if task in tasks]
        if order == "random":
            rng = random.Random(self._settings.seed)
            return rng.sample(sorted(tasks, key=TRAINING_ORDER.index), len(tasks))
        by_affinity = training_order(self._affinity, tasks, self._groups)
        return by_affinity[::-1] if order == "reversed" else by_affinity

    def adapt(
        self,
        task: Task,
        progress: Progress = lambda _: None,
        meter: AbstractContextManager[object] | None = None,
    ) -> AdaptedTask:
        """Adapts a task; where it can't be trained the source model is kept, and why is said.

        Args:
            task: whose turn it is: the next of `order`, or one of `refused`.
            progress: told the share that is done.
            meter: entered around the training alone.

        Raises:
            ValueError: the method does not fit the model.
        """
        frames, method = self.frames[task], self._settings.method
        started = time.monotonic() - frames.seconds
        if self._settings.label_free:
            return self._answered(task, started)
        unusable = self.refused.get(task) or frames.nothing_left
        if unusable:
            return self._untrained(task, unusable, started)
        if method is None:
            return self._nothing_to_train(task, started)
        try:
            trained = self._method(task, method)
            return self._train(task, trained, started, progress, meter or nullcontext())
        except TrainingError as error:
            return self._untrained(task, str(error), started)

    def _train(
        self,
        task: Task,
        method: MethodSettings,
        started: float,
        progress: Progress,
        meter: AbstractContextManager[object],
    ) -> AdaptedTask:
        frames, settings = self.frames[task], self._settings
        torch.manual_seed(settings.seed)
        model = self._fresh(task, method).to(self._device)
        teacher, taught_by = self._warm_start(task)
        rate = settings.training.rate * settings.rate_factors[task]
        training = settings.training.model_copy(update={"rate": rate})
        with meter:
            if settings.unlabelled is None:
                record = train_adapted(
                    model,
                    frames.train,
                    frames.held_out,
                    frames.scene,
                    training,
                    settings.seed,
                    warm_start=teacher,
                    progress=progress,
                )
            else:
                record = train_without_labels(
                    model,
                    frames.scene,
                    self.sources[task].frames,
                    settings.unlabelled,
                    training,
                    settings.seed,
                    progress,
                )
                # Nothing was chosen by it: it is there for those who compare.
                if frames.held_out:
                    record.metrics.append(evaluate(model, frames.held_out))
        seconds = time.monotonic() - started
        if isinstance(model, PatchedModel):
            self._patched[task] = model
        return AdaptedTask(model, frames, record, seconds, taught_by, method=method)

    def _prepared(self, task: Task) -> PreparedModel | None:
        """What the task starts from that was prepared; None: it starts from the source."""
        return self.sources[task].prepared if self._settings.start == "prepared" else None

    def _fresh(self, task: Task, method: MethodSettings) -> AdaptedModel:
        """What the training changes: nothing of it is shared with what was given."""
        prepared = self._prepared(task)
        if prepared is None:
            return adapted(self.sources[task].model, method)
        return copy.deepcopy(prepared.model)

    def _method(self, task: Task, method: MethodSettings) -> MethodSettings:
        """What is trained: that which was prepared, where a task starts from it.

        Raises:
            ValueError: that is another method.
        """
        prepared = self._prepared(task)
        if prepared is None:
            return method
        if prepared.method.method != method.method:
            raise ValueError(
                f"{method.method} is to be trained for {task}, and {prepared.method.method} is "
                "what was prepared"
            )
        return prepared.method

    def _warm_start(self, task: Task) -> tuple[PatchedModel | None, list[Task]]:
        """The model whose patches to begin from, and the tasks that they come from."""
        policy = self._settings.warm_start
        if policy == "none" or not self._patched or self._prepared(task) is not None:
            return None, []
        if policy == "most_similar":
            teacher = most_similar(self._affinity, task, list(self._patched), self._groups)
            assert teacher is not None
            return self._patched[teacher], [teacher]
        states = [model.patches.state_dict() for model in self._patched.values()]
        mean = copy.deepcopy(next(iter(self._patched.values())))
        mean.patches.load_state_dict(
            {name: torch.stack([state[name] for state in states]).mean(dim=0) for name in states[0]}
        )
        return mean, list(self._patched)

    def _nothing_to_train(self, task: Task, started: float) -> AdaptedTask:
        """Without a method: what is started from, or that with other norm statistics."""
        frames, training = self.frames[task], self._settings.training
        record = TrainingRecord(samples=len(frames.train))
        prepared = self._prepared(task)
        model = prepared.model if prepared else self.sources[task].model
        if training.reestimate_norm:
            model, gflops = with_norm_of(model, frames.scene, training.norm_prior)
            record.spend("norm", gflops)
        seconds = time.monotonic() - started
        record.metrics.append(evaluate(model, frames.held_out))
        return AdaptedTask(model, frames, record, seconds)

    def _answered(self, task: Task, started: float) -> AdaptedTask:
        """By the pictures alone; the source model where nothing is prepared, or surely better."""
        source, frames = self.sources[task], self.frames[task]
        record = TrainingRecord()
        if source.prepared is None:
            return AdaptedTask(source.model, frames, record, 0.0, untrained="nothing is prepared")
        with FlopCounter() as flops:
            answer = label_free_answer(source.model, source, frames.scene, MARGIN)
        record.spend("gate", flops.total / 1e9)
        model = answer.candidate.model if answer.accepted else source.model
        seconds = time.monotonic() - started
        # Nothing was chosen by it: it is there for those who compare.
        record.metrics.append(evaluate(model, frames.held_out))
        return AdaptedTask(model, frames, record, seconds, predicted=answer.gain)

    def _untrained(self, task: Task, reason: str, started: float) -> AdaptedTask:
        source, frames = self.sources[task].model, self.frames[task]
        seconds = time.monotonic() - started
        metrics = [evaluate(source, frames.held_out)] if frames.held_out else []
        record = TrainingRecord(metrics=metrics)
        return AdaptedTask(source, frames, record, seconds, untrained=reason)
