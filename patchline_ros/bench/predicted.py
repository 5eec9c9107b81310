"""How many patches the drift of a scene needs, told as on the car, and what else a car knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from patchline_ros.adaptation.affinity import Affinity
from patchline_ros.adaptation.patch_choice import PatchChoice, choose_patches
from patchline_ros.adaptation.patch_count import patches_for
from patchline_ros.bench.experiment import ExperimentError, RunConfig
from patchline_ros.bench.result import RunResult
from patchline_ros.bench.scene import Scene
from patchline_ros.bench.sources import SourceStore
from patchline_ros.bundle import Bundle
from patchline_ros.drift.window import SIGNATURE_FRAMES
from patchline_ros.files import write_file
from patchline_ros.jobs.scheduler import Executor
from patchline_ros.manifest import PatchStep
from patchline_ros.offline.bundle_making import AFFINITY_MEASURE, drift_reference
from patchline_ros.offline.drifted import WatchedSource
from patchline_ros.offline.predictor_data import PredictorSettings, predictor_data
from patchline_ros.offline.recipe import Recipe
from patchline_ros.offline.source_training import in_training_order
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Task

_TABLE = TypeAdapter(list[PatchStep])


def patches_on(bundle: Bundle, scene: Scene) -> PatchChoice:
    """As on the car: from the frames to adapt on, and MMD^2 of the first window of them.

    The features behind that MMD^2 are those that perception publishes anyway; they cost nothing.

    Raises:
        ExperimentError: the scene has no frames of the task whose model watches for drift.
    """
    drift = bundle.manifest.drift
    if drift.task not in scene.tasks:
        raise ExperimentError(
            f"bundle {bundle.path} measures drift on frames of {drift.task}, and scene "
            f"{scene.name} has none; leave --bundle out, or name a bundle of its tasks"
        )
    watched = WatchedSource(bundle.model(drift.task), bundle.drift_reference, drift.tap, [], [])
    frames = scene.tasks[drift.task].adapt
    images = [sample.image for sample in frames]
    return choose_patches(bundle, images, watched.mmd2(frames[:SIGNATURE_FRAMES]))


def with_patches(config: RunConfig, patches: int) -> RunConfig:
    """The same run with so many patches."""
    row = config.settings
    assert isinstance(row.method, PatchSettings)
    method = row.method.model_copy(update={"k": patches})
    settings = row.model_copy(update={"method": method})
    return config.model_copy(update={"settings": settings})


def with_cost(result: RunResult, choice: PatchChoice) -> RunResult:
    """The result with what the choice took among the selection's cost, the tasks sharing it."""
    share = 1 / len(result.tasks)
    tasks = {}
    for task, found in result.tasks.items():
        spent = found.gflops.get("selection", 0.0) + share * choice.gflops
        gflops = {**found.gflops, "selection": spent} if spent else found.gflops
        seconds = found.seconds + share * choice.seconds
        tasks[task] = found.model_copy(update={"gflops": gflops, "seconds": seconds})
    return result.model_copy(update={"tasks": tasks})


@dataclass(frozen=True)
class CarKnowledge:
    """What a car has from its bundle besides the source models.

    Attributes:
        choice: what its predictor asks for on the scene's drift.
        affinity: that orders the trainings.
        entropies: I_source of each task.
    """

    choice: PatchChoice
    affinity: Affinity
    entropies: dict[Task, float]

    @classmethod
    def of_bundle(cls, bundle: Bundle, scene: Scene) -> CarKnowledge:
        """As a car with this bundle has it."""
        manifest = bundle.manifest
        entropies = {task: entry.source_entropy for task, entry in manifest.models.items()}
        return cls(patches_on(bundle, scene), manifest.training_affinity, entropies)

    @classmethod
    def of_sources(cls, store: SourceStore, tables: PatchTables, scene: Scene) -> CarKnowledge:
        """As a car has it with a bundle of the experiment's own source models.

        Raises:
            ExperimentError: the patch table was not made, or its file is damaged.
        """
        frames = scene.tasks[tables.watching].adapt[:SIGNATURE_FRAMES]
        patches = patches_for(tables.read(), tables.watched().mmd2(frames))
        sources = store.sources()
        entropies = {task: source.record.source_entropy for task, source in sources.items()}
        choice = PatchChoice(patches, "table")
        return cls(choice, store.affinity(AFFINITY_MEASURE), entropies)


class PatchTables:
    """The patch table that a bundle of the experiment's source models would have; kept on disk.

    It is learnt from drifts of the source frames, by as many trainings as for a bundle.
    """

    def __init__(self, store: SourceStore, scene: Scene, settings: PredictorSettings) -> None:
        """Nothing is read or made yet."""
        self._store, self._scene, self._settings = store, scene, settings
        self.recipe = Recipe(seed=store.recipe.seed)
        self.watching = in_training_order(store.tasks)[0]
        self._path = store.path_for(
            "patch-table", store.key(self.watching), settings.model_dump(mode="json")
        )

    def watched(self) -> WatchedSource:
        """The model that watches for drift, and its source frames.

        Raises:
            ValueError: fewer source frames than two windows of the monitor.
        """
        there = self._scene.tasks[self.watching]
        model = self._store.load(self.watching).model
        reference = drift_reference(model, there.source_train, self.recipe)
        tap = self.recipe.drift_tap
        return WatchedSource(model, reference, tap, there.source_train, there.source_held_out)

    def make(self, executor: Executor, report: Callable[[float], None]) -> None:
        """Learns the table; does nothing where it is kept already.

        Raises:
            ValueError: too few source frames, or trainings that failed.
        """
        if self._path.is_file():
            return
        folder = self._path.with_suffix("")
        seed = self.recipe.seed
        found = predictor_data(self.watched(), self._settings, seed, folder, executor, report)
        write_file(self._path, _TABLE.dump_json(found.table, indent=1) + b"\n")

    def read(self) -> list[PatchStep]:
        """The kept table.

        Raises:
            ExperimentError: it was not made, or its file is damaged.
        """
        try:
            return _TABLE.validate_json(self._path.read_bytes())
        except (ValidationError, OSError) as error:
            raise ExperimentError(
                f"the patch table {self._path} is damaged or missing; delete it to make it again"
            ) from error
