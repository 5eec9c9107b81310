"""A drift that comes again: what the bank of earlier patch sets saves, and what it gives."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from patchline_ros.adaptation.bank import KnownDrift, PatchBank
from patchline_ros.adaptation.episode import gate_scores
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.task_adaptation import AdaptedTask
from patchline_ros.adaptation.verdict import Running, judged, verified
from patchline_ros.bench.measure import gflops_of_scoring
from patchline_ros.bench.result import Returned
from patchline_ros.bench.scene import Scene
from patchline_ros.bench.sources import Source
from patchline_ros.drift.kernels import Features
from patchline_ros.drift.window import SIGNATURE_FRAMES
from patchline_ros.host import library_versions
from patchline_ros.offline.bundle_making import drift_reference
from patchline_ros.offline.drifted import backbone_features
from patchline_ros.offline.recipe import Recipe
from patchline_ros.patching.adapted_model import AdaptedModel, NormPolicy
from patchline_ros.patching.methods import MethodSettings
from patchline_ros.patching.patch_set import PatchSetMetadata, to_bytes
from patchline_ros.tasks import TRAINING_ORDER, Sample, Task
from patchline_ros.vision.evaluation import evaluate
from patchline_ros.vision.model import TaskModel

RECIPE: Final = Recipe()
"""The drift is watched as a bundle's is, by the first model of TRAINING_ORDER that is there."""


class SecondVisit:
    """Keeps what a row trained, and asks for it when the test frames come as a second visit."""

    def __init__(self, scene: Scene, sources: Mapping[Task, Source]) -> None:
        """Takes the source's features, so that what is missing is said before any training.

        Raises:
            ValueError: too few source frames for a threshold.
        """
        self._scene, self._sources = scene, sources
        self._watching = next(task for task in TRAINING_ORDER if task in scene.tasks)
        train = scene.tasks[self._watching].source_train
        self._reference = drift_reference(sources[self._watching].model, train, RECIPE)

    def _features(self, samples: Sequence[Sample]) -> Features:
        return backbone_features(self._sources[self._watching].model, RECIPE.drift_tap, samples)

    def meet(self, trained: Mapping[Task, AdaptedTask], norm: NormPolicy) -> dict[Task, Returned]:
        """Stores the trained models' patch sets, then meets the same drift again.

        Args:
            trained: what became of the tasks; those that were not trained are left out.
            norm: whether the norm statistics moved.
        """
        models: dict[Task, AdaptedModel] = {}
        patch_sets: dict[Task, bytes] = {}
        for task, each in trained.items():
            if each.method is not None and isinstance(each.model, AdaptedModel):
                models[task] = each.model
                patch_sets[task] = self._kept(task, each.model, each.method, each.deciding, norm)
        if not models:
            return {}
        watched = self._scene.tasks[self._watching]
        now = self._features(watched.test[:SIGNATURE_FRAMES])
        with TemporaryDirectory() as folder:
            bank = PatchBank(Path(folder), self._reference)
            bank.add(self._features(watched.adapt), patch_sets)
            started = time.monotonic()
            known = bank.find(now, warnings.warn)
            seconds = time.monotonic() - started
            return {task: self._ask(task, models[task], known, seconds) for task in models}

    def _kept(
        self,
        task: Task,
        model: AdaptedModel,
        method: MethodSettings,
        deciding: Sequence[Sample],
        norm: NormPolicy,
    ) -> bytes:
        """The patch set with what the first visit's gate found, as a car writes it."""
        running = Running(self._sources[task].model)
        verdict = judged(running, model, deciding, MARGIN, "the adapted model")
        metadata = PatchSetMetadata(
            task=task,
            version=1,
            base_fingerprint=self._sources[task].record.fingerprint,
            method=method,
            norm=norm,
            seed=0,
            metrics=gate_scores(verdict, len(deciding)).model_dump(),
            expected=verdict.comparison.expected if verdict.comparison else None,
            versions=library_versions(),
        )
        return to_bytes(model, metadata)

    def _ask(
        self, task: Task, first: AdaptedModel, known: KnownDrift | None, seconds: float
    ) -> Returned:
        source, there = self._sources[task], self._scene.tasks[task]
        count = task.traits.verification_frames
        # The first frames of the visit verify; both visits are scored on the others.
        verifying, others = there.test[:count], there.test[count:]
        active: AdaptedModel | TaskModel = source.model
        gflops = 0.0
        if known is not None:
            started = time.monotonic()
            patch_set = known.patch_sets[task].read_bytes()
            fingerprint = source.record.fingerprint
            running = Running(source.model)
            found = verified(source.model, fingerprint, running, patch_set, verifying, MARGIN)
            if found.verdict.accepted and found.model is not None:
                active = found.model
            seconds += time.monotonic() - started
            if found.model is not None:
                gflops = gflops_of_scoring([source.model, found.model], verifying)
        return Returned(
            found=known is not None,
            accepted=active is not source.model,
            verified=len(verifying),
            source=evaluate(source.model, others),
            first=evaluate(first, others),
            final=evaluate(active, others),
            gflops=gflops,
            seconds=seconds,
        )
