"""The prepared patches of a benchmark's source models: trained once, kept, and shared by runs.

    OUT/sources/prepared-TASK-KEY.*     as `offline/prepared_patches.py` says

A key is a hash of the source model's key and of how the patches are prepared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from patchline_ros.adaptation.gain_predictor import GainPredictor
from patchline_ros.adaptation.source_model import PreparedModel, SourceModel
from patchline_ros.bench.experiment import ExperimentError, RunConfig
from patchline_ros.bench.scene import Scene
from patchline_ros.bench.sources import Source, SourceStore
from patchline_ros.bundle import Bundle
from patchline_ros.manifest import GatePoint
from patchline_ros.offline.preparation import PreparationSettings, head_of
from patchline_ros.offline.prepared_patches import gate_points_once, patches_at, prepare_once
from patchline_ros.patching.patch_set import PatchSetError
from patchline_ros.tasks import Task


def with_prepared_of(bundle: Path, source: Source) -> Source:
    """The source model with what this bundle has prepared for it, as a car has it.

    Raises:
        ValueError: the bundle is damaged, or its patches are of another model.
    """
    there = SourceModel.of_bundle(Bundle.load(bundle), source.model.spec.task)
    return replace(source, prepared=there.prepared)


def sources_of_run(
    config: RunConfig, store: SourceStore, scene: Scene, bundle: Path | None
) -> dict[Task, Source]:
    """The source models that a run starts from, with prepared patches where its row takes some.

    Raises:
        ExperimentError: one is missing or damaged.
        ValueError: the bundle is damaged, or its patches are of another model.
    """
    sources = dict(store.sources())
    if bundle is not None and (config.settings.product or config.preparation == "bundle"):
        return {task: with_prepared_of(bundle, source) for task, source in sources.items()}
    if not isinstance(config.preparation, PreparationSettings):
        return sources
    prepared = PreparedStore(store, scene, config.preparation)
    return {task: prepared.started_from(source) for task, source in sources.items()}


class PreparedStore:
    """Of one experiment with one seed."""

    def __init__(self, sources: SourceStore, scene: Scene, settings: PreparationSettings) -> None:
        """Nothing is trained yet."""
        self._sources, self._scene, self._settings = sources, scene, settings

    def _place(self, task: Task) -> Path:
        key = [self._sources.key(task), self._settings.model_dump(mode="json"), head_of(task)]
        return self._sources.path_for(f"prepared-{task}", *key).with_suffix("")

    def make(self, task: Task, report: Callable[[float], None]) -> None:
        """Trains the patches; does nothing where they are kept already.

        Raises:
            ValueError: the source model is damaged, or a loss that is not finite.
        """
        source, there = self._sources.load(task), self._scene.tasks[task]
        prepare_once(
            self._place(task),
            source.model,
            there.source_train,
            there.source_held_out,
            self._settings,
            self._sources.recipe.seed,
            lambda share: report(0.8 * share),
        )
        self._points(task, source, lambda share: report(0.8 + 0.2 * share))

    def _points(
        self, task: Task, source: Source, report: Callable[[float], None] = lambda _: None
    ) -> list[GatePoint]:
        return gate_points_once(
            self._place(task),
            source.model,
            self._scene.tasks[task].source_held_out,
            self._settings,
            source.record.source_entropy,
            self._sources.recipe.seed,
            report,
        )

    def started_from(self, source: Source) -> Source:
        """The source model with its prepared patches beside it.

        Raises:
            ExperimentError: they are missing or damaged.
        """
        task = source.model.spec.task
        path = patches_at(self._place(task))
        try:
            data = path.read_bytes()
            gate = GainPredictor(self._points(task, source))
            prepared = PreparedModel.of_patch_set(
                source.model, source.record.fingerprint, data, gate
            )
        except (OSError, PatchSetError) as error:
            raise ExperimentError(
                f"the prepared patches {path} can't be used; delete them to train them again: "
                f"{error}"
            ) from error
        return replace(source, prepared=prepared)
