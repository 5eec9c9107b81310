"""The benchmark's row of the product, and an episode on a car: they must be one and the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
import tiny_experiment as tiny

from patchline_ros.adaptation.episode import Accepted, EpisodeJob, Event, Finished, run_episode
from patchline_ros.adaptation.first_answer import first_answer
from patchline_ros.adaptation.frame_choice import FILTER_ABOVE
from patchline_ros.adaptation.gate import MARGIN
from patchline_ros.adaptation.store import FrameStore
from patchline_ros.adaptation.unlabelled_frames import UnlabelledFrames
from patchline_ros.bench.benchmark_run import run_row
from patchline_ros.bench.experiment import Experiment, RunConfig, run_config
from patchline_ros.bench.predicted import CarKnowledge
from patchline_ros.bench.prepared import with_prepared_of
from patchline_ros.bench.result import RunResult
from patchline_ros.bench.scene import Scene, TaskScene
from patchline_ros.bench.sources import Source, SourceRecord
from patchline_ros.bundle import MANIFEST, Bundle
from patchline_ros.manifest import PatchStep
from patchline_ros.offline.drifted import WatchedSource
from patchline_ros.patching.patch_set import apply, read_metadata, tensors_sha256
from patchline_ros.tasks import Boxes, Label, Sample, Task
from patchline_ros.vision.evaluation import evaluate

SIGNS, THINGS, ROAD = Task.CLASSIFICATION, Task.DETECTION, Task.SEGMENTATION
SIDE = tiny_bundle.SIDE
SEED = 5


def _label(task: Task, kind: int) -> Label:
    if task is SIGNS:
        return kind
    if task is THINGS:
        return Boxes.truth([[4.25, 4.5, 20, 24 + kind]], [kind % 2])
    return np.full((SIDE, SIDE), kind, np.uint8)


def _frames(task: Task, count: int, seed: int) -> list[Sample]:
    """Pictures whose brightness tells the label, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    shape = (SIDE, SIDE, 3)
    return [
        Sample(
            rng.integers(0, 60, shape, dtype=np.uint8) + np.uint8(80 * (i % 3)), _label(task, i % 3)
        )
        for i in range(count)
    ]


def _scene(counts: dict[Task, int]) -> Scene:
    tasks = {
        task: TaskScene(
            classes=tiny_bundle.CLASSES[task],
            source_train=[],
            source_held_out=[],
            adapt=_frames(task, count, 1),
            test=_frames(task, 9, 2),
            input_size=(SIDE, SIDE),
        )
        for task, count in counts.items()
    }
    return Scene("drive", tasks)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One whose predictor asks for three patches on a drift of some size."""
    made = tiny_bundle.make_bundle(tmp_path_factory.mktemp("product") / "bundle", 2.0)
    table = [PatchStep(mmd2=0.0, patches=1), PatchStep(mmd2=0.1, patches=3)]
    manifest = made.manifest.model_copy(update={"patch_table": table})
    (made.path / MANIFEST).write_text(manifest.model_dump_json())
    return Bundle.load(made.path)


def _config(tasks: Sequence[Task]) -> RunConfig:
    plain = {**tiny.EXPERIMENT, "tasks": list(tasks), "rows": {"product": {"product": True}}}
    return run_config(Experiment.model_validate(plain), "product", SEED, {}, "bundle")


def _row(bundle: Bundle, scene: Scene) -> RunResult:
    """The benchmark's row, with what a car has from the bundle."""
    car = CarKnowledge.of_bundle(bundle, scene)
    sources = {
        task: Source(
            bundle.model(task),
            SourceRecord(
                **bundle.manifest.models[task].model_dump(), origin="bundle", seed=0, seconds=0.0
            ),
        ).with_entropy(car.entropies[task])
        for task in scene.tasks
    }
    config = _config(list(scene.tasks))
    return run_row(config, scene, sources, car.affinity, patches=car.choice.patches)


def _on_a_car(bundle: Bundle, scene: Scene, folder: Path) -> tuple[Finished, dict[Task, bytes]]:
    """An episode of the worker on the same frames, and the patch sets that it accepted."""
    store = FrameStore(folder / "store", 1000, 1000)
    for task, there in scene.tasks.items():
        for i, sample in enumerate(there.adapt):
            store.add(f"frame{i}", task, 1000 + i, sample)
    drift = bundle.manifest.drift
    watched = WatchedSource(bundle.model(drift.task), bundle.drift_reference, drift.tap, [], [])
    job = EpisodeJob(
        bundle=bundle.path,
        store=folder / "store",
        output=folder / "work",
        since_ns=1000,
        mmd2=watched.mmd2(scene.tasks[drift.task].adapt[: drift.window]),
        next_version=dict.fromkeys(Task, 1),
        seed=SEED,
    )
    job.output.mkdir()
    events: list[Event] = []
    run_episode(job, events.append)
    assert isinstance(events[-1], Finished)
    files = {task: job.output / f"{task}.v1.safetensors" for task in Task}
    return events[-1], {task: path.read_bytes() for task, path in files.items() if path.is_file()}


def test_the_row_and_a_car_give_the_same_patch_sets(bundle: Bundle, tmp_path: Path) -> None:
    # So many signs that a car filters them by entropy.
    scene = _scene({SIGNS: FILTER_ABOVE * 5 // 4 + 10, THINGS: 10, ROAD: 10})
    row = _row(bundle, scene)
    finished, patch_sets = _on_a_car(bundle, scene, tmp_path)
    report = finished.episode
    assert row.patches == report.patches == 3
    assert row.order == report.order
    assert report.kept[SIGNS] < report.collected[SIGNS]
    for task, there in row.tasks.items():
        assert (there.collected, there.kept) == (report.collected[task], report.kept[task])
        assert there.gate is not None
        assert there.gate.accepted == report.accepted[task] == (task in patch_sets)
        scores = report.gate[task]
        assert (there.gate.running, there.gate.candidate) == (scores.before, scores.after)
        assert (there.gate.error, there.gate.frames) == (scores.error, scores.frames)
        assert there.warm_start == [t for t in [report.warm_start.get(task)] if t]
    assert len(patch_sets) >= 2, "the gate refused what this test compares"
    for task, data in patch_sets.items():
        gate = row.tasks[task].gate
        assert gate is not None
        assert tensors_sha256(data) == gate.patch_set == read_metadata(data).sha256


def test_the_label_free_row_and_a_car_give_the_same_answer(tmp_path: Path) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b", 0.5, tasks=(ROAD,), promised_gain=0.5)
    scene = _scene({ROAD: 12})
    plain = {
        **tiny.EXPERIMENT,
        "tasks": [str(ROAD)],
        "preparation": {},
        "rows": {"free": {"label_free": True}},
    }
    config = run_config(Experiment.model_validate(plain), "free", SEED, {}, "bundle")
    record = SourceRecord(
        **made.manifest.models[ROAD].model_dump(), origin="bundle", seed=0, seconds=0.0
    )
    source = with_prepared_of(made.path, Source(made.model(ROAD), record))
    row = run_row(config, scene, {ROAD: source}, made.manifest.training_affinity).tasks[ROAD]

    frames, work = UnlabelledFrames([ROAD]), tmp_path / "work"
    work.mkdir()
    for stamp_ns, sample in enumerate(scene.tasks[ROAD].adapt, start=1000):
        frames.add(ROAD, stamp_ns, sample.image)
    job = EpisodeJob(
        bundle=made.path,
        store=tmp_path / "store",
        output=work,
        since_ns=1000,
        mmd2=0.5,
        next_version={ROAD: 1},
        unlabelled=frames.write(work, 1000, 2000),
    )
    events: list[Event] = []
    first_answer(job, events.append)
    accepted, finished = events
    assert isinstance(accepted, Accepted) and isinstance(finished, Finished)
    assert row.predicted == finished.episode.predicted[ROAD]
    on_car = apply(made.model(ROAD), made.fingerprint(ROAD), accepted.path.read_bytes())
    assert row.test.final == evaluate(on_car, scene.tasks[ROAD].test) != row.test.source


def test_a_car_that_refuses_keeps_its_model(bundle: Bundle) -> None:
    scene = _scene({SIGNS: 12, ROAD: 9})
    # What is learnt from four of five pictures of a sign is wrong for the fifth.
    signs = scene.tasks[SIGNS]
    turned = [
        Sample(s.image, (s.label + 1) % 3 if i % 5 == 4 else s.label)  # type: ignore[operator]
        for i, s in enumerate(signs.adapt)
    ]
    scene.tasks[SIGNS] = dataclasses.replace(signs, adapt=turned)
    row = _row(bundle, scene)
    refused, few = row.tasks[SIGNS], row.tasks[ROAD]
    assert refused.gate is not None and not refused.gate.accepted
    assert refused.test.final == refused.test.source
    assert few.untrained == "9 labelled frames are too few; it takes 10"
    assert few.gate is None and few.test.final == few.test.source
    assert row.order == [SIGNS]


def test_what_answered_without_labels_runs_where_the_gate_refuses(tmp_path: Path) -> None:
    made = tiny_bundle.make_bundle(tmp_path / "b", 0.5, tasks=(ROAD,), promised_gain=0.5)
    scene = _scene({ROAD: 12})
    # What is learnt from four of five pictures of a road is wrong for the fifth.
    turned = [
        Sample(s.image, (s.label + 1) % 3 if i % 5 == 4 else s.label)  # type: ignore[operator]
        for i, s in enumerate(scene.tasks[ROAD].adapt)
    ]
    scene.tasks[ROAD] = dataclasses.replace(scene.tasks[ROAD], adapt=turned)
    record = SourceRecord(
        **made.manifest.models[ROAD].model_dump(), origin="bundle", seed=0, seconds=0.0
    )
    source = with_prepared_of(made.path, Source(made.model(ROAD), record))
    config = _config([ROAD])
    row = run_row(config, scene, {ROAD: source}, made.manifest.training_affinity, patches=1)
    there = row.tasks[ROAD]
    assert there.predicted is not None and there.predicted.accepted(MARGIN)
    assert there.gate is not None and not there.gate.accepted
    assert there.test.final == there.gate.without_labels != there.test.source
    # What the answer looked at is counted beside what the gate did.
    assert there.gflops["gate"] > there.gflops["norm"] > 0


def test_the_row_says_what_a_car_does_and_nothing_else() -> None:
    config = _config([SIGNS, ROAD])
    assert config.settings.warm_start == "most_similar"
    assert config.settings.entropy_filter == "half_of_many"
    assert config.rates[ROAD] == ROAD.traits.rate_factor
    for more in ({"training": {"epochs": 3}}, {"warm_start": "none"}, {"rates_of": "product"}):
        plain = {**tiny.EXPERIMENT, "rows": {"product": {"product": True, **more}}}
        with pytest.raises(ValueError, match="row product: the product is what a car does"):
            Experiment.model_validate(plain)


def test_an_experiment_with_the_row_is_read_again_from_its_record() -> None:
    rows = {"product": {"product": True, "drift_returns": True}, "norm": {}}
    experiment = Experiment.model_validate({**tiny.EXPERIMENT, "rows": rows})
    record = experiment.model_dump_json()
    assert Experiment.model_validate_json(record) == experiment
    assert json.loads(record)["rows"]["norm"]["entropy_filter"] == "none"
