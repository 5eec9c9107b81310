"""One run of a row: what is trained on what, what is counted, and that it repeats."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import tiny_experiment as tiny

from patchline_ros.adaptation.frame_choice import ChosenFrames
from patchline_ros.adaptation.task_adaptation import AdaptedTask
from patchline_ros.adaptation.training_settings import TrainingRecord
from patchline_ros.bench.benchmark_run import run_row
from patchline_ros.bench.result import RunResult
from patchline_ros.bench.scene import Scene, inner_folds
from patchline_ros.bench.second_visit import SecondVisit
from patchline_ros.bench.sources import Source
from patchline_ros.cost.step_cost import method_cost
from patchline_ros.patching.methods import adapted
from patchline_ros.patching.patched_model import PatchSettings
from patchline_ros.tasks import Sample, Task
from patchline_ros.vision.model import fingerprint

SIGNS, LANES = Task.CLASSIFICATION, Task.SEGMENTATION


@pytest.fixture(scope="module")
def scene() -> Scene:
    return tiny.tiny_scene()


@pytest.fixture(scope="module")
def sources(scene: Scene) -> dict[Task, Source]:
    return tiny.sources(scene)


@pytest.fixture(scope="module")
def table(sources: dict[Task, Source]) -> dict[str, list[float]]:
    return tiny.affinity(sources)


@pytest.fixture(scope="module")
def ours(scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]]) -> RunResult:
    return run_row(tiny.config_of("ours"), scene, sources, table)


def comparable(result: RunResult) -> dict[str, object]:
    """All but what depends on the machine's state."""
    plain = copy.deepcopy(result.model_dump())
    for task in plain["tasks"].values():
        task.pop("seconds")
    return plain


def test_a_run_repeats_and_leaves_the_source_models(
    scene: Scene,
    sources: dict[Task, Source],
    table: dict[str, list[float]],
    ours: RunResult,
) -> None:
    before = {task: fingerprint(source.model) for task, source in sources.items()}
    again = run_row(tiny.config_of("ours"), scene, sources, table)
    assert comparable(again) == comparable(ours)
    assert {task: fingerprint(source.model) for task, source in sources.items()} == before
    other = run_row(tiny.config_of("ours", seed=1), scene, sources, table)
    assert comparable(other)["tasks"] != comparable(ours)["tasks"]


def test_what_is_counted(scene: Scene, ours: RunResult) -> None:
    lanes, signs = ours.tasks[LANES], ours.tasks[SIGNS]
    # Of ten frames the fifth and the tenth validation; lanes are also seen in a mirror.
    assert (lanes.collected, lanes.kept, lanes.validated, lanes.tested) == (8, 8, 2, 4)
    assert (lanes.images, signs.images) == (2 * 16, 2 * 8)
    assert len(lanes.losses) == 2
    assert len(lanes.validation) == 3
    assert lanes.step is not None
    spec = tiny.experiment().spec(LANES, tiny.CLASSES[LANES], (tiny.SIDE, tiny.SIDE))
    cost = method_cost(spec, PatchSettings(k=7), 4)
    assert lanes.step.paper == cost.paper
    assert lanes.step.trained_parameters == cost.trained_parameters
    # Steps as they are counted beforehand; the frozen part once for 16 views and 2 validation.
    assert lanes.gflops["training"] * 1e9 == pytest.approx(32 * cost.cached, rel=1e-6)
    frozen = cost.uncached - cost.cached
    assert lanes.gflops["frozen"] * 1e9 == pytest.approx(18 * frozen, rel=1e-6)
    # The gate sees both models on the validation, from the picture on.
    forward = cost.source_forward + sum(part.forward for part in cost.parts.values())
    assert lanes.gflops["gate"] * 1e9 == pytest.approx(2 * forward, rel=1e-6)
    assert lanes.total_gflops == pytest.approx(sum(lanes.gflops.values()))
    assert lanes.paper_gflops == pytest.approx(32 * cost.paper / 1e9)
    # The real loss keeps more than the counted one, which is a sum, but of the same order.
    assert cost.saved_bytes <= lanes.step.saved_bytes < 3 * cost.saved_bytes
    assert ours.order.index(ours.tasks[ours.order[1]].warm_start[0]) == 0
    assert ours.machine.threads == 1


def test_without_a_cache_the_same_is_trained_for_more(
    scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]], ours: RunResult
) -> None:
    uncached = run_row(tiny.config_of("uncached"), scene, sources, table)
    for task in (SIGNS, LANES):
        assert uncached.tasks[task].test == ours.tasks[task].test
        assert uncached.tasks[task].validation == ours.tasks[task].validation
        assert uncached.tasks[task].gflops["training"] == ours.tasks[task].gflops["training"]
        # Of both together each pass is counted once: two epochs, and the validation three times.
        assert uncached.tasks[task].gflops["validation"] == ours.tasks[task].gflops["validation"]
        there = ours.tasks[task]
        views = there.images // 2
        once, each_time = views + there.validated, 2 * views + 3 * there.validated
        assert uncached.tasks[task].gflops["frozen"] == pytest.approx(
            there.gflops["frozen"] * each_time / once
        )


def test_rows_that_train_nothing(
    scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]], ours: RunResult
) -> None:
    source = run_row(tiny.config_of("source"), scene, sources, table).tasks[LANES]
    norm = run_row(tiny.config_of("norm"), scene, sources, table).tasks[LANES]
    assert source.test.final == source.test.source
    assert norm.test.final == norm.test.norm == source.test.norm == ours.tasks[LANES].test.norm
    assert norm.validation == ours.tasks[LANES].validation[:1]
    assert (source.gflops, source.step, source.images) == ({}, None, 0)
    assert norm.gflops.keys() == {"norm", "gate"}
    assert (norm.converged, norm.gflops_to_converge(cached=True)) == (0, norm.total_gflops)


def test_order_warm_start_and_filter(
    scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]], ours: RunResult
) -> None:
    average = run_row(tiny.config_of("average"), scene, sources, table)
    assert average.order == [LANES, SIGNS]
    assert average.tasks[SIGNS].warm_start == [LANES]
    assert average.tasks[LANES].gflops["selection"] > 0
    assert 4 <= average.tasks[LANES].kept <= average.tasks[LANES].collected == 8
    reversed_ = run_row(tiny.config_of("reversed"), scene, sources, table)
    assert reversed_.order == ours.order[::-1]
    assert reversed_.tasks[SIGNS].warm_start == []


def test_of_frames_whose_labels_are_not_used_only_the_pictures_count(
    scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]], ours: RunResult
) -> None:
    few = run_row(tiny.config_of("few"), scene, sources, table).tasks[LANES]
    assert (few.collected, few.kept, few.validated) == (3, 3, 0)
    assert few.best_epoch == len(few.losses)
    assert few.test.norm == ours.tasks[LANES].test.norm
    adapt = scene.tasks[LANES].adapt
    used = [0, 4, 9]
    others = tiny.samples(LANES, len(adapt), seed=9)
    mixed = [
        frame if place in used else Sample(frame.image, others[place].label)
        for place, frame in enumerate(adapt)
    ]
    lanes = dataclasses.replace(scene.tasks[LANES], adapt=mixed)
    relabelled = dataclasses.replace(scene, tasks={**scene.tasks, LANES: lanes})
    again = run_row(tiny.config_of("few"), relabelled, sources, table).tasks[LANES]
    assert (again.losses, again.test) == (few.losses, few.test)


def test_where_nothing_can_be_trained_the_source_model_stays(
    scene: Scene, table: dict[str, list[float]]
) -> None:
    sure = tiny.sources(scene, entropy=100.0)
    paper = run_row(tiny.config_of("paper"), scene, sure, table).tasks[LANES]
    assert paper.untrained.startswith("the entropy filter leaves none of 8 samples")
    assert (paper.kept, paper.images, paper.step) == (0, 0, None)
    assert paper.test.final == paper.test.source
    wild = run_row(tiny.config_of("wild"), scene, sure, table).tasks[LANES]
    assert "the loss of segmentation became" in wild.untrained
    assert wild.test.final == wild.test.source


def test_a_drift_that_comes_again_needs_no_training(
    scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]]
) -> None:
    plain = tiny.config_of("ours")
    row = plain.settings.model_copy(update={"drift_returns": True})
    config = plain.model_copy(update={"settings": row})
    dark = {
        task: dataclasses.replace(
            there,
            source_train=tiny.samples(task, 40, 5),
            adapt=_darkened(there.adapt * 2),
            test=_darkened(there.test * 5),
        )
        for task, there in scene.tasks.items()
    }
    result = run_row(config, Scene("dark", dark), sources, table)
    accepted: list[bool] = []
    for task, there in result.tasks.items():
        returned = there.returned
        assert returned is not None and returned.found
        accepted.append(returned.accepted)
        assert returned.verified == task.traits.verification_frames
        # What was kept gives what was trained back; what was turned down leaves the source.
        assert returned.final == (returned.first if returned.accepted else returned.source)
        assert 0 < returned.gflops < there.total_gflops
    assert any(accepted), "the bank's patch sets were all refused: nothing came back"


def test_where_nothing_was_trained_there_is_nothing_to_come_back_to(
    scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]]
) -> None:
    plain = tiny.config_of("wild")
    row = plain.settings.model_copy(update={"drift_returns": True})
    longer = {
        task: dataclasses.replace(there, source_train=tiny.samples(task, 40, 5))
        for task, there in scene.tasks.items()
    }
    config = plain.model_copy(update={"settings": row})
    result = run_row(config, Scene("wild", longer), sources, table)
    assert all(there.untrained and there.returned is None for there in result.tasks.values())


def test_a_drift_that_is_none_is_not_taken_for_an_earlier_one(
    scene: Scene, sources: dict[Task, Source], table: dict[str, list[float]]
) -> None:
    method = PatchSettings(k=7)
    trained = adapted(sources[LANES].model, method)
    clear = scene.tasks[LANES]
    parts = {
        "source_train": tiny.samples(LANES, 40, 5),
        "adapt": _darkened(clear.adapt * 2),
        "test": tiny.samples(LANES, 20, 6),
    }
    visit = SecondVisit(Scene("clear again", {LANES: dataclasses.replace(clear, **parts)}), sources)
    held_out = parts["test"][:4]
    frames = ChosenFrames([], held_out, [], [], held_out)
    done = AdaptedTask(trained, frames, TrainingRecord(), 0.0, method=method)
    (returned,) = visit.meet({LANES: done}, "reestimated").values()
    assert not returned.found and not returned.accepted
    assert returned.final == returned.source
    assert returned.gflops == 0


def _darkened(samples: list[Sample]) -> list[Sample]:
    return [Sample(sample.image // 6, sample.label) for sample in samples]


def test_what_is_tuned_on_has_no_test_frame(scene: Scene) -> None:
    for task, there in scene.tasks.items():
        first, second = (fold.tasks[task] for fold in inner_folds(scene))
        parts = [[id(sample) for sample in part] for part in (first.adapt, first.test)]
        assert parts == [[id(s) for s in part] for part in (second.test, second.adapt)]
        assert sorted(parts[0] + parts[1]) == sorted(id(sample) for sample in there.adapt)
        # Ten frames: blocks of five, so that neighbours stay together.
        assert parts[0] == [id(sample) for sample in there.adapt[:5]]
